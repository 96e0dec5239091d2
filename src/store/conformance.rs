//! Owns the suite that every engine passes: one case per rule of the contract,
//! named for it. Never knows which engine it runs on. Called by tests.
//! Invariant: a case uses the trait only, on an empty store of its own.

mod fence;
mod groups;
mod journal;
mod reads;

use crate::base::{EntityKey, Incarnation, NodeId, Tick};
use crate::entity::audit::Root;
use crate::entity::commit::{
    Append, Check, Commit, CommitAnswer, CommitError, Expect, Group, NodeRow, Put,
};
use crate::entity::keys;

use super::Store;

/// A rule and what shows it; panics where the engine breaks it.
pub type Case = (&'static str, fn(&dyn Store));

/// All cases.
pub fn cases() -> impl Iterator<Item = Case> {
    let all = [fence::CASES, groups::CASES, journal::CASES, reads::CASES];
    all.into_iter().flatten().copied()
}

/// Runs every case on a store of its own from `open`.
///
/// # Panics
/// At the first rule that the engine breaks; the rule's name is printed first.
pub fn conformance(open: impl Fn() -> Box<dyn Store>) {
    for (name, case) in cases() {
        println!("conformance: {name}");
        case(&*open());
    }
}

/// A node's process, as far as a store sees it: numbers its commits.
#[derive(Clone, Debug)]
pub struct Process {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub nonce: u64,
    /// Of the next commit.
    pub number: u64,
    pub tick: Tick,
    /// Of its audit entries; a process that writes any sees to it itself.
    pub root: Root,
}

impl Process {
    /// The first process of a node.
    pub fn new(node: u32) -> Process {
        Process::restarted(node, 1)
    }

    /// The process that begins an incarnation of a node.
    pub fn restarted(node: u32, incarnation: u64) -> Process {
        let nonce = u64::from(node) * 1000 + incarnation;
        let (node, incarnation) = (NodeId(node), Incarnation(incarnation));
        Process { node, incarnation, nonce, number: 0, tick: Tick(0), root: [7; 32] }
    }

    /// The first process of a node after its commit 0.
    pub fn begun(store: &dyn Store, node: u32) -> Process {
        let mut process = Process::new(node);
        process.must(store, vec![]);
        process
    }

    /// The next commit with these groups; its number is used up.
    pub fn next(&mut self, groups: Vec<Group>) -> Commit {
        let commit = Commit {
            node: self.node,
            incarnation: self.incarnation,
            number: self.number,
            nonce: self.nonce,
            tick: self.tick,
            audit_root: self.root,
            groups,
            is_last: false,
        };
        self.number += 1;
        commit
    }

    /// Commits these groups.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn commit(
        &mut self,
        store: &dyn Store,
        groups: Vec<Group>,
    ) -> Result<CommitAnswer, CommitError> {
        store.commit(&self.next(groups))
    }

    /// Commits these groups, and expects an answer.
    ///
    /// # Panics
    /// When there is none.
    pub fn must(&mut self, store: &dyn Store, groups: Vec<Group>) -> CommitAnswer {
        self.commit(store, groups).expect("the commit is well-formed and in order")
    }
}

/// A group that puts one key.
pub fn put(key: &[u8], value: &[u8]) -> Group {
    let put = Put { key: key.to_vec(), value: Some(value.to_vec()) };
    Group { puts: vec![put], ..Group::default() }
}

/// A group that deletes one key.
pub fn delete(key: &[u8]) -> Group {
    Group { puts: vec![Put { key: key.to_vec(), value: None }], ..Group::default() }
}

/// A group that appends one record.
pub fn append(entity: EntityKey, sequence: u64, bytes: &[u8]) -> Group {
    let append = Append { entity, sequence, bytes: bytes.to_vec() };
    Group { append: Some(append), ..Group::default() }
}

/// A group that puts one chunk of a snapshot.
pub fn chunk(entity: EntityKey, snapshot: u64, index: u32, bytes: &[u8]) -> Group {
    put(&keys::chunk(entity, snapshot, index), bytes)
}

/// A group that makes a snapshot the entity's.
pub fn head(entity: EntityKey, snapshot: u64) -> Group {
    put(&keys::head(entity), &[&snapshot.to_be_bytes()[..], b"head"].concat())
}

/// `group`, if `key` is as expected.
pub fn when(key: &[u8], expect: Expect, mut group: Group) -> Group {
    group.checks.push(Check { key: key.to_vec(), expect });
    group
}

/// The value of `key`.
pub fn value(store: &dyn Store, key: &[u8]) -> Option<Vec<u8>> {
    store.get(key).expect("the store answers").map(|found| found.value)
}

/// A node's row.
pub fn row(store: &dyn Store, node: u32) -> NodeRow {
    let bytes = value(store, &keys::row(NodeId(node))).expect("the node has begun");
    NodeRow::from_bytes(&bytes).expect("rows decode")
}

/// All of an entity: its head, its chunks, its records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    pub head: Option<Vec<u8>>,
    pub chunks: Vec<Vec<u8>>,
    pub records: Vec<(u64, Vec<u8>)>,
    pub pages: u32,
}

/// Loads all pages of an entity.
pub fn load(store: &dyn Store, entity: EntityKey) -> Loaded {
    let mut all = Loaded::default();
    let mut from = None;
    loop {
        let page = store.load(entity, from).expect("nothing was replaced");
        all.head = all.head.or(page.head);
        all.chunks.extend(page.chunks);
        all.records.extend(page.records);
        all.pages += 1;
        from = page.next;
        if from.is_none() {
            return all;
        }
    }
}
