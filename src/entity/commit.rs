//! Owns the shape of the one write a node makes, and of its answers.
//!
//! Never touches a disk: engines in `store` carry it out, `cluster::core`
//! decides what is in it. Invariant: a commit with the same node, incarnation
//! and number is the same bytes, so that it can be sent again until its
//! outcome is known, and takes effect once.

use serde::{Deserialize, Serialize};

use crate::base::{EntityKey, Incarnation, Millis, NodeId, Tick};

use super::audit::Root;
use super::envelope::{self, EnvelopeError, Kind, Logic};
use super::keys;

/// The longest value of a put, in bytes; longer things are written in chunks.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// The longest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// The longest commit, in bytes as [`Commit::weight`] counts them.
pub const COMMIT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The longest group of rows, in bytes as [`Group::weight`] counts them.
pub const GROUP_BYTES_MAX: usize = 1024 * 1024;
/// The most groups of a commit: the indices of all of them fit into a row.
pub const GROUPS_MAX: usize = 16 * 1024;

/// One durable write: all of it is refused if the node's row does not match
/// (another incarnation, a number that is not the next, another audit root),
/// else its groups are tried in order, each accepted or refused by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    pub node: NodeId,
    pub incarnation: Incarnation,
    /// 0 begins the incarnation: accepted when the row (if any) is of the
    /// incarnation before; it keeps the row's tick and puts that tick under
    /// [`ended_incarnation`](super::keys::ended_incarnation). From then
    /// on each commit has the next number; the number already in the row is
    /// answered from the row and changes nothing.
    pub number: u64,
    /// Drawn once by the process that began the incarnation, not
    /// [`VACANT`](NodeRow::VACANT); tells a repeated beginning from a second
    /// process with the same node id.
    pub nonce: u64,
    /// The node's tick; never less than the row's. Ignored in commit 0.
    pub tick: Tick,
    /// Over this node's audit entries before this commit; refused when the row
    /// has another. The row gets [`root_after`](super::audit::root_after).
    pub audit_root: Root,
    pub groups: Vec<Group>,
    /// It ends the incarnation: behind it the row is
    /// [vacated](NodeRow::vacated), and its tick is under
    /// [`ended_incarnation`](super::keys::ended_incarnation). Never of commit 0.
    pub is_last: bool,
}

impl Commit {
    /// About the bytes that this commit takes in a journal; at most
    /// [`COMMIT_BYTES_MAX`].
    pub fn weight(&self) -> usize {
        self.groups.iter().fold(256, |sum, group| sum.saturating_add(group.weight()))
    }
}

/// Changes that happen together or not at all: the append, then the puts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// All must hold, or the group is refused; they see the groups before
    /// this one in the same commit.
    pub checks: Vec<Check>,
    pub puts: Vec<Put>,
    pub append: Option<Append>,
}

impl Group {
    /// Whether its parts are within the bounds that every engine holds, so
    /// that it cannot make a commit [`Malformed`](CommitError::Malformed) by
    /// its size or by a key that only the node itself may write.
    pub fn is_well_formed(&self) -> bool {
        let is_key = |key: &[u8]| !key.is_empty() && key.len() <= keys::KEY_BYTES_MAX;
        let own: [&[u8]; 5] =
            [keys::SNAPSHOT, keys::HEAD, keys::ROW, keys::AUDIT, keys::AUDIT_SIGNATURE];
        let is_put = |put: &Put| {
            is_key(&put.key)
                && !own.iter().any(|prefix| put.key.starts_with(prefix))
                && put.value.as_ref().is_none_or(|value| value.len() <= VALUE_BYTES_MAX)
        };
        let is_check = |check: &Check| is_key(&check.key) && !check.key.starts_with(keys::SNAPSHOT);
        self.append.is_none()
            && self.weight() <= GROUP_BYTES_MAX
            && self.checks.iter().all(is_check)
            && self.puts.iter().all(is_put)
    }

    /// About the bytes that this group takes in a journal, checks and their
    /// keys included.
    pub fn weight(&self) -> usize {
        const OVERHEAD: usize = 64;
        let checks = self.checks.iter().map(|check| check.key.len());
        let puts =
            self.puts.iter().map(|put| put.key.len() + put.value.as_ref().map_or(0, Vec::len));
        let append = self.append.iter().map(|append| append.bytes.len());
        checks.chain(puts).chain(append).fold(0, |sum, bytes| sum + OVERHEAD + bytes)
    }
}

