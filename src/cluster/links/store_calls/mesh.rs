//! Owns the engine `mesh`: a store that is another node's. Each call goes to
//! that node and waits for its answer. Never keeps anything and never calls
//! twice. Called like any other engine, by threads that may block. Invariant:
//! a call ends within its limits, whatever the other node does; without an
//! answer a read is away and a commit unknown.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use quinn::{ClientConfig, Connection};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Duration, timeout};

use super::super::end::{End, Reason};
use super::super::limits::{Limits, LimitsError};
use super::super::net;
use super::super::tls::{self, TlsError};
use super::call::read_exactly;
use super::dialing::{self, Reach, Shared};
use super::wire::{self, ANSWER_HEAD, Page, Read, WireError};
use crate::base::{EntityKey, Millis, NodeId};
use crate::cluster::certificates::Identity;
use crate::entity::commit::{Commit, CommitAnswer, CommitError};
use crate::store::{Changes, Cursor, LoadPage, ReadError, Store, Versioned};

/// Why there is no such store; nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    #[error("node {0} cannot have its store at itself")]
    Itself(NodeId),
    #[error(transparent)]
    Limits(#[from] LimitsError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("no thread for the connection to the store")]
    Thread(#[from] io::Error),
}

/// Whether the store can be called, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum MeshState {
    /// Not now. Why: of the last attempt or connection; none before the first.
    #[serde(rename_all = "camelCase")]
    Away { why: Option<End> },
    #[serde(rename_all = "camelCase")]
    Up { round_trip: Duration },
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("no connection to node {0}{1}")]
    NoConnection(NodeId, String),
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("{0}")]
    Ended(String),
    #[error("an answer that cannot be read: {0}")]
    Malformed(#[from] WireError),
    #[error("its thread is gone")]
    Gone,
}

/// A store that is another node's. Dropped, it ends its connection.
pub struct MeshStore {
    shared: Arc<Shared>,
    runtime: Handle,
}

impl MeshStore {
    /// A store at node `node`, which is dialled at `address` (`HOST:PORT`) from
    /// now on. Whether it is there, calls will say.
    ///
    /// # Errors
    /// When nothing would work with these settings.
    pub fn open(
        identity: &Identity,
        node: NodeId,
        address: String,
        limits: Limits,
    ) -> Result<MeshStore, MeshError> {
        limits.check()?;
        let us = identity.subject().clone();
        if us.node == node {
            return Err(MeshError::Itself(node));
        }
        let mut client = ClientConfig::new(Arc::new(tls::client(identity, tls::STORE)?));
        client.transport_config(Arc::new(net::transport(&limits)));
        let shared = Arc::new(Shared {
            node,
            us,
            limits,
            address: watch::Sender::new(address),
            reach: watch::Sender::new(Reach::Away(None)),
            reads: Semaphore::new(limits.calls.reads_per_node as usize),
            stop: watch::Sender::new(false),
        });
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (thread, work) =
            (std::thread::Builder::new().name("store-mesh".into()), shared.clone());
        thread.spawn(move || runtime.block_on(dialing::run(work, client)))?;
        Ok(MeshStore { shared, runtime: handle })
    }

    /// The node that has it.
    pub fn node(&self) -> NodeId {
        self.shared.node
    }

    /// Dials there from now on. A connection that is up stays.
    pub fn set_address(&self, address: String) {
        let change = |old: &mut String| {
            let is_new = *old != address;
            *old = address;
            is_new
        };
        self.shared.address.send_if_modified(change);
    }

    /// Whether it can be called.
    pub fn state(&self) -> MeshState {
        match &*self.shared.reach.borrow() {
            Reach::Away(why) => MeshState::Away { why: why.clone() },
            Reach::Up(connection, _) => MeshState::Up { round_trip: connection.rtt() },
        }
    }

    /// Makes a read; it waits for its turn and for a connection, and all of it
    /// takes no longer than the limit.
    fn read<T: DeserializeOwned>(&self, read: &Read) -> Result<T, ReadError> {
        let within = self.shared.limits.calls.read;
        let answer = wire::write_read(read).map_err(CallError::from).and_then(|bytes| {
            let shared = self.shared.clone();
            self.wait(within, async move {
                // Those beyond it would take the stream of a commit.
                let _turn = shared.reads.acquire().await.map_err(|_| CallError::Gone)?;
                call(&shared, &bytes).await
            })
        });
        let answer: Result<Result<T, ReadError>, CallError> =
            answer.and_then(|bytes| Ok(wire::read(&bytes)?));
        answer.unwrap_or_else(|error| Err(ReadError::Away(self.name(&error))))
    }

    fn name(&self, error: &CallError) -> String {
        format!("the store of node {}: {error}", self.shared.node)
    }

