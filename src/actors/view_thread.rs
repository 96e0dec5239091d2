//! Owns the thread on which packets are made: what tables here and the views of
//! other nodes hand out goes into the fan-out, what that gives goes to
//! connections, and what tables here hand out goes to the other nodes that
//! follow it. Never decides what anybody sees (`view::fanout` does) nor who hands
//! out what to whom (`view::peers` does), and never blocks an arbiter.

mod handle;
mod tables;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use handle::ToView;
pub use handle::{ViewHandle, ViewQueue, queue};
use tables::Tables;

use super::branches::Branches;
use super::core_thread::CoreHandle;
use super::ending::Ending;
use super::entities::Entities;
use super::peers::{Mesh, PeerMessage, Place, ViewMessage};
use super::ports::{Ports, ToSession};
use super::status::CoreStatus;
use crate::base::{EntityKey, NodeId, SectorId, Tick};
use crate::cluster::core::table::Release;
use crate::entity::World;
use crate::sim::Rules;
use crate::telemetry::metrics;
use crate::view::aggregates::is_aggregate;
use crate::view::fanout::{Fanout, Shown};
use crate::view::peers::{Exchange, Telling};

/// Of large sectors that somebody begins to observe so many are told a tick.
const AGGREGATES_MAX: usize = 16;
/// Messages taken together.
const TOGETHER: usize = 1024;
/// Sectors without a tick of their own are looked after this often.
const TICK: Duration = Duration::from_millis(100);

/// What the view's thread works with. Not the way to itself: it ends when
/// nobody else has that any more.
struct ViewParts {
    world: Arc<World>,
    ports: Arc<Ports>,
    status: Arc<CoreStatus>,
    branches: Arc<Branches>,
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
        status: entities.status.clone(),
        branches: entities.view.branches.clone(),
        mesh: entities.mesh.clone(),
    };
    let thread = ViewThread {
        parts,
        tables: Tables::new(entities.registry.clone(), core),
        exchange: Exchange::default(),
        telling: Telling::default(),
        asked: VecDeque::new(),
    };
    std::thread::Builder::new()
        .name("view".into())
        .spawn(move || ending.guard("the view", || thread.run(&queue)))?;
    Ok(())
}

struct ViewThread {
    parts: ViewParts,
    tables: Tables,
    exchange: Exchange,
    telling: Telling,
    /// Large sectors with an observer that is to be told soon: those that are
    /// observed at most.
    asked: VecDeque<SectorId>,
}