/// A condition on one key, not a snapshot chunk's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub key: Vec<u8>,
    pub expect: Expect,
}

/// What a [`Check`] expects of its key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    /// There is none.
    Absent,
    /// There is one, last put by the commit with this version.
    Version(u64),
    /// There is none, or the big-endian u64 in its first 8 bytes is less; a
    /// shorter value is not.
    NumberBelow(u64),
}

/// A key's new value, `None` to delete it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

/// The next record of an entity's journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    pub entity: EntityKey,
    /// This record's; the group is refused unless the journal's last is one
    /// less. An entity's first record has 1.
    pub sequence: u64,
    /// An enveloped `Record`.
    pub bytes: Vec<u8>,
}

/// A node's row: heartbeat, fence and clock at once; rewritten by every commit.
/// Stored under [`row`](super::keys::row), so that another node's group
/// can raise its incarnation by [`Expect::Version`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRow {
    pub incarnation: Incarnation,
    pub nonce: u64,
    /// Of the last commit.
    pub number: u64,
    pub tick: Tick,
    /// Indices of the groups refused in the last commit, ascending.
    pub refused: Vec<u32>,
    /// Over all of the node's audit entries that were accepted.
    pub audit_root: Root,
}

impl NodeRow {
    /// The nonce of a row that nobody runs under: its node was declared dead, or
    /// left.
    pub const VACANT: u64 = 0;

    /// Whether nobody runs under it.
    pub fn is_vacant(&self) -> bool {
        self.nonce == NodeRow::VACANT
    }

    /// Whether its node ended its incarnation itself: one that was declared dead
    /// has no number.
    pub fn was_left(&self) -> bool {
        self.is_vacant() && self.number > 0
    }

    /// The row when its incarnation is over: nobody runs under the next one.
    #[must_use]
    pub fn vacated(self) -> NodeRow {
        let incarnation = Incarnation(self.incarnation.0.saturating_add(1));
        NodeRow { incarnation, nonce: NodeRow::VACANT, ..self }
    }

    /// The row in its envelope.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        let at = envelope::start(Kind::NodeRow, Logic::default(), &mut out);
        // Postcard cannot fail to append integers and byte strings to a Vec;
        // if it ever did, the row would be one that no one can read.
        let mut out = postcard::to_extend(self, out).unwrap_or_default();
        if out.len() >= at + envelope::HEADER {
            envelope::finish(at, &mut out);
        }
        out
    }

    /// The inverse of [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// When `bytes` is no row in an envelope that this build reads.
    pub fn from_bytes(bytes: &[u8]) -> Result<NodeRow, RowError> {
        let (_, payload) = envelope::open(Kind::NodeRow, bytes)?;
        postcard::from_bytes(payload).map_err(|_| RowError::Payload(payload.len()))
    }
}

/// Bytes that are not a node's row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    #[error("not a node's row: {0}")]
    Envelope(#[from] EnvelopeError),
    #[error("not a node's row: {0} bytes that do not decode")]
    Payload(usize),
}

/// A commit that is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitAnswer {
    /// The store's version, raised by one with every commit; what this one
    /// put has it.
    pub version: u64,
    /// Indices of the groups refused, ascending; their checks or expected
    /// sequence failed, nothing of them happened.
    pub refused: Vec<u32>,
    /// The store's clock; 0 where the engine has none.
    pub store_time: Millis,
}

/// Why there is no [`CommitAnswer`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CommitError {
    /// The node's row is of another incarnation, or its number is neither this
    /// nor the one before: this process owns nothing any more. Nothing of the
    /// commit happened, and nothing of it ever will.
    #[error("fenced: the node's row says {row:?}")]
    Fenced { row: Option<NodeRow> },
    /// The commit may or may not be durable; send the same bytes again.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// The commit is malformed: a value is too long, say. A fault of ours; the
    /// same bytes will never be accepted.
    #[error("malformed commit: {0}")]
    Malformed(String),
}
