//! Owns the links between the nodes of a cluster: one QUIC connection for each
//! pair, authenticated on both sides by the cluster's authority, with a stream
//! each way for every class of messages, datagrams, and asks with answers; and on
//! the same socket those who join and those who call the store. Never
//! decides who is a member, what a message means or who owns what: a [`Host`]
//! does. Started by the node, called by whatever sends to other nodes.
//! Invariant: every queue is bounded and says when it is full, so that a peer
//! that stalls takes no memory here and holds up no other peer and no other
//! class.

mod accept;
pub mod ask;
pub mod backoff;
pub mod class;
mod dial;
pub mod end;
pub mod frame;
pub mod hello;
pub mod join;
pub mod limits;
mod link;
mod net;
pub mod outbox;
mod peer;
mod question;
mod running;
pub mod status;
pub mod store_calls;
mod strangers;
mod streams;
pub mod tie;
mod tls;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use quinn::{ClientConfig, Endpoint, VarInt};
use tokio::runtime::Handle;
use tokio::sync::watch;

pub use ask::AskError;
pub use class::{Class, PerClass};
pub use end::{By, End, Reason};
pub use hello::{Formats, Hello};
pub use limits::{ClassLimits, Limits, LimitsError};
pub use link::{Arrival, DatagramError, Link, SendError, SendFault};
pub use question::Question;
pub use status::{LinkState, PeerStatus, StrangerStatus};
pub use tls::TlsError;

use crate::base::{Incarnation, NodeId};
use crate::cluster::certificates::Identity;
use crate::store::Store;
use join::JoinDesk;
use peer::Peer;
use store_calls::StoreServer;
use strangers::Strangers;

/// What the links serve. Called on the runtime that started them.
pub trait Host: Send + Sync + 'static {
    /// Whether this node may have a link, in this incarnation: is it a member,
    /// is the incarnation not dead? Its certificate and versions are checked.
    ///
    /// # Errors
    /// Why not: [`Reason::DeadIncarnation`] or [`Reason::NotAdmitted`].
    fn admit(&self, peer: &Hello) -> Result<(), End>;

    /// A link takes messages from now on. For one peer `handle_up` and
    /// `handle_down` alternate.
    fn handle_up(&self, link: &Link);

    /// What came in one class, in order. That class is not read on before this
    /// has returned, and its sender hears of it by and by; the others go on.
    /// Dropped half-way when the link ends.
    fn handle_arrivals<'a>(
        &'a self,
        link: &'a Link,
        class: Class,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'a, ()>;

    /// Datagrams as they came. Takes what it can and drops the rest.
    fn handle_datagrams(&self, link: &Link, datagrams: Vec<Bytes>);

    /// A link has ended; nothing more comes from it.
    fn handle_down(&self, link: &Link, why: &End);
}

/// Who this node is to others, and where it listens.
#[derive(Clone)]
pub struct Settings {
    pub identity: Identity,
    pub incarnation: Incarnation,
    pub formats: Formats,
    /// This build's name, for people.
    pub build: String,
    pub listen: SocketAddr,
    /// `HOST:PORT` where others dial this node.
    pub address: String,
    pub limits: Limits,
    /// Served to the nodes that have none; see [`store_calls`].
    pub store: Option<Arc<dyn Store>>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = f.debug_struct("Settings");
        parts.field("identity", &self.identity).field("incarnation", &self.incarnation);
        parts.field("listen", &self.listen).field("serves_store", &self.store.is_some());
        parts.finish_non_exhaustive()
    }
}

