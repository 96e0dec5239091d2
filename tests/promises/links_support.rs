//! Nodes with links on loopback, whose hosts write down what they hear, and
//! peers that keep to no rule. Nothing waits for a time: tests wait for
//! conditions, and the limits of the links are far beyond what a busy machine
//! may take.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use starmesh::base::{Incarnation, NodeId};
use starmesh::cluster::certificates::identity::NodeKey;
use starmesh::cluster::certificates::{Authority, Identity, Name, Request, Subject, Validity};
use starmesh::cluster::links::join::JoinDesk;
use starmesh::cluster::links::{
    Arrival, Class, End, Formats, Hello, Host, Limits, Link, LinkState, Links, PeerStatus,
    PerClass, Question, Reason, Settings, StartError,
};
use tokio::sync::watch;

/// Nothing here takes so long.
pub const WITHIN: Duration = Duration::from_secs(60);
pub const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
pub const FORMATS: Formats = Formats { lowest: 1, highest: 2 };

/// Limits with which a thread may stand still for long, and is dialled soon.
pub fn limits() -> Limits {
    Limits {
        idle: Duration::from_secs(45),
        keep_alive: Duration::from_secs(5),
        handshake: Duration::from_secs(45),
        redial_first: Duration::from_millis(5),
        redial_most: Duration::from_millis(50),
        strangers_per_address: 64,
        ..Limits::default()
    }
}

pub fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// A cluster's authority.
pub struct Realm {
    pub authority: Authority,
    pub cluster: Name,
}

impl Realm {
    pub fn new(cluster: &str) -> Realm {
        let cluster = name(cluster);
        let validity = Validity::of_authority(SystemTime::now());
        Realm { authority: Authority::new(&cluster, validity).expect("an authority"), cluster }
    }

    pub fn identity(&self, node: u32) -> Identity {
        self.identity_of(&self.subject(node), Validity::of_node(SystemTime::now()))
    }

    pub fn subject(&self, node: u32) -> Subject {
        let name = name(&format!("n{node}"));
        Subject { cluster: self.cluster.clone(), node: NodeId(node), name }
    }

    pub fn identity_of(&self, subject: &Subject, validity: Validity) -> Identity {
        let key = NodeKey::generate().expect("a key");
        let request = Request::from_der(&key.request().expect("a request")).expect("a request");
        let signed = self.authority.sign(&request, subject, validity).expect("a certificate");
        let authorities = vec![self.authority.certificate().clone()];
        Identity::new(vec![signed], &key.pem(), authorities).expect("they belong together")
    }
}

/// What a host heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Up(NodeId, Incarnation),
    Down(NodeId, Reason),
    Message(NodeId, Class, Bytes),
    Datagram(NodeId, Bytes),
    /// The message of an ask.
    Asked(NodeId, Bytes),
}

/// What a host does with asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    Echo,
    Refuse,
    Drop,
    /// Keeps them open.
    Hold,
}

/// A host that writes down what it hears.
pub struct Recorder {
    state: Mutex<Recorded>,
    changed: watch::Sender<u64>,
    stalled: watch::Sender<PerClass<bool>>,
}

pub struct Recorded {
    pub heard: Vec<Heard>,
    pub links: Vec<Link>,
    pub dead: BTreeSet<(NodeId, Incarnation)>,
    pub answers: Answers,
    pub held: Vec<Question>,
}

impl Recorded {
    /// Messages of this class from this node, in the order in which they came.
    pub fn messages(&self, from: NodeId, class: Class) -> Vec<Bytes> {
        let of_class = |heard: &Heard| match heard {
            Heard::Message(node, of, bytes) if (*node, *of) == (from, class) => Some(bytes.clone()),
            _ => None,
        };
        self.heard.iter().filter_map(of_class).collect()
    }
}

impl Recorder {
    pub fn new() -> Arc<Recorder> {
        let state = Recorded {
            heard: Vec::new(),
            links: Vec::new(),
            dead: BTreeSet::new(),
            answers: Answers::Echo,
            held: Vec::new(),
        };
        Arc::new(Recorder {
            state: Mutex::new(state),
            changed: watch::channel(0).0,
            stalled: watch::channel(PerClass::default()).0,
        })
    }

