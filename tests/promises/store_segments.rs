//! Segments live as long as something in them is needed, and no longer; what
//! is left of them opens to the same contents, for the engine and for tools.

use std::collections::BTreeMap;

use starmesh::base::EntityKey;
use starmesh::entity::keys;
use starmesh::store::Store;
use starmesh::store::conformance::{
    Loaded, Process, append, chunk, delete, head, load, put, value,
};
use starmesh::store::sled::{Options, SegmentReader, Sled};

use crate::store_support::*;

const IDLE: EntityKey = EntityKey::Market(9);
const BUSY: EntityKey = EntityKey::Ledger(1);

/// Appends `records` to an entity and makes a snapshot of all but the last.
fn churn(store: &Sled, process: &mut Process, entity: EntityKey, records: std::ops::Range<u64>) {
    let last = records.end - 1;
    for n in records {
        process.must(store, vec![append(entity, n, &[7; 200])]);
    }
    process.must(store, vec![chunk(entity, last - 1, 0, &[8; 300]), head(entity, last - 1)]);
}

#[test]
fn trimmed_segments_are_deleted_and_the_rest_reopens() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = open(dir.path(), tiny());
    let mut process = Process::begun(&store, 1);
    churn(&store, &mut process, BUSY, 1..60);
    store.flush_keys().expect("sled takes the keys");
    let (before, left) = (load(&store, BUSY), store.stats().segments);
    let last = segments(dir.path()).pop().expect("a segment");
    assert!(last >= dir.path().join("segments/0000000009.seg"), "{last:?} is the last");
    assert!(left <= 3, "{left} segments are left");
    assert_eq!(segments(dir.path()).len() as u64, left);
    drop(store);
    let store = open(dir.path(), tiny());
    assert_eq!(load(&store, BUSY), before);
    assert_eq!(process.must(&store, vec![append(BUSY, 60, b"next")]).refused, [0; 0]);
}

#[test]
fn an_idle_entity_pins_its_segment_and_is_named_until_its_snapshot() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let options = Options { journal_bytes_max: 1000, ..tiny() };
    let store = open(dir.path(), options);
    let mut process = Process::begun(&store, 1);
    process.must(&store, vec![append(IDLE, 1, b"only"), put(b"galaxy/seed", b"1")]);
    assert!(store.pins().is_empty(), "the journal is short");
    churn(&store, &mut process, BUSY, 1..60);
    assert_eq!(store.pins(), [IDLE]);
    let first = segments(dir.path()).remove(0);
    process.must(&store, vec![chunk(IDLE, 1, 0, b"state"), head(IDLE, 1)]);
    store.flush_keys().expect("sled takes the keys");
    assert!(!first.exists(), "nothing is left in it");
    assert_ne!(store.pins(), [IDLE]);
}

#[test]
fn a_forgotten_entity_does_not_come_back() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = open(dir.path(), tiny());
    let mut process = Process::begun(&store, 1);
    // IDLE keeps the first segment, where the forgotten records are too.
    process.must(&store, vec![append(IDLE, 1, b"stays"), append(BUSY, 1, b"goes")]);
    for n in 2..30 {
        process.must(&store, vec![append(BUSY, n, &[7; 200])]);
    }
    process.must(&store, vec![delete(&keys::head(BUSY))]);
    for n in 0..30 {
        process.must(&store, vec![put(b"filler", &[n; 200])]);
        store.flush_keys().expect("sled takes the keys");
    }
    drop(store);
    let store = open(dir.path(), tiny());
    assert_eq!(load(&store, BUSY), Loaded { pages: 1, ..Loaded::default() });
    assert_eq!(load(&store, IDLE).records, [(1, b"stays".to_vec())]);
    process.must(&store, vec![append(BUSY, 1, b"anew")]);
    assert_eq!(load(&store, BUSY).records, [(1, b"anew".to_vec())]);
}

#[test]
fn rows_outlive_their_segments() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = open(dir.path(), tiny());
    Process::begun(&store, 7);
    let mut process = Process::begun(&store, 1);
    churn(&store, &mut process, BUSY, 1..60);
    store.flush_keys().expect("sled takes the keys");
    let rows = store.scan(keys::ROW, None, 9).expect("rows");
    drop(store);
    assert!(segments(dir.path()).iter().all(|path| !path.ends_with("0000000001.seg")));
    let store = open(dir.path(), tiny());
    assert_eq!(store.scan(keys::ROW, None, 9), Ok(rows));
    Process::restarted(7, 2).must(&store, vec![]);
}

#[test]
fn a_reader_sees_a_running_stores_entities_without_its_lock() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = open(dir.path(), tiny());
    commit_all(&store, &history(80));
    store.flush_keys().expect("sled takes the keys");
    let reader = SegmentReader::open(dir.path()).unwrap_or_else(|error| panic!("{error}"));
    let by_store: BTreeMap<_, _> = ENTITIES.iter().map(|e| (*e, load(&store, *e))).collect();
    let by_reader: BTreeMap<_, _> = reader.entities().map(|e| (e, load(&reader, e))).collect();
    assert_eq!(by_reader, by_store);
    for prefix in [keys::GALAXY, keys::ENDED, keys::HEAD, keys::ROW] {
        assert_eq!(reader.scan(prefix, None, 9), store.scan(prefix, None, 9));
    }
    assert_eq!(value(&reader, b"galaxy/seed"), Some(b"42".to_vec()));
    assert!(reader.get(b"account/1").is_err(), "it may be in sled alone");
    assert!(reader.commit(&history(1)[0]).is_err());
}

#[test]
fn a_reader_of_a_folder_without_a_store_says_so() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let error = SegmentReader::open(dir.path()).err().expect("there is no store");
    assert!(error.to_string().contains("find a store"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 0, "nothing was made");
}
