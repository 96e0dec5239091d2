//! Owns a link's life from the hello to its end: the link before it ends first,
//! then the streams open, the host hears that it is up, and at last that it is
//! down. Called by what dials and what accepts. Invariant: no link outlives the
//! certificate that its peer showed by more than a minute.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use quinn::Connection;
use tokio::time::timeout;

use super::class::{Class, PerClass};
use super::end::{End, Reason};
use super::link::{Link, malformed};
use super::peer::{Peer, Taken};
use super::status::add;
use super::streams::{self, Stream};
use super::{Node, net, tls};

/// The dates of a certificate are looked at so often.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// Which side opens the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Dialled,
    Accepted,
}

/// Works until the link has ended.
pub(super) async fn run(
    node: Arc<Node>,
    peer: Arc<Peer>,
    link: Link,
    (side, control): (Side, Stream),
    taken: Taken,
) {
    if let Some(mut before) = taken.before {
        // Its sender says so, or is gone.
        let _ = before.wait_for(|over| *over).await;
    }
    let limits = &node.limits;
    let connection = &link.0.connection;
    net::widen(connection, limits);
    let opened = timeout(limits.handshake, open(connection, side, control)).await;
    let opened =
        opened.unwrap_or_else(|_| Err(End::us(Reason::TooSlow, "its streams did not come")));
    let end = match opened {
        Ok(streams) => serve(&node, &link, streams).await,
        Err(end) => {
            let end = link.why(end);
            link.close(end.clone());
            link.end();
            end
        }
    };
    peer.handle_down(&link, &end);
    taken.over.send_replace(true);
    node.handle_change();
}

async fn serve(node: &Arc<Node>, link: &Link, streams: PerClass<Stream>) -> End {
    let (peer, incarnation) = (link.node(), link.incarnation());
    let address = link.0.connection.remote_address();
    link.0.is_up.store(true, Ordering::Release);
    add(&link.0.counters.links, 1);
    tracing::info!(%peer, %incarnation, %address, build = link.hello().build, "link up");
    node.host.handle_up(link);
    node.handle_change();
    let end = {
        let mut over = pin!(streams::run(link, streams, &node.host));
        tokio::select! {
            end = &mut over => end,
            () = expired(&link.0.connection) => {
                let why = "the certificate that the peer showed is not valid any more";
                link.close(End::us(Reason::ExpiredCertificate, why));
                over.await
            }
        }
    };
    match end.reason {
        Reason::Stopping | Reason::Duplicate => tracing::info!(%peer, "link down: {end}"),
        _ => tracing::warn!(%peer, reason = ?end.reason, "link down: {end}"),
    }
    node.host.handle_down(link, &end);
    end
}

/// Resolves when the peer's certificate is not valid any more: the handshake looked
/// only once, and a link may stay for years.
async fn expired(connection: &Connection) {
    let Some(until) = tls::valid_until(connection) else { return std::future::pending().await };
    loop {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now > until {
            return;
        }
        let left = u64::try_from(until - now).unwrap_or(0).saturating_add(1);
        // The clock may be set meanwhile.
        tokio::time::sleep(Duration::from_secs(left).min(LOOK_AGAIN)).await;
    }
}

/// The streams of all classes; that of control is there since the hello.
async fn open(
    connection: &Connection,
    side: Side,
    control: Stream,
) -> Result<PerClass<Stream>, End> {
    if side == Side::Dialled {
        return Ok(PerClass {
            control,
            commands: streams::open(connection, Class::Commands).await?,
            bulk: streams::open(connection, Class::Bulk).await?,
        });
    }
    match (streams::accept(connection).await?, streams::accept(connection).await?) {
        ((Class::Commands, commands), (Class::Bulk, bulk))
        | ((Class::Bulk, bulk), (Class::Commands, commands)) => {
            Ok(PerClass { control, commands, bulk })
        }
        _ => Err(malformed("a class that has a stream already")),
    }
}
