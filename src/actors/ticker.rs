//! Owns an arbiter's table of entities, in a thread-local, and the plain task
//! that drives it: what the node's core says goes in, in order; what the table
//! gives goes out. Never decides; the table does. Handlers of the arbiter's
//! actors admit through the same table.
//!
//! The queue from the core has no bound of its own: what the core may send is
//! as many ticks as a table may be behind
//! ([`Limits::ticks_behind`](crate::cluster::core::limits::Limits::ticks_behind)),
//! the records of the commits in them, and what waits for at most
//! [`Limits::loads`](crate::cluster::core::limits::Limits::loads) loads.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix::ArbiterHandle;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::asking::Asking;
use super::core_thread::{CoreHandle, ToCore};
use super::ending::Ending;
use super::measured::{Measured, OtherWork, thread_ns};
use super::meta::MetaActor;
use super::ports::{Ports, ToSession};
use super::registry::Registry;
use super::sector::SectorActor;
use super::view_thread::ViewHandle;
use super::waking::Woken;
use crate::base::{EntityKey, Tick};
use crate::cluster::core::attaching::{Attachment, Ticket};
use crate::cluster::core::balance::SECTORS_TOLD_MAX;
use crate::cluster::core::dilation::Dilator;
use crate::cluster::core::hot::TableLoad;
use crate::cluster::core::load::Load;
use crate::cluster::core::message::ToTable;
use crate::cluster::core::node::Event;
use crate::cluster::core::table::{Release, Table, TableCosts, TableCounts, Unavailable};
use crate::entity::commands::PlayerCommand;
use crate::entity::input::{Connect, Input, Left};
use crate::entity::read::{Query, Reading};
use crate::entity::workplace::{self, Workplace};
use crate::telemetry::metrics;

/// What an arbiter has besides its table.
struct Desk {
    /// Which of the node's tables it is.
    index: usize,
    table: Table,
    core: CoreHandle,
    ports: Arc<Ports>,
    registry: Arc<Registry>,
    view: ViewHandle,
    ending: Ending,
    asking: Arc<Asking>,
    /// Whether a flush is on its way.
    flushing: bool,
    /// Ticks until things are counted again: counting looks at every entity.
    count_in: u32,
    counted: TableCounts,
    /// For how long this thread worked here since the last tick.
    busy: Duration,
    /// When the work began that is not counted there yet.
    turn: Instant,
    /// What it works for besides sectors.
    other: OtherWork,
    dilator: Dilator,
    shown: Arc<Shown>,
}

/// What dilated sectors run at, as [`TableCounts::dilated`] counts them.
const PERCENTS: [&str; 9] = ["10", "20", "30", "40", "50", "60", "70", "80", "90"];

/// Ticks from one count to the next.
const COUNT_TICKS: u32 = 10;

thread_local! {
    static DESK: RefCell<Option<Desk>> = const { RefCell::new(None) };
}

/// What an arbiter's ticker is told.
enum ToTicker {
    Table(ToTable),
    /// Say to the core when all before this has been released.
    Flush,
    /// The watchdog wants to know whether this thread answers.
    Ask,
}

/// The way to one arbiter's table, and what it last counted.
#[derive(Clone)]
pub struct TableHandle {
    sender: UnboundedSender<ToTicker>,
    pub counts: Arc<std::sync::Mutex<TableCounts>>,
    shown: Arc<Shown>,
}

/// What others may read of a table's ticks at any time.
#[derive(Default)]
struct Shown {
    stepped: AtomicU64,
    /// Times that the thread came to the table, for a message or a handler.
    answers: AtomicU64,
    /// The watchdog asked and was not answered.
    asked: AtomicBool,
    load: std::sync::Mutex<Load>,
    /// What was last said of it to the core.
    told: std::sync::Mutex<TableLoad>,
    measured: Measured,
}

impl TableHandle {
    /// Tells the table; nothing happens when its arbiter has ended.
    pub fn send(&self, message: ToTable) {
        let _ = self.sender.send(ToTicker::Table(message));
    }