    pub fn state(&self) -> MutexGuard<'_, Recorded> {
        self.state.lock().expect("no test panicked with it")
    }

    /// Handles nothing more of this class, or goes on.
    pub fn stall(&self, class: Class, is_stalled: bool) {
        self.stalled.send_modify(|stalled| stalled[class] = is_stalled);
    }

    /// Waits until what was heard is as it should be.
    pub async fn until(&self, what: &str, mut done: impl FnMut(&Recorded) -> bool) {
        let mut changed = self.changed.subscribe();
        let wait = async {
            while !done(&self.state()) {
                changed.changed().await.expect("the host is there");
            }
        };
        if tokio::time::timeout(WITHIN, wait).await.is_err() {
            let state = self.state();
            let tail = state.heard.len().saturating_sub(20);
            panic!("{what}: not within {WITHIN:?}; last heard {:?}", &state.heard[tail..]);
        }
    }

    /// Waits for so many messages; they are all there are.
    pub async fn messages(&self, from: NodeId, class: Class, count: usize) -> Vec<Bytes> {
        let counted = |host: &Recorded| {
            let is_one = |heard: &&Heard| matches!(heard, Heard::Message(node, of, _) if (*node, *of) == (from, class));
            host.heard.iter().filter(is_one).count()
        };
        self.until(&format!("{count} messages of {class}"), |host| counted(host) >= count).await;
        self.state().messages(from, class)
    }

    fn hear(&self, act: impl FnOnce(&mut Recorded)) {
        act(&mut self.state());
        self.changed.send_modify(|count| *count += 1);
    }

    fn hear_ask(&self, question: Question) {
        let mut state = self.state();
        state.heard.push(Heard::Asked(question.link().node(), question.body.clone()));
        match state.answers {
            Answers::Echo => {
                let body = question.body.clone();
                tokio::spawn(question.answer(body));
            }
            Answers::Refuse => question.refuse("not today"),
            Answers::Drop => drop(question),
            Answers::Hold => state.held.push(question),
        }
    }
}

impl Host for Recorder {
    fn admit(&self, peer: &Hello) -> Result<(), End> {
        if self.state().dead.contains(&(peer.node, peer.incarnation)) {
            return Err(End::us(Reason::DeadIncarnation, "it was declared dead"));
        }
        Ok(())
    }

    fn handle_up(&self, link: &Link) {
        self.hear(|state| {
            state.heard.push(Heard::Up(link.node(), link.incarnation()));
            state.links.push(link.clone());
        });
    }

    fn handle_arrivals<'a>(
        &'a self,
        link: &'a Link,
        class: Class,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut stalled = self.stalled.subscribe();
            stalled.wait_for(|stalled| !stalled[class]).await.expect("the host is there");
            for arrival in arrivals {
                match arrival {
                    Arrival::Message(bytes) => {
                        self.state().heard.push(Heard::Message(link.node(), class, bytes));
                    }
                    Arrival::Ask(question) => self.hear_ask(question),
                }
            }
            self.hear(|_| {});
        })
    }

    fn handle_datagrams(&self, link: &Link, datagrams: Vec<Bytes>) {
        let from = link.node();
        self.hear(|state| {
            state.heard.extend(datagrams.into_iter().map(|bytes| Heard::Datagram(from, bytes)));
        });
    }

    fn handle_down(&self, link: &Link, why: &End) {
        self.hear(|state| {
            state.heard.push(Heard::Down(link.node(), why.reason));
            state.links.retain(|held| !held.is_same(link));
        });
    }
}

/// A node that has links.
pub struct TestNode {
    pub id: NodeId,
    pub links: Links,
    pub host: Arc<Recorder>,
}

pub fn settings(identity: Identity) -> Settings {
    Settings {
        identity,
        incarnation: Incarnation(1),
        formats: FORMATS,
        build: "test".into(),
        listen: HERE,
        address: HERE.to_string(),
        limits: limits(),
        store: None,
    }
}

