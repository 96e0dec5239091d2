//! Nodes that commit at the same time on a PostgreSQL server: what they did
//! is what they would have done one after the other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::ScopedJoinHandle;

use starmesh::base::EntityKey;
use starmesh::entity::commit::{Expect, Group};
use starmesh::store::Store;
use starmesh::store::conformance::{Process, append, delete, load, put, value, when};
use starmesh::store::postgres::Postgres;

use crate::postgres_server::{Server, open, shared};

const ROUNDS: u64 = 200;

/// Two nodes of one store, each with a connection of its own.
struct Pair {
    _server: Arc<Server>,
    stores: [Postgres; 2],
    processes: [Process; 2],
}

impl Pair {
    fn begun() -> Pair {
        let server = shared();
        let url = server.database();
        let stores = [open(&url), open(&url)];
        let processes = [1, 2].map(|node| Process::begun(&stores[0], node));
        Pair { _server: server, stores, processes }
    }

    /// Both commit at once; whether each had its last group accepted.
    fn race(&mut self, groups: [Vec<Group>; 2]) -> [bool; 2] {
        let begin = Barrier::new(2);
        let [first, second] = &mut self.processes;
        let [one, other] = groups;
        let run = |process: &mut Process, store: &Postgres, groups: Vec<Group>| {
            begin.wait();
            let last = groups.len() as u32 - 1;
            !process.must(store, groups).refused.contains(&last)
        };
        std::thread::scope(|scope| {
            let first = scope.spawn(|| run(first, &self.stores[0], one));
            let second = run(second, &self.stores[1], other);
            [first.join().expect("it has an answer"), second]
        })
    }
}

#[test]
fn of_two_that_compare_and_swap_a_key_one_wins() {
    let mut pair = Pair::begun();
    let mut version = pair.processes[0].must(&pair.stores[0], vec![put(b"k", b"0")]).version;
    let mut wins = [0, 0];
    for round in 0..ROUNDS {
        let swap = |node: u8| vec![when(b"k", Expect::Version(version), put(b"k", &[node]))];
        let won = pair.race([swap(0), swap(1)]);
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "round {round}: {won:?}");
        let winner = u8::from(won[1]);
        wins[usize::from(winner)] += 1;
        let found = pair.stores[0].get(b"k").expect("it answers").expect("it was put");
        assert_eq!(found.value, [winner]);
        version = found.version;
    }
    println!("wins: {wins:?}");
}

#[test]
fn of_two_that_find_a_key_absent_one_puts_it() {
    let mut pair = Pair::begun();
    for round in 0..ROUNDS {
        let key = format!("account/name/{round}").into_bytes();
        let claim = |node: u8| vec![when(&key, Expect::Absent, put(&key, &[node]))];
        let won = pair.race([claim(0), claim(1)]);
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "round {round}: {won:?}");
        assert_eq!(value(&pair.stores[0], &key), Some(vec![u8::from(won[1])]));
    }
}

#[test]
fn two_that_each_see_the_others_key_absent_are_not_both_accepted() {
    let mut pair = Pair::begun();
    for round in 0..ROUNDS {
        let keys = [0, 1].map(|n| format!("skew/{round}/{n}").into_bytes());
        let put_if = |own: usize| {
            let other = 1 - own;
            vec![when(&keys[other], Expect::Absent, put(&keys[own], b"x"))]
        };
        let won = pair.race([put_if(0), put_if(1)]);
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "round {round}: {won:?}");
    }
    // What held the place of an absent key is gone again.
    let kept = pair.stores[0].scan(b"skew/", None, usize::MAX).expect("it answers");
    assert_eq!(kept.len() as u64, ROUNDS);
}

