//! Whatever is done to a log afterwards shows.

use std::collections::BTreeMap;

use super::chain::{Chain, KeptHead, Problem, Rows, Verifier, Witness};
use super::*;
use crate::base::Tick;
use crate::entity::commit::{Group, NodeRow};

type Log = BTreeMap<Vec<u8>, Vec<u8>>;

/// Two nodes' rows and entries, as a store would have kept them.
#[derive(Clone, Default)]
struct Model {
    rows: Rows,
    log: Log,
}

impl Model {
    /// A commit with these decisions, each in a group of its own; every third
    /// group is refused.
    fn commit(&mut self, node: u32, incarnation: u64, number: u64, decisions: Vec<Decision>) {
        let (node, incarnation) = (NodeId(node), Incarnation(incarnation));
        let base = self.rows.get(&node).map_or([0; 32], |row| row.audit_root);
        let group = |(index, decision)| {
            let entry = Entry { base, time: Millis(1000 + number), decision };
            let put = entry.put(Place { node, incarnation, number, index });
            Group { puts: vec![put], ..Group::default() }
        };
        let groups: Vec<Group> = (0..).zip(decisions).map(group).collect();
        let refused: Vec<u32> = (0..groups.len() as u32).filter(|n| n % 3 == 2).collect();
        let tick = Tick(number);
        let commit = Commit {
            node,
            incarnation,
            number,
            nonce: 7,
            tick,
            audit_root: base,
            groups,
            is_last: false,
        };
        let audit_root = root_after(&commit, &refused);
        let row = NodeRow { incarnation, nonce: 7, number, tick, refused: vec![], audit_root };
        for (index, group) in (0..).zip(commit.groups) {
            for put in group.puts.into_iter().filter(|_| !refused.contains(&index)) {
                self.log.insert(put.key, put.value.expect("an entry"));
            }
        }
        self.rows.insert(node, row);
    }

    fn head(&self, node: u32) -> (NodeId, Head) {
        let row = &self.rows[&NodeId(node)];
        let NodeRow { incarnation, number, audit_root: root, .. } = *row;
        (NodeId(node), Head { incarnation, number, root })
    }

    fn verify(&self) -> Vec<Chain> {
        let mut verifier = Verifier::new(self.rows.clone());
        for (key, value) in &self.log {
            verifier.add(keys::parse_audit(key).expect("an entry's key"), value);
        }
        verifier.finish(&self.rows)
    }

    fn problems(&self) -> Vec<Problem> {
        self.verify().into_iter().filter_map(|chain| chain.problem).collect()
    }
}

fn claimed(n: u64) -> Decision {
    Decision::Claimed { entity: EntityKey::Ledger(n), sequence: n, woke: false }
}

/// Node 1 runs through two incarnations, node 2 sees both ends.
fn model() -> Model {
    let mut model = Model::default();
    let began = || vec![Decision::Began { logic: Logic::default() }];
    model.commit(1, 1, 0, began());
    model.commit(2, 1, 0, began());
    model.commit(1, 1, 1, vec![claimed(1), claimed(2), claimed(3), claimed(4)]);
    model.commit(1, 1, 2, vec![]);
    model.commit(1, 1, 3, vec![claimed(5)]);
    let (node, last) = model.head(1);
    model.commit(2, 1, 1, vec![Decision::DeclaredDead { node, last }]);
    model.commit(1, 3, 0, began());
    model.commit(1, 3, 1, vec![claimed(6), claimed(7)]);
    model.commit(1, 3, 2, vec![]);
    let heads = vec![model.head(1)];
    model.commit(2, 1, 2, vec![Decision::Witnessed { heads }]);
    model
}

