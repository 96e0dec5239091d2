//! A copied galaxy is the galaxy, in any engine.

use std::collections::BTreeMap;

use starmesh::base::{EntityKey, Incarnation, NodeId, Tick};
use starmesh::entity::commit::{Commit, CommitError};
use starmesh::entity::keys;
use starmesh::store::Store;
use starmesh::store::conformance::{Loaded, Process, append, chunk, head, load, put, row};
use starmesh::store::copy::{CopyError, Source, copy};
use starmesh::store::memory::Memory;

use crate::store_support::{ENTITIES, commit_all, history, open, tiny};

/// Everything that must be in a copy: values of keys, not their versions, and
/// entities as they are loaded.
fn galaxy(store: &dyn Store) -> (BTreeMap<Vec<u8>, Vec<u8>>, Vec<Loaded>) {
    let all = store.scan(b"", None, usize::MAX).expect("keys can be read").into_iter();
    let keys = all.map(|(key, found)| (key, found.value));
    let keys = keys.filter(|(key, _)| !key.starts_with(keys::ROW)).collect();
    (keys, ENTITIES.iter().map(|entity| load(store, *entity)).collect())
}

/// A galaxy of two nodes: one was restarted twice, and what is known of one of
/// its ends was deleted; the other has come further.
fn fill(store: &dyn Store) {
    commit_all(store, &history(40));
    let mut second = Process::restarted(1, 2);
    second.must(store, vec![put(b"plain", &[7; 900])]);
    let ended = |n| keys::ended_incarnation(NodeId(1), Incarnation(n));
    let mut third = Process { tick: Tick(99), ..Process::restarted(1, 3) };
    third.must(store, vec![starmesh::store::conformance::delete(&ended(1))]);
    third.must(store, vec![]);
    let mut other = Process { tick: Tick(500), ..Process::begun(store, 2) };
    let long = EntityKey::Ledger(2);
    let at = 4;
    let chunks = (0..30).map(|n| chunk(long, at, n, &[n as u8; 60_000]));
    other.must(store, chunks.chain([head(long, at)]).collect());
    other.must(store, vec![append(long, 5, &vec![5; 500_000]), append(long, 6, b"six")]);
}

/// `to` has what `from` has, and its nodes go on in it.
fn assert_copied(from: &dyn Source, to: &dyn Store) {
    let copied = copy(from, to).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((copied.entities, copied.nodes), (3, 2));
    assert_eq!(galaxy(to), galaxy(from));
    assert_eq!(row(to, 2), row(from, 2));
    let (ours, theirs) = (row(to, 1), row(from, 1));
    assert_eq!((ours.incarnation, ours.tick), (theirs.incarnation, theirs.tick));
    assert_eq!((ours.nonce, ours.audit_root), (theirs.nonce, theirs.audit_root));
    let last = load(to, ENTITIES[0]).records.last().expect("it has records").0;
    let mut next = Process { tick: Tick(99), ..Process::restarted(1, 4) };
    let answer = next.must(to, vec![append(ENTITIES[0], last + 1, b"on")]);
    assert!(answer.refused.is_empty());
    assert!(matches!(copy(from, to), Err(CopyError::NotEmpty)));
}

#[test]
fn a_galaxy_is_copied_between_embedded_stores() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (from, to) = (open(&dir.path().join("a"), tiny()), open(&dir.path().join("b"), tiny()));
    fill(&from);
    assert_copied(&from, &to);
}

#[cfg(feature = "postgres")]
#[test]
fn a_galaxy_is_copied_to_postgres_and_back() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = crate::postgres_server::shared();
    let (from, middle) = (open(&dir.path().join("a"), tiny()), server.store());
    fill(&from);
    assert_copied(&from, &middle);
    let (again, back) = (server.store(), open(&dir.path().join("b"), tiny()));
    copy(&from, &again).expect("it is empty");
    assert_copied(&again, &back);
}

#[test]
fn what_is_no_whole_galaxy_is_not_copied() {
    let (empty, target) = (Memory::new(), Memory::new());
    assert_eq!(copy(&empty, &target), Err(CopyError::NoGalaxy));
    let half = Memory::new();
    Process::begun(&half, 1).must(&half, vec![put(keys::COPYING, b"")]);
    assert_eq!(copy(&half, &target), Err(CopyError::HalfCopied));
    assert!(target.scan(b"", None, 1).expect("it answers").is_empty());
}

/// A store whose disk is full after some commits.
struct Ending(Memory, std::sync::atomic::AtomicU32);

#[test]
fn a_copy_that_does_not_end_says_so_to_whoever_opens_it() {
    let from = Memory::new();
    fill(&from);
    let to = Ending(Memory::new(), 2.into());
    assert!(matches!(copy(&from, &to), Err(CopyError::Write(CommitError::Unknown(_)))));
    assert!(to.get(keys::COPYING).expect("it answers").is_some());
}

impl Store for Ending {
    fn commit(
        &self,
        commit: &Commit,
    ) -> Result<starmesh::entity::commit::CommitAnswer, CommitError> {
        use std::sync::atomic::Ordering::Relaxed;
        let left = self.1.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        left.map_err(|_| CommitError::Unknown("the disk is full".into()))?;
        self.0.commit(commit)
    }

    fn get(
        &self,
        key: &[u8],
    ) -> Result<Option<starmesh::store::Versioned>, starmesh::store::ReadError> {
        self.0.get(key)
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, starmesh::store::Versioned)>, starmesh::store::ReadError> {
        self.0.scan(prefix, after, limit)
    }

    fn changes(
        &self,
        since: u64,
        limit: usize,
    ) -> Result<starmesh::store::Changes, starmesh::store::ReadError> {
        self.0.changes(since, limit)
    }

    fn load(
        &self,
        entity: EntityKey,
        from: Option<starmesh::store::Cursor>,
    ) -> Result<starmesh::store::LoadPage, starmesh::store::ReadError> {
        self.0.load(entity, from)
    }

    fn time(&self) -> Result<starmesh::base::Millis, starmesh::store::ReadError> {
        self.0.time()
    }
}