#[test]
fn of_two_processes_of_a_node_one_begins() {
    let pair = Pair::begun();
    for node in 10..60 {
        let begin = Barrier::new(2);
        let run = |store: &Postgres, nonce| {
            let mut process = Process { nonce, ..Process::new(node) };
            begin.wait();
            process.commit(store, vec![put(b"begun", &[nonce as u8])]).is_ok()
        };
        let begun = std::thread::scope(|scope| {
            let first = scope.spawn(|| run(&pair.stores[0], 1));
            let second = run(&pair.stores[1], 2);
            [first.join().expect("it has an answer"), second]
        });
        assert_eq!(begun.iter().filter(|begun| **begun).count(), 1, "node {node}: {begun:?}");
        assert_eq!(value(&pair.stores[0], b"begun"), Some(vec![u8::from(begun[1]) + 1]));
    }
}

#[test]
fn of_two_that_append_the_same_record_one_is_accepted() {
    let mut pair = Pair::begun();
    for round in 0..ROUNDS {
        // A journal that begins, and goes on.
        let entity = EntityKey::Ledger(round / 4);
        let next = |node: u8| vec![append(entity, round % 4 + 1, &[node])];
        let won = pair.race([next(0), next(1)]);
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "round {round}: {won:?}");
        let last = load(&pair.stores[1], entity).records.pop();
        assert_eq!(last, Some((round % 4 + 1, vec![u8::from(won[1])])));
    }
}

#[test]
fn two_that_cross_each_other_are_both_carried_out() {
    let mut pair = Pair::begun();
    let keys: Vec<Vec<u8>> = (0..40).map(|n| format!("cross/{n:02}").into_bytes()).collect();
    for round in 0..ROUNDS {
        // Blind puts of one, checks of the other: they take locks in another
        // order, so that each may wait for the other.
        let (checked, blind) = (&keys[..20], &keys[20..]);
        let groups = |checked: &[Vec<u8>], blind: &[Vec<u8>]| -> Vec<Group> {
            let checks = checked.iter().map(|key| when(key, Expect::Absent, delete(key)));
            checks.chain(blind.iter().map(|key| put(key, &round.to_be_bytes()))).collect()
        };
        let won = pair.race([groups(checked, blind), groups(blind, checked)]);
        assert_eq!(won, [true, true], "round {round}");
    }
}

#[test]
fn who_follows_changes_misses_none_while_nodes_commit() {
    const NODES: u32 = 3;
    const COMMITS: u64 = 150;
    let server = shared();
    let url = server.database();
    let store = open(&url);
    let done = AtomicBool::new(false);
    let node = |node: u32| {
        let (store, mut process) = (open(&url), Process::new(node));
        process.must(&store, vec![]);
        for n in 0..COMMITS {
            let own = format!("account/{node}/{}", n % 20).into_bytes();
            let common = format!("account/common/{}", n % 7).into_bytes();
            let value = [&node.to_be_bytes()[..], &n.to_be_bytes()].concat();
            let last = if n % 5 == 4 { delete(&common) } else { put(&common, &value) };
            process.must(&store, vec![put(&own, &value), last]);
        }
    };
    let followed = std::thread::scope(|scope| {
        let follower = scope.spawn(|| follow(&store, &done));
        let nodes: Vec<_> = (1..=NODES).map(|n| scope.spawn(move || node(n))).collect();
        let ends: Vec<_> = nodes.into_iter().map(ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Release);
        assert!(ends.iter().all(Result::is_ok), "a node panicked");
        follower.join().expect("no panic")
    });
    let scanned = store.scan(b"account/", None, usize::MAX).expect("it answers");
    let scanned = scanned.into_iter().map(|(key, found)| (key, found.value)).collect();
    assert_eq!(followed, scanned);
}

/// All keys as changes alone tell them, asked for until nothing comes any
/// more.
fn follow(store: &Postgres, done: &AtomicBool) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let (mut all, mut since) = (BTreeMap::new(), 0);
    loop {
        let last = done.load(Ordering::Acquire);
        let changes = store.changes(since, 10).expect("it answers");
        assert!(!changes.too_old && changes.upto >= since);
        if last && changes.changes.is_empty() {
            return all;
        }
        since = changes.upto;
        for change in changes.changes {
            match change.value {
                Some(value) => all.insert(change.key, value),
                None => all.remove(&change.key),
            };
        }
    }
}
