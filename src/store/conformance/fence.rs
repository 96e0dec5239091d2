//! Cases about a node's row: who may commit, and what a repeated commit says.

use super::*;
use crate::base::Millis;
use crate::entity::audit::{Decision, Entry, Place, root_after};

pub(super) const CASES: &[Case] = &[
    ("a node begins with incarnation 1, commit 0", begins_with_one),
    ("beginning again keeps the tick and writes the ended incarnation", keeps_the_tick),
    ("a repeated beginning is answered, a second process is fenced", one_process_begins),
    ("a number already there is answered from the row", repeats_are_answered),
    ("another number or incarnation is refused in whole", others_are_fenced),
    ("a node declared dead commits nothing more", dead_nodes_are_fenced),
    ("a node's last commit ends its incarnation", last_commits_end_it),
    ("a last commit is refused like any other, and none begins", last_commits_are_fenced),
    ("a commit with another audit root than the row's is refused in whole", roots_are_fenced),
    ("the row has the root over the accepted entries, a repeat keeps it", roots_go_on),
    ("a new process of a node goes on from the row's root", roots_outlive_processes),
    ("a tick before the row's is malformed", ticks_do_not_go_back),
    ("a node does not put its own row, nobody deletes one", rows_are_kept),
];

fn begins_with_one(store: &dyn Store) {
    let fenced = Process::restarted(1, 2).commit(store, vec![]);
    assert_eq!(fenced, Err(CommitError::Fenced { row: None }));
    let mut late = Process { number: 1, ..Process::new(1) };
    assert_eq!(late.commit(store, vec![]), Err(CommitError::Fenced { row: None }));
    assert_eq!(Process::new(1).must(store, vec![]).version, 1);
    let row = row(store, 1);
    assert_eq!((row.incarnation, row.number, row.tick), (Incarnation(1), 0, Tick(0)));
}

fn keeps_the_tick(store: &dyn Store) {
    let mut first = Process::begun(store, 1);
    first.tick = Tick(77);
    first.must(store, vec![]);
    let mut second = Process { tick: Tick(5), ..Process::restarted(1, 2) };
    second.must(store, vec![put(b"x", b"begun")]);
    let row = row(store, 1);
    assert_eq!((row.incarnation, row.number, row.tick), (Incarnation(2), 0, Tick(77)));
    let ended = keys::ended_incarnation(NodeId(1), Incarnation(1));
    assert_eq!(value(store, &ended), Some(77_u64.to_be_bytes().to_vec()));
    assert_eq!(value(store, b"x"), Some(b"begun".to_vec()));
}

fn one_process_begins(store: &dyn Store) {
    let begin = Process::new(1).next(vec![]);
    // The time is that of the answer.
    let answer = |commit| store.commit(commit).map(|answer| (answer.version, answer.refused));
    assert_eq!(answer(&begin), Ok((1, vec![])));
    assert_eq!(answer(&begin), Ok((1, vec![])));
    let other = Commit { nonce: begin.nonce + 1, ..begin };
    assert!(matches!(store.commit(&other), Err(CommitError::Fenced { row: Some(_) })));
}

fn repeats_are_answered(store: &dyn Store) {
    let mut process = Process::begun(store, 1);
    let groups = vec![put(b"x", b"1"), when(b"x", Expect::Absent, put(b"y", b"2"))];
    let commit = process.next(groups);
    let answer = store.commit(&commit).expect("in order");
    assert_eq!(answer.refused, [1]);
    Process::begun(store, 2).must(store, vec![put(b"y", b"3")]);
    let again = store.commit(&commit).expect("repeated");
    assert_eq!((again.version, again.refused), (answer.version, vec![1]));
    assert_eq!(value(store, b"y"), Some(b"3".to_vec()));
    assert_eq!(row(store, 1).refused, [1]);
}

fn others_are_fenced(store: &dyn Store) {
    let mut process = Process::begun(store, 1);
    let first = process.next(vec![]);
    store.commit(&first).expect("in order");
    process.must(store, vec![]);
    let write = vec![put(b"x", b"1"), append(EntityKey::Ledger(1), 1, b"r")];
    let mut ahead = Process { number: 4, ..process.clone() };
    let mut older = Process { number: 1, ..process.clone() };
    let mut other = Process { incarnation: Incarnation(2), ..process.clone() };
    let mut twin = Process { nonce: 1, ..process.clone() };
    for wrong in [&mut ahead, &mut older, &mut other, &mut twin] {
        let answer = wrong.commit(store, write.clone());
        assert!(matches!(answer, Err(CommitError::Fenced { row: Some(_) })), "{answer:?}");
    }
    assert_eq!(value(store, b"x"), None);
    assert!(load(store, EntityKey::Ledger(1)).records.is_empty());
    assert_eq!(process.must(store, vec![]).version, 4);
}