    /// The last tick that it has done.
    pub fn stepped(&self) -> Tick {
        Tick(self.shown.stepped.load(Ordering::Acquire))
    }

    /// How busy its arbiter is.
    pub fn load(&self) -> Load {
        *self.shown.load.lock().unwrap_or_else(|lock| lock.into_inner())
    }

    /// How busy its arbiter is, and with what, as of the last second.
    pub fn told(&self) -> TableLoad {
        *self.shown.told.lock().unwrap_or_else(|lock| lock.into_inner())
    }

    /// What its sectors cost, as of the last second, and microseconds of each
    /// tick for which its thread works for anything else.
    pub fn measured(&self) -> (TableCosts, u32) {
        self.shown.measured.read()
    }

    /// Asks for an answer, unless one is awaited. Before the thread has begun there is
    /// nobody to ask.
    pub fn ask(&self) {
        let has_begun = self.shown.answers.load(Ordering::Acquire) > 0;
        if has_begun && !self.shown.asked.swap(true, Ordering::AcqRel) {
            let _ = self.sender.send(ToTicker::Ask);
        }
    }

    /// Whether an answer is awaited, and how often its thread answered anything.
    pub fn answers(&self) -> (bool, u64) {
        let asked = self.shown.asked.load(Ordering::Acquire);
        (asked, self.shown.answers.load(Ordering::Acquire))
    }

    /// Asks for [`ToCore::Flushed`] when all that was sent before is handled
    /// and released.
    pub fn flush(&self) {
        let _ = self.sender.send(ToTicker::Flush);
    }
}

/// What a table works with.
#[derive(Clone)]
pub struct TableParts {
    pub core: CoreHandle,
    pub ports: Arc<Ports>,
    pub registry: Arc<Registry>,
    pub view: ViewHandle,
    pub asking: Arc<Asking>,
    pub ending: Ending,
}

/// Runs `table`, the node's of that `index`, on `arbiter`, which says at `place` what it
/// is at.
#[expect(
    clippy::disallowed_methods,
    reason = "a bound here could block the core; the module's head says what bounds it"
)]
pub fn start(
    arbiter: &ArbiterHandle,
    index: usize,
    place: &'static Workplace,
    table: Table,
    parts: TableParts,
) -> TableHandle {
    let (sender, receiver) = unbounded_channel();
    let handle = TableHandle { sender, counts: Arc::default(), shown: Arc::default() };
    let (counts, shown) = (handle.counts.clone(), handle.shown.clone());
    arbiter.spawn(async move {
        let TableParts { core, ports, registry, view, asking, ending } = parts;
        workplace::settle(place);
        let desk = Desk {
            index,
            table: table.measured_by(thread_ns),
            core,
            ports,
            registry,
            view,
            ending,
            asking,
            flushing: false,
            count_in: 0,
            counted: TableCounts::default(),
            busy: Duration::ZERO,
            turn: Instant::now(),
            other: OtherWork::default(),
            dilator: Dilator::default(),
            shown,
        };
        DESK.set(Some(desk));
        run(receiver, &counts).await;
    });
    handle
}

/// Lets `f` work on this arbiter's table.
///
/// # Errors
/// [`Unavailable::NotHere`] when there is none, or none any more.
pub fn with_table<T>(
    f: impl FnOnce(&mut Table) -> Result<T, Unavailable>,
) -> Result<T, Unavailable> {
    with_desk(|desk| f(&mut desk.table)).unwrap_or(Err(Unavailable::NotHere))
}

/// Admits a player's command; a refusal goes to the connection at once.
pub fn admit(entity: EntityKey, connection: u64, ticket: Ticket, command: PlayerCommand) {
    let sequence = command.sequence;
    if let Err(why) = with_table(|table| table.admit(entity, ticket, command)) {
        with_desk(|desk| {
            // It is about to hibernate, or just does: that it is asked for wakes it.
            let why = if why == Unavailable::NotHere { desk.wake(entity) } else { why };
            let rejected = ToSession::Rejected { entity, ticket, sequence, why };
            desk.ports.deliver(connection, rejected);
        });
    }
    flush_soon();
}

