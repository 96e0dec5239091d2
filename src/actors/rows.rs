//! Owns the gateway's way to rows in the store (accounts, refresh tokens, id
//! blocks): reads on threads that may block, writes as groups in the commits of
//! the node. Never makes a commit of its own: who drains the queue does, and
//! never keeps the store open: a node that stops closes it, whoever still has
//! rows. Invariant: what waits is bounded, and every call ends in bounded time.

mod direct;

use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::base::{Millis, PlayerId, ids::ID_BLOCK};
use crate::config::StoreSettings;
use crate::entity::commit::{Check, Expect, Group, Put};
use crate::entity::keys;
use crate::store::{Changes, ReadError, Store, Versioned};

/// What became of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupAnswer {
    /// Durable, with the version of its commit.
    Accepted { version: u64 },
    /// A check failed; nothing of it happened.
    Refused,
}

/// The store gave no answer in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreAway {
    #[error("the store does not answer, nothing was changed: {0}")]
    Unchanged(String),
    /// The group may become durable, now or later.
    #[error("the store does not answer, the change may or may not happen")]
    Unknown,
}

impl From<ReadError> for StoreAway {
    fn from(error: ReadError) -> Self {
        StoreAway::Unchanged(error.to_string())
    }
}

/// A group that waits for the node's next commit, and who wants to know.
/// Dropping `answer` tells the asker that the outcome is unknown.
#[derive(Debug)]
pub struct GroupRequest {
    pub group: Group,
    pub answer: oneshot::Sender<Result<GroupAnswer, StoreAway>>,
}

/// Time limits and bounds, from the settings.
#[derive(Clone, Copy, Debug)]
pub struct RowsLimits {
    pub reads_at_once: usize,
    pub read_timeout: Duration,
    pub write_timeout: Duration,
    pub writes_waiting_max: usize,
}

impl From<&StoreSettings> for RowsLimits {
    fn from(settings: &StoreSettings) -> Self {
        RowsLimits {
            reads_at_once: settings.reads_at_once.usize(),
            read_timeout: settings.read_timeout(),
            write_timeout: settings.write_timeout(),
            writes_waiting_max: settings.writes_waiting_max.usize(),
        }
    }
}

/// The rows of the store; cheap to clone.
#[derive(Clone)]
pub struct Rows {
    store: Weak<dyn Store>,
    reads: Arc<Semaphore>,
    commits: mpsc::Sender<GroupRequest>,
    limits: RowsLimits,
    player_ids: Arc<Mutex<Range<u64>>>,
}

impl Rows {
    /// Rows of `store`, and the queue of groups that the node's core drains
    /// into its commits.
    pub fn new(store: &Arc<dyn Store>, limits: RowsLimits) -> (Rows, mpsc::Receiver<GroupRequest>) {
        let store = Arc::downgrade(store);
        let (commits, queue) = mpsc::channel(limits.writes_waiting_max);
        let reads = Arc::new(Semaphore::new(limits.reads_at_once));
        let player_ids = Arc::new(Mutex::new(0..0));
        (Rows { store, reads, commits, limits, player_ids }, queue)
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// When the store does not answer in time.
    pub async fn get(&self, key: Vec<u8>) -> Result<Option<Versioned>, StoreAway> {
        self.read(move |store| store.get(&key)).await
    }

    /// See [`Store::scan`].
    ///
    /// # Errors
    /// When the store does not answer in time.
    pub async fn scan(
        &self,
        prefix: Vec<u8>,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Versioned)>, StoreAway> {
        self.read(move |store| store.scan(&prefix, after.as_deref(), limit)).await
    }

    /// See [`Store::changes`].
    ///
    /// # Errors
    /// When the store does not answer in time.
    pub async fn changes(&self, since: u64, limit: usize) -> Result<Changes, StoreAway> {
        self.read(move |store| store.changes(since, limit)).await
    }

    /// The store's clock.
    ///
    /// # Errors
    /// When the store does not answer in time.
    pub async fn time(&self) -> Result<Millis, StoreAway> {
        self.read(|store| store.time()).await
    }

    /// A read on a thread that may block. The permit goes with it, so that a
    /// read that takes too long still counts as under way after its time limit.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Store) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, StoreAway> {
        let late = || StoreAway::Unchanged("no answer in time".to_string());
        timeout(self.limits.read_timeout, async {
            let permit = self.reads.clone().acquire_owned().await.map_err(|_| late())?;
            let stopped = || StoreAway::Unchanged("the node stops".to_string());
            let store = self.store.upgrade().ok_or_else(stopped)?;
            let read = move || run_read(store, read, permit);
            Ok(tokio::task::spawn_blocking(read).await.map_err(|_| late())??)
        })
        .await
        .map_err(|_| late())?
    }

