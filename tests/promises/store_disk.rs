//! The disk fails: full, a write cut short, a sync that says no. Each commit
//! is unknown until the same bytes get through, and then it is there once.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use starmesh::entity::commit::CommitError;
use starmesh::store::Store;
use starmesh::store::conformance::{Process, append, put, value};
use starmesh::store::sled::{Disk, Options, Sled};

use crate::store_support::*;

/// A disk on which the next calls fail as told.
#[derive(Default)]
struct Failing {
    /// The next write stops after so many bytes.
    write: Mutex<Option<usize>>,
    sync: AtomicU32,
    reserve: AtomicU32,
}

fn due(count: &AtomicU32) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
}

impl Disk for Failing {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self.write.lock().expect("no panic").take() {
            None => file.write_all_at(bytes, offset),
            Some(kept) => {
                file.write_all_at(&bytes[..kept.min(bytes.len())], offset)?;
                Err(io::ErrorKind::StorageFull.into())
            }
        }
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        if due(&self.sync) { Err(io::Error::other("sync failed")) } else { file.sync_data() }
    }

    fn reserve(&self, file: &File, bytes: u64) -> io::Result<()> {
        if due(&self.reserve) {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            file.set_len(bytes)
        }
    }
}

fn failing() -> (Arc<Failing>, Options) {
    let disk = Arc::new(Failing::default());
    let options = Options { disk: Arc::clone(&disk) as Arc<dyn Disk>, ..tiny() };
    (disk, options)
}

/// Runs a history; before each commit `fail` may make the disk fail. A commit
/// that failed is sent again, until it is answered.
fn survives(fail: impl Fn(&Failing, u64)) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (disk, options) = failing();
    let store = open(dir.path(), options.clone());
    let commits = history(60);
    let mut unknown = 0;
    for commit in &commits {
        fail(&disk, commit.number);
        loop {
            match store.commit(commit) {
                Ok(answer) => break assert_eq!(answer.refused, [0; 0]),
                Err(CommitError::Unknown(_)) => unknown += 1,
                Err(error) => panic!("{error}"),
            }
            assert!(unknown < 1000, "it never gets through");
        }
    }
    assert!(unknown > 0, "the disk failed at least once");
    assert_eq!(contents(&store), expected(&commits));
    drop(store);
    assert_eq!(contents(&open(dir.path(), options)), expected(&commits));
}

#[test]
fn a_write_cut_short_anywhere_is_cut_off_and_written_again() {
    survives(|disk, n| *disk.write.lock().expect("no panic") = Some(n as usize * 5));
}

#[test]
fn a_failed_sync_ends_the_segment_and_the_frame_goes_into_a_new_one() {
    survives(|disk, n| disk.sync.store(u32::from(n % 3 == 1), Ordering::SeqCst));
}

#[test]
fn a_segment_that_cannot_be_made_is_made_when_there_is_space() {
    survives(|disk, _| disk.reserve.store(2, Ordering::SeqCst));
}

#[test]
fn all_of_it_at_once() {
    survives(|disk, n| {
        *disk.write.lock().expect("no panic") = (n % 2 == 0).then_some(n as usize);
        disk.sync.store(u32::from(n % 4 == 1), Ordering::SeqCst);
        disk.reserve.store(u32::from(n % 5 == 1), Ordering::SeqCst);
    });
}

#[test]
fn a_crash_after_a_failed_sync_shows_the_commit_whole_or_not_at_all() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (disk, options) = failing();
    let store = open(dir.path(), options.clone());
    let commits = history(20);
    commit_all(&store, &commits[..19]);
    disk.sync.store(1, Ordering::SeqCst);
    assert!(store.commit(&commits[19]).is_err());
    assert_eq!(contents(&store), expected(&commits[..19]), "not shown before it is durable");
    drop(store);
    let found = contents(&open(dir.path(), options));
    assert!(found == expected(&commits[..19]) || found == expected(&commits));
}

