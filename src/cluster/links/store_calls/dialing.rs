//! Owns the connection of a node to the node that has its store: dials it
//! whenever there is none, with growing waits, and knows that it is the right
//! one before any call goes over it. Never makes calls of its own but the
//! first, by which it is known to answer. One task for each [`MeshStore`].
//!
//! [`MeshStore`]: super::MeshStore

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::{ClientConfig, Connection, Endpoint};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::super::backoff::Backoff;
use super::super::dial;
use super::super::end::{By, End, Reason};
use super::super::limits::Limits;
use super::super::{net, tls};
use super::mesh::exchange;
use super::wire::{self, Read};
use crate::base::NodeId;
use crate::cluster::certificates::Subject;

/// The store's node hears so long that this one goes.
const GOODBYE: Duration = Duration::from_secs(1);

/// What the task and those who call share.
pub(super) struct Shared {
    /// Who has the store.
    pub node: NodeId,
    pub us: Subject,
    pub limits: Limits,
    pub address: watch::Sender<String>,
    pub reach: watch::Sender<Reach>,
    pub reads: Semaphore,
    pub stop: watch::Sender<bool>,
}

/// Whether calls can be made.
#[derive(Clone, Debug)]
pub(super) enum Reach {
    /// Not now, and why the last attempt or connection ended.
    Away(Option<End>),
    /// The endpoint is its socket.
    Up(Connection, Endpoint),
}

/// Dials until it is told to stop.
pub(super) async fn run(shared: Arc<Shared>, client: ClientConfig) {
    let mut stop = shared.stop.subscribe();
    tokio::select! {
        () = keep(&shared, &client) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    let end = End::us(Reason::Stopping, "this node stops");
    let last = shared.reach.send_replace(Reach::Away(Some(end.clone())));
    if let Reach::Up(connection, endpoint) = last {
        end.close(&connection);
        let _ = timeout(GOODBYE, endpoint.wait_idle()).await;
    }
}

async fn keep(shared: &Shared, client: &ClientConfig) {
    let limits = &shared.limits;
    let seed = limits.seed ^ u64::from(shared.us.node.0).rotate_left(32);
    let mut backoff = Backoff::new(limits.redial_first, limits.redial_most, seed, shared.node);
    let mut address = shared.address.subscribe();
    let mut said = None;
    loop {
        let to = address.borrow_and_update().clone();
        let dialled = tokio::select! {
            dialled = dial(shared, client, &to) => dialled,
            // The sender is `shared`'s.
            _ = address.changed() => continue,
        };
        let end = match dialled {
            Ok((endpoint, connection)) => {
                let up_at = Instant::now();
                let end = hold(shared, endpoint, connection).await;
                if up_at.elapsed() >= limits.redial_most {
                    backoff.handle_success();
                }
                said = None;
                end
            }
            Err(end) => {
                shared.reach.send_replace(Reach::Away(Some(end.clone())));
                end
            }
        };
        // Said once, and not again while it stays the same.
        if said.replace((end.reason, end.by)) != Some((end.reason, end.by)) {
            let node = shared.node;
            tracing::warn!(%node, address = to, reason = ?end.reason, "the store is away: {end}");
        }
        let _ = timeout(backoff.handle_failure(), address.changed()).await;
    }
}

/// Calls go over this connection until it ends; why it did.
async fn hold(shared: &Shared, endpoint: Endpoint, connection: Connection) -> End {
    let (node, address) = (shared.node, connection.remote_address());
    tracing::info!(%node, %address, "the store answers");
    shared.reach.send_replace(Reach::Up(connection.clone(), endpoint));
    let end = End::from(&connection.closed().await);
    shared.reach.send_replace(Reach::Away(Some(end.clone())));
    end
}

/// One attempt: a connection to the right node, which answers.
async fn dial(
    shared: &Shared,
    client: &ClientConfig,
    address: &str,
) -> Result<(Endpoint, Connection), End> {
    let limits = &shared.limits;
    let own = |to| net::endpoint(any(to), None, limits);
    let (endpoint, connection) = dial::connect(address, limits.handshake, client, own).await?;
    let greeted = timeout(limits.handshake, greet(shared, &connection)).await;
    let slow = || End::us(Reason::TooSlow, "the first call was not answered in time");
    if let Err(end) = greeted.unwrap_or_else(|_| Err(slow())) {
        if end.by == By::Us {
            end.close(&connection);
            // So that it hears why.
            let _ = timeout(GOODBYE, endpoint.wait_idle()).await;
        }
        return Err(end);
    }
    net::widen(&connection, limits);
    Ok((endpoint, connection))
}

/// Any port of this family.
fn any(to: SocketAddr) -> SocketAddr {
    match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// Is it the node that was dialled, and does it take this one?
async fn greet(shared: &Shared, connection: &Connection) -> Result<(), End> {
    let refused = |reason, detail| Err(End::us(reason, detail));
    let Some(shown) = tls::subject(connection).flatten() else {
        return refused(Reason::OtherNode, "the certificate names no node".into());
    };
    if shown.cluster != shared.us.cluster {
        let detail = format!("cluster {} where {} was expected", shown.cluster, shared.us.cluster);
        return refused(Reason::OtherCluster, detail);
    }
    if shown.node != shared.node {
        let detail = format!("node {} was dialled, node {} answered", shared.node, shown.node);
        return refused(Reason::OtherNode, detail);
    }
    let malformed = |error: wire::WireError| End::us(Reason::Malformed, error.to_string());
    let call = wire::write_read(&Read::Time).map_err(malformed)?;
    match exchange(connection, &call).await {
        // Whatever its store says: it is there.
        Ok(_) => Ok(()),
        Err(error) => Err(error.end(connection)),
    }
}