    /// Puts `group` into one of the node's next commits and waits for it.
    ///
    /// # Errors
    /// When too many groups wait or the node stops (`Unchanged`), or the
    /// outcome is not known in time (`Unknown`).
    pub async fn commit_group(&self, group: Group) -> Result<GroupAnswer, StoreAway> {
        let (answer, outcome) = oneshot::channel();
        self.commits.try_send(GroupRequest { group, answer }).map_err(|error| {
            StoreAway::Unchanged(match error {
                mpsc::error::TrySendError::Full(_) => "too many writes wait".to_string(),
                mpsc::error::TrySendError::Closed(_) => "the node stops".to_string(),
            })
        })?;
        match timeout(self.limits.write_timeout, outcome).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(StoreAway::Unknown),
        }
    }

    /// A new player's id, from a block of [`ID_BLOCK`] of this process; what
    /// is left of a block when the process ends is never used.
    ///
    /// # Errors
    /// When a new block is needed and the store does not answer. At worst a
    /// block is lost.
    pub async fn next_player_id(&self) -> Result<PlayerId, StoreAway> {
        let late = || StoreAway::Unchanged("no new id in time".to_string());
        let locked = timeout(self.limits.write_timeout, self.player_ids.lock()).await;
        let mut block = locked.map_err(|_| late())?;
        if block.is_empty() {
            *block = self.take_id_block().await.map_err(|away| match away {
                StoreAway::Unknown => late(),
                unchanged @ StoreAway::Unchanged(_) => unchanged,
            })?;
        }
        let id = block.start;
        block.start += 1;
        Ok(PlayerId(id))
    }

    /// Takes a block that nobody else has, by compare-and-swap of
    /// [`keys::NEXT_ID`]. A lost race is tried again; every loser has a winner,
    /// so it ends.
    async fn take_id_block(&self) -> Result<Range<u64>, StoreAway> {
        loop {
            let row = self.get(keys::NEXT_ID.to_vec()).await?;
            let (start, group) = id_block_group(row.as_ref())?;
            if let GroupAnswer::Accepted { .. } = self.commit_group(group).await? {
                return Ok(start..start + ID_BLOCK);
            }
        }
    }
}

fn run_read<T>(
    store: Arc<dyn Store>,
    read: impl FnOnce(&dyn Store) -> Result<T, ReadError>,
    _permit: OwnedSemaphorePermit,
) -> Result<T, ReadError> {
    read(&*store)
}