/// An answer that may be seen, true at a tick of the entity's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    pub at: Tick,
    pub reading: Reading,
    /// To [`Query::Applied`]: the name of the session's attachment.
    pub attached: Option<Attachment>,
}

/// Asks an entity; the answer comes when it may be seen.
///
/// # Errors
/// When the table does not take it.
pub fn read(entity: EntityKey, query: &Query) -> Result<oneshot::Receiver<Read>, Unavailable> {
    let asked = with_desk(|desk| {
        let ask = desk.asking.number();
        let answered = desk.asking.wait(ask);
        match desk.table.read(ask, entity, query) {
            Ok(()) => Ok(answered),
            Err(why) => {
                desk.asking.forget(ask);
                Err(why)
            }
        }
    });
    flush_soon();
    asked.unwrap_or(Err(Unavailable::NotHere))
}

/// Has a sector handed out to the view, or not any more. One that is about to
/// hibernate, or just does, is woken, and followed when it comes back.
pub fn follow(entity: EntityKey, on: bool) {
    with_desk(|desk| {
        if !on {
            desk.table.unfollow(entity);
        } else if desk.table.follow(entity).is_err() {
            desk.wake(entity);
        }
    });
}

/// Submits an input. When it is a Connect and the table does not take it, its
/// connection is told.
pub fn propose(entity: EntityKey, input: Input) {
    let connect = connect_of(&input);
    let proposed = with_table(|table| table.propose(entity, input));
    if let Some(Connect { connection, player, .. }) = connect {
        with_desk(|desk| match proposed {
            Ok(()) => desk.ports.ask(connection, player),
            Err(why) => desk.ports.deliver(connection, ToSession::ConnectRefused(why)),
        });
    }
    flush_soon();
}

/// Submits that a session's connection is lost, however much waits already:
/// what is not said now is said by nobody. Sessions bound how many there are.
/// One whose ledger does not run here needs no word, see [`Entities::left`].
///
/// [`Entities::left`]: super::entities::Entities::left
pub fn leave(left: Left) {
    with_desk(|desk| desk.table.leave(left));
    flush_soon();
}

fn connect_of(input: &Input) -> Option<Connect> {
    match input {
        Input::Connect(connect) => Some(*connect),
        _ => None,
    }
}

/// Lets `f` work on this arbiter's desk. A panic in it ends the process; from
/// then on there is no desk, so that nothing half done is seen.
fn with_desk<T>(f: impl FnOnce(&mut Desk) -> T) -> Option<T> {
    let ending = DESK.with_borrow(|desk| desk.as_ref().map(|desk| desk.ending.clone()))?;
    let timed = |desk: &mut Desk| {
        desk.shown.answers.fetch_add(1, Ordering::AcqRel);
        desk.turn = Instant::now();
        let done = f(desk);
        desk.busy += desk.turn.elapsed();
        done
    };
    let outcome =
        ending.guard("an arbiter", || DESK.with_borrow_mut(|desk| desk.as_mut().map(timed)));
    if outcome.is_none() {
        DESK.set(None);
    }
    outcome.flatten()
}

/// After the messages that are waiting now, what the table gave goes out in
/// one piece.
fn flush_soon() {
    with_desk(|desk| {
        if !std::mem::replace(&mut desk.flushing, true) {
            actix::spawn(async {
                tokio::task::yield_now().await;
                with_desk(Desk::flush);
            });
        }
    });
}

