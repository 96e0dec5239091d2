//! Cases about reads: scan, changes, time.

use super::*;

pub(super) const CASES: &[Case] = &[
    ("scan gives the keys of a prefix in order", scans_in_order),
    ("scan goes on after a key, whether it is there or not", scans_in_pages),
    ("scan sees rows and heads, never chunks", scans_rows_and_heads),
    ("changes gives each account key once, at its newest", changes_are_newest),
    ("changes tells deletions", changes_tell_deletions),
    ("changes goes on where it stopped", changes_in_pages),
    ("changes from an unknown version says so", changes_too_old),
    ("an answer and a read tell the same clock", one_clock),
];

fn keys_of(store: &dyn Store, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<String> {
    let found = store.scan(prefix, after, limit).expect("the store answers");
    found.into_iter().map(|(key, _)| String::from_utf8_lossy(&key).into_owned()).collect()
}

/// Puts some keys, deletes and replaces some.
fn filled(store: &dyn Store) -> Process {
    let mut process = Process::begun(store, 1);
    for key in ["b/2", "a/1", "b/1", "b", "b/3", "c", "b/10"] {
        process.must(store, vec![put(key.as_bytes(), b"old")]);
    }
    process.must(store, vec![delete(b"b/2"), put(b"b/1", b"new")]);
    process
}

fn scans_in_order(store: &dyn Store) {
    filled(store);
    assert_eq!(keys_of(store, b"b/", None, 99), ["b/1", "b/10", "b/3"]);
    assert_eq!(keys_of(store, b"none", None, 99), [""; 0]);
    let found = store.scan(b"b/", None, 1).expect("the store answers");
    assert_eq!((found.len(), &found[0].1.value[..]), (1, &b"new"[..]));
    assert_eq!(store.scan(b"b/", None, 0), Ok(vec![]));
}

fn scans_in_pages(store: &dyn Store) {
    filled(store);
    assert_eq!(keys_of(store, b"b/", Some(b"b/1"), 1), ["b/10"]);
    assert_eq!(keys_of(store, b"b/", Some(b"b/2"), 9), ["b/3"]);
    assert_eq!(keys_of(store, b"b/", Some(b"a"), 9), ["b/1", "b/10", "b/3"]);
    assert_eq!(keys_of(store, b"b/", Some(b"b/3"), 9), [""; 0]);
    assert_eq!(keys_of(store, b"b/", Some(b"c"), 9), [""; 0]);
    let all = keys_of(store, b"", None, 99);
    assert!(all.is_sorted() && all.len() == 7, "six keys and a row: {all:?}");
}

fn scans_rows_and_heads(store: &dyn Store) {
    let mut process = Process::begun(store, 1);
    let entity = EntityKey::Ledger(1);
    process.must(store, vec![append(entity, 1, b"r"), chunk(entity, 1, 0, b"c")]);
    process.must(store, vec![head(entity, 1)]);
    assert_eq!(store.scan(keys::ROW, None, 9).expect("the store answers").len(), 1);
    let heads = store.scan(keys::HEAD, None, 9).expect("the store answers");
    assert_eq!(heads.len(), 1);
    assert_eq!((heads[0].0.clone(), heads[0].1.version), (keys::head(entity), 3));
    assert_eq!(store.scan(keys::SNAPSHOT, None, 9), Ok(vec![]));
    assert_eq!(store.get(&keys::chunk(entity, 1, 0)), Ok(None));
}

fn changes_are_newest(store: &dyn Store) {
    let mut process = Process::begun(store, 1);
    let since = process.must(store, vec![put(b"account/a", b"0")]).version;
    process.must(store, vec![put(b"account/b", b"1"), put(b"other", b"1")]);
    process.must(store, vec![put(b"account/c", b"2"), put(b"account/b", b"2")]);
    let all = store.changes(since, 99).expect("the store answers");
    assert_eq!((all.upto, all.too_old), (since + 2, false));
    let seen: Vec<_> = all.changes.iter().map(|c| (c.version, &c.key[..])).collect();
    assert_eq!(seen, [(since + 2, &b"account/b"[..]), (since + 2, &b"account/c"[..])]);
    assert_eq!(all.changes[0].value, Some(b"2".to_vec()));
}

fn changes_tell_deletions(store: &dyn Store) {
    let mut process = Process::begun(store, 1);
    let since = process.must(store, vec![put(b"account/a", b"0")]).version;
    process.must(store, vec![delete(b"account/a")]);
    let all = store.changes(since, 99).expect("the store answers");
    assert_eq!((all.changes.len(), &all.changes[0].value), (1, &None));
}

fn changes_in_pages(store: &dyn Store) {
    let mut process = Process::begun(store, 1);
    let since = process.number;
    for key in [b"account/a", b"account/b", b"account/c"] {
        process.must(store, vec![put(key, b"1")]);
    }
    let first = store.changes(since, 2).expect("the store answers");
    assert_eq!((first.changes.len(), first.upto), (2, since + 2));
    let rest = store.changes(first.upto, 2).expect("the store answers");
    assert_eq!((rest.changes.len(), rest.upto), (1, since + 3));
    let none = store.changes(rest.upto, 2).expect("the store answers");
    assert_eq!((none.changes.len(), none.upto, none.too_old), (0, since + 3, false));
}

fn changes_too_old(store: &dyn Store) {
    Process::begun(store, 1);
    let all = store.changes(u64::MAX, 9).expect("the store answers");
    assert_eq!((all.changes, all.upto, all.too_old), (vec![], 1, true));
}

fn one_clock(store: &dyn Store) {
    let before = store.time().expect("the store answers");
    let answer = Process::begun(store, 1).must(store, vec![]);
    let after = store.time().expect("the store answers");
    assert!(before <= answer.store_time && answer.store_time <= after);
}
