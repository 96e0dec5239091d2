//! A store in memory whose calls wait when a test says so.

use std::sync::{Arc, Condvar, Mutex};

use starmesh::base::{EntityKey, Millis};
use starmesh::entity::commit::{Commit, CommitAnswer, CommitError};
use starmesh::store::memory::Memory;
use starmesh::store::{Changes, Cursor, LoadPage, ReadError, Store, Versioned};
use tokio::sync::Notify;

/// Lets callers through while it is open, which it is at first.
#[derive(Default)]
pub struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
    waited: Notify,
}

impl Gate {
    pub fn close(&self) {
        *self.closed.lock().unwrap() = true;
    }

    pub fn open(&self) {
        *self.closed.lock().unwrap() = false;
        self.opened.notify_all();
    }

    pub fn pass(&self) {
        let closed = self.closed.lock().unwrap();
        if *closed {
            self.waited.notify_one();
        }
        drop(self.opened.wait_while(closed, |closed| *closed).unwrap());
    }

    /// Resolves when somebody has come to a closed gate.
    pub async fn waited_for(&self) {
        self.waited.notified().await;
    }
}

/// The store.
#[derive(Default)]
pub struct Gated {
    pub memory: Arc<Memory>,
    /// Of commits.
    pub commits: Gate,
    /// Of what asks the file system.
    pub disk: Gate,
    /// What cannot be read.
    pub damaged: Mutex<Option<EntityKey>>,
    /// What panics when it is read.
    pub poisoned: Mutex<Option<EntityKey>>,
}

impl Store for Gated {
    fn commit(&self, commit: &Commit) -> Result<CommitAnswer, CommitError> {
        self.commits.pass();
        self.memory.commit(commit)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, ReadError> {
        self.memory.get(key)
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Versioned)>, ReadError> {
        self.memory.scan(prefix, after, limit)
    }

    fn changes(&self, since: u64, limit: usize) -> Result<Changes, ReadError> {
        self.memory.changes(since, limit)
    }

    fn load(&self, entity: EntityKey, from: Option<Cursor>) -> Result<LoadPage, ReadError> {
        let poisoned = *self.poisoned.lock().unwrap();
        assert_ne!(poisoned, Some(entity), "by the test");
        if *self.damaged.lock().unwrap() == Some(entity) {
            return Err(ReadError::Damaged("by the test".into()));
        }
        self.memory.load(entity, from)
    }

    fn time(&self) -> Result<Millis, ReadError> {
        self.memory.time()
    }

    fn free_bytes(&self) -> Option<u64> {
        self.disk.pass();
        self.memory.free_bytes()
    }

    fn pins(&self) -> Vec<EntityKey> {
        self.disk.pass();
        self.memory.pins()
    }
}