async fn run(mut receiver: UnboundedReceiver<ToTicker>, counts: &std::sync::Mutex<TableCounts>) {
    while let Some(message) = receiver.recv().await {
        if let ToTicker::Flush = message {
            // What waits in mailboxes now was sent before.
            tokio::task::yield_now().await;
        }
        with_desk(|desk| {
            let mut ticked = desk.take(message);
            // One tick at a time: with a slow table the next one waits always,
            // and what this one gave would never leave.
            while !ticked && let Ok(message) = receiver.try_recv() {
                ticked = desk.take(message);
            }
            desk.flush();
            if desk.count_in == 0 {
                desk.count_in = COUNT_TICKS;
                let counted = desk.table.counts();
                desk.report(counted);
                desk.measure();
                let (table, load) = (desk.index, desk.table.load(desk.dilator.load().share()));
                *desk.shown.told.lock().unwrap_or_else(|lock| lock.into_inner()) = load;
                desk.core.send(ToCore::Event(Event::Load { table, load }));
                *counts.lock().unwrap_or_else(|lock| lock.into_inner()) = counted;
            }
        });
        // Mailboxes have their turn, too.
        tokio::task::yield_now().await;
    }
    DESK.set(None);
}

impl Desk {
    /// Whether it was a tick.
    fn take(&mut self, message: ToTicker) -> bool {
        self.shown.answers.fetch_add(1, Ordering::AcqRel);
        match message {
            ToTicker::Table(message) => {
                let is_tick = matches!(message, ToTable::Tick { .. });
                self.handle(message);
                is_tick
            }
            ToTicker::Flush => {
                self.flush();
                self.core.send(ToCore::Flushed);
                false
            }
            ToTicker::Ask => {
                self.shown.asked.store(false, Ordering::Release);
                false
            }
        }
    }

    fn handle(&mut self, message: ToTable) {
        self.prepare(&message);
        let began = Instant::now();
        let tick = match message {
            ToTable::Tick { tick, .. } => Some(tick),
            _ => None,
        };
        self.table.handle(message);
        if let Some(tick) = tick {
            self.count_in = self.count_in.saturating_sub(1);
            metrics::TICK_SECONDS.record(began.elapsed().as_secs_f64());
            self.note_tick(tick);
        }
    }

    /// What is to be done before the table has a message.
    fn prepare(&mut self, message: &ToTable) {
        match message {
            ToTable::Install(installed) => {
                let entity = installed.entity.key();
                self.start_actor(entity);
                self.view.note_started(entity);
                if let EntityKey::Ledger(_) = entity {
                    self.ports.note_started(entity);
                }
            }
            ToTable::Adopt { moved, then } => {
                if moved.runs() {
                    self.start_actor(moved.entity());
                    self.view.note_moved(moved.entity());
                }
                then.iter().for_each(|message| self.prepare(message));
            }
            // What is released already goes before all that the next table
            // releases, and what the view did not take is noted where it goes along.
            ToTable::Yield(_) => self.flush(),
            ToTable::Awake(entity) => self.registry.waking.tell(*entity, Woken::Running),
            ToTable::Drop(entity) => self.registry.remove(*entity),
            ToTable::Propose { input, .. } => {
                if let Some(connect) = connect_of(input) {
                    self.ports.ask(connect.connection, connect.player);
                }
            }
            _ => {}
        }
    }

    /// What it did since the last tick, this one included, is the tick's work.
    fn note_tick(&mut self, tick: Tick) {
        let turn = std::mem::replace(&mut self.turn, Instant::now());
        let busy = std::mem::take(&mut self.busy) + turn.elapsed();
        let busy_us = u64::try_from(busy.as_micros()).unwrap_or(u64::MAX);
        for (sector, rate) in self.dilator.note_tick(busy_us, || self.table.weighed()) {
            tracing::info!(%sector, percent = rate.percent(), "runs at another pace");
            self.table.dilate(sector, rate);
        }
        let load = self.dilator.load();
        *self.shown.load.lock().unwrap_or_else(|lock| lock.into_inner()) = load;
        self.shown.stepped.store(tick.0, Ordering::Release);
        self.core.send(ToCore::Stepped);
    }