fn dead_nodes_are_fenced(store: &dyn Store) {
    let mut victim = Process::begun(store, 1);
    let mut declarer = Process::begun(store, 2);
    let key = keys::row(NodeId(1));
    let seen = store.get(&key).expect("the store answers").expect("the victim has begun");
    victim.must(store, vec![]);
    let dead = NodeRow { incarnation: Incarnation(2), ..row(store, 1) };
    let declare = |version| when(&key, Expect::Version(version), put(&key, &dead.to_bytes()));
    let stale = declarer.must(store, vec![declare(seen.version)]);
    assert_eq!(stale.refused, [0], "its row moved meanwhile");
    let seen = store.get(&key).expect("the store answers").expect("still there");
    assert!(declarer.must(store, vec![declare(seen.version)]).refused.is_empty());
    let answer = victim.commit(store, vec![]);
    assert_eq!(answer, Err(CommitError::Fenced { row: Some(dead) }));
    assert!(Process::restarted(1, 2).commit(store, vec![]).is_err());
    Process::restarted(1, 3).must(store, vec![]);
}

fn last_commits_end_it(store: &dyn Store) {
    let mut process = Process { tick: Tick(40), ..Process::begun(store, 1) };
    process.must(store, vec![]);
    process.tick = Tick(41);
    let groups = vec![put(b"x", b"1"), when(b"x", Expect::Absent, put(b"y", b"2"))];
    let last = Commit { is_last: true, ..process.next(groups) };
    let answer = store.commit(&last).expect("in order");
    assert_eq!(answer.refused, [1]);
    let left = row(store, 1);
    assert!(left.was_left() && left.incarnation == Incarnation(2), "{left:?}");
    assert_eq!((left.number, left.tick), (last.number, Tick(41)));
    let ended = keys::ended_incarnation(NodeId(1), Incarnation(1));
    assert_eq!(value(store, &ended), Some(41_u64.to_be_bytes().to_vec()));
    let again = store.commit(&last).expect("repeated");
    assert_eq!((again.version, again.refused), (answer.version, vec![1]));
    // Neither what would come next, nor others with its number or incarnation.
    let next = process.next(vec![put(b"x", b"3")]);
    let same_number = Commit { number: last.number, ..next.clone() };
    let before = Commit { number: last.number - 1, is_last: true, ..next.clone() };
    let vacant = Process::restarted(1, 2).next(vec![put(b"x", b"3")]);
    for wrong in [next, same_number, before, vacant] {
        let answer = store.commit(&wrong);
        assert!(matches!(answer, Err(CommitError::Fenced { row: Some(_) })), "{answer:?}");
    }
    assert_eq!((value(store, b"x"), row(store, 1)), (Some(b"1".to_vec()), left));
    Process::restarted(1, 3).must(store, vec![]);
    let begun = row(store, 1);
    assert_eq!((begun.incarnation, begun.tick), (Incarnation(3), Tick(41)));
    assert_eq!(value(store, &ended), Some(41_u64.to_be_bytes().to_vec()));
    let vacant = keys::ended_incarnation(NodeId(1), Incarnation(2));
    assert_eq!(value(store, &vacant), None, "nobody claimed anything under it");
}

fn last_commits_are_fenced(store: &dyn Store) {
    let mut victim = Process::begun(store, 1);
    let mut declarer = Process::begun(store, 2);
    let key = keys::row(NodeId(1));
    let seen = store.get(&key).expect("the store answers").expect("the victim has begun");
    let dead = row(store, 1).vacated();
    let declare = when(&key, Expect::Version(seen.version), put(&key, &dead.to_bytes()));
    assert!(declarer.must(store, vec![declare]).refused.is_empty());
    let last = Commit { is_last: true, ..victim.next(vec![put(b"x", b"1")]) };
    assert_eq!(store.commit(&last), Err(CommitError::Fenced { row: Some(dead) }));
    assert_eq!(value(store, b"x"), None);
    let begins = Commit { is_last: true, ..Process::restarted(1, 3).next(vec![]) };
    assert!(matches!(store.commit(&begins), Err(CommitError::Malformed(_))));
}

