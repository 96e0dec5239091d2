//! Owns the threads that wait for the store: one that commits, some that load
//! and replay, one that watches the disk. Never decides what; the core's thread
//! sends jobs and gets events back. Invariants: commits are made one at a time,
//! in order; no other thread waits for a disk; each ends, and lets go of the
//! store, with the call it is in when [`StoreThreads`] is dropped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::branches::Branches;
use super::core_thread::{CoreHandle, ToCore};
use super::ending::Ending;
use crate::base::{EntityKey, NodeId};
use crate::cluster::core::limits::Limits;
use crate::cluster::core::loading::{Ahead, Asker, LoadError};
use crate::cluster::core::node::Event;
use crate::config::Config;
use crate::entity::commit::Commit;
use crate::entity::workplace::{self, Workplace};
use crate::store::recovery::{
    asleep, attempts, cluster, condemn, due, ended_of, load, load_ahead, next_id, owned,
    owned_keys, parked_keys,
};
use crate::store::worlds::Worlds;
use crate::store::{ReadError, Store};
use crate::telemetry::metrics;

/// How often the disk is looked at.
const WATCH_PERIOD: Duration = Duration::from_secs(1);
/// A read that must succeed is tried again after this long.
const AGAIN: Duration = Duration::from_millis(500);

/// Nodes that left or died at once, each of whose keys are read.
const LEFT_MAX: usize = 64;

/// The way to the store's threads; they end when it is dropped.
pub struct StoreThreads {
    commits: SyncSender<Arc<Commit>>,
    reads: SyncSender<Read>,
    /// Whether loaders are to leave what waits.
    stopping: Arc<AtomicBool>,
    /// The watcher ends when it is dropped.
    _watching: SyncSender<()>,
}

impl Drop for StoreThreads {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

/// The threads that load.
pub struct Loaders {
    /// Where each says what it is at.
    pub places: Vec<&'static Workplace>,
    pub limits: Limits,
}

enum Read {
    Owned,
    Load(EntityKey, Asker, Option<Box<Ahead>>),
    Condemn(EntityKey, Asker, String),
    Attempts,
    LoadAhead(EntityKey),
    NextId,
    Parked,
    Due { after: Option<Vec<u8>>, limit: usize },
    Asleep { after: Option<Vec<u8>> },
    Cluster { version: u64 },
    OwnedBy(NodeId),
}

impl StoreThreads {
    /// Starts a thread for commits, one for reads for each of `loaders`, which says there
    /// what it is at, and the watcher.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start(
        store: Arc<dyn Store>,
        node: NodeId,
        branches: Arc<Branches>,
        core: CoreHandle,
        ending: &Ending,
        settings: &Config,
        loaders: Loaders,
    ) -> std::io::Result<StoreThreads> {
        // The core has one commit under way.
        let (commits, queue) = sync_channel::<Arc<Commit>>(1);
        let (committer, to_core, guard) = (store.clone(), core.clone(), ending.clone());
        std::thread::Builder::new().name("store".into()).spawn(move || {
            guard.guard("the store's thread", || commit_all(committer.as_ref(), &queue, &to_core))
        })?;
        // All loads that the core has under way, its seven other reads, and one more
        // for each of many nodes that left at once.
        let Loaders { places, limits } = loaders;
        let (reads, queue) = sync_channel(limits.loads + limits.loads_ahead + 7 + LEFT_MAX);
        let queue = Arc::new(Mutex::new(queue));
        let stopping = Arc::new(AtomicBool::new(false));
        let worlds = Arc::new(Worlds::new(branches.world.clone()));
        for place in places {
            let reader = Reader {
                store: store.clone(),
                node,
                worlds: worlds.clone(),
                branches: branches.clone(),
                core: core.clone(),
                stopping: stopping.clone(),
            };
            let (queue, guard) = (queue.clone(), ending.clone());
            std::thread::Builder::new().name("loader".into()).spawn(move || {
                workplace::settle(place);
                guard.guard("a loader", || reader.run(&queue))
            })?;
        }
        let (watching, stop) = sync_channel(1);
        let (free_min, guard) = (settings.store.free_min_bytes(), ending.clone());
        std::thread::Builder::new().name("store-watch".into()).spawn(move || {
            guard.guard("the disk's watcher", || watch(store.as_ref(), free_min, &core, &stop))
        })?;
        Ok(StoreThreads { commits, reads, stopping, _watching: watching })
    }

    pub fn commit(&self, commit: Arc<Commit>) {
        let _ = self.commits.send(commit);
    }

    pub fn scan_owned(&self) {
        let _ = self.reads.send(Read::Owned);
    }

    pub fn load(&self, entity: EntityKey, asker: Asker, ahead: Option<Box<Ahead>>) {
        let _ = self.reads.send(Read::Load(entity, asker, ahead));
    }

    pub fn condemn(&self, entity: EntityKey, asker: Asker, why: String) {
        let _ = self.reads.send(Read::Condemn(entity, asker, why));
    }

    pub fn read_attempts(&self) {
        let _ = self.reads.send(Read::Attempts);
    }

    pub fn load_ahead(&self, entity: EntityKey) {
        let _ = self.reads.send(Read::LoadAhead(entity));
    }

    pub fn read_due(&self, after: Option<Vec<u8>>, limit: usize) {
        let _ = self.reads.send(Read::Due { after, limit });
    }

    pub fn read_parked(&self) {
        let _ = self.reads.send(Read::Parked);
    }

    pub fn read_asleep(&self, after: Option<Vec<u8>>) {
        let _ = self.reads.send(Read::Asleep { after });
    }

