//! Cases about groups: checks, puts, order, limits.

use super::*;
use crate::entity::commit::{COMMIT_BYTES_MAX, GROUPS_MAX, RECORD_BYTES_MAX, VALUE_BYTES_MAX};
use crate::entity::keys::KEY_BYTES_MAX;

pub(super) const CASES: &[Case] = &[
    ("a refused group changes nothing, its neighbours are accepted", refused_alone),
    ("groups see the groups before them", see_earlier_groups),
    ("what a commit puts has the commit's version", versions_are_the_commits),
    ("a check of a version fails when the key was put since", version_checks),
    ("a number is below, or absent, or the group is refused", number_below),
    ("within a group the last put of a key counts", last_put_counts),
    ("a deleted key is absent", deleted_is_absent),
    ("the longest values, keys and records are kept", longest_are_kept),
    ("what is too long is malformed and changes nothing", too_long_is_malformed),
    ("malformed keys are refused whatever is there", malformed_keys),
];

fn refused_alone(store: &dyn Store) {
    let mut process = Process::begun(store, 1);
    let mut bad = when(b"none", Expect::Version(1), put(b"b", b"2"));
    bad.append = append(EntityKey::Ledger(1), 1, b"r").append;
    let answer = process.must(store, vec![put(b"a", b"1"), bad, put(b"c", b"3")]);
    assert_eq!(answer.refused, [1]);
    assert_eq!(value(store, b"a"), Some(b"1".to_vec()));
    assert_eq!(value(store, b"b"), None);
    assert_eq!(value(store, b"c"), Some(b"3".to_vec()));
    assert!(load(store, EntityKey::Ledger(1)).records.is_empty());
}

fn see_earlier_groups(store: &dyn Store) {
    let mut process = Process::begun(store, 1);
    let version = 2;
    let answer = process.must(
        store,
        vec![
            when(b"a", Expect::Absent, put(b"a", b"1")),
            when(b"a", Expect::Absent, put(b"a", b"2")),
            when(b"a", Expect::Version(version), put(b"b", b"3")),
            delete(b"a"),
            when(b"a", Expect::Absent, put(b"c", b"4")),
        ],
    );
    assert_eq!((answer.version, answer.refused), (version, vec![1]));
    assert_eq!(value(store, b"a"), None);
    assert_eq!(value(store, b"b"), Some(b"3".to_vec()));
    assert_eq!(value(store, b"c"), Some(b"4".to_vec()));
}

fn versions_are_the_commits(store: &dyn Store) {
    let mut process = Process::begun(store, 1);
    let first = process.must(store, vec![put(b"a", b"1"), put(b"b", b"1")]).version;
    let second = process.must(store, vec![put(b"b", b"1")]).version;
    assert_eq!(second, first + 1);
    let version = |key| store.get(key).expect("the store answers").expect("was put").version;
    assert_eq!((version(b"a"), version(b"b")), (first, second));
    assert_eq!(version(&keys::row(NodeId(1))), second);
}

fn version_checks(store: &dyn Store) {
    let mut process = Process::begun(store, 1);
    let first = process.must(store, vec![put(b"a", b"1")]).version;
    process.must(store, vec![put(b"a", b"1")]);
    let stale = when(b"a", Expect::Version(first), put(b"a", b"2"));
    let fresh = when(b"a", Expect::Version(first + 1), put(b"a", b"3"));
    assert_eq!(process.must(store, vec![stale, fresh]).refused, [0]);
    assert_eq!(value(store, b"a"), Some(b"3".to_vec()));
}

fn number_below(store: &dyn Store) {
    let mut process = Process::begun(store, 1);
    let with = |bound, n: u64| when(b"n", Expect::NumberBelow(bound), put(b"n", &n.to_be_bytes()));
    let answer = process.must(store, vec![with(1, 5), with(5, 6), with(6, 7)]);
    assert_eq!(answer.refused, [1]);
    assert_eq!(value(store, b"n"), Some(7_u64.to_be_bytes().to_vec()));
    process.must(store, vec![put(b"n", b"short")]);
    assert_eq!(process.must(store, vec![with(u64::MAX, 1)]).refused, [0]);
}

