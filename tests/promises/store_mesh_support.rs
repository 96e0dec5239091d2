//! A node that serves its store on loopback, and nodes that call it. Tests
//! wait for conditions, never for a time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use starmesh::base::{EntityKey, Millis, NodeId};
use starmesh::cluster::links::store_calls::{CallLimits, MeshStore};
use starmesh::cluster::links::{Limits, Settings};
use starmesh::entity::commit::{Commit, CommitAnswer, CommitError};
use starmesh::store::memory::Memory;
use starmesh::store::{Changes, Cursor, LoadPage, ReadError, Store, Versioned};
use tokio::runtime::{Builder, Runtime};

use super::links_support::{self, Realm, TestNode, WITHIN, settings};

/// Who serves; the conformance suite commits as nodes 1 and 2.
pub const SERVING: NodeId = NodeId(1000);

pub fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Limits with which calls wait for as long as a busy machine may take.
pub fn patient() -> Limits {
    let calls = CallLimits {
        transfer: WITHIN,
        connect: WITHIN,
        commit: WITHIN,
        read: WITHIN,
        ..CallLimits::default()
    };
    Limits { calls, ..links_support::limits() }
}

/// Limits with which a call that gets no answer ends soon: for tests in which
/// that is right at any time.
pub fn hasty() -> Limits {
    let soon = Duration::from_millis(100);
    let calls = CallLimits { connect: soon, commit: soon, read: soon, ..patient().calls };
    Limits { calls, ..patient() }
}

/// A node that serves this store.
pub fn serving(runtime: &Runtime, realm: &Realm, store: Arc<dyn Store>) -> TestNode {
    serving_with(runtime, realm, store, patient())
}

pub fn serving_with(
    runtime: &Runtime,
    realm: &Realm,
    store: Arc<dyn Store>,
    limits: Limits,
) -> TestNode {
    let _context = runtime.enter();
    TestNode::start(with_store(realm, store, limits))
}

pub fn with_store(realm: &Realm, store: Arc<dyn Store>, limits: Limits) -> Settings {
    Settings { store: Some(store), limits, ..settings(realm.identity(SERVING.0)) }
}

/// The engine of node `node`.
pub fn calling(realm: &Realm, node: u32, to: SocketAddr, limits: Limits) -> MeshStore {
    MeshStore::open(&realm.identity(node), SERVING, to.to_string(), limits).expect("it opens")
}

/// Looks until it is there.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < WITHIN, "{what}: not within {WITHIN:?}");
        std::thread::yield_now();
    }
}

/// Sends the same commit until its outcome is known, as a core does.
pub fn commit_until_known(store: &dyn Store, commit: &Commit) -> CommitAnswer {
    until("an outcome", || match store.commit(commit) {
        Ok(answer) => Some(answer),
        Err(CommitError::Unknown(_)) => None,
        Err(error) => panic!("{error}"),
    })
}

/// The engines of several nodes as one store: each commit goes by its own node,
/// because no node may commit as another.
pub struct ManyNodes {
    realm: Realm,
    node: TestNode,
    stores: Mutex<BTreeMap<NodeId, Arc<MeshStore>>>,
}

impl ManyNodes {
    pub fn new(runtime: &Runtime, store: Arc<dyn Store>) -> ManyNodes {
        let realm = Realm::new("demo");
        let node = serving(runtime, &realm, store);
        ManyNodes { realm, node, stores: Mutex::default() }
    }

    pub fn of(&self, node: NodeId) -> Arc<MeshStore> {
        let mut stores = self.stores.lock().expect("nothing panics with it");
        let open = || Arc::new(calling(&self.realm, node.0, self.node.address(), patient()));
        stores.entry(node).or_insert_with(open).clone()
    }

    fn any(&self) -> Arc<MeshStore> {
        self.of(NodeId(1))
    }
}

impl Store for ManyNodes {
    fn commit(&self, commit: &Commit) -> Result<CommitAnswer, CommitError> {
        self.of(commit.node).commit(commit)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, ReadError> {
        self.any().get(key)
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Versioned)>, ReadError> {
        self.any().scan(prefix, after, limit)
    }

    fn changes(&self, since: u64, limit: usize) -> Result<Changes, ReadError> {
        self.any().changes(since, limit)
    }

    fn load(&self, entity: EntityKey, from: Option<Cursor>) -> Result<LoadPage, ReadError> {
        self.any().load(entity, from)
    }

    fn time(&self) -> Result<Millis, ReadError> {
        self.any().time()
    }
}

/// A memory store whose calls stand still while it is shut, and are counted.
#[derive(Default)]
pub struct Gate {
    pub memory: Memory,
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct GateState {
    is_shut: bool,
    /// Calls that are in it now, and the most there were.
    pub commits: usize,
    pub commits_most: usize,
    pub reads: usize,
    pub reads_most: usize,
}

impl Gate {
    pub fn shut() -> Arc<Gate> {
        let gate = Gate::default();
        gate.set_shut(true);
        Arc::new(gate)
    }

    pub fn set_shut(&self, is_shut: bool) {
        self.state().is_shut = is_shut;
        self.changed.notify_all();
    }

    pub fn state(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().expect("nothing panics with it")
    }

    /// Waits until its state is as it should be.
    pub fn until(&self, what: &str, done: impl Fn(&GateState) -> bool) {
        let wait = self.changed.wait_timeout_while(self.state(), WITHIN, |state| !done(state));
        let (state, late) = wait.expect("nothing panics with it");
        assert!(!late.timed_out(), "{what}: not within {WITHIN:?}: {:?}", *state);
    }

    fn pass<T>(&self, count: impl Fn(&mut GateState, bool), act: impl FnOnce() -> T) -> T {
        count(&mut self.state(), true);
        self.changed.notify_all();
        // Not for ever, so that a test that failed ends.
        let open = self.changed.wait_timeout_while(self.state(), WITHIN, |state| state.is_shut);
        drop(open.expect("nothing panics with it"));
        let result = act();
        count(&mut self.state(), false);
        self.changed.notify_all();
        result
    }

    fn read<T>(&self, act: impl FnOnce() -> T) -> T {
        let count = |state: &mut GateState, comes: bool| {
            state.reads = if comes { state.reads + 1 } else { state.reads - 1 };
            state.reads_most = state.reads_most.max(state.reads);
        };
        self.pass(count, act)
    }
}

impl Store for Gate {
    fn commit(&self, commit: &Commit) -> Result<CommitAnswer, CommitError> {
        let count = |state: &mut GateState, comes: bool| {
            state.commits = if comes { state.commits + 1 } else { state.commits - 1 };
            state.commits_most = state.commits_most.max(state.commits);
        };
        self.pass(count, || self.memory.commit(commit))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, ReadError> {
        self.read(|| self.memory.get(key))
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Versioned)>, ReadError> {
        self.read(|| self.memory.scan(prefix, after, limit))
    }

    fn changes(&self, since: u64, limit: usize) -> Result<Changes, ReadError> {
        self.read(|| self.memory.changes(since, limit))
    }

    fn load(&self, entity: EntityKey, from: Option<Cursor>) -> Result<LoadPage, ReadError> {
        self.read(|| self.memory.load(entity, from))
    }

    /// Always: a connection is known to answer by it.
    fn time(&self) -> Result<Millis, ReadError> {
        self.memory.time()
    }
}
