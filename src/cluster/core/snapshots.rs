//! Owns snapshots on their way to the store: chunks under a new name over as
//! many commits as it takes, then the head that makes them the entity's.
//! Never makes a snapshot. Called by [`NodeCore`](super::node). Invariant: a
//! head is put after all its chunks, and only if its sequence is higher.

use std::collections::VecDeque;

use super::limits::Limits;
use super::pipeline::Slot;
use crate::base::{EntityKey, StateHash};
use crate::entity::commit::{Check, Expect, Group, Put};
use crate::entity::envelope::Logic;
use crate::entity::keys;
use crate::entity::record::SnapshotHead;

/// Snapshots being written, one after the other.
#[derive(Debug, Default)]
pub struct Snapshots {
    jobs: VecDeque<Job>,
}

#[derive(Debug)]
struct Job {
    entity: EntityKey,
    sequence: u64,
    bytes: Vec<u8>,
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

    fn head(&self, logic: Logic) -> Group {
        let head = SnapshotHead {
            sequence: self.sequence,
            chunks: self.chunks(),
            bytes: self.bytes.len() as u64,
            hash: StateHash::of(&self.bytes),
        };
        let key = keys::head(self.entity);
        let expect = Expect::NumberBelow(self.sequence);
        Group {
            checks: vec![Check { key: key.clone(), expect }],
            puts: vec![Put { key, value: Some(head.encode(logic)) }],
            append: None,
        }
    }
}

impl Snapshots {
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Takes the state of `entity` after `sequence` to be written.
    pub fn push(&mut self, entity: EntityKey, sequence: u64, bytes: Vec<u8>, limits: &Limits) {
        let chunk_bytes = limits.chunk_bytes;
        self.jobs.push_back(Job { entity, sequence, bytes, chunk_bytes, written: 0 });
    }

    /// What goes into the next commit.
    pub fn take(&mut self, logic: Logic, limits: &Limits) -> Vec<(Group, Slot)> {
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
            let mut group = job.head(logic);
            group.puts.splice(0..0, puts);
            let (entity, sequence, bytes) = (job.entity, job.sequence, job.bytes.len() as u64);
            taken.push((group, Slot::Snapshot { entity, sequence, bytes }));
            self.jobs.pop_front();
        }
        taken
    }
}