fn roots_are_fenced(store: &dyn Store) {
    let mut process = Process::begun(store, 1);
    let before = row(store, 1);
    let write = vec![put(b"x", b"1"), append(EntityKey::Ledger(1), 1, b"r")];
    let mut forged = Process { root: [8; 32], ..process.clone() };
    let answer = forged.commit(store, write);
    assert_eq!(answer, Err(CommitError::Fenced { row: Some(before.clone()) }));
    assert_eq!((value(store, b"x"), row(store, 1)), (None, before));
    assert!(load(store, EntityKey::Ledger(1)).records.is_empty());
    // Somebody else changed the row: the process is out, it knows another history.
    let tampered = NodeRow { audit_root: [9; 32], ..row(store, 1) };
    let put_row = put(&keys::row(NodeId(1)), &tampered.to_bytes());
    Process::begun(store, 2).must(store, vec![put_row]);
    let answer = process.clone().commit(store, vec![]);
    assert_eq!(answer, Err(CommitError::Fenced { row: Some(tampered) }));
    process.root = [9; 32];
    process.must(store, vec![]);
}

/// A group with the audit entry of that index in the next commit of `process`.
fn entry(process: &Process, index: u32) -> Group {
    let Process { node, incarnation, number, root, .. } = *process;
    let decision = Decision::GalaxyMade;
    let entry = Entry { base: root, time: Millis(u64::from(index)), decision };
    let put = entry.put(Place { node, incarnation, number, index });
    Group { puts: vec![put], ..Group::default() }
}

fn roots_go_on(store: &dyn Store) {
    let mut process = Process::begun(store, 1);
    store.commit(&process.next(vec![])).expect("in order");
    assert_eq!(row(store, 1).audit_root, process.root, "no entry, the same root");
    let refused = when(b"x", Expect::Version(7), entry(&process, 1));
    let groups = vec![entry(&process, 0), refused, entry(&process, 2)];
    let commit = process.next(groups);
    let answer = store.commit(&commit).expect("in order");
    assert_eq!(answer.refused, [1]);
    let root = root_after(&commit, &[1]);
    assert_ne!(root, root_after(&commit, &[]), "what was refused does not count");
    assert_eq!(row(store, 1).audit_root, root);
    // Its outcome was unknown: the same bytes are answered, though the root moved.
    assert_eq!(store.commit(&commit).map(|answer| answer.refused), Ok(vec![1]));
    assert_eq!(row(store, 1).audit_root, root);
    assert!(process.clone().commit(store, vec![]).is_err(), "the root before it");
    process.root = root;
    process.must(store, vec![]);
}

fn roots_outlive_processes(store: &dyn Store) {
    Process::begun(store, 1);
    let mut unknowing = Process { root: [0; 32], ..Process::restarted(1, 2) };
    assert!(matches!(unknowing.commit(store, vec![]), Err(CommitError::Fenced { row: Some(_) })));
    let mut second = Process::restarted(1, 2);
    let first = second.next(vec![]);
    store.commit(&first).expect("in order");
    assert_eq!(row(store, 1).audit_root, second.root);
}

fn ticks_do_not_go_back(store: &dyn Store) {
    let mut process = Process::begun(store, 1);
    process.tick = Tick(9);
    process.must(store, vec![]);
    let mut back = Process { tick: Tick(8), ..process.clone() };
    assert!(matches!(back.commit(store, vec![]), Err(CommitError::Malformed(_))));
    assert_eq!(row(store, 1).tick, Tick(9));
    process.must(store, vec![]);
}

fn rows_are_kept(store: &dyn Store) {
    let mut process = Process::begun(store, 1);
    Process::begun(store, 2);
    let own = put(&keys::row(NodeId(1)), &row(store, 1).to_bytes());
    let garbage = put(&keys::row(NodeId(2)), b"garbage");
    for group in [own, garbage, delete(&keys::row(NodeId(2)))] {
        let mut process = process.clone();
        let answer = process.commit(store, vec![group]);
        assert!(matches!(answer, Err(CommitError::Malformed(_))), "{answer:?}");
    }
    process.must(store, vec![]);
}
