//! A node runs the galaxy that is in its store, or does not run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use starmesh::actors::node::Node;
use starmesh::base::{EntityKey, Millis};
use starmesh::config::Config;
use starmesh::entity::commit::{Commit, CommitAnswer, CommitError};
use starmesh::entity::keys;
use starmesh::sim::rules;
use starmesh::store::memory::Memory;
use starmesh::store::{Changes, Cursor, LoadPage, ReadError, Store, Versioned};

/// A store that another process makes a galaxy in directly after this one
/// found none.
struct Raced {
    store: Memory,
    looked: AtomicBool,
}

impl Store for Raced {
    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, ReadError> {
        if key == keys::WORLD && !self.looked.swap(true, Ordering::Relaxed) {
            return Ok(None);
        }
        self.store.get(key)
    }
    fn commit(&self, commit: &Commit) -> Result<CommitAnswer, CommitError> {
        self.store.commit(commit)
    }
    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Versioned)>, ReadError> {
        self.store.scan(prefix, after, limit)
    }
    fn changes(&self, since: u64, limit: usize) -> Result<Changes, ReadError> {
        self.store.changes(since, limit)
    }
    fn load(&self, entity: EntityKey, from: Option<Cursor>) -> Result<LoadPage, ReadError> {
        self.store.load(entity, from)
    }
    fn time(&self) -> Result<Millis, ReadError> {
        self.store.time()
    }
}

#[actix::test]
async fn a_galaxy_that_another_process_stored_first_ends_the_node() {
    let stored = Arc::new(Memory::new());
    crate::node_support::start(stored.clone()).await.stop().await;
    let raced = Arc::new(Raced { store: (*stored).clone(), looked: AtomicBool::new(false) });
    let rules = rules::file::built_in().unwrap();
    let mut node = Node::start(&Config::with("").unwrap(), rules, raced).unwrap();
    let ended = node.deposed.take().unwrap();
    let why = tokio::time::timeout(Duration::from_secs(20), ended).await;
    let why = why.expect("the node ends").expect("it says why").to_string();
    assert!(why.contains("the galaxy was not stored"), "{why}");
    node.stop().await;
}
