//! Owns the thread of the node's core: messages become events, effects become
//! messages. Never decides; `NodeCore` does. The store has threads of its own,
//! so that nothing here waits for a disk.
//!
//! The queue to this thread has no bound of its own: cells, rows and loads
//! bound what can be in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::ending::Ending;
use super::ports::{Ports, ToSession};
use super::registry::Registry;
use super::rows::{GroupAnswer, GroupRequest, StoreAway};
use super::store_threads::StoreThreads;
use super::ticker::TableHandle;
use crate::base::{EntityKey, Millis, Tick};
use crate::cluster::core::clock::{Clock, JUMP_MS};
use crate::cluster::core::loading::LoadError;
use crate::cluster::core::message::{Committed, FromTable, ToTable};
use crate::cluster::core::node::{Event, NodeCore, NodeCounts, NodeEffect};
use crate::telemetry::metrics;

/// The number of the group that stores a new galaxy; rows count from 1.
pub const GALAXY_GROUP: u64 = 0;
/// Events taken together.
const BATCH: usize = 4096;

/// What the core's thread is sent.
pub enum ToCore {
    Event(Event),
    FromTable(Vec<FromTable>),
    /// A group of rows; the permit is given back when its outcome is known.
    Rows(GroupRequest, OwnedSemaphorePermit),
    /// Finish what waits, then end and say so.
    Stop(oneshot::Sender<()>),
}

/// The way to the core's thread; cheap to clone.
#[derive(Clone)]
pub struct CoreHandle(Sender<ToCore>);

impl CoreHandle {
    /// Sends; nothing happens when the core has ended.
    pub fn send(&self, message: ToCore) {
        let _ = self.0.send(message);
    }
}

/// What others may read of the core at any time.
pub struct CoreStatus {
    began: Instant,
    /// When the tick last moved, in milliseconds since `began`.
    ticked_ms: AtomicU64,
    pub tick: AtomicU64,
    pub time_ms: AtomicU64,
    pub ready: AtomicBool,
    /// The store answers and the disk has room.
    pub taking_commands: AtomicBool,
    pub disk_full: AtomicBool,
    pub counts: std::sync::Mutex<NodeCounts>,
}

impl Default for CoreStatus {
    fn default() -> CoreStatus {
        CoreStatus {
            began: Instant::now(),
            ticked_ms: AtomicU64::new(0),
            tick: AtomicU64::new(0),
            time_ms: AtomicU64::new(0),
            ready: AtomicBool::new(false),
            taking_commands: AtomicBool::new(true),
            disk_full: AtomicBool::new(false),
            counts: std::sync::Mutex::default(),
        }
    }
}

impl CoreStatus {
    /// How long the tick has stood still.
    pub fn stalled(&self) -> Duration {
        let ticked = Duration::from_millis(self.ticked_ms.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(ticked)
    }

    fn note_tick(&self, tick: u64) {
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.ticked_ms.store(elapsed, Ordering::Relaxed);
        self.tick.store(tick, Ordering::Relaxed);
    }

    /// The node's tick and clock.
    pub fn time(&self) -> (Tick, Millis) {
        (Tick(self.tick.load(Ordering::Relaxed)), Millis(self.time_ms.load(Ordering::Relaxed)))
    }
}

/// Which of `tables` an entity is in: by hash, the same in every run.
pub fn table_of(entity: EntityKey, tables: usize) -> usize {
    crc32fast::hash(&entity.to_bytes()) as usize % tables.max(1)
}

/// The queue to a core's thread that will be started with [`start`].
#[expect(
    clippy::disallowed_methods,
    reason = "a bound here could block an arbiter; tables, rows and loads bound what comes"
)]
pub fn queue() -> (CoreHandle, Receiver<ToCore>) {
    let (sender, receiver) = channel();
    (CoreHandle(sender), receiver)
}

/// What the core's thread works with.
pub struct CoreParts {
    pub core: NodeCore,
    pub tables: Vec<TableHandle>,
    pub store: StoreThreads,
    pub ports: Arc<Ports>,
    pub registry: Arc<Registry>,
    pub status: Arc<CoreStatus>,
    pub ending: Ending,
}