fn last_put_counts(store: &dyn Store) {
    let mut group = put(b"a", b"1");
    group.puts.extend(put(b"a", b"2").puts);
    group.puts.extend(put(b"b", b"1").puts);
    group.puts.extend(delete(b"b").puts);
    Process::begun(store, 1).must(store, vec![group]);
    assert_eq!(value(store, b"a"), Some(b"2".to_vec()));
    assert_eq!(value(store, b"b"), None);
}

fn deleted_is_absent(store: &dyn Store) {
    let mut process = Process::begun(store, 1);
    process.must(store, vec![put(b"a", b"1")]);
    process.must(store, vec![delete(b"a"), delete(b"never there")]);
    assert_eq!(store.get(b"a"), Ok(None));
    assert_eq!(store.scan(b"a", None, 9), Ok(vec![]));
    assert!(
        process.must(store, vec![when(b"a", Expect::Absent, put(b"a", b"2"))]).refused.is_empty()
    );
}

fn longest_are_kept(store: &dyn Store) {
    let mut process = Process::begun(store, 1);
    let (key, long) = (vec![7; KEY_BYTES_MAX], vec![8; VALUE_BYTES_MAX]);
    let record = vec![9; RECORD_BYTES_MAX];
    let entity = EntityKey::Ledger(1);
    let snapshot = chunk(entity, 1, 0, &long);
    process.must(store, vec![put(&key, &long), append(entity, 1, &record), snapshot]);
    assert_eq!(value(store, &key), Some(long.clone()));
    assert_eq!(load(store, entity).records, [(1, record)]);
    process.must(store, vec![head(entity, 1)]);
    assert_eq!(load(store, entity).chunks, [long]);
}

fn too_long_is_malformed(store: &dyn Store) {
    let process = Process::begun(store, 1);
    let entity = EntityKey::Ledger(1);
    let record = append(entity, 1, &vec![0; RECORD_BYTES_MAX]);
    let heavy = vec![record; COMMIT_BYTES_MAX / RECORD_BYTES_MAX + 1];
    let too_long = [
        vec![put(b"a", b"1"), put(b"b", &vec![0; VALUE_BYTES_MAX + 1])],
        vec![put(b"a", b"1"), put(&vec![0; KEY_BYTES_MAX + 1], b"1")],
        vec![put(b"a", b"1"), append(entity, 1, &vec![0; RECORD_BYTES_MAX + 1])],
        vec![Group::default(); GROUPS_MAX + 1],
        heavy,
    ];
    for groups in too_long {
        let answer = process.clone().commit(store, groups);
        assert!(matches!(answer, Err(CommitError::Malformed(_))));
    }
    assert_eq!((value(store, b"a"), row(store, 1).number), (None, 0));
}

fn malformed_keys(store: &dyn Store) {
    let process = Process::begun(store, 1);
    let entity = EntityKey::Ledger(1);
    let malformed = [
        put(b"", b"1"),
        put(b"head/what", b"12345678"),
        put(&keys::head(entity), b"short"),
        put(&keys::head(entity), &0_u64.to_be_bytes()),
        put(&keys::head(entity), &u64::MAX.to_be_bytes()),
        chunk(entity, u64::MAX, 0, b"1"),
        put(b"snapshot/what", b"1"),
        delete(&keys::chunk(entity, 1, 0)),
        put(b"row/what", b"1"),
        when(&keys::chunk(entity, 1, 0), Expect::Absent, put(b"a", b"1")),
    ];
    for group in malformed {
        let answer = process.clone().commit(store, vec![group]);
        assert!(matches!(answer, Err(CommitError::Malformed(_))), "{answer:?}");
    }
}
