//! Owns dialling: whenever there is no link to a peer that has an address, one
//! attempt after the other, with growing waits. Never decides which of two
//! connections stays (`tie`). One task for each peer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::{ClientConfig, Connection, Endpoint};
use tokio::time::timeout;

use super::backoff::Backoff;
use super::class::Class;
use super::end::{By, End, Reason};
use super::hello::Hello;
use super::link::Link;
use super::peer::{Peer, Wanted};
use super::running::{self, Side};
use super::streams::{self, Stream};
use super::{Node, tls};
use crate::cluster::certificates::authority::SERVER_NAME;

/// Of the addresses that a name stands for, so many are tried.
const ADDRESSES: usize = 4;

/// Dials the peer until it is forgotten or the node stops.
pub(super) async fn run(node: Arc<Node>, peer: Arc<Peer>) {
    let mut stopping = node.stopping.subscribe();
    tokio::select! {
        () = keep(&node, &peer) => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
}

async fn keep(node: &Arc<Node>, peer: &Arc<Peer>) {
    let limits = &node.limits;
    let seed = limits.seed ^ u64::from(node.hello.node.0).rotate_left(32);
    let mut backoff = Backoff::new(limits.redial_first, limits.redial_most, seed, peer.node);
    let (mut said, mut up_at) = (None, None::<Instant>);
    loop {
        // One that goes down as soon as it is up is no success.
        if let Some(at) = up_at.take_if(|_| peer.held().is_none()) {
            if at.elapsed() < limits.redial_most {
                tokio::time::sleep(backoff.handle_failure()).await;
            } else {
                backoff.handle_success();
            }
        }
        let address = match peer.wanted() {
            Wanted::Stop => return,
            Wanted::Wait => {
                peer.changed.notified().await;
                continue;
            }
            Wanted::Dial(address) => address,
        };
        let Err(end) = dial(node, peer, &address).await else {
            (up_at, said) = (Some(Instant::now()), None);
            continue;
        };
        peer.handle_failure(&end);
        node.handle_change();
        tell(peer, &address, &end, &mut said);
        // Whatever changes, a new address or a link, is looked at at once.
        let _ = timeout(backoff.handle_failure(), peer.changed.notified()).await;
    }
}

/// Logs a failure, and not again while it stays the same. Of a peer that said that
/// it stops only a refusal is news.
fn tell(peer: &Peer, address: &str, end: &End, said: &mut Option<(Reason, By)>) {
    if end.reason == Reason::Duplicate
        || said.replace((end.reason, end.by)) == Some((end.reason, end.by))
    {
        return;
    }
    let node = peer.node;
    if peer.has_stopped() && !end.reason.is_refusal() {
        tracing::debug!(%node, address, reason = ?end.reason, "no link: {end}");
    } else {
        tracing::warn!(%node, address, reason = ?end.reason, "no link: {end}");
    }
}

/// One attempt: until there is a link, the peer's own came first, or an error.
async fn dial(node: &Arc<Node>, peer: &Arc<Peer>, address: &str) -> Result<(), End> {
    let connection = connect_peer(node, address).await?;
    if !peer.begin_greeting() {
        End::us(Reason::Duplicate, "the peer's own connection came first").close(&connection);
        return Ok(());
    }
    let greeted = timeout(node.limits.handshake, greet(node, peer, &connection)).await;
    let slow = || End::us(Reason::TooSlow, "the peer did not answer the hello in time");
    match greeted.unwrap_or_else(|_| Err(slow())) {
        Ok(()) => Ok(()),
        Err(end) => {
            end.close(&connection);
            Err(end)
        }
    }
}

async fn connect_peer(node: &Node, address: &str) -> Result<Connection, End> {
    let ours = |_| Ok(node.endpoint.clone());
    connect(address, node.limits.handshake, &node.client, ours)
        .await
        .map(|(_, connection)| connection)
}

/// Tries the addresses that `address` (`HOST:PORT`) stands for now, one after
/// the other, each for as long as `limit` and from the endpoint that is for it.
pub(super) async fn connect(
    address: &str,
    limit: Duration,
    client: &ClientConfig,
    endpoint_for: impl Fn(SocketAddr) -> io::Result<Endpoint>,
) -> Result<(Endpoint, Connection), End> {
    let unreachable = |why: String| End::us(Reason::Unreachable, format!("{address}: {why}"));
    let found = timeout(limit, tokio::net::lookup_host(address)).await;
    let found = found.map_err(|_| unreachable("its name was not resolved in time".into()))?;
    let found = found.map_err(|error| unreachable(error.to_string()))?;
    let mut last = unreachable("it stands for no address".into());
    for address in found.take(ADDRESSES) {
        let endpoint = endpoint_for(address).map_err(|error| unreachable(error.to_string()))?;
        match timeout(limit, connect_to(&endpoint, client, address)).await {
            Ok(Ok(connection)) => return Ok((endpoint, connection)),
            Ok(Err(end)) => last = end,
            Err(_) => last = unreachable("no answer".into()),
        }
        if last.reason != Reason::Unreachable {
            break;
        }
    }
    Err(last)
}

/// One handshake.
async fn connect_to(
    endpoint: &Endpoint,
    client: &ClientConfig,
    address: SocketAddr,
) -> Result<Connection, End> {
    let unreachable = |why: String| End::us(Reason::Unreachable, format!("{address}: {why}"));
    let connecting = endpoint
        .connect_with(client.clone(), address, SERVER_NAME)
        .map_err(|error| unreachable(error.to_string()))?;
    connecting.await.map_err(|error| match End::from(&error) {
        // Nobody was ever there, or it refuses all that come.
        End { reason: Reason::Lost, .. } => unreachable("no answer".into()),
        end if matches!(error, quinn::ConnectionError::ConnectionClosed(_))
            && end.reason == Reason::Unknown =>
        {
            End { reason: Reason::Busy, ..end }
        }
        end => end,
    })
}

/// Says hello, hears the peer's, and runs the link.
async fn greet(node: &Arc<Node>, peer: &Arc<Peer>, connection: &Connection) -> Result<(), End> {
    let mut control: Stream = streams::open(connection, Class::Control).await?;
    let ours = Hello { expects: Some(peer.node), ..node.hello.clone() };
    streams::put(&mut control.0, &ours.to_bytes()).await?;
    let theirs = streams::get_hello(&mut control.1).await?;
    let subject = tls::subject(connection).flatten();
    node.hello.judge(&theirs, subject.as_ref())?;
    if theirs.node != peer.node {
        let detail = format!("node {} was dialled, node {} answered", peer.node, theirs.node);
        return Err(End::us(Reason::OtherNode, detail));
    }
    node.host.admit(&theirs)?;
    let link = Link::new(theirs, connection.clone(), &node.limits, peer.counters.clone());
    let taken = peer.handle_welcome(&link)?;
    tokio::spawn(running::run(node.clone(), peer.clone(), link, (Side::Dialled, control), taken));
    Ok(())
}
