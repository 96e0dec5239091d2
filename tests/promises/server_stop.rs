//! When a node says that its store is closed, its folder is free, whoever was
//! connected; one that did not start holds nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use starmesh::config::Config;
use starmesh::gateway::server::{ServeError, Server, Stopped};
use starmesh::sim::rules;
use starmesh::store::sled::{self, Options, Sled};
use starmesh::telemetry::Recorder;
use tempfile::TempDir;

async fn start(data: &Path, listen: SocketAddr) -> Result<Server, ServeError> {
    let settings = format!(
        "[node]\ndata = '{}'\n[http]\nlisten = '{listen}'\nworkers = 1\nshutdown_timeout_s = 1\n\
         [limits]\nexempt = ['127.0.0.0/8']\n",
        data.display()
    );
    let config = Config::with(&settings).expect("legal settings");
    let recorder = Recorder::detached().expect("a recorder");
    Server::start(&config, rules::file::built_in().expect("the built-in rules"), recorder).await
}

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

/// Opens the store and closes it again; fails while anybody has it.
fn open(data: &Path) {
    let opened = Sled::open(&data.join(sled::FOLDER), Options::default());
    drop(opened.unwrap_or_else(|error| panic!("{error}")));
}

/// A client that stays, with a request that was answered.
fn stay(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).expect("it listens");
    socket.write_all(b"GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n").expect("it takes a request");
    let mut byte = [0];
    socket.read_exact(&mut byte).expect("it answers");
    socket
}

#[actix::test]
async fn a_stopped_server_leaves_its_folder_free() {
    let data = TempDir::new().expect("a folder");
    for _ in 0..3 {
        let server = start(data.path(), anywhere()).await.expect("the folder is free");
        let address = server.addresses()[0];
        let staying = tokio::task::spawn_blocking(move || stay(address)).await;
        assert_eq!(server.stop().await, Stopped { settled: true, closed: true });
        open(data.path());
        drop(staying);
    }
}

#[actix::test]
async fn a_server_that_does_not_start_leaves_its_folder_free() {
    let data = TempDir::new().expect("a folder");
    let taken = TcpListener::bind(anywhere()).expect("a free port");
    let address = taken.local_addr().expect("an address");
    let Err(error) = start(data.path(), address).await else { panic!("the port is taken") };
    assert!(matches!(error, ServeError::Listen { .. }), "{error}");
    open(data.path());
}
