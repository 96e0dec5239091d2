//! Owns the threads that wait for the store: one that commits, some that load
//! and replay. Never decides what; the core's thread sends jobs and gets
//! events back. Invariant: commits are made one at a time, in order.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::core_thread::{CoreHandle, ToCore};
use super::ending::Ending;
use crate::base::{EntityKey, NodeId};
use crate::cluster::core::limits::Limits;
use crate::cluster::core::loading::Asker;
use crate::cluster::core::node::Event;
use crate::config::Config;
use crate::entity::World;
use crate::entity::commit::Commit;
use crate::store::recovery::{ended_of, load, next_id, owned};
use crate::store::{ReadError, Store};
use crate::telemetry::metrics;

/// The way to the store's threads; they end when it is dropped.
pub struct StoreThreads {
    store: Arc<dyn Store>,
    free_min: u64,
    commits: SyncSender<Arc<Commit>>,
    reads: SyncSender<Read>,
}

enum Read {
    Owned,
    Load(EntityKey, Asker),
    NextId,
}

impl StoreThreads {
    /// Starts a thread for commits and some for reads.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start(
        store: Arc<dyn Store>,
        node: NodeId,
        world: Arc<World>,
        core: CoreHandle,
        ending: &Ending,
        settings: &Config,
        limits: &Limits,
    ) -> std::io::Result<StoreThreads> {
        // The core has one commit under way.
        let (commits, queue) = sync_channel::<Arc<Commit>>(1);
        let (committer, to_core, guard) = (store.clone(), core.clone(), ending.clone());
        std::thread::Builder::new().name("store".into()).spawn(move || {
            guard.guard("the store's thread", || commit_all(committer.as_ref(), &queue, &to_core))
        })?;
        // All loads that the core has under way, and its two other reads.
        let (reads, queue) = sync_channel(limits.loads + 2);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..settings.engine.loads_at_once.usize() {
            let reader =
                Reader { store: store.clone(), node, world: world.clone(), core: core.clone() };
            let (queue, guard) = (queue.clone(), ending.clone());
            std::thread::Builder::new()
                .name("loader".into())
                .spawn(move || guard.guard("a loader", || reader.run(&queue)))?;
        }
        Ok(StoreThreads { store, free_min: settings.store.free_min_bytes(), commits, reads })
    }

    pub fn commit(&self, commit: Arc<Commit>) {
        let _ = self.commits.send(commit);
    }

    pub fn scan_owned(&self) {
        let _ = self.reads.send(Read::Owned);
    }

    pub fn load(&self, entity: EntityKey, asker: Asker) {
        let _ = self.reads.send(Read::Load(entity, asker));
    }

    pub fn read_next_id(&self) {
        let _ = self.reads.send(Read::NextId);
    }

    /// Entities whose journals hold up the oldest segment of a long journal.
    pub fn pins(&self) -> Vec<EntityKey> {
        self.store.pins()
    }

    /// Whether the disk has less room than commands need; `None` where the
    /// engine cannot know.
    pub fn is_disk_full(&self) -> Option<bool> {
        let free = self.store.free_bytes()?;
        metrics::STORE_FREE.set(free as f64);
        Some(free < self.free_min)
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

struct Reader {
    store: Arc<dyn Store>,
    node: NodeId,
    world: Arc<World>,
    core: CoreHandle,
}

impl Reader {
    fn run(&self, queue: &Mutex<Receiver<Read>>) {
        loop {
            // A loader that panicked holds no job that others could miss.
            let job = queue.lock().unwrap_or_else(|lock| lock.into_inner()).recv();
            let Ok(job) = job else { return };
            let event = match job {
                Read::Owned => {
                    let store = self.store.as_ref();
                    let entities = retried(|| owned(store, self.node));
                    Event::Owned { entities, ended: retried(|| ended_of(store, self.node)) }
                }
                Read::Load(entity, asker) => {
                    let loaded = load(self.store.as_ref(), entity, &self.world, asker);
                    Event::Loaded(entity, loaded.map(Box::new))
                }
                Read::NextId => Event::NextId(retried(|| next_id(self.store.as_ref()))),
            };
            self.core.send(ToCore::Event(event));
        }
    }
}

/// Reads until the store answers. Nothing else can happen meanwhile that
/// would need this thread: a core that asked this waits for it.
fn retried<T>(read: impl Fn() -> Result<T, ReadError>) -> T {
    loop {
        match read() {
            Ok(value) => return value,
            Err(error) => {
                tracing::error!(%error, "a read that must succeed failed; it is tried again");
                std::thread::park_timeout(std::time::Duration::from_millis(500));
            }
        }
    }
}