/// Why there are no links; nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{listen}: cannot listen for other nodes there")]
    Listen { listen: SocketAddr, source: io::Error },
    #[error(transparent)]
    Limits(#[from] LimitsError),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The links of a node. Dropped, they close without a word to the peers: use
/// [`stop`](Links::stop).
pub struct Links {
    node: Arc<Node>,
}

/// What all tasks of the links share.
struct Node {
    hello: Hello,
    limits: Limits,
    host: Arc<dyn Host>,
    desk: Option<Arc<dyn JoinDesk>>,
    store: Option<Arc<StoreServer>>,
    endpoint: Endpoint,
    client: ClientConfig,
    peers: Mutex<BTreeMap<NodeId, Arc<Peer>>>,
    strangers: Arc<Strangers>,
    /// Counts changes of any link's state.
    changes: watch::Sender<u64>,
    stopping: watch::Sender<bool>,
    /// On which all of this runs, whoever calls.
    runtime: Handle,
}

/// Peers are told of the end for so long.
const GOODBYE: Duration = Duration::from_secs(1);

impl Links {
    /// Listens for other nodes, and for newcomers where there is a desk. Dials
    /// nobody yet. Called on the runtime that is to serve the links; all else may
    /// be called from anywhere.
    ///
    /// # Errors
    /// When the address cannot be had or nothing would work with these settings.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn start(
        settings: Settings,
        host: Arc<dyn Host>,
        desk: Option<Arc<dyn JoinDesk>>,
    ) -> Result<Links, StartError> {
        let Settings { identity, incarnation, formats, build, listen, address, limits, store } =
            settings;
        limits.check()?;
        let server = tls::server(&identity)?;
        let mut client = ClientConfig::new(Arc::new(tls::client(&identity, tls::LINK)?));
        client.transport_config(Arc::new(net::transport(&limits)));
        let endpoint = net::endpoint(listen, Some(server), &limits)
            .map_err(|source| StartError::Listen { listen, source })?;
        let subject = identity.subject().clone();
        let hello = Hello {
            cluster: subject.cluster,
            node: subject.node,
            name: subject.name,
            incarnation,
            formats,
            expects: None,
            build,
            address,
        };
        let node = Arc::new(Node {
            hello,
            limits,
            host,
            desk,
            store: store.map(|store| Arc::new(StoreServer::new(store, limits.calls))),
            endpoint,
            client,
            peers: Mutex::default(),
            strangers: Arc::new(Strangers::new(&limits)),
            changes: watch::channel(0).0,
            stopping: watch::channel(false).0,
            runtime: Handle::current(),
        });
        tokio::spawn(accept::run(node.clone()));
        Ok(Links { node })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.node.endpoint.local_addr()
    }

    /// Dials this peer (`HOST:PORT`) from now on, whenever there is no link to
    /// it. One more than the limit allows is ignored, and logged.
    pub fn set_peer(&self, node: NodeId, address: String) {
        if node == self.node.hello.node {
            return;
        }
        match self.node.peer(node) {
            Some(peer) => {
                if peer.set_address(address) {
                    self.node.runtime.spawn(dial::run(self.node.clone(), peer));
                }
            }
            None => tracing::error!(%node, "not dialled: there are as many peers as may be"),
        }
    }

    /// Ends the link to this peer with `why`, and dials it no more. Whether it may
    /// come again by itself, the host says.
    pub fn forget_peer(&self, node: NodeId, why: End) {
        let peer = self.node.peers().get(&node).cloned();
        if let Some(peer) = peer {
            peer.forget(why);
        }
    }

    /// The link to this peer, if one is up.
    pub fn link(&self, node: NodeId) -> Option<Link> {
        let peer = self.node.peers().get(&node).cloned();
        peer?.link()
    }

    /// All peers, by node.
    pub fn peers(&self) -> Vec<PeerStatus> {
        let peers: Vec<Arc<Peer>> = self.node.peers().values().cloned().collect();
        peers.iter().map(|peer| peer.status()).collect()
    }

    /// What came and became no link.
    pub fn strangers(&self) -> StrangerStatus {
        self.node.strangers.status()
    }

    /// Changes whenever the state of a link or the list of strangers does.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.node.changes.subscribe()
    }

    /// Tells all peers, ends all links, and waits until their hosts have heard;
    /// calls of the store that are under way have a moment to be answered.
    pub async fn stop(self) {
        self.close().await;
    }

    /// As [`stop`](Self::stop), of links that others still name: the socket is free
    /// when the last of them is gone.
    pub async fn close(&self) {
        self.node.stop().await;
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.node.stopping.send_replace(true);
        self.node.endpoint.close(VarInt::from_u32(Reason::Stopping as u32), b"this node stops");
    }
}

impl Node {
    fn peers(&self) -> MutexGuard<'_, BTreeMap<NodeId, Arc<Peer>>> {
        // Nothing panics while it is held.
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept of this peer, made if there is room.
    fn peer(&self, node: NodeId) -> Option<Arc<Peer>> {
        let mut peers = self.peers();
        if let Some(peer) = peers.get(&node) {
            return Some(peer.clone());
        }
        if peers.len() >= self.limits.peers_max {
            let idle = peers.values().find(|peer| peer.is_idle())?.node;
            peers.remove(&idle);
        }
        let peer = Arc::new(Peer::new(self.hello.node, node));
        peers.insert(node, peer.clone());
        Some(peer)
    }

    fn handle_change(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    async fn stop(&self) {
        self.stopping.send_replace(true);
        let mut changes = self.changes.subscribe();
        let peers: Vec<Arc<Peer>> = self.peers().values().cloned().collect();
        for peer in &peers {
            peer.forget(End::us(Reason::Stopping, "this node stops"));
        }
        let all_down = async {
            let is_served = || self.store.as_ref().is_some_and(|store| !store.is_idle());
            while (is_served() || peers.iter().any(|peer| peer.held().is_some()))
                && changes.changed().await.is_ok()
            {}
        };
        let _ = tokio::time::timeout(GOODBYE, all_down).await;
        self.endpoint.close(VarInt::from_u32(Reason::Stopping as u32), b"this node stops");
        let _ = tokio::time::timeout(GOODBYE, self.endpoint.wait_idle()).await;
    }
}
