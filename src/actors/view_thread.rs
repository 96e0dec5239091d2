//! Owns the thread on which packets are made: what tables hand out goes into
//! the fan-out, what that gives goes to connections. Never decides what anybody
//! sees (`view::fanout` does) and never blocks an arbiter.
//!
//! The queue to this thread has no bound of its own. Of what tables hand out
//! at most [`BATCHES_MAX`] batches wait: a table whose batch is not taken
//! hands out whole sectors again, so that a slow view loses frames and never
//! grows. Of the rest a session sends what its limits allow.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use actix::prelude::SendError;

use super::branches::Branches;
use super::core_thread::{CoreHandle, ToCore};
use super::ending::Ending;
use super::entities::Entities;
use super::peers::Mesh;
use super::ports::{Ports, ToSession};
use super::registry::Registry;
use super::sector::Follow;
use super::status::CoreStatus;
use crate::base::{EntityKey, NodeId, SectorId, Tick};
use crate::cluster::core::node::Event;
use crate::cluster::core::table::{Release, Unavailable};
use crate::entity::World;
use crate::telemetry::metrics;
use crate::view::Fanout;
use crate::view::aggregates::is_aggregate;
use crate::view::fanout::{Shown, Watcher};

/// Batches of tables that may wait: one for each table and tick of three
/// seconds with one table.
const BATCHES_MAX: usize = 32;
/// Of large sectors that somebody begins to observe so many are told a tick.
const AGGREGATES_MAX: usize = 16;
/// Messages taken together.
const TOGETHER: usize = 1024;
/// Sectors that are awaited are woken again after so many times that.
const WAKE_TICKS: u32 = 20;
/// Sectors without a tick of their own are looked after this often.
const TICK: Duration = Duration::from_millis(100);

enum ToView {
    Observe {
        sector: SectorId,
        observer: u64,
        watcher: Watcher,
    },
    Unobserve {
        sector: SectorId,
        observer: u64,
    },
    /// The sector came to run here.
    Started(SectorId),
    /// The sector changed its thread: what its mailbox had for it may be lost.
    Moved(SectorId),
    /// The sector has no record: it is as the galaxy was made.
    Absent(SectorId),
    /// The sector is that node's.
    Elsewhere(SectorId, NodeId),
    /// What a table handed out.
    Batch(Vec<Release>),
    /// They run here no more.
    Gone(Vec<SectorId>),
}

/// The way to the view's thread; cheap to clone.
#[derive(Clone)]
pub struct ViewHandle {
    sender: Sender<ToView>,
    batches: Arc<AtomicUsize>,
    pub branches: Arc<Branches>,
}

/// The queue to a view's thread that will be started with [`start`].
pub struct ViewQueue {
    receiver: Receiver<ToView>,
    batches: Arc<AtomicUsize>,
}

/// The queue, and the way to it.
#[expect(clippy::disallowed_methods, reason = "the module's head says what bounds it")]
pub fn queue(branches: Arc<Branches>) -> (ViewHandle, ViewQueue) {
    let (sender, receiver) = channel();
    let batches = Arc::<AtomicUsize>::default();
    (ViewHandle { sender, batches: batches.clone(), branches }, ViewQueue { receiver, batches })
}

impl ViewHandle {
    /// `observer`, a connection, sees `sector` from now on.
    pub fn observe(&self, sector: SectorId, observer: u64, watcher: Watcher) {
        self.send(ToView::Observe { sector, observer, watcher });
    }

    /// Ends what [`observe`](Self::observe) began.
    pub fn unobserve(&self, sector: SectorId, observer: u64) {
        self.send(ToView::Unobserve { sector, observer });
    }

    /// An entity came to run here.
    pub fn note_started(&self, entity: EntityKey) {
        if let EntityKey::Sector(sector) = entity {
            self.send(ToView::Started(sector));
        }
    }

    /// An entity changed its thread.
    pub fn note_moved(&self, entity: EntityKey) {
        if let EntityKey::Sector(sector) = entity {
            self.send(ToView::Moved(sector));
        }
    }

    /// An entity has no record, and is not claimed just to be seen.
    pub fn note_absent(&self, entity: EntityKey) {
        if let EntityKey::Sector(sector) = entity {
            self.send(ToView::Absent(sector));
        }
    }

