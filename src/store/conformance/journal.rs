//! Cases about journals: sequences, snapshots, trimming, pages.

use super::*;
use crate::base::SectorId;
use crate::store::{Cursor, ReadError};

pub(super) const CASES: &[Case] = &[
    ("an entity's first record is 1, each next one more", sequences_are_dense),
    ("a record that is not the next is refused with its puts", unexpected_is_refused),
    ("one commit may append to a journal more than once", many_in_one_commit),
    ("entities do not see each other's records", entities_are_apart),
    ("a head trims the journal up to its sequence", heads_trim),
    ("the sequence goes on behind a trimmed journal", sequence_survives_trimming),
    ("a head removes the chunks of snapshots before it", heads_remove_chunks),
    ("a snapshot not later than the one in use is refused", older_heads_are_refused),
    ("a head ahead of the journal is refused, but for an import", heads_ahead),
    ("chunks count only from the head on that names them", chunks_wait_for_their_head),
    ("a chunk of the snapshot in use is not overwritten", live_chunks_are_kept),
    ("a deleted head makes the store forget the entity", forgets),
    ("a group may append, put chunks and a head at once", snapshot_in_one_group),
    ("a long entity is loaded in pages", pages),
    ("a load that a newer snapshot overtook says so", overtaken_load),
];

const ENTITY: EntityKey = EntityKey::Ledger(1);

fn records(store: &dyn Store) -> Vec<u64> {
    load(store, ENTITY).records.into_iter().map(|(sequence, _)| sequence).collect()
}

/// A process that appended `n` records, one commit each.
fn appended(store: &dyn Store, n: u64) -> Process {
    let mut process = Process::begun(store, 1);
    for sequence in 1..=n {
        let answer = process.must(store, vec![append(ENTITY, sequence, b"record")]);
        assert!(answer.refused.is_empty());
    }
    process
}

fn sequences_are_dense(store: &dyn Store) {
    let mut process = appended(store, 3);
    assert_eq!(records(store), [1, 2, 3]);
    for wrong in [0, 1, 3, 5, u64::MAX] {
        assert_eq!(process.must(store, vec![append(ENTITY, wrong, b"x")]).refused, [0]);
    }
    assert_eq!(records(store), [1, 2, 3]);
}

fn unexpected_is_refused(store: &dyn Store) {
    let mut process = appended(store, 1);
    let mut group = append(ENTITY, 3, b"x");
    group.puts = put(b"a", b"1").puts;
    assert_eq!(process.must(store, vec![group]).refused, [0]);
    assert_eq!((value(store, b"a"), records(store)), (None, vec![1]));
}

fn many_in_one_commit(store: &dyn Store) {
    let mut process = Process::begun(store, 1);
    let groups = [1, 2, 2, 3, 5].map(|n: u64| append(ENTITY, n, &n.to_be_bytes()));
    assert_eq!(process.must(store, groups.to_vec()).refused, [2, 4]);
    assert_eq!(records(store), [1, 2, 3]);
}

fn entities_are_apart(store: &dyn Store) {
    let mut process = appended(store, 2);
    let near = EntityKey::Sector(SectorId::tactical(0, 0));
    let battle = EntityKey::Battle { host: SectorId::tactical(0, 0), n: 0 };
    for entity in [near, battle, EntityKey::Ledger(2)] {
        assert!(process.must(store, vec![append(entity, 1, b"other")]).refused.is_empty());
        assert_eq!(load(store, entity).records, [(1, b"other".to_vec())]);
    }
    assert_eq!(records(store), [1, 2]);
    assert_eq!(load(store, EntityKey::Market(9)), Loaded { pages: 1, ..Loaded::default() });
}

fn heads_trim(store: &dyn Store) {
    let mut process = appended(store, 5);
    process.must(store, vec![chunk(ENTITY, 3, 0, b"c0"), chunk(ENTITY, 3, 1, b"c1")]);
    assert_eq!(records(store), [1, 2, 3, 4, 5]);
    process.must(store, vec![head(ENTITY, 3)]);
    let all = load(store, ENTITY);
    assert_eq!(all.head, value(store, &keys::head(ENTITY)));
    assert_eq!(all.chunks, [b"c0".to_vec(), b"c1".to_vec()]);
    assert_eq!(records(store), [4, 5]);
}

fn sequence_survives_trimming(store: &dyn Store) {
    let mut process = appended(store, 3);
    process.must(store, vec![chunk(ENTITY, 3, 0, b"c"), head(ENTITY, 3)]);
    assert_eq!(records(store), [0; 0]);
    let groups = [1, 3, 4].map(|n| append(ENTITY, n, b"r"));
    assert_eq!(process.must(store, groups.to_vec()).refused, [0, 1]);
    assert_eq!(records(store), [4]);
}

fn heads_remove_chunks(store: &dyn Store) {
    let mut process = appended(store, 4);
    let first = [chunk(ENTITY, 1, 0, b"a"), chunk(ENTITY, 1, 1, b"b"), head(ENTITY, 1)];
    process.must(store, first.to_vec());
    let abandoned = chunk(ENTITY, 2, 0, b"never finished");
    let second = [abandoned, chunk(ENTITY, 3, 0, b"c"), head(ENTITY, 3)];
    process.must(store, second.to_vec());
    assert_eq!(load(store, ENTITY).chunks, [b"c".to_vec()]);
}

