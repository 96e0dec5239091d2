//! A node runs the galaxy that is in its store, or does not run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use starmesh::actors::node::{Node, ONLY_NODE};
use starmesh::actors::rows::Rows;
use starmesh::base::{EntityKey, Millis};
use starmesh::config::Config;
use starmesh::entity::commit::{Commit, CommitAnswer, CommitError, Group, Put};
use starmesh::entity::format::{FORMATS, Formats};
use starmesh::entity::keys;
use starmesh::sim::rules;
use starmesh::store::memory::Memory;
use starmesh::store::{Changes, Cursor, LoadPage, ReadError, Store, Versioned};

use crate::node_support::start_with;

/// A store in which another process puts a row directly after this one found none.
struct Raced {
    store: Memory,
    key: &'static [u8],
    looked: AtomicBool,
}

impl Raced {
    /// Why a node ends on one.
    async fn ends(stored: &Memory, key: &'static [u8]) -> String {
        let raced = Raced { store: stored.clone(), key, looked: AtomicBool::new(false) };
        let rules = rules::file::built_in().unwrap();
        let config = Config::with("").unwrap();
        let mut node = Node::start(&config, rules, Arc::new(raced)).unwrap();
        let ended = node.deposed.take().unwrap();
        let why = tokio::time::timeout(Duration::from_secs(20), ended).await;
        node.stop().await;
        why.expect("the node ends").expect("it says why").to_string()
    }
}

impl Store for Raced {
    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, ReadError> {
        if key == self.key && !self.looked.swap(true, Ordering::Relaxed) {
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
    start_with("", stored.clone()).await.stop().await;
    let why = Raced::ends(&stored, keys::WORLD).await;
    assert!(why.contains("the galaxy was not stored"), "{why}");
}

#[actix::test]
async fn a_node_does_not_start_on_what_it_cannot_read_and_leaves_it_as_it_is() {
    let stored = Arc::new(Memory::new());
    start_with("", stored.clone()).await.stop().await;
    let own = stored.get(keys::FORMAT).unwrap().expect("the store says in which format it is");
    assert_eq!(own.value, FORMATS.highest.to_be_bytes());
    let why = Raced::ends(&stored, keys::FORMAT).await;
    assert!(why.contains("format version was changed"), "{why}");

    let rows = Rows::direct(stored.clone());
    let next = FORMATS.highest + 1;
    let put = Put { key: keys::FORMAT.to_vec(), value: Some(next.to_be_bytes().to_vec()) };
    let group = Group { checks: Vec::new(), puts: vec![put], append: None };
    rows.commit_group(group).await.unwrap();
    let before = stored.scan(b"", None, usize::MAX).unwrap();
    let started =
        Node::start(&Config::with("").unwrap(), rules::file::built_in().unwrap(), stored.clone());
    let why = started.err().expect("it does not start");
    let why = std::error::Error::source(&why).map_or(why.to_string(), ToString::to_string);
    assert!(why.contains(&format!("format version is {next}")), "{why}");
    assert_eq!(stored.scan(b"", None, usize::MAX).unwrap(), before);
}

/// What a store says is written, and what its only node reads.
fn formats(store: &Memory) -> (Vec<u8>, Option<Formats>) {
    let written = store.get(keys::FORMAT).unwrap().expect("the store says it").value;
    let reads = store.get(&keys::reads(ONLY_NODE)).unwrap().expect("the node says it");
    (written, Formats::from_bytes(&reads.value))
}

#[actix::test]
async fn a_node_with_a_lower_format_max_is_as_one_of_the_build_before() {
    let (stored, kept) = (Arc::new(Memory::new()), "[cluster]\nformat_max = 1");
    start_with(kept, stored.clone()).await.stop().await;
    let first = Formats { lowest: 1, highest: 1 };
    assert_eq!(formats(&stored), (vec![0, 1], Some(first)));
    // It is said again by the next process, before anything is claimed.
    start_with("", stored.clone()).await.stop().await;
    assert_eq!(formats(&stored), (vec![0, 1], Some(FORMATS)), "nobody raised it");
    start_with(kept, stored.clone()).await.stop().await;
    assert_eq!(formats(&stored), (vec![0, 1], Some(first)));

    let rows = Rows::direct(stored.clone());
    let put = Put { key: keys::FORMAT.to_vec(), value: Some(vec![0, 2]) };
    rows.commit_group(Group { puts: vec![put], ..Group::default() }).await.unwrap();
    let config = Config::with(kept).unwrap();
    let started = Node::start(&config, rules::file::built_in().unwrap(), stored.clone());
    let why = started.err().expect("it does not start").to_string();
    assert!(why.contains("format version is 2, and this node reads 1:"), "{why}");
}

#[actix::test]
async fn a_store_without_a_format_may_have_nodes_that_read_the_first() {
    let stored = Arc::new(Memory::new());
    start_with("", stored.clone()).await.stop().await;
    let rows = Rows::direct(stored.clone());
    let put = Put { key: keys::FORMAT.to_vec(), value: None };
    rows.commit_group(Group { puts: vec![put], ..Group::default() }).await.unwrap();
    start_with("", stored.clone()).await.stop().await;
    assert_eq!(formats(&stored).0, [0, 1]);
}