    /// An entity that was to be woken is that node's.
    pub fn note_elsewhere(&self, entity: EntityKey, node: NodeId) {
        if let EntityKey::Sector(sector) = entity {
            self.send(ToView::Elsewhere(sector, node));
        }
    }

    /// Takes what a table handed out. False when too much waits: then whole
    /// sectors are to be handed out again.
    #[must_use]
    pub fn show(&self, batch: Vec<Release>) -> bool {
        let gone: Vec<SectorId> = batch.iter().filter_map(gone).collect();
        if self.batches.load(Ordering::Relaxed) >= BATCHES_MAX {
            if !gone.is_empty() {
                self.send(ToView::Gone(gone));
            }
            return false;
        }
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.send(ToView::Batch(batch));
        true
    }

    /// Nothing happens when the thread has ended: then the node has.
    fn send(&self, message: ToView) {
        let _ = self.sender.send(message);
    }
}

fn gone(release: &Release) -> Option<SectorId> {
    match release {
        Release::Gone { entity: EntityKey::Sector(sector) } => Some(*sector),
        _ => None,
    }
}

/// What the view's thread works with. Not the way to itself: it ends when
/// nobody else has that any more.
struct ViewParts {
    world: Arc<World>,
    ports: Arc<Ports>,
    registry: Arc<Registry>,
    status: Arc<CoreStatus>,
    branches: Arc<Branches>,
    core: CoreHandle,
    mesh: Arc<dyn Mesh>,
}

/// Starts the thread; it ends with the last way to it.
///
/// # Errors
/// When the system gives no thread.
pub fn start(
    entities: &Entities,
    core: CoreHandle,
    ending: Ending,
    queue: ViewQueue,
) -> std::io::Result<()> {
    let parts = ViewParts {
        world: entities.world.clone(),
        ports: entities.ports.clone(),
        registry: entities.registry.clone(),
        status: entities.status.clone(),
        branches: entities.view.branches.clone(),
        core,
        mesh: entities.mesh.clone(),
    };
    let (again, awaited) = (BTreeMap::new(), BTreeSet::new());
    let thread = ViewThread {
        parts,
        fanout: Fanout::default(),
        again,
        awaited,
        wake_in: 0,
        asked: VecDeque::new(),
    };
    std::thread::Builder::new()
        .name("view".into())
        .spawn(move || ending.guard("the view", || thread.run(&queue)))?;
    Ok(())
}

struct ViewThread {
    parts: ViewParts,
    fanout: Fanout,
    /// Sectors whose mailbox was full: what they are to be told.
    again: BTreeMap<SectorId, bool>,
    /// Sectors that are followed and do not run: they are woken, again and
    /// again, because there may be no room for it at times.
    awaited: BTreeSet<SectorId>,
    /// Ticks until then.
    wake_in: u32,
    /// Large sectors with an observer that is to be told soon: those that are
    /// observed at most.
    asked: VecDeque<SectorId>,
}