impl TestNode {
    pub fn start(settings: Settings) -> TestNode {
        TestNode::with_desk(settings, None)
    }

    pub fn with_desk(settings: Settings, desk: Option<Arc<dyn JoinDesk>>) -> TestNode {
        let (id, host) = (settings.identity.subject().node, Recorder::new());
        let links = Links::start(settings, host.clone(), desk).expect("it starts");
        TestNode { id, links, host }
    }

    /// Starts where another listened that has stopped: its socket goes in a
    /// moment, with the last of its tasks.
    pub async fn start_anew(settings: Settings) -> TestNode {
        let (id, host) = (settings.identity.subject().node, Recorder::new());
        let wait = async {
            loop {
                match Links::start(settings.clone(), host.clone(), None) {
                    Err(StartError::Listen { .. }) => tokio::task::yield_now().await,
                    started => return started.expect("it starts"),
                }
            }
        };
        let links = tokio::time::timeout(WITHIN, wait).await.expect("the socket is free");
        TestNode { id, links, host }
    }

    pub fn address(&self) -> SocketAddr {
        self.links.address().expect("it listens")
    }

    pub fn dial(&self, other: &TestNode) {
        self.links.set_peer(other.id, other.address().to_string());
    }

    /// The link to this node, once it is up.
    pub async fn link(&self, to: NodeId) -> Link {
        self.until("a link", |node| node.links.link(to)).await
    }

    pub fn status(&self, of: NodeId) -> Option<PeerStatus> {
        self.links.peers().into_iter().find(|status| status.node == of)
    }

    /// Waits until something can be seen of the links.
    pub async fn until<T>(&self, what: &str, look: impl Fn(&TestNode) -> Option<T>) -> T {
        let mut changes = self.links.changes();
        let wait = async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = look(self) {
                    return found;
                }
                changes.changed().await.expect("the links are there");
            }
        };
        match tokio::time::timeout(WITHIN, wait).await {
            Ok(found) => found,
            Err(_) => panic!(
                "node {}: {what}: not within {WITHIN:?}: {:?} {:?}",
                self.id,
                self.links.peers(),
                self.links.strangers()
            ),
        }
    }

    /// Why the last attempt to reach this node was refused, once it was.
    pub async fn refused_by(&self, peer: NodeId) -> End {
        self.until("a refusal", |node| match node.status(peer)?.state {
            LinkState::Refused { why } => Some(why),
            _ => None,
        })
        .await
    }

    /// The first that was turned away at this node.
    pub async fn turned_away(&self) -> End {
        let first = |node: &TestNode| node.links.strangers().last.first().cloned();
        self.until("somebody turned away", first).await.why
    }
}

/// Nodes 1, 2, … of one cluster, without links.
pub fn nodes<const N: usize>(limits: Limits) -> [TestNode; N] {
    let realm = Realm::new("demo");
    std::array::from_fn(|n| {
        let identity = realm.identity(n as u32 + 1);
        TestNode::start(Settings { limits, ..settings(identity) })
    })
}

/// Two nodes with a link between them; node 1 dialled.
pub async fn pair(limits: Limits) -> (TestNode, TestNode) {
    let [one, two] = nodes(limits);
    one.dial(&two);
    one.link(two.id).await;
    two.link(one.id).await;
    (one, two)
}

/// A connection of QUIC made by hand.
pub struct Raw {
    pub connection: quinn::Connection,
    endpoint: quinn::Endpoint,
}

pub type Stream = (quinn::SendStream, quinn::RecvStream);