    /// What `work` comes to, on the thread of the connection.
    fn wait(
        &self,
        within: Duration,
        work: impl Future<Output = Result<Vec<u8>, CallError>> + Send + 'static,
    ) -> Result<Vec<u8>, CallError> {
        // Not `block_on`: that panics on a thread of another runtime.
        let (done, answer) = sync_channel(1);
        self.runtime.spawn(async move {
            let outcome = timeout(within, work).await;
            // The caller waits until this comes.
            let _ = done.send(outcome.unwrap_or(Err(CallError::Late(within))));
        });
        answer.recv().unwrap_or(Err(CallError::Gone))
    }

    /// `None` at once without a connection: who asks this asks again soon.
    fn read_if_up<T: DeserializeOwned>(&self, read: &Read) -> Option<T> {
        let is_up = matches!(*self.shared.reach.borrow(), Reach::Up(..));
        if is_up { self.read(read).ok() } else { None }
    }
}

impl Drop for MeshStore {
    fn drop(&mut self) {
        self.shared.stop.send_replace(true);
    }
}

impl Store for MeshStore {
    fn commit(&self, commit: &Commit) -> Result<CommitAnswer, CommitError> {
        // No engine takes one that is too long to be sent.
        let bytes = wire::write_commit(commit)
            .map_err(|error| CommitError::Malformed(format!("the commit has {error}")))?;
        let shared = self.shared.clone();
        let answer =
            self.wait(shared.limits.calls.commit, async move { call(&shared, &bytes).await });
        let answer: Result<Result<CommitAnswer, CommitError>, CallError> =
            answer.and_then(|bytes| Ok(wire::read(&bytes)?));
        answer.unwrap_or_else(|error| Err(CommitError::Unknown(self.name(&error))))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, ReadError> {
        self.read(&Read::Get { key: key.to_vec() })
    }

    /// In pages: what changes meanwhile is seen by some of them.
    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Versioned)>, ReadError> {
        let mut all: Vec<(Vec<u8>, Versioned)> = Vec::new();
        while all.len() < limit {
            let after = all.last().map(|(key, _)| key.as_slice()).or(after);
            let read = Read::Scan {
                prefix: prefix.to_vec(),
                after: after.map(<[u8]>::to_vec),
                limit: (limit - all.len()) as u64,
            };
            let Page { found, more } = self.read(&read)?;
            let is_over = !more || found.is_empty();
            all.extend(found);
            if is_over {
                break;
            }
        }
        Ok(all)
    }

    fn changes(&self, since: u64, limit: usize) -> Result<Changes, ReadError> {
        self.read(&Read::Changes { since, limit: limit as u64 })
    }

    fn load(&self, entity: EntityKey, from: Option<Cursor>) -> Result<LoadPage, ReadError> {
        self.read(&Read::Load { entity, from })
    }

    fn time(&self) -> Result<Millis, ReadError> {
        self.read(&Read::Time)
    }

    fn free_bytes(&self) -> Option<u64> {
        self.read_if_up(&Read::FreeBytes).flatten()
    }

    fn pins(&self) -> Vec<EntityKey> {
        self.read_if_up(&Read::Pins).unwrap_or_default()
    }
}

/// Waits shortly for a connection, and makes a call over it.
async fn call(shared: &Shared, request: &[u8]) -> Result<Vec<u8>, CallError> {
    let mut reach = shared.reach.subscribe();
    let up = reach.wait_for(|reach| matches!(reach, Reach::Up(..)));
    let reach = timeout(shared.limits.calls.connect, up)
        .await
        .map(|found| found.ok().map(|reach| reach.clone()));
    match reach {
        Ok(Some(Reach::Up(connection, _))) => {
            let answer = exchange(&connection, request).await;
            if let Err(error @ CallError::Malformed(_)) = &answer {
                End::us(Reason::Malformed, error.to_string()).close(&connection);
            }
            answer
        }
        _ => {
            let why = match &*shared.reach.borrow() {
                Reach::Away(Some(why)) => format!(": {why}"),
                _ => String::new(),
            };
            Err(CallError::NoConnection(shared.node, why))
        }
    }
}

/// Makes a call over this connection. Dropped half-way, the other side hears of
/// it: a request of which a part is missing is none.
pub(super) async fn exchange(
    connection: &Connection,
    request: &[u8],
) -> Result<Vec<u8>, CallError> {
    // Whatever fails, the connection knows better why.
    let ended = |error: &dyn std::fmt::Display| {
        let why = connection.close_reason();
        CallError::Ended(why.map_or_else(|| error.to_string(), |why| End::from(&why).to_string()))
    };
    let (mut send, mut receive) = connection.open_bi().await.map_err(|error| ended(&error))?;
    send.write_all(request).await.map_err(|error| ended(&error))?;
    let _ = send.finish();
    let mut head = [0; ANSWER_HEAD];
    receive.read_exact(&mut head).await.map_err(|error| ended(&error))?;
    let length = wire::answer_length(head)?;
    read_exactly(&mut receive, length).await.map_err(|error| ended(&error))
}

impl CallError {
    /// Why the connection on which it happened is of no use.
    pub fn end(self, connection: &Connection) -> End {
        match connection.close_reason() {
            Some(why) => End::from(&why),
            None => End::us(Reason::Malformed, self.to_string()),
        }
    }
}