impl ViewThread {
    fn run(mut self, queue: &ViewQueue) {
        let mut ticked = Instant::now();
        loop {
            match queue.receiver.recv_timeout(TICK.saturating_sub(ticked.elapsed())) {
                Ok(message) => self.take(message, &queue.batches),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            for message in queue.receiver.try_iter().take(TOGETHER) {
                self.take(message, &queue.batches);
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                let (tick, now) = self.parts.status.time();
                if self.parts.branches.advance(now) {
                    self.show_aggregates(tick);
                }
                for sector in self.asked.drain(..self.asked.len().min(AGGREGATES_MAX)) {
                    show_aggregate(&mut self.fanout, &self.parts.branches, sector, tick, false);
                }
                self.fanout.handle_tick(tick, &self.parts.world.rules);
                metrics::VIEW_PLACES.set(self.fanout.len() as f64);
                self.wake_again();
            }
            self.flush();
        }
    }

    fn take(&mut self, message: ToView, batches: &AtomicUsize) {
        let rules = &self.parts.world.rules;
        match message {
            ToView::Observe { sector, observer, watcher } => {
                self.fanout.observe(sector, observer, watcher, rules);
                if is_aggregate(sector) && !self.asked.contains(&sector) {
                    self.asked.push_back(sector);
                }
            }
            ToView::Unobserve { sector, observer } => self.fanout.unobserve(sector, observer),
            ToView::Started(sector) if self.fanout.follows(sector) => self.follow(sector, true),
            ToView::Started(_) => {}
            ToView::Moved(sector) => self.follow(sector, self.fanout.follows(sector)),
            ToView::Absent(sector) => {
                if self.awaited.remove(&sector) {
                    self.fanout.handle_absent(sector, rules);
                }
            }
            ToView::Elsewhere(..) => {}
            ToView::Batch(batch) => {
                batches.fetch_sub(1, Ordering::Relaxed);
                let began = Instant::now();
                for release in batch {
                    take_release(&mut self.fanout, &release, &self.parts.world);
                }
                metrics::VIEW_SECONDS.record(began.elapsed().as_secs_f64());
            }
            ToView::Gone(gone) => {
                gone.into_iter().for_each(|sector| self.fanout.handle_gone(sector));
            }
        }
    }

    fn show_aggregates(&mut self, tick: Tick) {
        for sector in self.fanout.aggregates() {
            show_aggregate(&mut self.fanout, &self.parts.branches, sector, tick, true);
        }
    }

    /// Tells observers what is new, and sectors who is followed.
    fn flush(&mut self) {
        let again = std::mem::take(&mut self.again);
        for (sector, on) in again.into_iter().chain(self.fanout.drain_follow()) {
            self.follow(sector, on);
        }
        let mut by_observer: BTreeMap<u64, Vec<Shown>> = BTreeMap::new();
        let (mut packets, mut bytes) = (0, 0);
        for (observer, shown) in self.fanout.drain_shown() {
            if let Shown::Packet(packet) = &shown {
                packets += 1;
                bytes += packet.bytes.len() as u64;
            }
            by_observer.entry(observer).or_default().push(shown);
        }
        if packets > 0 {
            metrics::VIEW_PACKETS.increment(packets);
            metrics::VIEW_BYTES.increment(bytes);
        }
        for (observer, shown) in by_observer {
            self.parts.ports.deliver(observer, ToSession::Shown(shown));
        }
    }

    fn wake(&self, sector: SectorId) {
        let entity = EntityKey::Sector(sector);
        // One that is parked stays so.
        if self.parts.registry.absence(entity) == Unavailable::NotHere {
            self.parts.core.send(ToCore::Event(Event::Wake(entity)));
        }
    }

    fn wake_again(&mut self) {
        self.wake_in = self.wake_in.saturating_sub(1);
        if self.wake_in == 0 {
            self.wake_in = WAKE_TICKS;
            self.awaited.iter().for_each(|sector| self.wake(*sector));
        }
    }

    /// One that does not run here is woken if it has a record, and followed
    /// when it starts.
    fn follow(&mut self, sector: SectorId, on: bool) {
        self.again.remove(&sector);
        self.awaited.remove(&sector);
        let Some(actor) = self.parts.registry.sector(EntityKey::Sector(sector)) else {
            if on {
                self.awaited.insert(sector);
                self.wake(sector);
            }
            return;
        };
        if let Err(SendError::Full(_)) = actor.try_send(Follow { on }) {
            self.again.insert(sector, on);
        }
    }
}

/// Before anything was summed up, who asked is told in the next second.
fn show_aggregate(
    fanout: &mut Fanout,
    branches: &Branches,
    sector: SectorId,
    tick: Tick,
    is_due: bool,
) {
    if let Some(known) = branches.aggregate(sector) {
        fanout.handle_aggregate(sector, &known, tick, is_due);
    }
}

fn take_release(fanout: &mut Fanout, release: &Release, world: &World) {
    match release {
        Release::Scene { entity: EntityKey::Sector(sector), scene } => {
            fanout.handle_scene(*sector, scene, &world.rules);
        }
        Release::Step { entity: EntityKey::Sector(sector), delta } => {
            fanout.handle_step(*sector, delta);
        }
        Release::Pace { entity: EntityKey::Sector(sector), percent } => {
            fanout.handle_pace(*sector, *percent);
        }
        Release::Gone { entity: EntityKey::Sector(sector) } => fanout.handle_gone(*sector),
        // Nothing else is handed out to be shown.
        _ => {}
    }
}
