//! Owns one call at the node that has the store: reads its request, has the
//! store do it on a thread that may block, writes the answer. Never repeats or
//! judges it. Invariant: a commit that was read in whole is carried out,
//! whether or not somebody waits for its answer; no request is in memory that
//! has no place there.

use std::sync::Arc;

use quinn::{Connection, ReadExactError, RecvStream, SendStream, VarInt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::super::end::{End, Reason};
use super::serve::{Guest, StoreServer, place};
use super::wire::{self, Call, HEAD, Page, Read, WireError};
use crate::base::NodeId;
use crate::entity::commit::{Commit, CommitError};
use crate::store::{ReadError, Store};

/// Why a call has no answer.
pub(super) enum Fault {
    /// The one that made it waits no more, or the connection is gone.
    GivenUp,
    /// What no sound peer does; the connection ends with it.
    Peer(End),
}

impl From<WireError> for Fault {
    fn from(error: WireError) -> Fault {
        let reason = match error {
            WireError::TooLong { .. } => Reason::TooLong,
            WireError::Kind(_) | WireError::Payload { .. } => Reason::Malformed,
        };
        Fault::Peer(End::us(reason, format!("a call of the store: {error}")))
    }
}

impl From<ReadExactError> for Fault {
    fn from(_: ReadExactError) -> Fault {
        // A stream that ends early, is reset or is lost with its connection.
        Fault::GivenUp
    }
}

/// Serves the call on this stream.
pub(super) async fn serve(
    server: Arc<StoreServer>,
    guest: Arc<Guest>,
    connection: Connection,
    (mut send, mut receive): (SendStream, RecvStream),
    _place: OwnedSemaphorePermit,
) {
    let answered = match hear_and_do(&server, &guest, &mut receive).await {
        Ok(answer) => tell(&server, &mut send, &answer).await,
        Err(fault) => Err(fault),
    };
    if let Err(fault) = answered {
        // It fails only if the stream is over already.
        let _ = send.reset(VarInt::from_u32(0));
        if let Fault::Peer(end) = fault {
            end.close(&connection);
        }
    }
}

async fn hear_and_do(
    server: &Arc<StoreServer>,
    guest: &Guest,
    receive: &mut RecvStream,
) -> Result<Vec<u8>, Fault> {
    let slow = |_| Fault::Peer(End::us(Reason::TooSlow, "a call did not come in time"));
    let mut head = [0; HEAD];
    timeout(server.limits.transfer, receive.read_exact(&mut head)).await.map_err(slow)??;
    let (call, length) = Call::parse(head)?;
    let mut held = Vec::new();
    if call == Call::Commit {
        held.push(place(&guest.commit, 1).await);
        held.push(place(&server.bounds.commit_bytes, length).await);
    }
    let hear = read_exactly(receive, length);
    let body = timeout(server.limits.transfer, hear).await.map_err(slow)??;
    let turns = match call {
        Call::Commit => &server.bounds.commits,
        Call::Read => &server.bounds.reads,
    };
    held.push(place(turns, 1).await);
    let (store, node) = (server.store.clone(), guest.node);
    let done = tokio::task::spawn_blocking(move || {
        let answer = match call {
            Call::Commit => commit(&*store, node, &body),
            Call::Read => read(&*store, &body),
        };
        drop(held);
        answer
    });
    match done.await {
        Ok(answer) => Ok(answer?),
        // The store panicked, or the process ends.
        Err(_) => Err(Fault::GivenUp),
    }
}

/// So many bytes; memory is taken for those that came only.
pub(super) async fn read_exactly(
    receive: &mut RecvStream,
    length: usize,
) -> Result<Vec<u8>, ReadExactError> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        match receive.read_chunk(length - bytes.len(), true).await? {
            Some(chunk) => bytes.extend_from_slice(&chunk.bytes),
            None => return Err(ReadExactError::FinishedEarly(bytes.len())),
        }
    }
    Ok(bytes)
}

async fn tell(server: &StoreServer, send: &mut SendStream, answer: &[u8]) -> Result<(), Fault> {
    let told = timeout(server.limits.transfer, async {
        send.write_all(answer).await.map_err(|_| Fault::GivenUp)?;
        let _ = send.finish();
        // Until all of it has arrived: a connection that is closed sends no more.
        let _ = send.stopped().await;
        Ok(())
    });
    let slow = |_| Fault::Peer(End::us(Reason::TooSlow, "an answer was not taken in time"));
    told.await.map_err(slow)?
}

fn commit(store: &dyn Store, from: NodeId, body: &[u8]) -> Result<Vec<u8>, WireError> {
    let commit: Commit = wire::read(body)?;
    let answer = if commit.node == from {
        store.commit(&commit)
    } else {
        let detail = format!("node {from} sent a commit of node {}", commit.node);
        Err(CommitError::Malformed(detail))
    };
    wire::write_answer(&answer)
}

fn read(store: &dyn Store, body: &[u8]) -> Result<Vec<u8>, WireError> {
    let page = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX).min(wire::PAGE);
    match wire::read(body)? {
        Read::Get { key } => wire::write_answer(&store.get(&key)),
        Read::Scan { prefix, after, limit } => {
            wire::write_answer(&scan(store, &prefix, after.as_deref(), page(limit)))
        }
        Read::Changes { since, limit } => wire::write_answer(&store.changes(since, page(limit))),
        Read::Load { entity, from } => wire::write_answer(&store.load(entity, from)),
        Read::Time => wire::write_answer(&store.time()),
        Read::FreeBytes => wire::write_answer(&Ok::<_, ReadError>(store.free_bytes())),
        Read::Pins => {
            let mut pins = store.pins();
            pins.truncate(wire::PINS_MAX);
            wire::write_answer(&Ok::<_, ReadError>(pins))
        }
    }
}

/// A page of keys: at most `limit`, and not many more bytes than a page has.
fn scan(
    store: &dyn Store,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Page, ReadError> {
    let mut found = store.scan(prefix, after, limit)?;
    let (mut more, mut bytes) = (found.len() == limit, 0);
    let fits = found.iter().take_while(|(key, row)| {
        let is_begun = bytes < wire::PAGE_BYTES;
        bytes += key.len() + row.value.len();
        is_begun
    });
    let fits = fits.count();
    more |= fits < found.len();
    found.truncate(fits);
    Ok(Page { found, more })
}
