//! Owns a store without a disk, for the simulator and for tests. Never reads
//! a clock: its time is what [`Memory::set_time`] said last. Called like any
//! other engine. Invariant: it does exactly what the conformance suite asks.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base::{EntityKey, Millis, NodeId};
use crate::entity::commit::{Commit, CommitAnswer, CommitError, NodeRow};
use crate::entity::keys;

use super::changes::ChangeLog;
use super::copy::Source;
use super::decide::{Accepted, Decision, Journal, Op, Present, Stamp, decide};
use super::journal::EntityJournal;
use super::{Changes, Cursor, LoadPage, ReadError, Store, Versioned};

/// A store in memory.
#[derive(Debug)]
pub struct Memory {
    contents: Mutex<Contents>,
}

#[derive(Clone, Debug)]
struct Contents {
    version: u64,
    time: Millis,
    free_bytes: Option<u64>,
    /// All keys but snapshot chunks.
    keys: BTreeMap<Vec<u8>, Versioned>,
    entities: BTreeMap<EntityKey, EntityJournal<Vec<u8>>>,
    changes: ChangeLog,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for Memory {
    /// A copy of all that is there now.
    fn clone(&self) -> Self {
        Memory { contents: Mutex::new(self.contents().clone()) }
    }
}

impl Memory {
    /// An empty store at time 0.
    pub fn new() -> Memory {
        let contents = Contents {
            version: 0,
            time: Millis(0),
            free_bytes: None,
            keys: BTreeMap::new(),
            entities: BTreeMap::new(),
            changes: ChangeLog::new(0),
        };
        Memory { contents: Mutex::new(contents) }
    }

    /// Sets the store's clock.
    pub fn set_time(&self, time: Millis) {
        self.contents().time = time;
    }

    /// Sets what [`Store::free_bytes`] says.
    pub fn set_free_bytes(&self, free: Option<u64>) {
        self.contents().free_bytes = free;
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // A panic while it was held left whole values behind: every change is
        // made after all that can fail.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    fn commit(&self, commit: &Commit) -> Result<CommitAnswer, CommitError> {
        let mut contents = self.contents();
        let store_time = contents.time;
        match decide(&*contents, commit)? {
            Decision::Repeated { version, refused } => {
                Ok(CommitAnswer { version, refused, store_time })
            }
            Decision::Accepted(accepted) => {
                let (version, refused) = (accepted.version, accepted.refused.clone());
                contents.apply(accepted);
                Ok(CommitAnswer { version, refused, store_time })
            }
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, ReadError> {
        Ok(self.contents().keys.get(key).cloned())
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Versioned)>, ReadError> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let contents = self.contents();
        let found = contents.keys.range::<[u8], _>((from, Bound::Unbounded));
        let found = found.take_while(|(key, _)| key.starts_with(prefix));
        Ok(found.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn changes(&self, since: u64, limit: usize) -> Result<Changes, ReadError> {
        Ok(self.contents().changes.since(since, limit))
    }

    fn load(&self, entity: EntityKey, from: Option<Cursor>) -> Result<LoadPage, ReadError> {
        let contents = self.contents();
        let unknown = EntityJournal::default();
        let page = contents.entities.get(&entity).unwrap_or(&unknown).page(from)?;
        Ok(LoadPage {
            head: page.head.cloned(),
            chunks: page.chunks.into_iter().cloned().collect(),
            records: page.records.into_iter().map(|(n, bytes)| (n, bytes.clone())).collect(),
            next: page.next,
        })
    }

    fn time(&self) -> Result<Millis, ReadError> {
        Ok(self.contents().time)
    }

    fn free_bytes(&self) -> Option<u64> {
        self.contents().free_bytes
    }
}

impl Source for Memory {
    fn entities(
        &self,
        after: Option<EntityKey>,
        limit: usize,
    ) -> Result<Vec<EntityKey>, ReadError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let contents = self.contents();
        let behind = contents.entities.range((from, Bound::Unbounded));
        Ok(behind.map(|(entity, _)| *entity).take(limit).collect())
    }
}

impl Present for Contents {
    fn version(&self) -> u64 {
        self.version
    }

    fn row(&self, node: NodeId) -> Result<Option<(u64, NodeRow)>, ReadError> {
        let Some(Versioned { version, value }) = self.keys.get(&keys::row(node)) else {
            return Ok(None);
        };
        match NodeRow::from_bytes(value) {
            Ok(row) => Ok(Some((*version, row))),
            Err(error) => Err(ReadError::Damaged(error.to_string())),
        }
    }

    fn stamp(&self, key: &[u8]) -> Result<Option<Stamp>, ReadError> {
        Ok(self.keys.get(key).map(|found| Stamp::of(found.version, &found.value)))
    }

    fn journal(&self, entity: EntityKey) -> Journal {
        self.entities.get(&entity).map(EntityJournal::journal).unwrap_or_default()
    }
}

impl Contents {
    fn apply(&mut self, accepted: Accepted<'_>) {
        self.version = accepted.version;
        accepted.ops.into_iter().for_each(|op| self.apply_op(op));
        self.changes.complete(accepted.version);
    }

    fn apply_op(&mut self, op: Op<'_>) {
        match op {
            Op::Put { key, value } => self.put(key, value.map(Cow::into_owned)),
            Op::Row { node, row } => self.put(keys::row(node).into(), Some(row.to_bytes())),
            Op::Append { entity, bytes, .. } => self.entity(entity).append(bytes.to_vec()),
            Op::Chunk { entity, snapshot, index, bytes } => {
                self.entity(entity).put_chunk(snapshot, index, bytes.to_vec());
            }
            Op::Head { entity, snapshot, value } => {
                self.entity(entity).adopt(snapshot, value.to_vec());
                self.put(keys::head(entity).into(), Some(value.to_vec()));
            }
            Op::Forget { entity } => {
                self.entities.remove(&entity);
                self.put(keys::head(entity).into(), None);
            }
        }
    }

    fn entity(&mut self, entity: EntityKey) -> &mut EntityJournal<Vec<u8>> {
        self.entities.entry(entity).or_default()
    }

    fn put(&mut self, key: Cow<'_, [u8]>, value: Option<Vec<u8>>) {
        let version = self.version;
        self.changes.record(version, &key, value.as_deref());
        match value {
            Some(value) => self.keys.insert(key.into_owned(), Versioned { version, value }),
            None => self.keys.remove(&*key),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::conformance;

    #[test]
    fn keeps_the_contract() {
        conformance(|| Box::new(Memory::new()));
    }
}
