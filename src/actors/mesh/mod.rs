//! Owns the way from one node's shells to the others': the links, on a thread of
//! their own, and what the core last said of who has what. Never decides what a
//! message means or where an entity is. Core, gateways and view send through it
//! as their [`Mesh`]; what comes goes to them. Invariant: nothing waits here for
//! another node, and of what comes no more is held than the core has room for.

mod host;
mod serving;
pub mod wire;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};

use self::host::Inbound;
use super::peers::{Mesh, PeerAnswer, PeerMessage, PeerQuestion, Place};
use crate::base::{EntityKey, Incarnation, NodeId};
use crate::cluster::core::map::Map;
use crate::cluster::core::shadows::{Cast, Caster, datagram, ways};
use crate::cluster::core::table::Unavailable;
use crate::cluster::links::join::{JoinDesk, Member};
use crate::cluster::links::{
    self, Class, End, Hello, Link, LinkState, Links, PeerStatus, Reason, SendFault, Settings,
    StrangerStatus,
};
use crate::telemetry::metrics;

pub use self::host::Serves;
pub use self::serving::Parts;

/// The mesh of a node in a cluster.
pub struct NodeMesh {
    me: NodeId,
    map: RwLock<Arc<Map>>,
    /// Those that are up.
    up: RwLock<BTreeMap<NodeId, Link>>,
    /// Gone when it was stopped: it holds what holds this.
    running: RwLock<Option<Arc<Running>>>,
}

/// The thread of the links.
struct Running {
    links: Arc<Links>,
    runtime: Handle,
    address: SocketAddr,
    serves: Arc<dyn Serves>,
    /// Dropped, it has the thread end.
    _running: oneshot::Sender<()>,
    stopped: watch::Receiver<bool>,
}

