//! A store that is another node's keeps the store's contract, and says that it
//! is away when it is.

use std::sync::Arc;

use starmesh::base::{EntityKey, Millis, NodeId};
use starmesh::cluster::links::store_calls::{CallLimits, MeshState};
use starmesh::cluster::links::{Limits, Settings};
use starmesh::cluster::relay::{Config, Relay, Transport};
use starmesh::entity::commit::CommitError;
use starmesh::entity::keys;
use starmesh::store::conformance::{Process, append, conformance, load, put, row, value};
use starmesh::store::memory::Memory;
use starmesh::store::sled::{Options, Sled};
use starmesh::store::{ReadError, Store};

use super::links_support::{HERE, Realm, TestNode, WITHIN};
use super::store_mesh_support::{
    Gate, ManyNodes, calling, commit_until_known, hasty, patient, runtime, serving, serving_with,
    until, with_store,
};
use super::store_support;

#[test]
fn a_memory_store_of_another_node_keeps_the_contract() {
    let runtime = runtime();
    conformance(|| Box::new(ManyNodes::new(&runtime, Arc::new(Memory::new()))) as Box<dyn Store>);
}

#[test]
fn a_sled_store_of_another_node_keeps_the_contract() {
    let (runtime, dir) = (runtime(), tempfile::tempdir().expect("a folder"));
    let opened = std::cell::Cell::new(0);
    conformance(|| {
        opened.set(opened.get() + 1);
        let dir = dir.path().join(opened.get().to_string());
        let store = Sled::open(&dir, Options::default()).expect("a new store");
        Box::new(ManyNodes::new(&runtime, Arc::new(store))) as Box<dyn Store>
    });
}

/// A node with a store, and the engine of node 1.
fn pair(runtime: &tokio::runtime::Runtime, memory: &Arc<Memory>) -> (TestNode, impl Store) {
    let realm = Realm::new("demo");
    let node = serving(runtime, &realm, memory.clone());
    let store = calling(&realm, 1, node.address(), patient());
    (node, store)
}

#[test]
fn what_is_longer_than_a_page_comes_in_whole() {
    let (runtime, memory) = (runtime(), Arc::new(Memory::new()));
    let (_node, store) = pair(&runtime, &memory);
    let mut process = Process::begun(&store, 1);
    for n in 0..600_u32 {
        // Some pages end by their count, some by their bytes.
        let bytes = if n < 300 { 10 } else { 60_000 };
        process.must(&store, vec![put(format!("account/{n:04}").as_bytes(), &vec![7; bytes])]);
    }
    let all = memory.scan(b"", None, usize::MAX).unwrap();
    assert!(all == store.scan(b"", None, usize::MAX).unwrap());
    for limit in [1, 255, 256, 257, 300, 599] {
        let (here, there) =
            (store.scan(b"account/", None, limit), memory.scan(b"account/", None, limit));
        assert!(here == there, "limit {limit}");
    }
    let after = Some(&b"account/0298"[..]);
    let found = store.scan(b"account/", after, 40).unwrap();
    assert!(found == memory.scan(b"account/", after, 40).unwrap());
    let (mut since, mut changed) = (0, Vec::new());
    while changed.len() < 600 {
        let part = store.changes(since, usize::MAX).unwrap();
        assert!(!part.too_old && !part.changes.is_empty());
        since = part.upto;
        changed.extend(part.changes);
    }
    assert!(changed == memory.changes(0, usize::MAX).unwrap().changes);
}

#[test]
fn the_time_free_bytes_and_pins_are_those_of_the_other_node() {
    let (runtime, memory) = (runtime(), Arc::new(Memory::new()));
    let (_node, store) = pair(&runtime, &memory);
    memory.set_time(Millis(77));
    memory.set_free_bytes(Some(5));
    assert_eq!(store.time(), Ok(Millis(77)));
    assert_eq!((store.free_bytes(), store.pins()), (Some(5), vec![]));
}