/// A certificate with those above it, and its key.
pub type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Raw {
    /// Connects with this identity, or with none; it believes everybody that
    /// `realm` signed.
    pub async fn connect(
        realm: &Realm,
        identity: Option<&Identity>,
        purpose: &str,
        to: SocketAddr,
    ) -> Result<Raw, quinn::ConnectionError> {
        let shown = identity.map(|own| (own.shown(), own.key()));
        Raw::connect_with(realm, shown, purpose, to).await
    }

    pub async fn connect_with(
        realm: &Realm,
        shown: Option<Shown>,
        purpose: &str,
        to: SocketAddr,
    ) -> Result<Raw, quinn::ConnectionError> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(realm.authority.certificate().clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring has it")
            .with_root_certificates(roots);
        let mut config = match shown {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("a key"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![purpose.as_bytes().to_vec()];
        let crypto = QuicClientConfig::try_from(config).expect("TLS 1.3");
        let endpoint = quinn::Endpoint::client(HERE).expect("a socket");
        let connecting = endpoint
            .connect_with(quinn::ClientConfig::new(Arc::new(crypto)), to, "node.starmesh")
            .expect("legal settings");
        Ok(Raw { connection: connecting.await?, endpoint })
    }

    /// Does what a node does: says hello, hears the answer, opens all streams.
    pub async fn be_node(&self, hello: &Hello) -> [Stream; 3] {
        self.try_be_node(hello).await.expect("it is taken for a node")
    }

    /// As [`be_node`](Self::be_node), where the connection may be lost meanwhile.
    pub async fn try_be_node(&self, hello: &Hello) -> Option<[Stream; 3]> {
        let mut control = self.try_open(&written(hello)).await?;
        let mut length = [0; 4];
        control.1.read_exact(&mut length).await.ok()?;
        let mut answer = vec![0; u32::from_le_bytes(length) as usize];
        control.1.read_exact(&mut answer).await.ok()?;
        Some([control, self.try_open(&[1]).await?, self.try_open(&[2]).await?])
    }

    /// Says so much and no more, and again if a thread that stood still was too
    /// slow before that, until it is told that it took too long.
    pub async fn take_too_long(
        realm: &Realm,
        identity: Option<&Identity>,
        purpose: &str,
        to: SocketAddr,
        said: &[u8],
    ) {
        let wait = async {
            loop {
                let Ok(raw) = Raw::connect(realm, identity, purpose, to).await else { continue };
                let Some(_stream) = raw.try_open(said).await else { continue };
                if raw.end().await.reason == Reason::TooSlow {
                    return;
                }
            }
        };
        tokio::time::timeout(WITHIN, wait).await.expect("it is told");
    }

    /// Nothing that it sends is heard any more, as of a process that stands still.
    pub fn fall_silent(&self) {
        // Connections do not move: what comes from another port is dropped.
        let elsewhere = std::net::UdpSocket::bind(HERE).expect("a socket");
        self.endpoint.rebind(elsewhere).expect("it takes another socket");
    }

    /// How the other side ends it.
    pub async fn end(&self) -> End {
        let closed = tokio::time::timeout(WITHIN, self.connection.closed());
        End::from(&closed.await.expect("it ends"))
    }

    /// Opens a stream and writes these bytes.
    pub async fn open(&self, bytes: &[u8]) -> Stream {
        self.try_open(bytes).await.expect("the connection is there")
    }

    async fn try_open(&self, bytes: &[u8]) -> Option<Stream> {
        let mut stream = self.connection.open_bi().await.ok()?;
        stream.0.write_all(bytes).await.ok()?;
        Some(stream)
    }
}

/// A hello as it is written first on the stream of control.
pub fn written(hello: &Hello) -> Vec<u8> {
    let bytes = hello.to_bytes();
    let length = u32::try_from(bytes.len()).expect("a short one");
    [&[Class::Control as u8][..], &length.to_le_bytes(), &bytes].concat()
}

/// A hello of this node.
pub fn hello(realm: &Realm, node: u32) -> Hello {
    let Subject { cluster, node, name } = realm.subject(node);
    let incarnation = Incarnation(1);
    let (build, address, formats) = ("by hand".into(), HERE.to_string(), FORMATS);
    Hello { cluster, node, name, incarnation, formats, expects: None, build, address }
}

pub fn numbered(count: u32, length: usize) -> Vec<Bytes> {
    let message = |n: u32| {
        let mut bytes = n.to_le_bytes().to_vec();
        bytes.resize(length.max(4), n as u8);
        Bytes::from(bytes)
    };
    (0..count).map(message).collect()
}
