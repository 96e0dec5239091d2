//! Owns the audit log's stored form: one [`Entry`] for each decision, a put in
//! the group that carries the decision out, so that both happen or neither; and
//! the root over all entries of a node. Never decides anything and never reads a
//! store. Called by the [core](crate::cluster::core) that writes entries, by
//! every store that keeps the root, by `starmesh audit` that verifies both.
//!
//! ```text
//!   commit 7, carries root r₆       the node's row after it
//!    ├─ group 0  checks, puts, record, entry 0 ── accepted ─┐
//!    ├─ group 1  …                     entry 1    refused   ├─> r₇ = H(r₆ ‖ entry 0 ‖ entry 2)
//!    └─ group 2  …                     entry 2 ── accepted ─┘
//! ```
//!
//! Whoever makes a commit cannot know which of its groups a store will refuse.
//! So a commit carries the root of all that is known to be durable, a store
//! refuses it when the row has another, and puts into the row what
//! [`root_after`] gives; the node, which reads in the answer what was refused,
//! computes the same. A commit without entries costs nothing and keeps the root.
//! Roots go on over a node's incarnations.
//!
//! Invariants: an entry begins with the root before its commit, so that a gap
//! shows where it is; no key of an entry is ever written again, or deleted.

pub mod chain;
mod commits;
mod problem;
mod rows;
mod signature;
mod signed;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::commit::{Commit, Put};
use super::envelope::{self, EnvelopeError, HEADER, Kind, Logic};
use super::input::InputPlace;
use super::keys;
use crate::base::{EntityKey, Incarnation, Millis, NodeId, PlayerId};

pub use rows::of_rows;
pub use signature::{DamagedSignature, Doubt, SIGNATURE_BYTES_MAX, Signature, Statement};
pub use signed::SIGNED_WITHIN_MS;

/// The hash over all audit entries of a node so far; zero before the first.
pub type Root = [u8; 32];

/// The most heads in one entry: it stays below the longest value.
pub const HEADS_MAX: usize = 512;
/// The most entities that an entry on the directory names.
pub const NAMED_MAX: usize = 64;

/// One decision, of the node and in the commit that its key names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Of the node's chain before the commit.
    pub base: Root,
    /// The node's clock.
    pub time: Millis,
    pub decision: Decision,
}

/// How far a node's chain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub incarnation: Incarnation,
    /// Of the node's last commit.
    pub number: u64,
    pub root: Root,
}

/// What can be decided. A stored format: variants are only added, at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// A process began an incarnation of the node.
    Began { logic: Logic },
    /// The entity is the node's from this record on.
    Claimed { entity: EntityKey, sequence: u64, woke: bool },
    /// With this record the entity was given to another node.
    HandedOver { entity: EntityKey, sequence: u64, to: NodeId },
    /// With this record the entity hibernates, or nothing of it is kept.
    Closed { entity: EntityKey, sequence: u64, kept: bool },
    /// A node's row did not move: whatever it had may be claimed. Its successor
    /// names where its log ended.
    DeclaredDead { node: NodeId, last: Head },
    /// The directory changed to this version.
    DirectoryChanged(DirectoryChange),
    /// The galaxy was made.
    GalaxyMade,
    /// An account was registered.
    AccountMade { player: PlayerId },
    /// An account was written: a log-in, another password, other roles, or all
    /// tokens of before ended.
    AccountChanged { player: PlayerId, generation: u64, roles: u8 },
    /// A node was let in, by this token, or came with a certificate of its own.
    NodeAdmitted { node: NodeId, token: Option<[u8; 32]> },
    /// A token was offered for a node to join with; named by its digest.
    TokenOffered { token: [u8; 32] },
    /// A token is of no use any more.
    TokenWithdrawn { token: [u8; 32] },
    /// How far other nodes' chains had come: what is changed of them later shows
    /// here.
    Witnessed { heads: Vec<(NodeId, Head)> },
    /// The incarnation began with these roles: a bit for each, as its row has them.
    RolesTaken { roles: u8 },
    /// The node was told to stop: it takes nothing new, and ends its incarnation when
    /// all that it took is durable.
    Stopping,
    /// Behind the claim in this record that input of the entity is left out, because it
    /// panics wherever it is applied.
    SetAside { entity: EntityKey, sequence: u64, place: InputPlace },
    /// With this record nobody runs the entity any more until it is resumed: it breaks
    /// whoever does.
    Parked { entity: EntityKey, sequence: u64 },
    /// An entity that was parked is to run again.
    Resumed { entity: EntityKey },
    /// The cluster writes this format version from now on.
    FormatRaised { version: u16 },
}

/// A change of the directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryChange {
    pub version: u64,
    /// How many of its keys changed.
    pub changed: u32,
    /// The first entities whose entry changed: at most [`NAMED_MAX`].
    pub entities: Vec<EntityKey>,
    /// The first nodes that are to be left, or not any more: as many.
    pub draining: Vec<(NodeId, bool)>,
    /// blake3 of the changed keys and their values.
    pub digest: [u8; 32],
}

/// Where an entry is: its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    pub node: NodeId,
    pub incarnation: Incarnation,
    /// Of the commit.
    pub number: u64,
    /// Of the entry in the commit.
    pub index: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { node, incarnation, number, index } = self;
        write!(f, "entry {index} of commit {number} of incarnation {incarnation} of node {node}")
    }
}