    pub fn read_cluster(&self, version: u64) {
        let _ = self.reads.send(Read::Cluster { version });
    }

    pub fn scan_owned_by(&self, node: NodeId) {
        let _ = self.reads.send(Read::OwnedBy(node));
    }

    pub fn read_next_id(&self) {
        let _ = self.reads.send(Read::NextId);
    }
}

/// Is there room, and what keeps the journal long?
fn watch(store: &dyn Store, free_min: u64, core: &CoreHandle, stop: &Receiver<()>) {
    loop {
        let free = store.free_bytes();
        if let Some(free) = free {
            metrics::STORE_FREE.set(free as f64);
        }
        let full = free.map(|free| free < free_min);
        core.send(ToCore::Disk { full, pinned: store.pins() });
        if let Err(RecvTimeoutError::Disconnected) = stop.recv_timeout(WATCH_PERIOD) {
            return;
        }
    }
}

fn commit_all(store: &dyn Store, queue: &Receiver<Arc<Commit>>, core: &CoreHandle) {
    while let Ok(commit) = queue.recv() {
        let began = Instant::now();
        let result = store.commit(&commit);
        metrics::COMMIT_SECONDS.record(began.elapsed().as_secs_f64());
        metrics::COMMIT_GROUPS.record(commit.groups.len() as f64);
        core.send(ToCore::Event(Event::CommitDone(result)));
    }
}

/// What panics when it is replayed would end one node after the other; so it is set
/// aside. A load keeps nothing that a panic could leave half done.
fn guarded<T>(load: impl FnOnce() -> Result<T, LoadError>) -> Result<T, LoadError> {
    catch_unwind(AssertUnwindSafe(load)).unwrap_or(Err(LoadError::Panicked))
}

struct Reader {
    store: Arc<dyn Store>,
    node: NodeId,
    worlds: Arc<Worlds>,
    branches: Arc<Branches>,
    core: CoreHandle,
    stopping: Arc<AtomicBool>,
}

impl Reader {
    fn run(&self, queue: &Mutex<Receiver<Read>>) {
        loop {
            // A loader that panicked holds no job that others could miss.
            let job = queue.lock().unwrap_or_else(|lock| lock.into_inner()).recv();
            let Ok(job) = job else { return };
            let Some(event) = self.read(job) else { return };
            self.core.send(ToCore::Event(event));
        }
    }

    /// `None` when the node stops.
    fn read(&self, job: Read) -> Option<Event> {
        if self.stopping.load(Ordering::Relaxed) {
            return None;
        }
        let store = self.store.as_ref();
        Some(match job {
            Read::Owned => {
                let entities = self.retried(|| owned_keys(store, self.node))?;
                Event::Owned { entities, ended: self.retried(|| ended_of(store, self.node))? }
            }
            Read::Load(entity, asker, ahead) => {
                let ahead = ahead.map(|ahead| *ahead);
                let loaded = guarded(|| load(store, entity, &self.worlds, asker, ahead));
                Event::Loaded(entity, loaded.map(Box::new))
            }
            Read::Condemn(entity, asker, why) => {
                let found = guarded(|| condemn(store, entity, &self.worlds, asker, why));
                Event::Loaded(entity, found.map(Box::new))
            }
            Read::Attempts => {
                let lost = |error: &ReadError| tracing::warn!(%error, "not read who is suspected");
                Event::Attempts(attempts(store).inspect_err(lost).ok())
            }
            Read::LoadAhead(entity) => {
                let loaded = guarded(|| load_ahead(store, entity, &self.worlds));
                Event::LoadedAhead(entity, loaded.map(Box::new))
            }
            Read::Parked => {
                let lost = |error: &ReadError| tracing::warn!(%error, "not looked who is parked");
                Event::Parked(parked_keys(store).inspect_err(lost).ok())
            }
            Read::Due { after, limit } => {
                // None are due while the store does not answer: they are asked
                // for again.
                let due = due(store, after.as_deref(), limit);
                let lost = |error: &ReadError| tracing::warn!(%error, "timers were not read");
                Event::Due(due.inspect_err(lost).unwrap_or_default())
            }
            Read::Asleep { after } => {
                let (page, after) = self.retried(|| asleep(store, after.as_deref()))?;
                self.branches.note_asleep(&page, after.is_none());
                let page = page.into_iter().map(|(entity, _)| entity).collect();
                Event::Asleep { page, after }
            }
            // The core asks again.
            Read::Cluster { version } => {
                let lost = |error: &ReadError| tracing::warn!(%error, "the rows were not read");
                let read = cluster(store, version).inspect_err(lost);
                Event::Cluster(read.ok().map(Box::new))
            }
            Read::OwnedBy(node) => {
                let lost = |error: &ReadError| tracing::warn!(%error, %node, "not looked after");
                Event::OwnedBy { node, entities: owned(store, node).inspect_err(lost).ok() }
            }
            Read::NextId => Event::NextId(self.retried(|| next_id(store))?),
        })
    }

    /// Reads until the store answers, or the node stops. Nothing else can
    /// happen meanwhile that would need this thread: a core that asked this
    /// waits for it.
    fn retried<T>(&self, read: impl Fn() -> Result<T, ReadError>) -> Option<T> {
        while !self.stopping.load(Ordering::Relaxed) {
            match read() {
                Ok(value) => return Some(value),
                Err(error) => {
                    tracing::error!(%error, "a read that must succeed failed; it is tried again");
                    std::thread::park_timeout(AGAIN);
                }
            }
        }
        None
    }
}