/// Why the links do not run; nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    #[error("no thread for the links")]
    Thread(#[from] std::io::Error),
    #[error(transparent)]
    Links(#[from] links::StartError),
}

impl NodeMesh {
    /// Without links: for those that need it before they can be started.
    pub fn new(me: NodeId) -> Arc<NodeMesh> {
        Arc::new(NodeMesh {
            me,
            map: RwLock::default(),
            up: RwLock::default(),
            running: RwLock::default(),
        })
    }

    /// Listens for other nodes and dials `members`; what comes goes to `serves`.
    ///
    /// # Errors
    /// When the address cannot be had, or nothing would work with the settings.
    pub async fn start(
        self: &Arc<Self>,
        settings: Settings,
        desk: Option<Arc<dyn JoinDesk>>,
        serves: Arc<dyn Serves>,
        members: Vec<Member>,
    ) -> Result<SocketAddr, MeshError> {
        let (started, outcome) = oneshot::channel();
        let (running, stopping) = oneshot::channel();
        let (ended, stopped) = watch::channel(false);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let inbound = Arc::new(Inbound::new(self.clone(), serves.clone()));
        let run = async move {
            let links = Links::start(settings, inbound, desk)
                .map_err(MeshError::from)
                .and_then(|links| Ok((links.address()?, Arc::new(links))));
            let links = match links {
                Ok((address, links)) => {
                    // Whoever started it waits for this.
                    let _ = started.send(Ok((links.clone(), address)));
                    links
                }
                Err(error) => return drop(started.send(Err(error))),
            };
            // Dropped: the node is gone.
            let _ = stopping.await;
            links.close().await;
        };
        std::thread::Builder::new().name("links".into()).spawn(move || {
            runtime.block_on(run);
            ended.send_replace(true);
        })?;
        let ended = |_| std::io::Error::other("the thread of the links ended");
        let (links, address) = outcome.await.map_err(ended)??;
        for Member { node, address, .. } in members {
            links.set_peer(node, address);
        }
        let running =
            Running { links, runtime: handle, address, serves, _running: running, stopped };
        *self.running.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(running));
        Ok(address)
    }

    /// Tells the other nodes that this one stops, and ends the links.
    pub async fn stop(&self) {
        let running = self.running.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(running) = running else { return };
        let mut stopped = running.stopped.clone();
        drop(running);
        // An error says that the thread is gone, which is as good.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }

    /// Where it listens for other nodes.
    pub fn address(&self) -> Option<SocketAddr> {
        self.running().map(|running| running.address)
    }

    /// Dials these from now on.
    pub fn set_members(&self, members: &[Member]) {
        let Some(running) = self.running() else { return };
        for Member { node, address, .. } in members {
            running.links.set_peer(*node, address.clone());
        }
    }

    /// Where the node at the other end of a link that is up is dialled, as it says.
    pub fn said_address(&self, node: NodeId) -> Option<String> {
        self.link(node).ok().map(|link| link.hello().address.clone())
    }

    /// The links and who was turned away, for people.
    pub fn status(&self) -> Option<(Vec<PeerStatus>, StrangerStatus)> {
        let running = self.running()?;
        Some((running.links.peers(), running.links.strangers()))
    }

    /// What the core knows now. Links to incarnations that it knows to be dead end.
    fn take_map(&self, map: Map) {
        let map = Arc::new(map);
        let mut known = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *known, map.clone());
        drop(known);
        for link in self.links_up() {
            if !map.may_speak(link.node(), link.incarnation()) {
                link.close(dead(link.node(), link.incarnation()));
            }
        }
        let Some(running) = self.running() else { return };
        for (node, standing) in &before.nodes {
            // Of one that runs again it says itself what is lost.
            if standing.lives && !map.lives(*node) && *node != self.me {
                running.serves.handle_dead(*node);
            }
        }
    }

    fn running(&self) -> Option<Arc<Running>> {
        self.running.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The cluster, as it was last known.
    pub fn map(&self) -> Arc<Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there is a link to every other node that lives.
    pub fn is_linked(&self) -> bool {
        let up = self.up.read().unwrap_or_else(PoisonError::into_inner);
        let map = self.map();
        let mut living = map.nodes.keys().filter(|node| map.lives(**node));
        living.all(|node| *node == self.me || up.contains_key(node))
    }

    /// Hands a datagram on that is for another node; false when it is lost.
    fn hand_on(&self, to: NodeId, bytes: Bytes) -> bool {
        let up = self.up.read().unwrap_or_else(PoisonError::into_inner);
        let hands_on = ways::hands_on(self.map().roles(self.me), to, up.keys().copied());
        let link = up.get(&to).filter(|_| hands_on);
        link.is_some_and(|link| link.try_datagram(bytes).is_ok())
    }

    fn links_up(&self) -> Vec<Link> {
        self.up.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn link(&self, node: NodeId) -> Result<Link, Unavailable> {
        let up = self.up.read().unwrap_or_else(PoisonError::into_inner);
        up.get(&node).cloned().ok_or(Unavailable::Busy)
    }

    fn note_up(&self, link: &Link) {
        let mut up = self.up.write().unwrap_or_else(PoisonError::into_inner);
        up.insert(link.node(), link.clone());
        metrics::LINKS_UP.set(up.len() as f64);
    }

    fn note_down(&self, link: &Link) {
        let mut up = self.up.write().unwrap_or_else(PoisonError::into_inner);
        if up.get(&link.node()).is_some_and(|now| now.is_same(link)) {
            up.remove(&link.node());
            metrics::LINKS_UP.set(up.len() as f64);
        }
    }

    fn admit(&self, peer: &Hello) -> Result<(), End> {
        match self.map().may_speak(peer.node, peer.incarnation) {
            true => Ok(()),
            false => Err(dead(peer.node, peer.incarnation)),
        }
    }
}

/// How far away a peer is, in microseconds, while there is a link.
pub fn round_trip(peer: &PeerStatus) -> Option<(NodeId, u32)> {
    let LinkState::Up { round_trip, .. } = &peer.state else { return None };
    Some((peer.node, u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX)))
}

/// Counts a datagram of shadows by what became of it.
fn count(outcome: &'static str) {
    metrics::SHADOW_DATAGRAMS.with(&[outcome]).increment(1);
}

fn dead(node: NodeId, incarnation: Incarnation) -> End {
    let detail = format!("incarnation {incarnation} of node {node} has ended");
    End::us(Reason::DeadIncarnation, detail)
}

impl Mesh for NodeMesh {
    fn me(&self) -> NodeId {
        self.me
    }

    fn place_of(&self, entity: EntityKey) -> Place {
        match self.map().node_of(entity) {
            Some(node) if node == self.me => Place::Here,
            Some(node) => Place::There(node),
            None => Place::Nowhere,
        }
    }

    fn note_map(&self, map: Map) {
        self.take_map(map);
    }

    fn send(&self, to: NodeId, message: PeerMessage) -> Result<(), Unavailable> {
        let link = self.link(to)?;
        let (class, bytes) = wire::encode(&message);
        link.try_send(class, bytes).map_err(|error| match error.fault {
            SendFault::TooLong { .. } => Unavailable::TooLong,
            SendFault::Full | SendFault::Down => Unavailable::Busy,
        })
    }

    fn cast(&self, to: NodeId, caster: Caster, cast: &Cast) {
        let up = self.up.read().unwrap_or_else(PoisonError::into_inner);
        let links: Vec<&Link> = match up.get(&to) {
            Some(link) => vec![link],
            None => {
                let map = self.map();
                let linked = up.keys().map(|node| (*node, map.roles(*node)));
                let via = ways::coordinators(linked, cast.turn());
                via.iter().filter_map(|node| up.get(node)).collect()
            }
        };
        if links.is_empty() {
            return count("no_way");
        }
        for bytes in datagram::split(caster, to, cast).into_iter().map(Bytes::from) {
            for link in &links {
                let is_sent = link.try_datagram(bytes.clone()).is_ok();
                count(if is_sent { "sent" } else { "dropped" });
            }
        }
    }

    fn ask(
        &self,
        to: NodeId,
        question: PeerQuestion,
        within: Duration,
    ) -> BoxFuture<'static, Result<PeerAnswer, Unavailable>> {
        let link = self.link(to);
        let runtime = self.running().map(|running| running.runtime.clone());
        Box::pin(async move {
            let (link, runtime) = (link?, runtime.ok_or(Unavailable::Busy)?);
            // On the links' own thread, whatever the caller's runtime has.
            let question = wire::encode_question(&question);
            let asked =
                runtime.spawn(async move { link.ask(Class::Commands, question, within).await });
            let answer = asked.await.map_err(|_| Unavailable::Busy)?;
            let answer = answer.map_err(|_| Unavailable::Busy)?;
            wire::decode_answer(&answer).map_err(|_| Unavailable::Busy)
        })
    }

    fn round_trips(&self) -> Vec<(NodeId, u32)> {
        let peers = self.status().map(|(peers, _)| peers).unwrap_or_default();
        peers.iter().filter_map(round_trip).collect()
    }

    fn directory_version(&self) -> u64 {
        self.map().directory.version()
    }

    fn linked(&self) -> Vec<NodeId> {
        let up = self.up.read().unwrap_or_else(PoisonError::into_inner);
        up.keys().copied().collect()
    }
}