    /// Says what its sectors cost, and what all else does.
    fn measure(&mut self) {
        let costs = self.table.costs(SECTORS_TOLD_MAX);
        let ticks = u64::from(COUNT_TICKS);
        let other_us = self.other.note(thread_ns(), costs.charged_ns, ticks);
        self.shown.measured.put(costs, other_us);
    }

    /// Has the core wake an entity, for which whoever asked tries again.
    fn wake(&self, entity: EntityKey) -> Unavailable {
        self.core.send(ToCore::Event(Event::Wake(entity)));
        Unavailable::Busy
    }

    fn start_actor(&self, key: EntityKey) {
        match key {
            EntityKey::Sector(_) => {
                self.registry.insert_sector(key, SectorActor::open(key));
            }
            _ => self.registry.insert_meta(key, MetaActor::open(key)),
        }
    }

    fn flush(&mut self) {
        self.flushing = false;
        let mut shown = Vec::new();
        for release in self.table.drain_released() {
            if is_shown(&release) {
                shown.push(release);
                continue;
            }
            if let Release::Summaries(changed) = release {
                self.view.branches.note(changed);
                continue;
            }
            if let Release::Read { ask, at, reading, attached, .. } = release {
                self.asking.tell(ask, Read { at, reading, attached });
                continue;
            }
            if let Some(left) = self.ports.release(release) {
                self.table.leave(left);
            }
        }
        self.show(shown);
        let to_core = self.table.drain_core();
        if !to_core.is_empty() {
            self.core.send(ToCore::FromTable(to_core));
        }
    }

    /// What the view does not take is handed out as a whole again.
    fn show(&mut self, batch: Vec<Release>) {
        if batch.is_empty() {
            return;
        }
        let entities: Vec<EntityKey> = batch.iter().filter_map(followed).collect();
        if !self.view.show(batch) {
            metrics::VIEW_LATE.increment(1);
            for entity in entities {
                // One that went meanwhile is shown by nobody.
                let _ = self.table.follow(entity);
            }
        }
    }

    fn report(&mut self, counts: TableCounts) {
        metrics::STEPS.increment(counts.steps - self.counted.steps);
        // Every arbiter adds what changed in its own table.
        metrics::UNITS.add(counts.units as f64 - self.counted.units as f64);
        metrics::SECTORS_ACTIVE.add(counts.sectors as f64 - self.counted.sectors as f64);
        metrics::ENTITIES.add(counts.entities as f64 - self.counted.entities as f64);
        for (tenths, percent) in PERCENTS.into_iter().enumerate() {
            let more = counts.dilated[tenths] as f64 - self.counted.dilated[tenths] as f64;
            metrics::SECTORS_DILATED.with(&[percent]).increment(more);
        }
        metrics::SHADOWS_HELD.add(counts.shadows as f64 - self.counted.shadows as f64);
        metrics::SHADOWS_LATE.increment(counts.shadows_late - self.counted.shadows_late);
        let misfits = counts.misfits - self.counted.misfits;
        if misfits > 0 {
            tracing::error!(misfits, "records did not fit their entities, which were dropped");
            metrics::INVARIANT_BROKEN.with(&["1"]).increment(misfits);
        }
        let broken = counts.broken - self.counted.broken;
        if broken > 0 {
            tracing::error!(broken, "entities panicked; they are loaded again");
            metrics::BROKEN.increment(broken);
        }
        self.counted = counts;
    }
}

/// Whether it is for the view.
fn is_shown(release: &Release) -> bool {
    matches!(
        release,
        Release::Scene { .. } | Release::Step { .. } | Release::Pace { .. } | Release::Gone { .. }
    )
}

/// The entity that is handed out.
fn followed(release: &Release) -> Option<EntityKey> {
    match release {
        Release::Scene { entity, .. }
        | Release::Step { entity, .. }
        | Release::Pace { entity, .. } => Some(*entity),
        _ => None,
    }
}
