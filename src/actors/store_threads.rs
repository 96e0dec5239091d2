//! Owns the threads that wait for the store: one that commits, some that load
//! and replay. Never decides what; the core's thread sends jobs and gets
//! events back. Invariant: commits are made one at a time, in order.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::core_thread::{CoreHandle, ToCore};
use crate::base::{EntityKey, Incarnation, NodeId, Tick};
use crate::cluster::core::loading::{LoadError, Loaded, recover};
use crate::cluster::core::node::Event;
use crate::entity::commit::Commit;
use crate::entity::replay::{Image, replay};
use crate::entity::{World, keys};
use crate::store::{ReadError, Store};
use crate::telemetry::metrics;

/// Keys read at a time.
const PAGE: usize = 1024;

/// The way to the store's threads; they end when it is dropped.
pub struct StoreThreads {
    store: Arc<dyn Store>,
    free_min: u64,
    commits: Sender<Arc<Commit>>,
    reads: Sender<Read>,
}

enum Read {
    Owned,
    Load(EntityKey),
    NextId,
}

impl StoreThreads {
    /// Starts a thread for commits and `loaders` for reads.
    ///
    /// # Errors
    /// When the system gives no threads.
    #[expect(
        clippy::disallowed_methods,
        reason = "the core has one commit under way and at most `LOADS_MAX` loads"
    )]
    pub fn start(
        store: Arc<dyn Store>,
        node: NodeId,
        world: Arc<World>,
        core: CoreHandle,
        loaders: usize,
        free_min: u64,
    ) -> std::io::Result<StoreThreads> {
        let (commits, queue) = channel::<Arc<Commit>>();
        let committer = (store.clone(), core.clone());
        std::thread::Builder::new().name("store".into()).spawn(move || {
            let (store, core) = committer;
            commit_all(store.as_ref(), &queue, &core);
        })?;
        let (reads, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..loaders {
            let reader =
                Reader { store: store.clone(), node, world: world.clone(), core: core.clone() };
            let queue = queue.clone();
            std::thread::Builder::new().name("loader".into()).spawn(move || reader.run(&queue))?;
        }
        Ok(StoreThreads { store, free_min, commits, reads })
    }

    pub fn commit(&self, commit: Arc<Commit>) {
        let _ = self.commits.send(commit);
    }

    pub fn scan_owned(&self) {
        let _ = self.reads.send(Read::Owned);
    }

    pub fn load(&self, entity: EntityKey) {
        let _ = self.reads.send(Read::Load(entity));
    }

    pub fn read_next_id(&self) {
        let _ = self.reads.send(Read::NextId);
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
                Read::Owned => Event::Owned(retried(|| owned(self.store.as_ref(), self.node))),
                Read::Load(entity) => Event::Loaded(entity, self.load(entity).map(Box::new)),
                Read::NextId => Event::NextId(retried(|| next_id(self.store.as_ref()))),
            };
            self.core.send(ToCore::Event(event));
        }
    }

    fn load(&self, entity: EntityKey) -> Result<Loaded, LoadError> {
        load(self.store.as_ref(), entity, &self.world)
    }
}

/// Loads and replays `entity`, to where its last owner left it.
///
/// # Errors
/// When the store does not answer, or the entity cannot be claimed.
pub fn load(store: &dyn Store, entity: EntityKey, world: &World) -> Result<Loaded, LoadError> {
    let away = |error: ReadError| LoadError::Store(error.to_string());
    let image = image(store, entity).map_err(away)?;
    let replayed = replay(entity, &image, world)?;
    let ended = match replayed.entity.head().claim {
        Some(open) => ended(store, open.claim.node, open.claim.incarnation).map_err(away)?,
        None => None,
    };
    recover(replayed, ended, world)
}

/// All that `store` has of `entity`.
///
/// # Errors
/// When the store does not answer.
pub fn image(store: &dyn Store, entity: EntityKey) -> Result<Image, ReadError> {
    let mut image = Image::default();
    let mut from = None;
    loop {
        let page = store.load(entity, from)?;
        image.head = image.head.or(page.head);
        image.chunks.extend(page.chunks);
        image.records.extend(page.records);
        from = page.next;
        if from.is_none() {
            return Ok(image);
        }
    }
}

/// The last durable tick of an incarnation, if it has ended.
fn ended(
    store: &dyn Store,
    node: NodeId,
    incarnation: Incarnation,
) -> Result<Option<Tick>, ReadError> {
    let row = store.get(&keys::ended_incarnation(node, incarnation))?;
    let tick = row.map(|row| {
        row.value.as_slice().try_into().map(u64::from_be_bytes).map_err(|_| {
            ReadError::Damaged(format!("the end of incarnation {incarnation} of node {node}"))
        })
    });
    Ok(tick.transpose()?.map(Tick))
}

fn owned(store: &dyn Store, node: NodeId) -> Result<Vec<EntityKey>, ReadError> {
    let prefix = keys::owned_by(node);
    let mut entities = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(&prefix, after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(entities) };
        after = Some(last.clone());
        for (key, _) in &page {
            let entity = EntityKey::from_bytes(&key[prefix.len()..])
                .map_err(|error| ReadError::Damaged(error.to_string()))?;
            entities.push(entity);
        }
    }
}

fn next_id(store: &dyn Store) -> Result<Option<(u64, u64)>, ReadError> {
    let Some(row) = store.get(keys::NEXT_ID)? else { return Ok(None) };
    let next = row.value.as_slice().try_into().map(u64::from_be_bytes);
    let next = next.map_err(|_| ReadError::Damaged("the next free id".into()))?;
    Ok(Some((next, row.version)))
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
