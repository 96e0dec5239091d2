//! Owns the names of the store's keys. Never reads or writes them. A stored
//! format: a name that was ever written keeps its meaning.

use crate::base::{EntityKey, Incarnation, Millis, NodeId};

/// Accounts, names, e-mails and sessions of players: `changes` follows them.
pub const ACCOUNT: &[u8] = b"account/";
/// What only a galaxy's first start writes: seed, logic, shards, format.
pub const GALAXY: &[u8] = b"galaxy/";
/// All node rows.
pub const ROW: &[u8] = b"row/";
/// All snapshot chunks.
pub const SNAPSHOT: &[u8] = b"snapshot/";
/// All snapshot heads.
pub const HEAD: &[u8] = b"head/";
/// All timers of hibernating entities.
pub const DUE: &[u8] = b"due/";
/// The first id no block holds yet, big endian.
pub const NEXT_ID: &[u8] = b"ids/next";

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// The node's [`NodeRow`](super::commit::NodeRow).
pub fn row(node: NodeId) -> Vec<u8> {
    join(&[ROW, &node.0.to_be_bytes()])
}

/// The last tick of an incarnation that ended, as big-endian u64; kept until
/// no open claim names it.
pub fn ended_incarnation(node: NodeId, incarnation: Incarnation) -> Vec<u8> {
    join(&[b"node/", &node.0.to_be_bytes(), &incarnation.0.to_be_bytes()])
}

/// Says that `node` has, or had, an open claim on `entity`.
pub fn owned(node: NodeId, entity: EntityKey) -> Vec<u8> {
    join(&[&owned_by(node), &entity.to_bytes()])
}

/// The prefix of all [`owned`] keys of `node`.
pub fn owned_by(node: NodeId) -> Vec<u8> {
    join(&[b"owned/", &node.0.to_be_bytes()])
}

/// Says that hibernating `entity` has a timer due at `at`.
pub fn due(at: Millis, entity: EntityKey) -> Vec<u8> {
    join(&[DUE, &at.0.to_be_bytes(), &entity.to_bytes()])
}

/// Says that `entity` is kept but not run.
pub fn parked(entity: EntityKey) -> Vec<u8> {
    join(&[b"parked/", &entity.to_bytes()])
}

/// The snapshot an entity is restored from: the big-endian u64 sequence of the
/// last record in it, then an enveloped
/// `SnapshotHead`. Putting it trims the
/// entity's journal up to that sequence.
pub fn head(entity: EntityKey) -> Vec<u8> {
    join(&[HEAD, &entity.to_bytes()])
}

/// The prefix of the chunks of `entity`'s snapshot at `sequence`.
pub fn snapshot(entity: EntityKey, sequence: u64) -> Vec<u8> {
    join(&[SNAPSHOT, &entity.to_bytes(), &sequence.to_be_bytes()])
}

/// Chunk `index` of a snapshot, at most
/// [`VALUE_BYTES_MAX`](super::commit::VALUE_BYTES_MAX) bytes.
pub fn chunk(entity: EntityKey, sequence: u64, index: u32) -> Vec<u8> {
    join(&[&snapshot(entity, sequence), &index.to_be_bytes()])
}