/// Bytes that are not an audit entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error("not an audit entry: {0}")]
    Envelope(#[from] EnvelopeError),
    #[error("not an audit entry: {0} bytes that do not decode")]
    Payload(usize),
}

#[derive(Serialize, Deserialize)]
enum StoredEntry {
    V1(Entry),
}

impl Entry {
    /// The put of this entry into a group of its commit.
    pub fn put(self, place: Place) -> Put {
        Put { key: keys::audit_entry(place), value: Some(self.to_bytes()) }
    }

    /// The entry in its envelope.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        let at = envelope::start(Kind::AuditEntry, Logic::default(), &mut out);
        super::append(&StoredEntry::V1(self), &mut out);
        envelope::finish(at, &mut out);
        out
    }

    /// The inverse of [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// When `bytes` is no entry in an envelope that this build reads.
    pub fn from_bytes(bytes: &[u8]) -> Result<Entry, EntryError> {
        let (_, payload) = envelope::open(Kind::AuditEntry, bytes)?;
        let StoredEntry::V1(entry) =
            postcard::from_bytes(payload).map_err(|_| EntryError::Payload(payload.len()))?;
        Ok(entry)
    }
}

/// The node's root after `commit`, of which these groups were refused: over the
/// root that the commit carries and the entries in the others. An entry is one
/// by its key, which names the commit, and by the base in it; what is only
/// copied from another store has another base.
pub fn root_after(commit: &Commit, refused: &[u32]) -> Root {
    let mut fold: Option<Fold> = None;
    let mut prefix = Vec::new();
    for (index, group) in (0_u32..).zip(&commit.groups) {
        for put in group.puts.iter().filter(|put| put.key.starts_with(keys::AUDIT)) {
            if prefix.is_empty() {
                prefix = keys::audit_of(commit.node, commit.incarnation, commit.number);
            }
            let Some(value) = put.value.as_deref().filter(|_| put.key.starts_with(&prefix)) else {
                continue;
            };
            if refused.binary_search(&index).is_err() && base_of(value) == Some(&commit.audit_root)
            {
                fold.get_or_insert_with(|| Fold::on(&commit.audit_root)).add(&put.key, value);
            }
        }
    }
    fold.map_or(commit.audit_root, |fold| fold.root())
}

/// The root that an entry begins with: behind the envelope's header and the
/// byte that says in which form the entry is.
fn base_of(value: &[u8]) -> Option<&Root> {
    value.get(HEADER + 1..)?.first_chunk()
}

/// The root over one commit's entries, in the order of their keys.
#[derive(Clone, Debug)]
struct Fold(blake3::Hasher);

impl Fold {
    fn on(base: &Root) -> Fold {
        let mut hasher = blake3::Hasher::new_derive_key("starmesh audit log, root of a node");
        hasher.update(base);
        Fold(hasher)
    }

    fn add(&mut self, key: &[u8], value: &[u8]) {
        for part in [key, value] {
            self.0.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
    }

    fn root(&self) -> Root {
        *self.0.finalize().as_bytes()
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::Began { logic } => write!(f, "began, with logic {}", logic.version),
            Decision::Claimed { entity, sequence, woke } => {
                let how = if *woke { "woke and claimed" } else { "claimed" };
                write!(f, "{how} {entity} with record {sequence}")
            }
            Decision::HandedOver { entity, sequence, to } => {
                write!(f, "gave {entity} to node {to} with record {sequence}")
            }
            Decision::Closed { entity, sequence, kept } => {
                let how = if *kept { "let hibernate" } else { "forgot" };
                write!(f, "{how} {entity} with record {sequence}")
            }
            Decision::DeclaredDead { node, last } => write!(
                f,
                "declared node {node} dead at commit {} of incarnation {}",
                last.number, last.incarnation
            ),
            Decision::DirectoryChanged(change) => write!(
                f,
                "changed {} keys of the directory, to version {}",
                change.changed, change.version
            ),
            Decision::GalaxyMade => f.write_str("made the galaxy"),
            Decision::AccountMade { player } => write!(f, "registered player {player}"),
            Decision::AccountChanged { player, generation, roles } => {
                write!(f, "wrote the account of player {player}: generation {generation}, ")?;
                write!(f, "{roles} roles")
            }
            Decision::NodeAdmitted { node, .. } => write!(f, "let node {node} in"),
            Decision::TokenOffered { .. } => f.write_str("offered a join token"),
            Decision::TokenWithdrawn { .. } => f.write_str("withdrew a join token"),
            Decision::Witnessed { heads } => write!(f, "saw the chains of {} nodes", heads.len()),
            Decision::RolesTaken { roles } => {
                write!(f, "took roles {roles} (1 sector, 2 coordinator, 4 meta, 8 gateway)")
            }
            Decision::Stopping => f.write_str("was told to stop"),
            Decision::SetAside {
                entity,
                sequence,
                place: InputPlace { sequence: record, index },
            } => {
                write!(f, "set aside input {index} of record {record} of {entity} ")?;
                write!(f, "with record {sequence}")
            }
            Decision::Parked { entity, sequence } => {
                write!(f, "parked {entity} with record {sequence}")
            }
            Decision::Resumed { entity } => write!(f, "resumed {entity}"),
            Decision::FormatRaised { version } => {
                write!(f, "raised the cluster's format version to {version}")
            }
        }
    }
}

#[cfg(test)]
mod tests;