#[test]
fn a_log_as_it_was_written_is_whole() {
    let chains = model().verify();
    assert_eq!(chains.iter().map(|chain| chain.entries).collect::<Vec<_>>(), [8, 3]);
    assert_eq!(chains.iter().map(|chain| chain.witnessed).collect::<Vec<_>>(), [2, 0]);
    assert!(chains.iter().all(|chain| chain.problem.is_none()), "{chains:?}");
    assert_eq!((chains[0].from, chains[0].to), (Some(Millis(1000)), Some(Millis(1001))));
}

#[test]
fn a_commit_without_entries_keeps_the_root() {
    let mut model = model();
    let before = model.head(1).1.root;
    model.commit(1, 3, 3, vec![]);
    assert_eq!(model.head(1).1.root, before);
}

#[test]
fn removing_any_entry_shows() {
    for key in model().log.keys() {
        let mut model = model();
        model.log.remove(key);
        assert!(!model.problems().is_empty(), "{:?}", keys::parse_audit(key));
    }
}

#[test]
fn changing_any_byte_of_an_entry_shows() {
    for (key, value) in &model().log {
        for at in 0..value.len() {
            let mut model = model();
            model.log.get_mut(key).expect("it is there")[at] ^= 1;
            let place = keys::parse_audit(key);
            assert!(!model.problems().is_empty(), "byte {at} of {place:?}");
        }
    }
}

#[test]
fn an_entry_that_was_added_shows() {
    for (key, value) in &model().log {
        let mut model = model();
        let mut place = keys::parse_audit(key).expect("an entry's key");
        place.index += 7;
        model.log.insert(keys::audit_entry(place), value.clone());
        assert!(!model.problems().is_empty(), "{place}");
    }
}

#[test]
fn two_entries_that_changed_places_show() {
    let keys: Vec<Vec<u8>> = model().log.into_keys().collect();
    for (n, one) in keys.iter().enumerate() {
        for other in &keys[n + 1..] {
            let mut model = model();
            let (first, second) = (model.log[one].clone(), model.log[other].clone());
            if first == second {
                continue;
            }
            model.log.insert(one.clone(), second);
            model.log.insert(other.clone(), first);
            assert!(!model.problems().is_empty(), "{one:?} {other:?}");
        }
    }
}

#[test]
fn a_tail_that_was_cut_shows_also_when_the_row_was_set_back() {
    let mut model = model();
    let last = model.log.keys().rfind(|key| key.starts_with(&audit_of_node(1))).cloned();
    model.log.remove(&last.expect("entries"));
    assert_eq!(model.problems(), [Problem::Tail]);
    // To where it was before its last commit with entries: whole by itself.
    let mut set_back = Model::default();
    set_back.commit(1, 1, 0, vec![Decision::Began { logic: Logic::default() }]);
    let cut = set_back.rows[&NodeId(1)].clone();
    assert_eq!(set_back.problems(), []);
    let mut model = self::model();
    let first = set_back.log.keys().next().cloned().expect("an entry");
    model.log.retain(|key, _| !key.starts_with(&audit_of_node(1)) || *key == first);
    model.rows.insert(NodeId(1), cut);
    let found = model.problems();
    assert!(matches!(found[..], [Problem::CutOff { number: 3, .. }]), "{found:?}");
}

#[test]
fn a_history_that_was_written_anew_shows_by_what_others_saw() {
    let mut model = model();
    model.log.retain(|key, _| !key.starts_with(&audit_of_node(1)));
    model.rows.remove(&NodeId(1));
    let mut honest = model.clone();
    honest.commit(1, 3, 2, vec![claimed(9)]);
    let found = honest.problems();
    assert!(matches!(found[..], [Problem::Contradicted { .. }]), "{found:?}");
    // Without a row and without an entry the node is still known to have been.
    let found = model.problems();
    assert!(matches!(found[..], [Problem::CutOff { .. }]), "{found:?}");
}

