//! Owns what comes in: nodes that dial, newcomers, and everybody else. Each has
//! a place, little memory and little time until it has said who it is. Never
//! decides which of two connections stays (`tie`), nor who may join (the desk).

use std::sync::Arc;

use quinn::{Connection, Incoming};
use tokio::time::timeout;

use super::class::Class;
use super::end::{End, Reason};
use super::hello::Hello;
use super::link::{Link, malformed};
use super::running::{self, Side};
use super::strangers::{Entry, Place};
use super::streams::{self, Stream};
use super::{Node, join, store_calls, tls};
use crate::base::NodeId;

/// Takes what comes until the endpoint closes.
pub(super) async fn run(node: Arc<Node>) {
    while let Some(incoming) = node.endpoint.accept().await {
        let proved = incoming.remote_address_validated();
        match node.strangers.enter(incoming.remote_address(), proved) {
            Entry::Come(place) => {
                tokio::spawn(meet(node.clone(), incoming, place));
            }
            // It cannot fail for one that has not proved its address.
            Entry::Prove => drop(incoming.retry()),
            Entry::Crowded => incoming.refuse(),
        }
    }
}

/// A stranger, until it is a peer, has what it came for, or is turned away.
async fn meet(node: Arc<Node>, incoming: Incoming, place: Place) {
    let from = incoming.remote_address();
    let mut who = None;
    let met = match shake_hands(&node, incoming).await {
        Ok(connection) => {
            let met = greet(&node, &connection, &mut who).await;
            if let Err(end) = &met {
                end.close(&connection);
            }
            met
        }
        Err(end) => Err(end),
    };
    drop(place);
    let Err(end) = met else { return };
    let peer = who.and_then(|who| node.peers().get(&who).cloned());
    if let Some(peer) = peer {
        peer.handle_refused(&end);
    }
    node.strangers.handle_refused(from, who, end);
    node.handle_change();
}

async fn shake_hands(node: &Node, incoming: Incoming) -> Result<Connection, End> {
    let connecting = incoming.accept().map_err(|error| End::from(&error))?;
    match timeout(node.limits.handshake, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(End::from(&error)),
        Err(_) => Err(slow("no handshake in time")),
    }
}

fn slow(detail: &str) -> End {
    End::us(Reason::TooSlow, detail)
}

async fn greet(
    node: &Arc<Node>,
    connection: &Connection,
    who: &mut Option<NodeId>,
) -> Result<(), End> {
    let limit = node.limits.handshake;
    match tls::purpose(connection).as_deref() {
        Some(tls::JOIN) => join::serve(node.desk.as_deref(), connection, limit).await,
        Some(tls::LINK) => {
            let greeted = timeout(limit, greet_peer(node, connection, who)).await;
            greeted.unwrap_or_else(|_| Err(slow("no hello in time")))
        }
        Some(tls::STORE) => store_calls::greet(node, connection, who).await,
        _ => Err(malformed("neither a link, nor a call of the store, nor a newcomer")),
    }
}

/// Hears a hello, judges it, answers, and runs the link.
async fn greet_peer(
    node: &Arc<Node>,
    connection: &Connection,
    who: &mut Option<NodeId>,
) -> Result<(), End> {
    let Some(shown) = tls::subject(connection) else {
        return Err(End::us(Reason::NoCertificate, "a link needs a certificate; none was shown"));
    };
    *who = shown.as_ref().map(|subject| subject.node);
    let (class, mut control): (Class, Stream) = streams::accept(connection).await?;
    if class != Class::Control {
        return Err(malformed("the first stream is not that of control"));
    }
    let theirs = streams::get_hello(&mut control.1).await?;
    node.hello.judge(&theirs, shown.as_ref())?;
    node.host.admit(&theirs)?;
    if node.is_stopping() {
        return Err(End::us(Reason::Stopping, "this node stops"));
    }
    let busy = || End::us(Reason::Busy, "as many peers as may be");
    let peer = node.peer(theirs.node).ok_or_else(busy)?;
    let answer = Hello { expects: Some(theirs.node), ..node.hello.clone() };
    let link = Link::new(theirs, connection.clone(), &node.limits, peer.counters.clone());
    let taken = peer.handle_hello(&link)?;
    // From here on it is the peer's link, and ends as one.
    let said = streams::put(&mut control.0, &answer.to_bytes()).await;
    if let Err(end) = said {
        link.close(end);
    }
    tokio::spawn(running::run(node.clone(), peer, link, (Side::Accepted, control), taken));
    Ok(())
}
