//! The stores that a node's commands are measured on: the embedded one, the same
//! at another node over loopback, and a PostgreSQL server of the bench's own that
//! syncs its log. Each is new and empty, and goes with what is returned.

use std::any::Any;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use starmesh::base::{Incarnation, NodeId};
use starmesh::cluster::certificates::identity::NodeKey;
use starmesh::cluster::certificates::{Authority, Identity, Request, Subject, Validity};
use starmesh::cluster::links::store_calls::MeshStore;
use starmesh::cluster::links::{
    Arrival, Class, End, Formats, Hello, Host, Limits, Link, Links, Settings,
};
use starmesh::store::Store;
use starmesh::store::sled::{Options, Sled};

#[cfg(feature = "postgres")]
#[path = "../../tests/promises/postgres_server.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod postgres_server;

/// The node that has the store, where it is another's; the first is measured.
const SERVING: u32 = 1000;

pub struct Opened {
    pub store: Arc<dyn Store>,
    /// What must stay for it to work.
    _keep: Box<dyn Any + Send>,
}

/// The store of this name, in `folder` where it is one with files.
pub fn open(name: &str, folder: &Path) -> Opened {
    let sled = || Arc::new(Sled::open(&folder.join(name), Options::default()).unwrap());
    match name {
        "sled" => Opened { store: sled(), _keep: Box::new(()) },
        "mesh" => mesh(sled()),
        #[cfg(feature = "postgres")]
        "postgres" => {
            let settings = ["fsync=on", "shared_buffers=512MB", "max_wal_size=4GB"];
            let server = postgres_server::Server::start(&settings);
            Opened { store: Arc::new(server.store()), _keep: Box::new(server) }
        }
        other => panic!("{other}: expected sled, mesh or postgres"),
    }
}

/// A store that is called over a connection, by QUIC like all between nodes.
fn mesh(store: Arc<dyn Store>) -> Opened {
    let [serving, calling] = identities([SERVING, 1]);
    let (started, links) = mpsc::sync_channel(1);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let settings = Settings {
        identity: serving,
        incarnation: Incarnation(1),
        formats: Formats { lowest: 1, highest: 1 },
        build: "bench".into(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        address: String::new(),
        limits: Limits::default(),
        store: Some(store),
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let links = Links::start(settings, Arc::new(Nobody), None).unwrap();
            started.send(links.address().unwrap().to_string()).unwrap();
            let _ = stopped.await;
        });
    });
    let address = links.recv().unwrap();
    let store = MeshStore::open(&calling, NodeId(SERVING), address, Limits::default()).unwrap();
    Opened { store: Arc::new(store), _keep: Box::new(stop) }
}

fn identities<const N: usize>(nodes: [u32; N]) -> [Identity; N] {
    let cluster = "bench".parse().unwrap();
    let authority = Authority::new(&cluster, Validity::of_authority(SystemTime::now())).unwrap();
    nodes.map(|node| {
        let name = format!("n{node}").parse().unwrap();
        let subject = Subject { cluster: cluster.clone(), node: NodeId(node), name };
        let key = NodeKey::generate().unwrap();
        let request = Request::from_der(&key.request().unwrap()).unwrap();
        let validity = Validity::of_node(SystemTime::now());
        let chain = vec![authority.sign(&request, &subject, validity).unwrap()];
        let authorities = vec![authority.certificate().clone()];
        Identity::new(chain, &key.pem(), authorities).unwrap()
    })
}

/// Nodes have nothing to say to each other here but calls of the store.
struct Nobody;

impl Host for Nobody {
    fn admit(&self, _: &Hello) -> Result<(), End> {
        Ok(())
    }

    fn handle_up(&self, _: &Link) {}

    fn handle_arrivals<'a>(&'a self, _: &'a Link, _: Class, _: Vec<Arrival>) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    fn handle_datagrams(&self, _: &Link, _: Vec<Bytes>) {}

    fn handle_down(&self, _: &Link, _: &End) {}
}