impl ViewThread {
    fn run(mut self, queue: &ViewQueue) {
        let mut ticked = Instant::now();
        loop {
            match queue.receiver.recv_timeout(TICK.saturating_sub(ticked.elapsed())) {
                Ok(message) => self.take(message, queue),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            for message in queue.receiver.try_iter().take(TOGETHER) {
                self.take(message, queue);
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.tick();
            }
            self.flush();
        }
    }

    fn tick(&mut self) {
        let (tick, now) = self.parts.status.time();
        if self.parts.branches.advance(now) {
            self.show_aggregates(tick);
        }
        for sector in self.asked.drain(..self.asked.len().min(AGGREGATES_MAX)) {
            let fanout = &mut self.exchange.fanout;
            show_aggregate(fanout, &self.parts.branches, sector, tick, false);
        }
        self.exchange.fanout.handle_tick(tick, &self.parts.world.rules);
        metrics::VIEW_PLACES.set(self.exchange.fanout.len() as f64);
        self.tables.handle_tick();
        self.exchange.handle_tick(&place_of(&self.parts.mesh));
        let (branches, send) = (&self.parts.branches, sender(&self.parts.mesh));
        if self.telling.handle_tick() {
            self.telling.tell_news(&branches.drain_news(), &send);
        }
        self.telling.tell_all(|last| branches.page(last), &send);
    }

    fn take(&mut self, message: ToView, queue: &ViewQueue) {
        queue.note_taken(&message);
        let (rules, exchange) = (&self.parts.world.rules, &mut self.exchange);
        let send = &sender(&self.parts.mesh);
        match message {
            ToView::Observe { sector, observer, watcher } => {
                exchange.fanout.observe(sector, observer, watcher, rules);
                if is_aggregate(sector) && !self.asked.contains(&sector) {
                    self.asked.push_back(sector);
                }
            }
            ToView::Unobserve { sector, observer } => exchange.fanout.unobserve(sector, observer),
            ToView::Started(sector) => {
                exchange.handle_started(sector);
                self.ask();
            }
            ToView::Moved(sector) => self.tables.follow(sector, exchange.is_wanted(sector)),
            // Only of one that is awaited is it news.
            ToView::Absent(sector) if self.tables.give_up(sector) => {
                exchange.handle_absent(sector, rules, send);
            }
            ToView::Elsewhere(sector, node) if self.tables.give_up(sector) => {
                exchange.handle_elsewhere(sector, node, send);
            }
            ToView::Absent(_) | ToView::Elsewhere(..) => {}
            ToView::Batch(batch) => {
                let began = Instant::now();
                for release in &batch {
                    take_release(exchange, release, rules, send);
                }
                metrics::VIEW_SECONDS.record(began.elapsed().as_secs_f64());
            }
            ToView::Gone(gone) => {
                gone.into_iter().for_each(|sector| exchange.handle_gone(sector, send));
            }
            ToView::Peer(from, message) => exchange.handle_peer(from, &message, rules, send),
            // Whoever asked may not wait any more.
            ToView::Observed(most, asked) => _ = asked.send(exchange.fanout.observed(most)),
            ToView::Link(node, up) => {
                self.telling.handle_link(node, up);
                if !up {
                    exchange.handle_link_down(node);
                }
            }
        }
    }

    fn show_aggregates(&mut self, tick: Tick) {
        let fanout = &mut self.exchange.fanout;
        for sector in fanout.aggregates() {
            show_aggregate(fanout, &self.parts.branches, sector, tick, true);
        }
    }

    /// Tells observers what is new, and sectors who is followed.
    fn flush(&mut self) {
        self.tables.follow_again();
        self.ask();
        let mut by_observer: BTreeMap<u64, Vec<Shown>> = BTreeMap::new();
        let (mut packets, mut bytes) = (0, 0);
        for (observer, shown) in self.exchange.fanout.drain_shown() {
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

    /// Asks tables and other nodes to hand out sectors, or not any more.
    fn ask(&mut self) {
        let mesh = &self.parts.mesh;
        self.exchange.ask(&place_of(mesh), &sender(mesh));
        for (sector, on) in self.exchange.drain_asks() {
            self.tables.follow(sector, on);
        }
    }
}

fn take_release(
    exchange: &mut Exchange,
    release: &Release,
    rules: &Rules,
    send: &impl Fn(NodeId, ViewMessage) -> bool,
) {
    match release {
        Release::Scene { entity: EntityKey::Sector(sector), scene } => {
            exchange.handle_scene(*sector, scene, rules, send);
        }
        Release::Step { entity: EntityKey::Sector(sector), delta } => {
            exchange.handle_step(*sector, delta, send);
        }
        Release::Pace { entity: EntityKey::Sector(sector), percent } => {
            exchange.handle_pace(*sector, *percent, send);
        }
        Release::Gone { entity: EntityKey::Sector(sector) } => exchange.handle_gone(*sector, send),
        // Nothing else is handed out to be shown.
        _ => {}
    }
}

fn place_of(mesh: &Arc<dyn Mesh>) -> impl Fn(SectorId) -> Place {
    |sector| mesh.place_of(EntityKey::Sector(sector))
}

/// Whether the link took it.
fn sender(mesh: &Arc<dyn Mesh>) -> impl Fn(NodeId, ViewMessage) -> bool + use<> {
    let mesh = mesh.clone();
    move |node, message| mesh.send(node, PeerMessage::View(message)).is_ok()
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
