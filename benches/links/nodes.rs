//! Two nodes of a cluster that have a link and nothing else, each on a thread of
//! its own, and what their threads take of a processor.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};
use starmesh::base::{Incarnation, NodeId};
use starmesh::cluster::certificates::identity::NodeKey;
use starmesh::cluster::certificates::{Authority, Identity, Request, Subject, Validity};
use starmesh::cluster::links::{Formats, Host, Limits, Link, Links, Settings};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// Longer than anything takes.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A node on a thread of its own, which takes futures to run.
pub struct Node<H> {
    pub host: Arc<H>,
    pub runtime: tokio::runtime::Handle,
    links: Arc<Links>,
    /// What the thread has taken of a processor, each time it is asked.
    cpu: mpsc::Receiver<Duration>,
    ask_cpu: tokio::sync::mpsc::Sender<()>,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl<H: Host> Node<H> {
    fn start(identity: Identity, host: H) -> Node<H> {
        let (started, node) = mpsc::sync_channel(1);
        let (cpu_out, cpu) = mpsc::sync_channel(1);
        let (ask_cpu, mut asked) = tokio::sync::mpsc::channel(1);
        let (stop, mut stopped) = watch::channel(false);
        let host = Arc::new(host);
        let hosting = host.clone();
        let thread = std::thread::spawn(move || {
            let runtime = runtime();
            runtime.block_on(async {
                let links = Links::start(settings(identity), hosting, None).unwrap();
                let handle = tokio::runtime::Handle::current();
                started.send((Arc::new(links), handle)).unwrap();
                loop {
                    tokio::select! {
                        Some(()) = asked.recv() => cpu_out.send(thread_cpu()).unwrap(),
                        _ = stopped.wait_for(|stop| *stop) => return,
                    }
                }
            });
        });
        let (links, runtime) = node.recv().unwrap();
        Node { host, runtime, links, cpu, ask_cpu, stop, thread }
    }

    pub fn cpu(&self) -> Duration {
        self.ask_cpu.blocking_send(()).unwrap();
        self.cpu.recv().unwrap()
    }

    /// Has it dial `other`, node 2; the link when it is up.
    pub fn link_to<O>(&self, other: &Node<O>) -> Link {
        let address = other.links.address().unwrap().to_string();
        self.links.set_peer(NodeId(2), address);
        self.runtime.block_on(linked(&self.links))
    }

    pub fn end(self) {
        self.stop.send_replace(true);
        self.thread.join().unwrap();
    }
}

async fn linked(links: &Links) -> Link {
    let mut changes = links.changes();
    loop {
        changes.borrow_and_update();
        if let Some(link) = links.link(NodeId(2)) {
            return link;
        }
        changes.changed().await.unwrap();
    }
}

/// Two nodes of one cluster, 1 and 2.
pub fn nodes<A: Host, B: Host>(one: A, two: B) -> (Node<A>, Node<B>) {
    let [first, second] = identities();
    (Node::start(first, one), Node::start(second, two))
}

fn identities() -> [Identity; 2] {
    let cluster = "bench".parse().unwrap();
    let authority = Authority::new(&cluster, Validity::of_authority(SystemTime::now())).unwrap();
    [1, 2].map(|node| {
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

fn settings(identity: Identity) -> Settings {
    Settings {
        identity,
        incarnation: Incarnation(1),
        formats: Formats { lowest: 1, highest: 1 },
        build: "bench".into(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        address: String::new(),
        limits: Limits { idle: LIMIT, ..Limits::default() },
        store: None,
    }
}

pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Lets the other threads work for so long.
pub fn pause(time: Duration) {
    let (_sender, never) = mpsc::sync_channel::<()>(0);
    let _ = never.recv_timeout(time);
}

/// What this thread has taken of a processor.
pub fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).expect("it counts from 0");
    Duration::new(seconds, u32::try_from(time.tv_nsec).expect("below a second"))
}

/// Per second of the wall, and per second of the busier thread's processor.
pub fn rates(count: f64, took: Duration, cpu: (Duration, Duration)) -> (f64, f64) {
    (count / took.as_secs_f64(), count / cpu.0.max(cpu.1).as_secs_f64())
}
