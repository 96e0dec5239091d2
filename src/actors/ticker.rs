//! Owns an arbiter's table of entities, in a thread-local, and the plain task
//! that drives it: what the node's core says goes in, in order; what the table
//! gives goes out. Never decides; the table does. Handlers of the arbiter's
//! actors admit through the same table.
//!
//! The queue from the core has no bound of its own: what the core may send is
//! one commit's records, one tick, and what waits for at most
//! [`LOADS_MAX`](crate::cluster::core::loading::LOADS_MAX) loads.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use actix::{Actor, ArbiterHandle};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::core_thread::{CoreHandle, ToCore};
use super::meta::MetaActor;
use super::ports::{Ports, ToSession};
use super::registry::Registry;
use super::sector::SectorActor;
use crate::base::EntityKey;
use crate::cluster::core::message::ToTable;
use crate::cluster::core::table::{Table, TableCounts, Unavailable};
use crate::entity::World;
use crate::entity::commands::PlayerCommand;
use crate::entity::input::Input;
use crate::telemetry::metrics;

/// What an arbiter has besides its table.
struct Desk {
    table: Table,
    core: CoreHandle,
    ports: Arc<Ports>,
    registry: Arc<Registry>,
    /// Whether a flush is on its way.
    flushing: bool,
    counted: TableCounts,
}

thread_local! {
    static DESK: RefCell<Option<Desk>> = const { RefCell::new(None) };
}

/// The way to one arbiter's table, and what it last counted.
#[derive(Clone)]
pub struct TableHandle {
    sender: UnboundedSender<ToTable>,
    pub counts: Arc<std::sync::Mutex<TableCounts>>,
}

impl TableHandle {
    /// Tells the table; nothing happens when its arbiter has ended.
    pub fn send(&self, message: ToTable) {
        let _ = self.sender.send(message);
    }
}

/// Starts a table on `arbiter`.
#[expect(
    clippy::disallowed_methods,
    reason = "a bound here could block the core; the module's head says what bounds it"
)]
pub fn start(
    arbiter: &ArbiterHandle,
    world: Arc<World>,
    core: CoreHandle,
    ports: Arc<Ports>,
    registry: Arc<Registry>,
) -> TableHandle {
    let (sender, receiver) = unbounded_channel();
    let handle = TableHandle { sender, counts: Arc::default() };
    let counts = handle.counts.clone();
    arbiter.spawn(async move {
        let desk = Desk {
            table: Table::new(world),
            core,
            ports,
            registry,
            flushing: false,
            counted: TableCounts::default(),
        };
        DESK.set(Some(desk));
        run(receiver, &counts).await;
    });
    handle
}

/// Lets `f` work on this arbiter's table; called on an arbiter that has one.
pub fn with_table<T>(f: impl FnOnce(&mut Table) -> T) -> T {
    DESK.with_borrow_mut(|desk| {
        // Entity actors exist only on arbiters whose ticker started them.
        let desk = desk.as_mut().expect("entity actors run beside a table");
        f(&mut desk.table)
    })
}

/// Admits a player's command; a refusal goes to the connection at once.
pub fn admit(entity: EntityKey, connection: u64, command: PlayerCommand) {
    let sequence = command.sequence;
    if let Err(why) = with_table(|table| table.admit(entity, command)) {
        let rejected = ToSession::Rejected { entity, sequence, why };
        with_desk(|desk| desk.ports.deliver(connection, rejected));
    }
    flush_soon();
}

/// Submits an input.
///
/// # Errors
/// When the table does not take it.
pub fn propose(entity: EntityKey, input: Input) -> Result<(), Unavailable> {
    let proposed = with_table(|table| table.propose(entity, input));
    flush_soon();
    proposed
}

fn with_desk(f: impl FnOnce(&mut Desk)) {
    DESK.with_borrow_mut(|desk| desk.as_mut().map(f));
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

async fn run(mut receiver: UnboundedReceiver<ToTable>, counts: &std::sync::Mutex<TableCounts>) {
    while let Some(message) = receiver.recv().await {
        with_desk(|desk| {
            let ticked = desk.handle(message);
            let mut any = ticked;
            while let Ok(message) = receiver.try_recv() {
                any |= desk.handle(message);
            }
            desk.flush();
            if any && let Ok(mut counts) = counts.lock() {
                *counts = desk.table.counts();
                desk.report(*counts);
            }
        });
    }
    DESK.set(None);
}

impl Desk {
    /// Returns whether it was a tick.
    fn handle(&mut self, message: ToTable) -> bool {
        match &message {
            ToTable::Install(installed) => self.start_actor(installed.entity.key()),
            ToTable::Drop(entity) => self.registry.remove(*entity),
            _ => {}
        }
        let began = Instant::now();
        let is_tick = matches!(message, ToTable::Tick { .. });
        self.table.handle(message);
        if is_tick {
            metrics::TICK_SECONDS.record(began.elapsed().as_secs_f64());
        }
        is_tick
    }

    fn start_actor(&self, key: EntityKey) {
        match key {
            EntityKey::Sector(_) => {
                self.registry.insert_sector(key, SectorActor::new(key).start());
            }
            _ => self.registry.insert_meta(key, MetaActor::new(key).start()),
        }
    }

    fn flush(&mut self) {
        self.flushing = false;
        for release in self.table.drain_released() {
            if let Some((player, session)) = self.ports.release(release) {
                self.table.leave(player, session);
            }
        }
        let to_core = self.table.drain_core();
        if !to_core.is_empty() {
            self.core.send(ToCore::FromTable(to_core));
        }
    }

    fn report(&mut self, counts: TableCounts) {
        metrics::STEPS.increment(counts.steps - self.counted.steps);
        // Every arbiter adds what changed in its own table.
        metrics::UNITS.add(counts.units as f64 - self.counted.units as f64);
        metrics::ENTITIES.add(counts.entities as f64 - self.counted.entities as f64);
        let misfits = counts.misfits - self.counted.misfits;
        if misfits > 0 {
            tracing::error!(misfits, "records did not fit their entities, which were dropped");
            metrics::INVARIANT_BROKEN.with(&["1"]).increment(misfits);
        }
        self.counted = counts;
    }
}
