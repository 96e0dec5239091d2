//! Random commits, started anew now and then: the embedded store answers what
//! the memory engine answers, and has what it has.

use proptest::prelude::*;

use starmesh::base::{EntityKey, Incarnation, NodeId, Tick};
use starmesh::entity::commit::{
    Append, Check, Commit, CommitAnswer, CommitError, Expect, Group, Put,
};
use starmesh::entity::keys;
use starmesh::store::Store;
use starmesh::store::memory::Memory;

use crate::store_support::*;

/// What happens to both stores.
#[derive(Clone, Debug)]
pub enum Event {
    Commit(Commit),
    /// The last commit once more.
    Again,
    Flush,
    Reopen,
}

/// Small numbers, so that what is named often exists.
fn entity() -> impl Strategy<Value = EntityKey> {
    (0..ENTITIES.len()).prop_map(|n| ENTITIES[n])
}

fn plain_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (0..4_u8).prop_map(|n| format!("account/{n}").into_bytes()),
        (0..3_u8).prop_map(|n| format!("galaxy/{n}").into_bytes()),
        entity().prop_map(keys::head),
        Just(keys::row(NodeId(2))),
        prop::collection::vec(0..3_u8, 0..3),
    ]
}

fn value() -> impl Strategy<Value = Option<Vec<u8>>> {
    let number = (0..9_u64).prop_map(|n| n.to_be_bytes().to_vec());
    let bytes = prop::collection::vec(any::<u8>(), 0..300);
    prop_oneof![1 => Just(None), 2 => number.prop_map(Some), 3 => bytes.prop_map(Some)]
}

fn put() -> impl Strategy<Value = Put> {
    let chunk = (entity(), 1..9_u64, 0..3_u32).prop_map(|(e, s, i)| keys::chunk(e, s, i));
    let head = (entity(), 1..9_u64).prop_map(|(entity, sequence)| Put {
        key: keys::head(entity),
        value: Some(sequence.to_be_bytes().to_vec()),
    });
    prop_oneof![
        4 => (plain_key(), value()).prop_map(|(key, value)| Put { key, value }),
        2 => (chunk, value()).prop_map(|(key, value)| Put { key, value }),
        1 => head,
    ]
}

fn check() -> impl Strategy<Value = Check> {
    let expect = prop_oneof![
        2 => Just(Expect::Absent),
        1 => (1..30_u64).prop_map(Expect::Version),
        1 => (0..9_u64).prop_map(Expect::NumberBelow),
    ];
    (plain_key(), expect).prop_map(|(key, expect)| Check { key, expect })
}

/// A group; sequence 0 stands for the next one.
fn group() -> impl Strategy<Value = Group> {
    let record = prop::collection::vec(any::<u8>(), 0..200);
    let sequence = prop_oneof![6 => Just(0), 1 => 1..12_u64];
    let append = (entity(), sequence, record).prop_map(|(entity, sequence, bytes)| Append {
        entity,
        sequence,
        bytes,
    });
    let checks = prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(check(), 1..3)];
    (checks, prop::collection::vec(put(), 0..3), prop::option::of(append))
        .prop_map(|(checks, puts, append)| Group { checks, puts, append })
}

pub fn event() -> impl Strategy<Value = Event> {
    let number = prop_oneof![12 => Just(u64::MAX), 1 => 0..4_u64];
    let is_last = prop::bool::weighted(0.1);
    let groups = prop::collection::vec(group(), 0..4);
    let commit = (1..3_u32, 1..3_u64, number, 0..3_u64, groups, is_last);
    let commit = commit.prop_map(|(node, incarnation, number, tick, groups, is_last)| {
        Event::Commit(Commit {
            node: NodeId(node),
            incarnation: Incarnation(incarnation),
            number,
            nonce: 1,
            tick: Tick(tick),
            audit_root: [0; 32],
            groups,
            is_last,
        })
    });
    let others = [Event::Again, Event::Flush, Event::Reopen];
    prop_oneof![20 => commit, 3 => prop::sample::select(others.to_vec())]
}

/// The commit that an event is, if it is one; `last` is the one before.
pub fn draw(store: &Memory, event: Event, last: &mut Option<Commit>) -> Option<Commit> {
    match event {
        Event::Commit(commit) => *last = Some(likely(store, commit)),
        Event::Again => {}
        Event::Flush | Event::Reopen => return None,
    }
    last.clone()
}

/// Fills in what the strategy leaves open, so that most commits are accepted:
/// the next number, tick and sequences.
fn likely(store: &Memory, mut commit: Commit) -> Commit {
    let found = store.get(&keys::row(commit.node)).expect("memory answers");
    let row = found.and_then(|row| starmesh::entity::commit::NodeRow::from_bytes(&row.value).ok());
    if let Some(row) = row.as_ref().filter(|row| row.is_vacant() && commit.number == u64::MAX) {
        commit.incarnation = Incarnation(row.incarnation.0 + 1);
        commit.number = 0;
    } else if let (Some(row), u64::MAX) = (&row, commit.number) {
        commit.incarnation = row.incarnation;
        commit.number = row.number + 1;
        commit.tick = Tick(row.tick.0 + commit.tick.0);
    } else if commit.number == u64::MAX {
        (commit.incarnation, commit.number) = (Incarnation(1), 0);
    }
    for append in commit.groups.iter_mut().filter_map(|group| group.append.as_mut()) {
        if append.sequence == 0 {
            append.sequence = next_sequence(store, append.entity);
        }
    }
    commit
}

fn next_sequence(store: &Memory, entity: EntityKey) -> u64 {
    let page = store.load(entity, None).expect("memory answers");
    let head = page.head.and_then(|head| head.first_chunk().map(|n| u64::from_be_bytes(*n)));
    page.records.last().map_or(head.unwrap_or(0), |(last, _)| *last) + 1
}

/// The answer without the store's time.
pub fn timeless(answer: Result<CommitAnswer, CommitError>) -> Result<(u64, Vec<u32>), CommitError> {
    answer.map(|answer| (answer.version, answer.refused))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn sled_answers_and_keeps_what_memory_does(events in prop::collection::vec(event(), 1..60)) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let memory = Memory::new();
        let (mut store, mut last) = (open(dir.path(), tiny()), None);
        for event in events {
            match event {
                Event::Commit(_) | Event::Again => {
                    let Some(commit) = draw(&memory, event, &mut last) else { continue };
                    let (ours, model) = (store.commit(&commit), memory.commit(&commit));
                    prop_assert_eq!(timeless(ours), timeless(model), "{:?}", commit);
                }
                Event::Flush => store.flush_keys().expect("sled takes the keys"),
                Event::Reopen => {
                    drop(store);
                    store = open(dir.path(), tiny());
                }
            }
        }
        prop_assert_eq!(contents(&store), contents(&memory));
        drop(store);
        prop_assert_eq!(contents(&open(dir.path(), tiny())), contents(&memory));
    }
}
