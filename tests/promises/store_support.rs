//! What the store's tests share: folders, copies of them, everything a store
//! says.

use std::fs;
use std::path::{Path, PathBuf};

use starmesh::base::EntityKey;
use starmesh::entity::commit::{Commit, Group};
use starmesh::store::conformance::{Loaded, Process, append, chunk, head, load, put};
use starmesh::store::memory::Memory;
use starmesh::store::sled::{Options, Sled};
use starmesh::store::{Store, Versioned};

/// The entities that these tests write.
pub const ENTITIES: [EntityKey; 3] =
    [EntityKey::Ledger(1), EntityKey::Ledger(2), EntityKey::Market(3)];

/// Segments and batches so small that a few commits fill them.
pub fn tiny() -> Options {
    Options { segment_bytes: 2048, batch_keys: 4, ..Options::default() }
}

/// Opens the store in `dir`.
pub fn open(dir: &Path, options: Options) -> Sled {
    Sled::open(dir, options).unwrap_or_else(|error| panic!("{error}"))
}

/// Everything a store says but its time.
#[derive(Debug, PartialEq, Eq)]
pub struct Contents {
    pub keys: Vec<(Vec<u8>, Versioned)>,
    pub entities: Vec<Loaded>,
}

/// Reads everything.
pub fn contents(store: &dyn Store) -> Contents {
    let keys = store.scan(b"", None, usize::MAX).expect("keys can be read");
    Contents { keys, entities: ENTITIES.iter().map(|entity| load(store, *entity)).collect() }
}

/// What a store says after these commits, by the memory engine.
pub fn expected(commits: &[Commit]) -> Contents {
    let store = Memory::new();
    for commit in commits {
        store.commit(commit).expect("the commits are in order");
    }
    contents(&store)
}

/// `n` commits of one node, of every kind of change, none refused.
pub fn history(n: u64) -> Vec<Commit> {
    let mut process = Process::new(1);
    let mut commits = vec![process.next(vec![put(b"galaxy/seed", b"42")])];
    for k in 1..n {
        process.tick.0 += 1;
        commits.push(process.next(groups(k)));
    }
    commits
}

/// What commit `k` of a history changes.
fn groups(k: u64) -> Vec<Group> {
    let name = format!("account/{}", k % 7);
    let mut groups = vec![put(name.as_bytes(), format!("value {k}").as_bytes())];
    let [often, rarely, once] = ENTITIES;
    groups.push(append(often, k, format!("record {k}").as_bytes()));
    if k.is_multiple_of(5) {
        groups.push(chunk(often, k - 2, 0, format!("chunk {k}").as_bytes()));
        groups.push(head(often, k - 2));
    }
    if k % 11 == 1 {
        groups.push(append(rarely, k / 11 + 1, b"rare"));
    }
    if k == 3 {
        groups.push(append(once, 1, b"only"));
    }
    groups
}

/// A history, and after it so many values of one key that they fill segments
/// which nothing pins.
pub fn history_with_filler() -> Vec<Commit> {
    let mut commits = history(60);
    let mut process = Process { number: 60, ..Process::new(1) };
    process.tick.0 = 60;
    commits.extend((0..40).map(|n| process.next(vec![put(b"filler", &[n; 200])])));
    commits
}

/// Commits all of them.
pub fn commit_all(store: &dyn Store, commits: &[Commit]) {
    for commit in commits {
        let answer = store.commit(commit).unwrap_or_else(|error| panic!("{error}"));
        assert!(answer.refused.is_empty());
    }
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder in a temporary one");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

/// The segment files of the store in `dir`, in order.
pub fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("segments")).expect("a store's folder");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}