#[test]
fn a_process_whose_unknown_commit_another_overtook_is_fenced() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (disk, options) = failing();
    let store = open(dir.path(), options.clone());
    let mut process = Process::begun(&store, 1);
    let lost = process.next(vec![put(b"x", b"never heard of")]);
    disk.sync.store(1, Ordering::SeqCst);
    assert!(store.commit(&lost).is_err());
    // Its node starts anew before it sends the same again.
    Process::restarted(1, 2).must(&store, vec![put(b"y", b"new")]);
    let last = segments(dir.path()).pop().expect("a segment");
    assert!(last.ends_with("0000000002.seg"), "{last:?}: nothing is written where a sync failed");
    assert!(matches!(store.commit(&lost), Err(CommitError::Fenced { .. })));
    drop(store);
    let store = open(dir.path(), options);
    assert_eq!((value(&store, b"x"), value(&store, b"y")), (None, Some(b"new".to_vec())));
}

/// Fills the disk below a store with `fill`, expects that commits become
/// unknown, makes room with `free`, and expects that they get through.
fn full_and_back(dir: &Path, fill: impl Fn(), free: impl Fn()) {
    let options = Options { segment_bytes: 64 * 1024, batch_keys: 64, ..Options::default() };
    let store = open(dir, options.clone());
    let mut process = Process::begun(&store, 1);
    let mut sequence = 0;
    let mut next = |process: &mut Process| {
        sequence += 1;
        let key = format!("key/{sequence}");
        process.next(vec![append(ENTITIES[0], sequence, &[1; 1000]), put(key.as_bytes(), b"v")])
    };
    for _ in 0..50 {
        let commit = next(&mut process);
        store.commit(&commit).expect("there is room");
    }
    fill();
    let mut answered = 51;
    let refused = loop {
        let commit = next(&mut process);
        match store.commit(&commit) {
            Ok(_) => answered += 1,
            Err(CommitError::Unknown(_)) => break commit,
            Err(error) => panic!("{error}"),
        }
        assert!(answered < 5000, "the disk never gets full");
    };
    assert!(matches!(store.commit(&refused), Err(CommitError::Unknown(_))));
    free();
    store.commit(&refused).expect("there is room again");
    store.flush_keys().expect("sled takes the keys again");
    drop(store);
    let store = open(dir, options);
    assert_eq!(store.stats().version, answered + 1);
    let keys = store.scan(b"key/", None, usize::MAX).expect("keys can be read");
    assert_eq!(keys.len() as u64, answered);
}

/// Needs to mount; where that is not allowed, the file-size test below stands
/// for it.
#[test]
fn a_full_tmpfs_is_survived_where_mounting_is_allowed() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4m", "starmesh-test"])
        .arg(dir.path())
        .output();
    if !mount.is_ok_and(|mount| mount.status.success()) {
        println!("not allowed to mount: nothing was tested here");
        return;
    }
    let filler = dir.path().join("filler");
    let fill = || {
        let mut file = File::create(&filler).expect("a file");
        while io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    };
    let store = dir.path().join("store");
    let result = std::panic::catch_unwind(|| {
        full_and_back(&store, fill, || fs::remove_file(&filler).expect("the filler"));
    });
    let unmounted = Command::new("umount").arg("-l").arg(dir.path()).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// Runs [`a_process_with_a_file_size_limit`] in a process of its own, in which
/// the signal of that limit is ignored.
#[test]
fn files_at_their_size_limit_are_survived_without_any_rights() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let exe = std::env::current_exe().expect("this test");
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"])
        .arg(exe)
        .args(["--exact", "store_disk::a_process_with_a_file_size_limit", "--nocapture"])
        .env(LIMITED, dir.path())
        .output()
        .expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("1 passed"), "{text}");
}

/// The folder of the limited process.
const LIMITED: &str = "STARMESH_TEST_LIMITED_DIR";

#[test]
fn a_process_with_a_file_size_limit() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let Some(dir) = std::env::var_os(LIMITED) else {
        return;
    };
    let limit = |bytes| {
        let limit = Rlimit { current: bytes, maximum: None };
        setrlimit(Resource::Fsize, limit).expect("a softer limit");
    };
    full_and_back(Path::new(&dir), || limit(Some(20_000)), || limit(None));
}

#[test]
fn tells_how_much_space_is_left() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = Sled::open(dir.path(), tiny()).expect("a new store");
    assert!(store.free_bytes().is_some_and(|free| free > 0));
}
