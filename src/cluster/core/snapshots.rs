//! Owns snapshots on their way to the store: chunks under a new name over as
//! many commits as it takes, then the head that makes them the entity's; and
//! whose turn it is to have one. Never makes a snapshot; in which form it is stored
//! follows from the cluster's format version, which it is told. Called by
//! [`NodeCore`](super::node). Invariants: a head is put after all its chunks,
//! and only if its sequence is higher; the bytes of a bounded number wait.

use std::collections::{BTreeSet, VecDeque};

use super::limits::Limits;
use super::pipeline::Slot;
use crate::base::{EntityKey, StateHash};
use crate::entity::commit::{Check, Expect, Group, Put};
use crate::entity::envelope::Logic;
use crate::entity::keys;
use crate::entity::packed;
use crate::entity::record::SnapshotHead;

/// Snapshots being written, one after the other, and who waits for its turn.
#[derive(Debug, Default)]
pub struct Snapshots {
    /// Who needs one, in order, each once.
    turns: VecDeque<EntityKey>,
    wanting: BTreeSet<EntityKey>,
    /// Those that may make one now, until it is written or refused.
    begun: BTreeSet<EntityKey>,
    jobs: VecDeque<Job>,
    /// The cluster's format version, as far as it is known here.
    format: u16,
}

/// The state of an entity after a record.
#[derive(Clone, Debug)]
pub struct Made {
    pub entity: EntityKey,
    /// The one it has.
    pub logic: Logic,
    /// Of the last record in it.
    pub sequence: u64,
    /// In canonical form.
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
struct Job {
    entity: EntityKey,
    logic: Logic,
    sequence: u64,
    /// As it is stored.
    bytes: Vec<u8>,
    /// How long the canonical bytes are, and their hash.
    canonical: (u64, StateHash),
    /// Of each chunk but the last.
    chunk_bytes: usize,
    written: u32,
}

impl Job {
    fn chunks(&self) -> u32 {
        u32::try_from(self.bytes.len().div_ceil(self.chunk_bytes)).unwrap_or(u32::MAX)
    }

    fn put(&self, index: u32) -> Put {
        let at = index as usize * self.chunk_bytes;
        let end = (at + self.chunk_bytes).min(self.bytes.len());
        let key = keys::chunk(self.entity, self.sequence, index);
        Put { key, value: Some(self.bytes[at..end].to_vec()) }
    }

    fn head(&self) -> Group {
        let head = SnapshotHead {
            sequence: self.sequence,
            chunks: self.chunks(),
            bytes: self.canonical.0,
            hash: self.canonical.1,
        };
        let key = keys::head(self.entity);
        let expect = Expect::NumberBelow(self.sequence);
        Group {
            checks: vec![Check { key: key.clone(), expect }],
            puts: vec![Put { key, value: Some(head.encode(self.logic)) }],
            append: None,
        }
    }
}

impl Snapshots {
    /// The cluster writes this format version from now on; it never goes down.
    pub fn write_in(&mut self, format: u16) {
        self.format = self.format.max(format);
    }

    /// Whether there is nothing to be written.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// `entity` is to have a new snapshot, when it is its turn.
    pub fn want(&mut self, entity: EntityKey) {
        if !self.begun.contains(&entity) && self.wanting.insert(entity) {
            self.turns.push_back(entity);
        }
    }

    /// The next entity whose snapshot is to be made, if one more may be.
    pub fn begin_next(&mut self, limits: &Limits) -> Option<EntityKey> {
        if self.begun.len() >= limits.snapshots {
            return None;
        }
        let entity = self.turns.pop_front()?;
        self.wanting.remove(&entity);
        self.begun.insert(entity);
        Some(entity)
    }

    /// Takes the state of an entity to be written; only one that
    /// [`begin_next`](Self::begin_next) gave has a place.
    pub fn push(&mut self, made: Made, limits: &Limits) {
        let entity = made.entity;
        if self.begun.contains(&entity) && self.jobs.iter().all(|job| job.entity != entity) {
            self.push_loaded(made, limits);
        }
    }

    /// Takes the state of an entity that does not run here yet. Whoever loads is
    /// bounded, and so are these.
    pub fn push_loaded(&mut self, made: Made, limits: &Limits) {
        let Made { entity, logic, sequence, bytes } = made;
        let (chunk_bytes, written) = (limits.chunk_bytes, 0);
        let canonical = (bytes.len() as u64, StateHash::of(&bytes));
        let bytes = packed::pack(bytes, self.format);
        let job = Job { entity, logic, sequence, bytes, canonical, chunk_bytes, written };
        self.jobs.push_back(job);
    }

    /// What was begun for `entity` is over, whatever came of it.
    pub fn end(&mut self, entity: EntityKey) {
        self.begun.remove(&entity);
    }

    /// `entity` runs here no more.
    pub fn forget(&mut self, entity: EntityKey) {
        self.end(entity);
        if self.wanting.remove(&entity) {
            self.turns.retain(|key| *key != entity);
        }
        self.jobs.retain(|job| job.entity != entity);
    }

    /// What goes into the next commit.
    pub fn take(&mut self, limits: &Limits) -> Vec<(Group, Slot)> {
        let mut taken = Vec::new();
        let mut room = u32::try_from(limits.chunks_per_commit).unwrap_or(u32::MAX);
        while room > 0 {
            let Some(job) = self.jobs.front_mut() else { break };
            let upto = job.chunks().min(job.written + room);
            let puts: Vec<Put> = (job.written..upto).map(|index| job.put(index)).collect();
            room -= upto - job.written;
            job.written = upto;
            if upto < job.chunks() {
                taken.push((Group { puts, ..Group::default() }, Slot::Chunks));
                break;
            }
            let mut group = job.head();
            group.puts.splice(0..0, puts);
            let (entity, sequence, bytes) = (job.entity, job.sequence, job.canonical.0);
            taken.push((group, Slot::Snapshot { entity, sequence, bytes }));
            self.jobs.pop_front();
        }
        taken
    }
}