fn older_heads_are_refused(store: &dyn Store) {
    let mut process = appended(store, 3);
    process.must(store, vec![chunk(ENTITY, 2, 0, b"c"), head(ENTITY, 2)]);
    let answer = process.must(store, vec![head(ENTITY, 1), head(ENTITY, 2), head(ENTITY, 3)]);
    assert_eq!(answer.refused, [0, 1]);
}

fn heads_ahead(store: &dyn Store) {
    let mut process = appended(store, 2);
    assert_eq!(process.must(store, vec![head(ENTITY, 3)]).refused, [0]);
    let imported = EntityKey::Ledger(2);
    let import = [chunk(imported, 40, 0, b"c"), head(imported, 40), append(imported, 41, b"r")];
    assert!(process.must(store, import.to_vec()).refused.is_empty());
    assert_eq!(load(store, imported).records, [(41, b"r".to_vec())]);
}

fn chunks_wait_for_their_head(store: &dyn Store) {
    let mut process = appended(store, 2);
    process.must(store, vec![chunk(ENTITY, 1, 0, b"a"), head(ENTITY, 1)]);
    process.must(store, vec![chunk(ENTITY, 2, 0, b"b")]);
    assert_eq!(load(store, ENTITY).chunks, [b"a".to_vec()]);
    process.must(store, vec![head(ENTITY, 2)]);
    assert_eq!(load(store, ENTITY).chunks, [b"b".to_vec()]);
}

fn live_chunks_are_kept(store: &dyn Store) {
    let mut process = appended(store, 2);
    process.must(store, vec![chunk(ENTITY, 2, 0, b"a"), head(ENTITY, 2)]);
    let late = [chunk(ENTITY, 2, 0, b"x"), chunk(ENTITY, 1, 0, b"x")];
    assert_eq!(process.must(store, late.to_vec()).refused, [0, 1]);
    assert_eq!(load(store, ENTITY).chunks, [b"a".to_vec()]);
}

fn forgets(store: &dyn Store) {
    let mut process = appended(store, 2);
    process.must(store, vec![chunk(ENTITY, 1, 0, b"a"), head(ENTITY, 1)]);
    let key = keys::head(ENTITY);
    let answer = process
        .must(store, vec![delete(&key), when(&key, Expect::Absent, append(ENTITY, 3, b"r"))]);
    assert_eq!(answer.refused, [1]);
    assert_eq!(load(store, ENTITY), Loaded { pages: 1, ..Loaded::default() });
    assert!(process.must(store, vec![append(ENTITY, 1, b"anew")]).refused.is_empty());
    assert_eq!(load(store, ENTITY).records, [(1, b"anew".to_vec())]);
    let mut last = append(ENTITY, 2, b"last");
    last.puts = delete(&key).puts;
    assert!(process.must(store, vec![last]).refused.is_empty());
    assert_eq!(records(store), [0; 0]);
}

fn snapshot_in_one_group(store: &dyn Store) {
    let mut process = appended(store, 2);
    let mut group = append(ENTITY, 3, b"adopt");
    group.puts.extend(chunk(ENTITY, 3, 0, b"c").puts);
    group.puts.extend(head(ENTITY, 3).puts);
    let key = keys::head(ENTITY);
    assert!(
        process.must(store, vec![when(&key, Expect::NumberBelow(3), group)]).refused.is_empty()
    );
    let all = load(store, ENTITY);
    assert_eq!((all.chunks, all.records), (vec![b"c".to_vec()], vec![]));
}

fn pages(store: &dyn Store) {
    let mut process = Process::begun(store, 1);
    let piece = |n: u64| vec![n as u8; 60_000];
    for n in 1..=40 {
        process
            .must(store, vec![append(ENTITY, n, &piece(n)), chunk(ENTITY, 3, n as u32, &piece(n))]);
    }
    process.must(store, vec![head(ENTITY, 3)]);
    let all = load(store, ENTITY);
    assert!((3..20).contains(&all.pages), "about a megabyte each, not {}", all.pages);
    assert_eq!(all.chunks, (1..=40).map(piece).collect::<Vec<_>>());
    assert_eq!(all.records, (4..=40).map(|n| (n, piece(n))).collect::<Vec<_>>());
}

fn overtaken_load(store: &dyn Store) {
    let mut process = Process::begun(store, 1);
    for n in 1..=30 {
        let chunk = chunk(ENTITY, 3, n as u32, &[1; 60_000]);
        process.must(store, vec![append(ENTITY, n, &[0; 60_000]), chunk]);
    }
    process.must(store, vec![head(ENTITY, 3)]);
    let next = store.load(ENTITY, None).expect("first page").next;
    assert!(matches!(next, Some(Cursor::Chunk { snapshot: 3, .. })));
    process.must(store, vec![chunk(ENTITY, 20, 0, b"c"), head(ENTITY, 20)]);
    assert_eq!(store.load(ENTITY, next), Err(ReadError::Replaced));
    assert_eq!(store.load(ENTITY, Some(Cursor::After(10))), Err(ReadError::Replaced));
    assert!(store.load(ENTITY, Some(Cursor::After(25))).is_ok());
    assert!(store.load(ENTITY, Some(Cursor::After(u64::MAX))).is_ok());
}