#[test]
fn what_is_written_while_the_log_is_read_is_no_problem() {
    let (before, mut after) = (model(), model());
    after.commit(1, 3, 3, vec![claimed(8)]);
    let heads = vec![after.head(1)];
    let mut witness = before.clone();
    witness.commit(2, 1, 3, vec![Decision::Witnessed { heads }]);
    // One row was read before, the other one behind that.
    let rows = Rows::from([
        (NodeId(1), before.rows[&NodeId(1)].clone()),
        (NodeId(2), witness.rows[&NodeId(2)].clone()),
    ]);
    let mut verifier = Verifier::new(rows);
    after.log.extend(witness.log);
    for (key, value) in &after.log {
        verifier.add(keys::parse_audit(key).expect("an entry's key"), value);
    }
    let chains = verifier.finish(&after.rows);
    assert!(chains.iter().all(|chain| chain.problem.is_none()), "{chains:?}");
}

#[test]
fn entries_that_are_only_copied_do_not_count() {
    let (node, incarnation) = (NodeId(1), Incarnation(1));
    let entry = |base| Entry { base, time: Millis(1), decision: Decision::GalaxyMade };
    let place = Place { node, incarnation, number: 1, index: 0 };
    let root = |base| {
        let group = Group { puts: vec![entry(base).put(place)], ..Group::default() };
        let (number, tick, audit_root) = (1, Tick(0), [9; 32]);
        let groups = vec![group];
        root_after(
            &Commit {
                node,
                incarnation,
                number,
                nonce: 7,
                tick,
                audit_root,
                groups,
                is_last: false,
            },
            &[],
        )
    };
    assert_eq!(root([8; 32]), [9; 32]);
    assert_ne!(root([9; 32]), [9; 32]);
}

fn audit_of_node(node: u32) -> Vec<u8> {
    [keys::AUDIT, &node.to_be_bytes()[..]].concat()
}

#[test]
fn a_head_that_was_kept_elsewhere_remembers_what_nobody_else_does() {
    let kept: Vec<(NodeId, Head)> = model()
        .verify()
        .into_iter()
        .map(|it| (it.node, it.head.unwrap().head().unwrap()))
        .collect();
    let verify = |model: &Model| {
        let mut verifier = Verifier::new(model.rows.clone());
        kept.iter().for_each(|(node, head)| verifier.add_kept(*node, *head));
        for (key, value) in &model.log {
            verifier.add(keys::parse_audit(key).expect("an entry's key"), value);
        }
        let chains = verifier.finish(&model.rows);
        chains.into_iter().filter_map(|chain| chain.problem).collect::<Vec<_>>()
    };
    assert_eq!(verify(&model()), []);
    let mut later = model();
    later.commit(1, 3, 3, vec![claimed(8)]);
    assert_eq!(verify(&later), [], "it went on");
    // Another, young cluster in its place: whole by itself.
    let mut young = Model::default();
    young.commit(1, 1, 0, vec![Decision::Began { logic: Logic::default() }]);
    assert_eq!(young.problems(), []);
    let found = verify(&young);
    let is_cut = |found: &Problem| matches!(found, Problem::CutOff { by: Witness::Kept, .. });
    assert!(found.len() == 2 && found.iter().all(is_cut), "{found:?}");
    // One that has come as far, otherwise.
    let mut other = model();
    other.log.clear();
    other.rows.values_mut().for_each(|row| row.audit_root = [0; 32]);
    let found = verify(&other);
    let is_new = |found: &Problem| matches!(found, Problem::Contradicted { by: Witness::Kept, .. });
    assert!(found.len() == 2 && found.iter().all(is_new), "{found:?}");
}

#[test]
fn a_head_is_read_as_it_was_printed_and_nothing_else_is_one() {
    let head = model().verify().remove(0).head.expect("it has a row");
    let (node, read) = model().head(1);
    assert_eq!((node, head.head()), (NodeId(1), Some(read)));
    for root in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"é".repeat(32)] {
        let wrong = KeptHead { root: root.to_owned(), ..head.clone() };
        assert_eq!(wrong.head(), None, "{root}");
    }
}