/// The first id of the next block, and the group that takes it. Ids begin at 1.
fn id_block_group(row: Option<&Versioned>) -> Result<(u64, Group), StoreAway> {
    let (start, expect) = match row {
        None => (1, Expect::Absent),
        Some(row) => {
            let bytes = row.value.as_slice().try_into().map_err(|_| {
                StoreAway::Unchanged("the row of the next id is damaged".to_string())
            })?;
            (u64::from_be_bytes(bytes), Expect::Version(row.version))
        }
    };
    let key = keys::NEXT_ID.to_vec();
    let value = Some(start.saturating_add(ID_BLOCK).to_be_bytes().to_vec());
    let group = Group {
        checks: vec![Check { key: key.clone(), expect }],
        puts: vec![Put { key, value }],
        append: None,
    };
    Ok((start, group))
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::base::EntityKey;
    use crate::entity::commit::{Commit, CommitAnswer, CommitError};
    use crate::store::memory::Memory;
    use crate::store::{Cursor, LoadPage};

    const LIMITS: RowsLimits = RowsLimits {
        reads_at_once: 1,
        read_timeout: Duration::from_millis(50),
        write_timeout: Duration::from_millis(50),
        writes_waiting_max: 1,
    };

    fn put(key: &[u8], expect: Expect) -> Group {
        Group {
            checks: vec![Check { key: key.to_vec(), expect }],
            puts: vec![Put { key: key.to_vec(), value: Some(b"value".to_vec()) }],
            append: None,
        }
    }

    #[tokio::test]
    async fn a_group_is_accepted_with_its_version_or_refused() {
        let rows = Rows::direct(Arc::new(Memory::new()));
        let first = rows.commit_group(put(b"a", Expect::Absent)).await.unwrap();
        let GroupAnswer::Accepted { version } = first else { panic!("refused") };
        let row = rows.get(b"a".to_vec()).await.unwrap().unwrap();
        assert_eq!((row.version, row.value.as_slice()), (version, b"value".as_slice()));
        let second = rows.commit_group(put(b"a", Expect::Absent)).await.unwrap();
        assert_eq!(second, GroupAnswer::Refused);
    }

    #[tokio::test]
    async fn too_many_waiting_groups_are_turned_away_unchanged() {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let (rows, mut queue) = Rows::new(&store, LIMITS);
        let waiting = rows.clone();
        let first = waiting.commit_group(put(b"a", Expect::Absent));
        let second = rows.commit_group(put(b"b", Expect::Absent));
        let (first, second) = tokio::join!(first, second);
        assert_eq!(first, Err(StoreAway::Unknown));
        assert!(matches!(second, Err(StoreAway::Unchanged(_))));
        assert_eq!(queue.recv().await.unwrap().group, put(b"a", Expect::Absent));
    }

    #[tokio::test]
    async fn player_ids_are_never_given_twice_also_by_the_next_process() {
        let store = Arc::new(Memory::new());
        let rows = Rows::direct(store.clone());
        let ids = futures_util::future::join_all((0..100).map(|_| rows.next_player_id())).await;
        let mut ids: Vec<_> = ids.into_iter().map(|id| id.unwrap().0).collect();
        ids.sort_unstable();
        assert_eq!(ids, (1..=100).collect::<Vec<_>>());
        let next = Rows::direct(store).next_player_id().await.unwrap();
        assert_eq!(next, PlayerId(1 + ID_BLOCK));
    }

    /// A store whose reads end when the test says so.
    struct Slow(Barrier);

    impl Store for Slow {
        fn get(&self, _: &[u8]) -> Result<Option<Versioned>, ReadError> {
            self.0.wait();
            Ok(None)
        }
        fn commit(&self, _: &Commit) -> Result<CommitAnswer, CommitError> {
            Err(CommitError::Unknown("slow".to_string()))
        }
        fn scan(
            &self,
            _: &[u8],
            _: Option<&[u8]>,
            _: usize,
        ) -> Result<Vec<(Vec<u8>, Versioned)>, ReadError> {
            Ok(Vec::new())
        }
        fn changes(&self, _: u64, _: usize) -> Result<Changes, ReadError> {
            Err(ReadError::Away("slow".to_string()))
        }
        fn load(&self, _: EntityKey, _: Option<Cursor>) -> Result<LoadPage, ReadError> {
            Err(ReadError::Away("slow".to_string()))
        }
        fn time(&self) -> Result<Millis, ReadError> {
            Ok(Millis(0))
        }
    }

    #[tokio::test]
    async fn a_read_that_takes_too_long_still_counts_as_under_way() {
        let store = Arc::new(Slow(Barrier::new(2)));
        let shared: Arc<dyn Store> = store.clone();
        let (rows, _queue) = Rows::new(&shared, LIMITS);
        assert!(rows.get(b"a".to_vec()).await.is_err());
        // The one read allowed is still under way, so none other begins.
        assert!(rows.time().await.is_err());
        tokio::task::spawn_blocking(move || store.0.wait()).await.unwrap();
        while rows.time().await.is_err() {}
    }
}