/// Starts the thread; it ends on [`ToCore::Stop`] or when deposed.
///
/// # Errors
/// When the system gives no thread.
pub fn start(parts: CoreParts, receiver: Receiver<ToCore>) -> std::io::Result<()> {
    let thread = CoreThread::new(parts);
    let ending = thread.ending.clone();
    std::thread::Builder::new()
        .name("core".into())
        .spawn(move || ending.guard("the node's core", || thread.run(&receiver)))?;
    Ok(())
}

type RowsAsker = oneshot::Sender<Result<GroupAnswer, StoreAway>>;

struct CoreThread {
    core: NodeCore,
    tables: Vec<TableHandle>,
    store: StoreThreads,
    ports: Arc<Ports>,
    registry: Arc<Registry>,
    status: Arc<CoreStatus>,
    ending: Ending,
    stopping: Option<oneshot::Sender<()>>,
    ended: bool,

    /// Who waits for which group of rows.
    rows: BTreeMap<u64, (RowsAsker, OwnedSemaphorePermit)>,
    last_row: u64,
    wake_at: Millis,
    began: Instant,
    clock: Clock,
    jumped: bool,
    counted: NodeCounts,
    disk_checked: Millis,
}

impl CoreThread {
    fn new(parts: CoreParts) -> CoreThread {
        let CoreParts { core, tables, store, ports, registry, status, ending } = parts;
        CoreThread {
            core,
            tables,
            store,
            ports,
            registry,
            status,
            ending,
            stopping: None,
            ended: false,
            rows: BTreeMap::new(),
            last_row: 0,
            wake_at: Millis(0),
            began: Instant::now(),
            clock: Clock::new(wall(), Millis(0)),
            jumped: false,
            counted: NodeCounts::default(),
            disk_checked: Millis(0),
        }
    }

