//! Owns where durable things are kept: one trait with one write and four
//! reads, and the engines behind it. Never decides what is written; called by
//! the node's store thread (`commit`) and its readers. Invariant: what
//! `commit` answered is there after any crash, exactly once, in order.

pub mod audit;
pub mod changes;
pub mod conformance;
pub mod copy;
pub mod decide;
pub mod faults;
pub mod journal;
pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod recovery;
mod shape;
#[cfg(feature = "server")]
pub mod sled;
pub mod worlds;
mod wrecks;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::{EntityKey, Millis};
use crate::entity::commit::{Commit, CommitAnswer, CommitError};

/// A value and the version of the commit that put it.
///
/// This and the types below are sent between nodes: variants and fields keep
/// their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versioned {
    pub version: u64,
    pub value: Vec<u8>,
}

/// A key's change: its new value, or `None` when it was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub version: u64,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

/// What changed after a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// In order of version; each key at most once, with its newest value.
    pub changes: Vec<Change>,
    /// Ask again from here; all that is not in `changes` happened after it.
    pub upto: u64,
    /// The version asked for is older than what the store remembers: read the
    /// keys anew by `scan`, then go on from `upto`.
    pub too_old: bool,
}

/// Where [`Store::load`] goes on; opaque to callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cursor {
    /// Snapshot chunk `index` is next.
    Chunk { snapshot: u64, index: u32 },
    /// The record after this sequence is next.
    After(u64),
}

/// A part of an entity's snapshot and journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadPage {
    /// In the first page: the value of the entity's `head` key, if it has one.
    pub head: Option<Vec<u8>>,
    /// The next chunks of the snapshot that `head` names.
    pub chunks: Vec<Vec<u8>>,
    /// The next records behind the snapshot: sequence and bytes.
    pub records: Vec<(u64, Vec<u8>)>,
    /// `None` when this page is the last.
    pub next: Option<Cursor>,
}

/// Why a read failed; nothing was changed by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ReadError {
    /// Try again later.
    #[error("the store does not answer: {0}")]
    Away(String),
    /// What is there is not what was written.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// A newer snapshot took away what a page of a load asked for: load from
    /// the beginning.
    #[error("the snapshot was replaced while it was read")]
    Replaced,
}

/// A durable store. All calls block; `commit` is called by one thread of a
/// node at a time, of several nodes at once, and reads by any thread.
pub trait Store: Send + Sync {
    /// Makes `commit` durable, in whole or not at all.
    ///
    /// # Errors
    /// See [`CommitError`]: fenced, unknown (send the same again), malformed.
    fn commit(&self, commit: &Commit) -> Result<CommitAnswer, CommitError>;

    /// The value of `key`.
    ///
    /// # Errors
    /// When the store is away or damaged.
    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, ReadError>;

    /// Up to `limit` keys that begin with `prefix` and are greater than
    /// `after`, ascending, with their values. Node rows and snapshot heads are
    /// among them; snapshot chunks are not, only [`load`](Self::load) reads
    /// them.
    ///
    /// # Errors
    /// When the store is away or damaged.
    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Versioned)>, ReadError>;

    /// What of the keys that begin with [`ACCOUNT`](crate::entity::keys::ACCOUNT)
    /// changed after version `since`: about `limit` changes, those of one
    /// version never divided.
    ///
    /// # Errors
    /// When the store is away or damaged.
    fn changes(&self, since: u64, limit: usize) -> Result<Changes, ReadError>;

    /// An entity's snapshot and the records behind it, in pages of about a
    /// megabyte; `None` asks for the first.
    ///
    /// # Errors
    /// When the store is away or damaged, or the snapshot was replaced
    /// meanwhile.
    fn load(&self, entity: EntityKey, from: Option<Cursor>) -> Result<LoadPage, ReadError>;

    /// The store's clock.
    ///
    /// # Errors
    /// When the store is away.
    fn time(&self) -> Result<Millis, ReadError>;

    /// Bytes that can still be written before no commands are taken; `None`
    /// where the engine cannot know.
    fn free_bytes(&self) -> Option<u64> {
        None
    }

    /// The entities that keep the oldest part of an overlong journal alive: a
    /// new snapshot of each lets it be deleted. Empty while the journal is
    /// short enough, or where the engine has no such parts.
    fn pins(&self) -> Vec<EntityKey> {
        Vec::new()
    }
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn commit(&self, commit: &Commit) -> Result<CommitAnswer, CommitError> {
        (**self).commit(commit)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, ReadError> {
        (**self).get(key)
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Versioned)>, ReadError> {
        (**self).scan(prefix, after, limit)
    }

    fn changes(&self, since: u64, limit: usize) -> Result<Changes, ReadError> {
        (**self).changes(since, limit)
    }

    fn load(&self, entity: EntityKey, from: Option<Cursor>) -> Result<LoadPage, ReadError> {
        (**self).load(entity, from)
    }

    fn time(&self) -> Result<Millis, ReadError> {
        (**self).time()
    }

    fn free_bytes(&self) -> Option<u64> {
        (**self).free_bytes()
    }

    fn pins(&self) -> Vec<EntityKey> {
        (**self).pins()
    }
}
