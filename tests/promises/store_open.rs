//! A store that cannot be opened says why: locked, newer, damaged, each its
//! own error, and nothing acknowledged is lost by having tried.

use std::fs;
use std::path::Path;

use starmesh::store::sled::{OpenError, Sled};

use crate::store_support::*;

fn error(dir: &Path) -> OpenError {
    match Sled::open(dir, tiny()) {
        Err(error) => error,
        Ok(_) => panic!("it opened"),
    }
}

/// A folder with a store of several segments, some deleted, keys flushed.
fn stored() -> (tempfile::TempDir, Contents) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let commits = history_with_filler();
    let store = open(dir.path(), tiny());
    commit_all(&store, &commits);
    store.flush_keys().expect("sled takes the keys");
    (dir, expected(&commits))
}

#[test]
fn a_second_opener_is_told_that_it_is_locked() {
    let (dir, contents_before) = stored();
    let store = open(dir.path(), tiny());
    let error = error(dir.path());
    assert!(matches!(error, OpenError::Locked(_)), "{error}");
    assert!(error.to_string().contains("locked by another process"));
    assert_eq!(contents(&store), contents_before);
    drop(store);
    open(dir.path(), tiny());
}

#[test]
fn a_newer_store_is_refused_and_left_alone() {
    let (dir, before) = stored();
    fs::write(dir.path().join("format"), "2\n").expect("a small file");
    let error = error(dir.path());
    assert!(matches!(error, OpenError::Newer { found: 2, supported: 1, .. }), "{error}");
    fs::write(dir.path().join("format"), "1\n").expect("a small file");
    assert_eq!(contents(&open(dir.path(), tiny())), before);
}

#[test]
fn a_format_that_is_no_number_is_damage() {
    let (dir, _) = stored();
    fs::write(dir.path().join("format"), "one").expect("a small file");
    assert!(matches!(error(dir.path()), OpenError::Damaged { .. }));
}

#[test]
fn a_corrupted_sled_is_damage() {
    let (dir, _) = stored();
    for file in ["db", "conf"] {
        let path = dir.path().join("keys").join(file);
        let good = fs::read(&path).expect("sled's file");
        let mut bad = good.clone();
        bad.fill(0xA5);
        fs::write(&path, &bad).expect("sled's file");
        let error = error(dir.path());
        assert!(matches!(error, OpenError::Damaged { .. }), "{file}: {error}");
        fs::write(&path, &good).expect("sled's file");
    }
}

#[test]
fn a_sled_that_was_removed_is_damage_once_segments_are_gone() {
    let (dir, _) = stored();
    fs::remove_dir_all(dir.path().join("keys")).expect("sled's folder");
    let error = error(dir.path());
    assert!(matches!(&error, OpenError::Damaged { what, .. } if what.contains("empty")), "{error}");
}

#[test]
fn a_sled_that_was_removed_is_filled_anew_from_a_whole_journal() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let commits = history(4);
    commit_all(&open(dir.path(), tiny()), &commits);
    fs::remove_dir_all(dir.path().join("keys")).expect("sled's folder");
    assert_eq!(contents(&open(dir.path(), tiny())), expected(&commits));
}

#[test]
fn a_missing_segment_is_damage() {
    for missing in [0, 1, usize::MAX] {
        let (dir, _) = stored();
        let paths = segments(dir.path());
        assert!(paths.len() >= 3, "{} segments are left", paths.len());
        fs::remove_file(&paths[missing.min(paths.len() - 1)]).expect("a segment");
        let error = error(dir.path());
        assert!(matches!(error, OpenError::Damaged { .. }), "{missing}: {error}");
    }
}

#[test]
fn a_segment_with_a_broken_header_is_damage_and_stays() {
    let (dir, before) = stored();
    let path = segments(dir.path()).pop().expect("a segment");
    let good = fs::read(&path).expect("a segment");
    let mut bad = good.clone();
    bad[20] ^= 1;
    fs::write(&path, bad).expect("a segment");
    assert!(matches!(error(dir.path()), OpenError::Damaged { offset: 0, .. }));
    fs::write(&path, good).expect("a segment");
    assert_eq!(contents(&open(dir.path(), tiny())), before);
}

#[test]
fn a_segment_that_never_got_its_name_is_removed() {
    let (dir, before) = stored();
    let unfinished = dir.path().join("segments").join("unfinished");
    fs::write(&unfinished, b"half a header").expect("a small file");
    assert_eq!(contents(&open(dir.path(), tiny())), before);
    assert!(!unfinished.exists());
}