    fn run(mut self, receiver: &Receiver<ToCore>) {
        self.handle(vec![Event::Clock]);
        while !self.ended {
            let now = self.now();
            let wait = Duration::from_millis(self.wake_at.since(now));
            let mut events = Vec::new();
            match receiver.recv_timeout(wait) {
                Ok(message) => self.take(message, &mut events),
                Err(RecvTimeoutError::Timeout) => events.push(Event::Clock),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while events.len() < BATCH
                && let Ok(message) = receiver.try_recv()
            {
                self.take(message, &mut events);
            }
            self.handle(events);
        }
    }

    fn take(&mut self, message: ToCore, events: &mut Vec<Event>) {
        match message {
            ToCore::Event(event) => events.push(event),
            ToCore::FromTable(messages) => {
                events.extend(messages.into_iter().map(Event::FromTable));
            }
            ToCore::Rows(GroupRequest { group, answer }, permit) => {
                self.last_row += 1;
                self.rows.insert(self.last_row, (answer, permit));
                events.push(Event::Rows { id: self.last_row, group });
            }
            ToCore::Stop(done) => self.stopping = Some(done),
        }
    }

    fn handle(&mut self, mut events: Vec<Event>) {
        let now = self.now();
        self.check_disk(now, &mut events);
        self.core.handle_all(events, now);
        for effect in self.core.drain_effects() {
            self.run_effect(effect);
        }
        self.report(now);
        if self.stopping.is_some() && self.core.is_settled() {
            self.end();
        }
    }

    fn run_effect(&mut self, effect: NodeEffect) {
        match effect {
            NodeEffect::Commit(commit) => self.store.commit(commit),
            NodeEffect::ToTable(entity, message) => {
                self.tables[table_of(entity, self.tables.len())].send(message);
            }
            NodeEffect::ToTables(message) => {
                self.tables.iter().for_each(|table| table.send(message.clone()));
            }
            NodeEffect::Committed(records) => self.committed(records),
            NodeEffect::ScanOwned => self.store.scan_owned(),
            NodeEffect::Load(entity, asker) => self.store.load(entity, asker),
            NodeEffect::ReadNextId => self.store.read_next_id(),
            NodeEffect::RowsDone { id: GALAXY_GROUP, version: None } => {
                let why = "the galaxy was not stored: there is another one by now, or it is too \
                           large for a row; nothing was changed, start again";
                tracing::error!("{why}");
                self.ending.tell(why.into());
                self.end();
            }
            NodeEffect::RowsDone { id, version } => {
                let answer = version
                    .map_or(GroupAnswer::Refused, |version| GroupAnswer::Accepted { version });
                if let Some((asker, _permit)) = self.rows.remove(&id) {
                    // An asker that gave up meanwhile needs no answer.
                    let _ = asker.send(Ok(answer));
                }
            }
            NodeEffect::Ready => self.status.ready.store(true, Ordering::Relaxed),
            NodeEffect::StoreAway(away) => self.note_away(away),
            NodeEffect::Claiming { may_claim: false, off_ms } => tracing::error!(
                off_ms,
                "this node's clock and the store's differ by more than two seconds: nothing new \
                 is claimed until they agree; set the clock or start the node again"
            ),
            NodeEffect::Claiming { .. } => tracing::info!("the clocks agree again"),
            NodeEffect::Unloadable(entity, error) => self.park(entity, &error),
            NodeEffect::Mismatch(entity, found) => {
                tracing::error!(%entity, ?found, "replay differs from a journalled hash");
                metrics::INVARIANT_BROKEN.with(&["4"]).increment(found.len() as u64);
            }
            NodeEffect::WakeAt(at) => self.wake_at = at,
            NodeEffect::StepDown(error) => {
                tracing::error!(%error, "this process owns nothing any more and ends");
                self.ending.tell(error.to_string());
                self.end();
            }
        }
    }

    /// In this order: who asks from now on sees it in the registry, who asked
    /// before is told.
    fn park(&self, entity: EntityKey, error: &LoadError) {
        tracing::error!(%entity, %error, "cannot be loaded; it is kept as it is and does not run");
        metrics::PARKED.set(self.registry.park(entity) as f64);
        self.ports.broadcast(&ToSession::Parked { entity });
    }

    /// Each table's records, in the order of the commit.
    fn committed(&self, records: Vec<Committed>) {
        let mut lists = vec![Vec::new(); self.tables.len()];
        for record in records {
            lists[table_of(record.entity, self.tables.len())].push(record);
        }
        for (table, list) in self.tables.iter().zip(lists) {
            if !list.is_empty() {
                table.send(ToTable::Committed(list));
            }
        }
    }

    fn note_away(&self, away: bool) {
        if away {
            tracing::warn!("the store takes nothing: time stands still, nothing is lost");
        } else {
            tracing::info!("the store answers again: time goes on");
        }
        self.status.taking_commands.store(!away, Ordering::Relaxed);
        metrics::STORE_AWAY.set(f64::from(u8::from(away)));
        self.ports.broadcast(&ToSession::StoreAway(away));
    }

    /// Once a second: is there room, and what keeps the journal long?
    fn check_disk(&mut self, now: Millis, events: &mut Vec<Event>) {
        if now.since(self.disk_checked) < 1000 {
            return;
        }
        self.disk_checked = now;
        if let Some(full) = self.store.is_disk_full() {
            self.status.disk_full.store(full, Ordering::Relaxed);
            events.push(Event::DiskFull(full));
        }
        let pinned = self.store.pins();
        if !pinned.is_empty() {
            events.push(Event::Pinned(pinned));
        }
    }

    fn now(&mut self) -> Millis {
        let steady = Millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX));
        let (now, off) = self.clock.read(wall(), steady);
        if off > JUMP_MS && !self.jumped {
            tracing::warn!(off_ms = off, "the wall clock jumped; the node follows it slowly");
        }
        self.jumped = off > JUMP_MS;
        now
    }

    fn report(&mut self, now: Millis) {
        let counts = self.core.counts();
        let before = std::mem::replace(&mut self.counted, counts);
        self.status.time_ms.store(now.0, Ordering::Relaxed);
        if counts.tick != before.tick {
            metrics::TICK_GAP.record(self.status.stalled().as_secs_f64());
            self.status.note_tick(counts.tick);
            metrics::TICK.set(counts.tick as f64);
        }
        metrics::COMMITS.increment(counts.commits - before.commits);
        metrics::COMMITS_RESENT.increment(counts.resent - before.resent);
        metrics::RECORDS.increment(counts.records - before.records);
        metrics::RECORD_BYTES.increment(counts.record_bytes - before.record_bytes);
        metrics::SNAPSHOTS.increment(counts.snapshots - before.snapshots);
        metrics::GROUPS_REFUSED.increment(counts.refused - before.refused);
        metrics::LOAD_DROPPED.increment(counts.dropped - before.dropped);
        if let Ok(mut shared) = self.status.counts.lock() {
            *shared = counts;
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.status.ready.store(false, Ordering::Relaxed);
        if let Some(done) = self.stopping.take() {
            let _ = done.send(());
        }
    }
}

fn wall() -> Millis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
