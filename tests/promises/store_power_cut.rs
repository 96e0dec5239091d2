//! Power fails: the journal ends anywhere behind the last acknowledged commit,
//! sled's folder is as of its last sync. What was acknowledged is there; the
//! commit under way is there in whole or not at all.

use std::fs;
use std::path::Path;

use starmesh::entity::commit::Commit;
use starmesh::store::Store;
use starmesh::store::conformance::load;
use starmesh::store::sled::{OpenError, Options, Sled};

use crate::store_support::*;

/// A store after a history, and after one more commit that nobody heard of.
struct Cut {
    dir: tempfile::TempDir,
    /// The last segment's file name.
    name: std::ffi::OsString,
    /// Its bytes with the commit under way.
    bytes: Vec<u8>,
    /// Where that commit's frame begins and ends.
    frame: std::ops::Range<usize>,
    acknowledged: Contents,
    whole: Contents,
}

fn roomy() -> Options {
    Options { segment_bytes: 16 * 1024, batch_keys: usize::MAX, ..Options::default() }
}

impl Cut {
    fn new() -> Cut {
        let commits = history(40);
        let (last, acknowledged) = commits.split_last().expect("not empty");
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (live, synced) = (dir.path().join("live"), dir.path().join("synced"));
        let store = open(&live, roomy());
        commit_all(&store, &acknowledged[..20]);
        store.flush_keys().expect("sled takes the keys");
        copy(&live.join("keys"), &synced.join("keys"));
        commit_all(&store, &acknowledged[20..]);
        let before = last_segment(&live);
        commit_all(&store, std::slice::from_ref(last));
        drop(store);
        let (name, bytes) = last_segment(&live);
        assert_eq!(before.0, name, "the frame is in the same segment");
        copy(&live.join("segments"), &synced.join("segments"));
        fs::copy(live.join("format"), synced.join("format")).expect("a copy");
        let frame = difference(&before.1, &bytes);
        let (acknowledged, whole) = (expected(acknowledged), expected(&commits));
        Cut { dir, name, bytes, frame, acknowledged, whole }
    }

    /// The store after the last segment became `bytes`.
    fn reopened(&self, bytes: &[u8]) -> Result<Contents, OpenError> {
        let dir = self.dir.path().join("cut");
        let _ = fs::remove_dir_all(&dir);
        copy(&self.dir.path().join("synced"), &dir);
        fs::write(dir.join("segments").join(&self.name), bytes).expect("a small file");
        Ok(contents(&Sled::open(&dir, roomy())?))
    }
}

fn last_segment(dir: &Path) -> (std::ffi::OsString, Vec<u8>) {
    let path = segments(dir).pop().expect("a segment");
    (path.file_name().expect("a name").to_owned(), fs::read(&path).expect("a segment"))
}

/// Where two files differ; what was there before was zeros.
fn difference(before: &[u8], after: &[u8]) -> std::ops::Range<usize> {
    let differs = |at: &usize| before.get(*at) != after.get(*at);
    let start = (0..after.len()).find(differs).expect("a frame was written");
    let end = (0..after.len()).rfind(differs).expect("a frame was written") + 1;
    start..end
}

#[test]
fn a_journal_cut_anywhere_behind_the_last_acknowledged_commit_has_all_of_it() {
    let cut = Cut::new();
    for at in cut.frame.clone() {
        let truncated = cut.reopened(&cut.bytes[..at]).unwrap_or_else(|e| panic!("{at}: {e}"));
        assert_eq!(truncated, cut.acknowledged, "truncated at {at}");
    }
    assert_eq!(cut.reopened(&cut.bytes[..cut.frame.end]).unwrap(), cut.whole);
    assert_eq!(cut.reopened(&cut.bytes).unwrap(), cut.whole);
}

#[test]
fn a_frame_with_a_hole_anywhere_is_cut_off_and_the_next_commit_follows() {
    let cut = Cut::new();
    // What a disk wrote of the frame in any order: a part in the middle is missing.
    for hole in cut.frame.clone().step_by(7) {
        let mut bytes = cut.bytes.clone();
        let end = (hole + 31).min(cut.frame.end);
        bytes[hole..end].fill(0);
        let whole = bytes == cut.bytes;
        let found = cut.reopened(&bytes).unwrap_or_else(|e| panic!("{hole}: {e}"));
        assert!(found == cut.acknowledged || (whole && found == cut.whole), "hole at {hole}");
        let dir = cut.dir.path().join("cut");
        let store = open(&dir, roomy());
        let last = history(40).pop().expect("not empty");
        assert!(store.commit(&last).is_ok());
        drop(store);
        assert_eq!(contents(&open(&dir, roomy())), cut.whole, "hole at {hole}");
    }
}

#[test]
fn a_changed_byte_in_an_acknowledged_frame_is_damage_not_the_end() {
    let cut = Cut::new();
    for at in [100, 700, 1500, cut.frame.start - 3] {
        let mut bytes = cut.bytes.clone();
        bytes[at] ^= 0x40;
        match cut.reopened(&bytes) {
            Err(OpenError::Damaged { path, offset, .. }) => {
                assert_eq!(path.file_name(), Some(cut.name.as_os_str()));
                assert!(offset <= at as u64, "{offset} is the frame's start");
            }
            Ok(_) => panic!("byte {at} changed, and nobody noticed"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_snapshot_under_way_at_the_cut_leaves_the_one_in_use() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let commits: Vec<Commit> = history(21);
    let store = open(dir.path(), tiny());
    commit_all(&store, &commits[..20]);
    let before = load(&store, ENTITIES[0]);
    drop(store);
    let store = open(dir.path(), tiny());
    assert_eq!(load(&store, ENTITIES[0]), before);
    assert_eq!(before.chunks, [b"chunk 15".to_vec()]);
    commit_all(&store, &commits[20..]);
    assert_eq!(load(&store, ENTITIES[0]).chunks, [b"chunk 20".to_vec()]);
}
