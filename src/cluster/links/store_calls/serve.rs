//! Owns the connections of the nodes that call this node's store: who may,
//! how many calls at a time, and their ends. Never looks into a call. Called
//! by what comes in. Invariant: never more calls at a time than the limits
//! say, of one node and of all; what is more stays with the node that made it,
//! because no stream is taken for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quinn::{Connection, VarInt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::end::{End, Reason};
use super::super::{Node, net, tls};
use super::{CallLimits, call};
use crate::base::NodeId;
use crate::cluster::certificates::Subject;
use crate::store::Store;

/// The store that this node serves to others.
pub struct StoreServer {
    pub(super) store: Arc<dyn Store>,
    pub(super) limits: CallLimits,
    guests: Mutex<BTreeMap<NodeId, Arc<Guest>>>,
    pub(super) bounds: Bounds,
}

/// What all nodes share.
pub(super) struct Bounds {
    pub commits: Arc<Semaphore>,
    pub reads: Arc<Semaphore>,
    pub commit_bytes: Arc<Semaphore>,
}

/// A node that calls. Kept for as long as a call of it is under way, so that a
/// new connection brings it no new room.
pub(super) struct Guest {
    pub node: NodeId,
    /// One for each call that may be under way.
    calls: Arc<Semaphore>,
    pub commit: Arc<Semaphore>,
    connection: Mutex<Option<Connection>>,
}

impl StoreServer {
    pub fn new(store: Arc<dyn Store>, limits: CallLimits) -> StoreServer {
        let semaphore = |room| Arc::new(Semaphore::new(room));
        let bounds = Bounds {
            commits: semaphore(limits.commits_at_once),
            reads: semaphore(limits.reads_at_once),
            commit_bytes: semaphore(limits.commit_bytes as usize),
        };
        StoreServer { store, limits, guests: Mutex::default(), bounds }
    }

    /// Whether no node has a connection.
    pub fn is_idle(&self) -> bool {
        self.guests().values().all(|guest| guest.connection().is_none())
    }

    /// A connection of this node; it is its only one from now on.
    fn enter(&self, node: NodeId, connection: &Connection) -> Result<Arc<Guest>, End> {
        let mut guests = self.guests();
        guests.retain(|_, guest| guest.connection().is_some() || Arc::strong_count(guest) > 1);
        if guests.len() >= self.limits.nodes_max && !guests.contains_key(&node) {
            return Err(End::us(Reason::Busy, "as many nodes as may be call this store"));
        }
        let calls = 1 + self.limits.reads_per_node as usize;
        let guest = guests.entry(node).or_insert_with(|| Arc::new(Guest::new(node, calls)));
        let old = guest.connection().replace(connection.clone());
        if let Some(old) = old {
            End::us(Reason::Duplicate, "a newer connection of this node").close(&old);
        }
        Ok(guest.clone())
    }

    fn guests(&self) -> MutexGuard<'_, BTreeMap<NodeId, Arc<Guest>>> {
        // Nothing panics while it is held.
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    fn new(node: NodeId, calls: usize) -> Guest {
        let (calls, commit) = (Arc::new(Semaphore::new(calls)), Arc::new(Semaphore::new(1)));
        Guest { node, calls, commit, connection: Mutex::default() }
    }

    fn connection(&self) -> MutexGuard<'_, Option<Connection>> {
        // Nothing panics while it is held.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has no connection any more, if it was this.
    fn leave(&self, connection: &Connection) {
        let mut held = self.connection();
        if held.as_ref().is_some_and(|held| held.stable_id() == connection.stable_id()) {
            *held = None;
        }
    }
}

/// Room on one of a few places. Nobody closes them.
pub(super) async fn place(places: &Arc<Semaphore>, count: usize) -> OwnedSemaphorePermit {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    places.clone().acquire_many_owned(count).await.expect("these semaphores are never closed")
}

/// Judges who came, and serves its calls from then on.
///
/// # Errors
/// When it may not call.
pub async fn greet(
    node: &Arc<Node>,
    connection: &Connection,
    who: &mut Option<NodeId>,
) -> Result<(), End> {
    let Some(shown) = tls::subject(connection) else {
        let detail = "the store needs a certificate; none was shown";
        return Err(End::us(Reason::NoCertificate, detail));
    };
    *who = shown.as_ref().map(|subject| subject.node);
    let peer = judge(node, shown.as_ref())?;
    let Some(server) = node.store.clone() else {
        let detail = format!("node {} serves no store", node.hello.node);
        return Err(End::us(Reason::NotAdmitted, detail));
    };
    if node.is_stopping() {
        return Err(stopping());
    }
    let guest = server.enter(peer, connection)?;
    net::widen(connection, &node.limits);
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(1 + server.limits.reads_per_node));
    tokio::spawn(run(node.clone(), server, guest, connection.clone()));
    Ok(())
}

fn stopping() -> End {
    End::us(Reason::Stopping, "this node stops")
}

fn judge(node: &Node, shown: Option<&Subject>) -> Result<NodeId, End> {
    let refused = |reason, detail| Err(End::us(reason, detail));
    let ours = &node.hello;
    let Some(shown) = shown else {
        return refused(Reason::OtherNode, "the certificate names no node".into());
    };
    if shown.cluster != ours.cluster {
        let detail = format!("cluster {} where {} was expected", shown.cluster, ours.cluster);
        return refused(Reason::OtherCluster, detail);
    }
    if shown.node == ours.node {
        let detail = format!("node {} has its store itself", ours.node);
        return refused(Reason::OtherNode, detail);
    }
    Ok(shown.node)
}

/// Works until the connection ends.
async fn run(node: Arc<Node>, server: Arc<StoreServer>, guest: Arc<Guest>, connection: Connection) {
    let (peer, address) = (guest.node, connection.remote_address());
    tracing::info!(%peer, %address, "calls the store");
    let mut stop = node.stopping.subscribe();
    let ended = tokio::select! {
        end = take_calls(&server, &guest, &connection) => Some(end),
        _ = stop.wait_for(|stop| *stop) => None,
    };
    if ended.is_none() {
        // Those under way are answered; who stops the links waits a moment.
        drop(place(&guest.calls, 1 + server.limits.reads_per_node as usize).await);
    }
    let end = ended.unwrap_or_else(stopping);
    end.close(&connection);
    guest.leave(&connection);
    tracing::info!(%peer, reason = ?end.reason, "calls the store no more: {end}");
    if end.reason.is_refusal() {
        node.strangers.handle_refused(address, Some(peer), end);
    }
    node.handle_change();
}

/// Takes calls for as long as there are places for them; why it ended.
async fn take_calls(server: &Arc<StoreServer>, guest: &Arc<Guest>, connection: &Connection) -> End {
    loop {
        let place = place(&guest.calls, 1).await;
        match connection.accept_bi().await {
            // By itself: whatever becomes of the connection, it comes to its end.
            Ok(stream) => drop(tokio::spawn(call::serve(
                server.clone(),
                guest.clone(),
                connection.clone(),
                stream,
                place,
            ))),
            Err(error) => return End::from(&error),
        }
    }
}