/// The connection goes while the store is at a commit: its outcome is unknown
/// and it is carried out; the same commit again changes nothing.
#[test]
fn a_commit_whose_connection_is_cut_happens_once() {
    let (runtime, realm, gate) = (runtime(), Realm::new("demo"), Arc::new(Gate::default()));
    let node = serving(&runtime, &realm, gate.clone());
    let config = Config::new(Transport::Udp, HERE, node.address());
    let relay = runtime.block_on(Relay::start(config)).expect("a relay");
    let store = calling(&realm, 1, relay.address(), hasty());
    let mut process = Process::new(1);
    commit_until_known(&store, &process.next(vec![]));
    gate.set_shut(true);
    let ledger = EntityKey::Ledger(2);
    let commit = process.next(vec![append(ledger, 1, b"once")]);
    until("the commit is at the store", || {
        let lost = store.commit(&commit);
        assert!(matches!(lost, Err(CommitError::Unknown(_))), "{lost:?}");
        (gate.state().commits == 1).then_some(())
    });
    relay.control().cut();
    gate.set_shut(false);
    gate.until("it was carried out", |state| state.commits == 0);
    assert!(matches!(store.commit(&commit), Err(CommitError::Unknown(_))));
    assert!(matches!(store.get(b"x"), Err(ReadError::Away(_))));
    let version = row_version(&gate.memory, 1);
    relay.control().heal();
    let answer = commit_until_known(&store, &commit);
    assert_eq!((answer.version, answer.refused), (version, vec![]));
    assert_eq!(load(&gate.memory, ledger).records, [(1, b"once".to_vec())]);
    commit_until_known(&store, &process.next(vec![append(ledger, 2, b"more")]));
    assert_eq!(row(&gate.memory, 1).number, 2);
    assert_eq!(gate.state().commits_most, 1);
}

fn row_version(store: &dyn Store, node: u32) -> u64 {
    store.get(&keys::row(NodeId(node))).unwrap().expect("a row").version
}

/// A commit that never came to the store is unknown too, and again is once.
#[test]
fn a_commit_that_does_not_get_through_is_unknown_and_nothing_happened() {
    let (runtime, realm, memory) = (runtime(), Realm::new("demo"), Arc::new(Memory::new()));
    let node = serving(&runtime, &realm, memory.clone());
    let config = Config::new(Transport::Udp, HERE, node.address());
    let relay = runtime.block_on(Relay::start(config)).expect("a relay");
    let store = calling(&realm, 1, relay.address(), hasty());
    let mut process = Process::new(1);
    commit_until_known(&store, &process.next(vec![]));
    relay.control().cut();
    let commit = process.next(vec![put(b"x", b"1")]);
    for _ in 0..3 {
        assert!(matches!(store.commit(&commit), Err(CommitError::Unknown(_))));
    }
    assert_eq!(value(&*memory, b"x"), None);
    relay.control().heal();
    commit_until_known(&store, &commit);
    assert_eq!(value(&*memory, b"x"), Some(b"1".to_vec()));
    assert_eq!(row(&*memory, 1).number, 1);
}

#[test]
fn a_store_whose_node_is_gone_is_away_and_answers_when_it_is_back() {
    let (runtime, realm, memory) = (runtime(), Realm::new("demo"), Arc::new(Memory::new()));
    let node = serving(&runtime, &realm, memory.clone());
    let address = node.address();
    let store = calling(&realm, 1, address, hasty());
    let mut process = Process::new(1);
    commit_until_known(&store, &process.next(vec![put(b"x", b"1")]));
    memory.set_free_bytes(Some(5));
    assert_eq!(until("an answer", || store.free_bytes()), 5);
    runtime.block_on(node.links.stop());
    let why = until("it is away", || match store.state() {
        MeshState::Away { why } => why,
        MeshState::Up { .. } => None,
    });
    assert!(!why.reason.is_refusal(), "{why}");
    let away = store.get(b"x").expect_err("nobody is there").to_string();
    assert!(away.contains("the store of node 1000: no connection"), "{away}");
    assert!(matches!(store.time(), Err(ReadError::Away(_))));
    assert_eq!((store.free_bytes(), store.pins()), (None, vec![]));
    let next = process.next(vec![put(b"x", b"2")]);
    assert!(matches!(store.commit(&next), Err(CommitError::Unknown(_))));
    let settings = with_store(&realm, memory.clone(), patient());
    let listen = Settings { listen: address, ..settings };
    let _back = runtime.block_on(TestNode::start_anew(listen));
    commit_until_known(&store, &next);
    assert_eq!(until("an answer", || store.get(b"x").ok()).expect("a value").value, b"2");
}

#[test]
fn a_new_address_is_dialled_at_once() {
    let (runtime, realm, memory) = (runtime(), Realm::new("demo"), Arc::new(Memory::new()));
    let node = serving(&runtime, &realm, memory);
    // Nobody answers at the first, and after one attempt it would wait for long.
    let (nobody, limits) = (std::net::UdpSocket::bind(HERE).expect("a socket"), patient());
    let long = 100 * WITHIN;
    let limits = Limits { redial_first: long, redial_most: long, ..limits };
    let store = calling(&realm, 1, nobody.local_addr().expect("an address"), limits);
    nobody.set_read_timeout(Some(WITHIN)).expect("a time");
    nobody.recv_from(&mut [0; 2048]).expect("it is dialled");
    store.set_address(node.address().to_string());
    assert_eq!(store.time(), Ok(Millis(0)));
    assert!(matches!(store.state(), MeshState::Up { .. }));
}

