//! With a certificate everything goes over TLS: who knows its authority plays,
//! who does not, or speaks plain text, is turned away at once.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use starmesh::config::Config;
use starmesh::gateway::server::Server;
use starmesh::protocol::http::{REGISTER_PATH, WEBSOCKET_PATH};
use starmesh::sim::rules;
use starmesh::telemetry::Recorder;
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

const NAME: &str = "node.example.org";
/// Nothing here takes so long.
const WITHIN: Duration = Duration::from_secs(30);

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Who signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate").der().clone();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    /// A certificate for [`NAME`] and its key, both in PEM form.
    fn sign(&self) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([NAME.into()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    /// A connection of a client that trusts this authority.
    fn connect(&self, address: SocketAddr) -> std::io::Result<Tls> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has all of them")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = NAME.try_into().expect("a name");
        let client = ClientConnection::new(Arc::new(config), name).expect("legal settings");
        let mut stream = StreamOwned::new(client, plain(address)?);
        stream.conn.complete_io(&mut stream.sock)?;
        Ok(stream)
    }
}

fn plain(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(WITHIN))?;
    Ok(socket)
}

/// A node with a certificate of this authority.
async fn start(authority: &Authority) -> (Server, TempDir) {
    // As `main` does.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let data = TempDir::new().expect("a folder");
    let (certificate, key) = authority.sign();
    let (chain, private) = (data.path().join("chain.pem"), data.path().join("key.pem"));
    fs::write(&chain, certificate).expect("the folder is writable");
    fs::write(&private, key).expect("the folder is writable");
    let settings = format!(
        "[node]\ndata = '{}'\n[http]\nlisten = '127.0.0.1:0'\nworkers = 1\n\
         tls_certificate = '{}'\ntls_key = '{}'\n\
         [players]\nargon2_memory_kib = 8\nargon2_passes = 1\n",
        data.path().display(),
        chain.display(),
        private.display()
    );
    let config = Config::with(&settings).expect("legal settings");
    let recorder = Recorder::detached().expect("a recorder");
    let rules = rules::file::built_in().expect("the built-in rules");
    (Server::start(&config, rules, recorder).await.expect("it starts"), data)
}

/// Registers an account; its access token.
fn register(mut stream: Tls) -> String {
    let body = json!({ "name": "ada", "email": "ada@example.org", "password": "correct horse" });
    let body = body.to_string();
    let head = format!(
        "POST {REGISTER_PATH} HTTP/1.1\r\nhost: {NAME}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("it takes a request");
    stream.write_all(body.as_bytes()).expect("it takes a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, and the end");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer of HTTP");
    assert!(head.starts_with("HTTP/1.1 201"), "{answer}");
    let tokens: Value = serde_json::from_str(body).expect("JSON");
    tokens["accessToken"].as_str().unwrap_or_else(|| panic!("{tokens}")).to_string()
}

/// The next message of this type.
fn hear(socket: &mut WebSocket<Tls>, kind: &str) -> Value {
    loop {
        if let Message::Text(text) = socket.read().expect("the server says something") {
            let message: Value = serde_json::from_str(&text).expect("JSON");
            assert_ne!(message["type"], "error", "{message}");
            if message["type"] == kind {
                return message;
            }
        }
    }
}

fn play(stream: Tls, token: &str) {
    let uri = format!("wss://{NAME}{WEBSOCKET_PATH}").parse().expect("an address");
    let request = ClientRequestBuilder::new(uri).with_sub_protocol("starmesh.json.v1");
    let (mut socket, _) = client(request, stream).expect("a WebSocket");
    let say = |socket: &mut WebSocket<Tls>, message: Value| {
        socket.send(Message::text(message.to_string())).expect("the socket takes it");
    };
    say(&mut socket, json!({ "type": "connect", "token": token }));
    let sector = hear(&mut socket, "connected")["presence"][0]["sector"].clone();
    say(&mut socket, json!({ "type": "subscribe", "area": { "sectors": [sector] } }));
    let keyframe = hear(&mut socket, "keyframe");
    let blocks = keyframe["blocks"].as_array().expect("blocks");
    let units = blocks.iter().flat_map(|block| block["content"]["keyframe"]["units"].as_array());
    assert_eq!(units.map(Vec::len).sum::<usize>(), 8, "{keyframe}");
}

#[actix::test]
async fn a_client_with_the_right_authority_registers_connects_and_watches() {
    let authority = Authority::new();
    let (server, _data) = start(&authority).await;
    assert!(server.url().starts_with("https://"), "{}", server.url());
    let address = server.addresses()[0];
    let client = tokio::task::spawn_blocking(move || {
        let token = register(authority.connect(address).expect("a handshake"));
        play(authority.connect(address).expect("a handshake"), &token);
    });
    client.await.expect("all of it");
    server.stop().await;
}

#[actix::test]
async fn a_client_with_another_authority_breaks_off() {
    let (server, _data) = start(&Authority::new()).await;
    let address = server.addresses()[0];
    let client = tokio::task::spawn_blocking(move || Authority::new().connect(address).err());
    let error = client.await.expect("no panic").expect("no handshake").to_string();
    assert!(error.contains("invalid peer certificate"), "{error}");
    server.stop().await;
}

#[actix::test]
async fn plain_text_is_turned_away_and_others_go_on() {
    let authority = Authority::new();
    let (server, _data) = start(&authority).await;
    let address = server.addresses()[0];
    let client = tokio::task::spawn_blocking(move || {
        let mut socket = plain(address).expect("it listens");
        socket.write_all(b"GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n").expect("it is taken");
        let mut said = Vec::new();
        // An end is an end, also with a reset.
        if let Err(error) = socket.read_to_end(&mut said) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
        }
        const ALERT: u8 = 21;
        assert!(said.is_empty() || said[0] == ALERT, "{}", String::from_utf8_lossy(&said));
        println!("plain text was answered with {said:?}");
        authority.connect(address).expect("a handshake");
    });
    client.await.expect("all of it");
    server.stop().await;
}