#[test]
fn a_commit_under_way_is_carried_out_though_the_node_stops() {
    let (runtime, realm, gate) = (runtime(), Realm::new("demo"), Gate::shut());
    let node = serving(&runtime, &realm, gate.clone());
    let store = calling(&realm, 1, node.address(), patient());
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| store.commit(&Process::new(1).next(vec![])));
        gate.until("the commit is at the store", |state| state.commits == 1);
        let stop = runtime.spawn(node.links.stop());
        // It is answered if the stop still waited for it.
        gate.set_shut(false);
        let answer = commit.join().expect("it ends");
        assert!(matches!(&answer, Ok(_) | Err(CommitError::Unknown(_))), "{answer:?}");
        runtime.block_on(stop).expect("it stops");
    });
    gate.until("it was carried out", |state| state.commits == 0);
    assert_eq!(row(&gate.memory, 1).number, 0);
}

/// Several nodes, each with a committer and readers, over one sled store.
#[test]
fn many_nodes_commit_and_read_at_once() {
    const NODES: u32 = 4;
    const COMMITS: u64 = 40;
    let (runtime, dir) = (runtime(), tempfile::tempdir().expect("a folder"));
    let sled = Arc::new(store_support::open(dir.path(), store_support::tiny()));
    let all = ManyNodes::new(&runtime, sled.clone());
    std::thread::scope(|scope| {
        for n in 1..=NODES {
            let store = all.of(NodeId(n));
            let committer = store.clone();
            let done = scope.spawn(move || {
                let mut process = Process::begun(&committer, n);
                let entity = EntityKey::Ledger(n.into());
                for k in 1..=COMMITS {
                    let key = format!("key/{n}");
                    process.must(
                        &committer,
                        vec![
                            append(entity, k, &k.to_be_bytes()),
                            put(key.as_bytes(), &k.to_be_bytes()),
                        ],
                    );
                }
            });
            let done = Arc::new(done);
            for _ in 0..4 {
                let (store, done) = (store.clone(), done.clone());
                scope.spawn(move || {
                    let mut last = 0;
                    while !done.is_finished() {
                        let key = format!("key/{n}");
                        let found = store.get(key.as_bytes()).expect("it answers");
                        let number = found.map_or(0, |row| {
                            u64::from_be_bytes(row.value.try_into().expect("a number"))
                        });
                        // What was seen once is not unseen.
                        assert!(number >= last);
                        last = number;
                        store.scan(b"key/", None, 10).expect("it answers");
                    }
                });
            }
        }
    });
    for n in 1..=NODES {
        let records = load(&*sled, EntityKey::Ledger(n.into())).records;
        let expected: Vec<_> = (1..=COMMITS).map(|k| (k, k.to_be_bytes().to_vec())).collect();
        assert_eq!(records, expected, "node {n}");
        assert_eq!(row(&*sled, n).number, COMMITS);
    }
    assert_eq!(sled.stats().version, u64::from(NODES) * (COMMITS + 1));
}

/// The places of a node are its own: they do not grow with its connections, and
/// no other node waits for them.
#[test]
fn a_node_that_fills_its_places_holds_up_no_other() {
    let (runtime, realm, gate) = (runtime(), Realm::new("demo"), Gate::shut());
    let limits = |reads_per_node| {
        let calls = CallLimits { reads_per_node, ..patient().calls };
        Limits { calls, ..patient() }
    };
    let node = serving_with(&runtime, &realm, gate.clone(), limits(4));
    // Says that it may make more than the other node allows.
    let greedy = calling(&realm, 1, node.address(), limits(64));
    let other = calling(&realm, 2, node.address(), limits(4));
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| greedy.get(b"x").expect("it answers"));
        }
        gate.until("its places are full", |state| state.reads == 5);
        scope.spawn(|| Process::begun(&other, 2));
        gate.until("the other's commit is there", |state| state.commits == 1);
        gate.set_shut(false);
    });
    let state = *gate.state();
    assert!(state.reads_most <= 5, "{state:?}");
    assert_eq!(row(&gate.memory, 2).number, 0);
}
