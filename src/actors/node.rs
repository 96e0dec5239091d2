//! Owns a running node: its threads, its arbiters, its way to entities and
//! rows. Never decides anything. Called by `starmesh node` and by tests;
//! started and stopped once. Invariant: when it has ended, only calls that are
//! under way keep the store open.

mod forwarding;
mod seat;
mod watching;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::Arbiter;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use super::asking::Asking;
use super::branches::Branches;
use super::coordinator::CoordinatorActor;
use super::core_thread::{
    self, CoreHandle, CoreParts, FORMAT_GROUP, GALAXY_GROUP, RULES_GROUP, ToCore,
};
use super::ending::{Ended, Ending};
use super::entities::{Entities, TURNING_MOST};
use super::galaxy::{self, Found, GalaxyError};
use super::last_words::LastWords;
use super::peers::{Alone, Mesh};
use super::ports::{Ports, ToSession};
use super::registry::Registry;
use super::reports::About;
use super::rows::Rows;
use super::signer;
use super::status::CoreStatus;
use super::store_threads::{Loaders, StoreThreads};
use super::ticker::{self, TableHandle, TableParts};
use super::view_thread::{self, ViewHandle};
use super::watchdog::Watchdog;
use crate::base::{EntityKey, Incarnation, NodeId, SectorId};
use crate::cluster::certificates::Signer;
use crate::cluster::core::attaching::Attachment;
use crate::cluster::core::limits::Limits;
use crate::cluster::core::node::{Event, NodeCore, NodeCounts};
use crate::cluster::core::places::Tables;
use crate::cluster::core::table::{Table, TableCounts};
use crate::config::Config;
use crate::entity::World;
use crate::entity::commit::Group;
use crate::entity::workplace::Workplace;
use crate::sim::Rules;
use crate::store::Store;
use crate::telemetry::metrics;

use forwarding::{Forwarding, start_rows};
pub use seat::{LinkSettings, Seat};

/// A node that has its store for itself has this number.
pub const ONLY_NODE: NodeId = NodeId(1);
/// A node that stops waits so long for what was admitted: while the store is
/// away more would be no help.
pub const SETTLE_WITHIN: Duration = Duration::from_secs(5);

/// Why a node did not start. Nothing of it runs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Galaxy(#[from] GalaxyError),
    #[error("no threads: {0}")]
    Threads(#[from] std::io::Error),
}

/// A running node.
pub struct Node {
    pub entities: Entities,
    pub rows: Rows,
    pub status: Arc<CoreStatus>,
    core: CoreHandle,
    tables: Vec<TableHandle>,
    arbiters: Vec<Arbiter>,
    registry: Arc<Registry>,
    seat: Seat,
    incarnation: Incarnation,
    /// Resolves, with the reason, when the node was declared dead, another
    /// process took its place, or a thread that holds state panicked.
    pub deposed: Option<oneshot::Receiver<Ended>>,
    forwarding: Option<Forwarding>,
    /// What the gateway owes to ledgers is said by it; it ends with the node.
    tending: JoinHandle<()>,
    watchdog: Watchdog,
    last_words: Option<Arc<LastWords>>,
}

/// What a node counts, all threads together.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeSummary {
    pub core: NodeCounts,
    pub tables: TableCounts,
    pub connections: usize,
}

impl Node {
    /// Starts a node on `store`; called inside an actix system. It takes
    /// players when its status says ready.
    ///
    /// # Errors
    /// When the store does not hold a galaxy this build can run.
    pub fn start(config: &Config, rules: Rules, store: Arc<dyn Store>) -> Result<Node, StartError> {
        Node::start_at(config, rules, store, Seat::Own(Arc::new(Alone(ONLY_NODE))), None)
    }

    /// The same, for a node that shares the store with others; it hears of them
    /// after [`open_links`](Self::open_links). In `data` it leaves its last words, and
    /// finds those of earlier processes.
    ///
    /// # Errors
    /// See [`start`](Self::start).
    pub fn start_at(
        config: &Config,
        rules: Rules,
        store: Arc<dyn Store>,
        seat: Seat,
        data: Option<&Path>,
    ) -> Result<Node, StartError> {
        let (number, mesh) = (seat.node(), seat.mesh());
        let (world, format, new_rows) = find_galaxy(store.as_ref(), number, config, rules)?;
        let row = galaxy::last_row(store.as_ref(), number)?;
        let (limits, threads) = (limits_of(config), threads_of(config));
        let (core, receiver) = core_thread::queue();
        let nonce = uuid::Uuid::new_v4().as_u64_pair().0;
        let own = NodeCore::new(number, nonce, row.as_ref(), world.clone(), limits, threads);
        let incarnation = own.incarnation();
        let (own, last_words) = watching::after(own, data, number);
        let (ending, ended) = Ending::new();
        let (view, view_queue) = view_thread::queue(Arc::new(Branches::new(world.clone())));
        let about = About::new(incarnation, config, threads);
        let entities = entities_of(&world, &core, view, mesh, about);
        let arbiters: Vec<Arbiter> = (0..threads.count()).map(|_| Arbiter::new()).collect();
        let parts = table_parts(&entities, &core, &ending);
        let working = watching::places(arbiters.len());
        let tables = start_tables(arbiters.iter().zip(&working), &world, limits, &parts);
        let loading = watching::places(config.engine.loads_at_once.usize());
        let loaders = Loaders { places: loading.clone(), limits };
        entities.about.note_tables(tables.clone());
        let store_threads = StoreThreads::start(
            store.clone(),
            number,
            entities.view.branches.clone(),
            core.clone(),
            &ending,
            config,
            loaders,
        )?;
        // In the first commit behind which anything is claimed.
        new_rows.into_iter().for_each(|(id, group)| {
            core.send(ToCore::Event(Event::Rows { id, group }));
        });
        let own = seated(own.writing(format), &seat, config);
        let parts = core_parts(&entities, own, tables.clone(), store_threads, ending.clone());
        core_thread::start(CoreParts { last_words: last_words.clone(), ..parts }, receiver)?;
        let places = [working, loading].concat();
        let watchdog = watching::watch(&entities, &tables, places, (&core, &ending), &last_words)?;
        let (rows, forwarding) = start_rows(&store, config, &core);
        let tending = actix::spawn(entities.clone().tend());
        view_thread::start(&entities, core.clone(), ending, view_queue)?;
        let (deposed, forwarding) = (Some(ended), Some(forwarding));
        let (status, registry) = (entities.status.clone(), entities.registry.clone());
        Ok(Node {
            entities,
            rows,
            status,
            core,
            tables,
            arbiters,
            registry,
            seat,
            incarnation,
            deposed,
            forwarding,
            tending,
            watchdog,
            last_words,
        })
    }

    /// What was counted so far.
    pub fn summary(&self) -> NodeSummary {
        let mut tables = TableCounts::default();
        for handle in &self.tables {
            let counts = handle.counts.lock().map(|counts| *counts).unwrap_or_default();
            tables.entities += counts.entities;
            tables.sectors += counts.sectors;
            tables.active_sectors += counts.active_sectors;
            tables.units += counts.units;
            tables.steps += counts.steps;
            tables.inputs += counts.inputs;
            tables.crossings += counts.crossings;
        }
        let core = self.status.counts.lock().map(|counts| *counts).unwrap_or_default();
        NodeSummary { core, tables, connections: self.entities.ports.count() }
    }

    /// Sectors and other entities that run here.
    pub fn entity_counts(&self) -> (usize, usize) {
        self.registry.counts()
    }

    /// Has a sector go to the thread of that number, of `engine.arbiters` and
    /// then `engine.hot_threads`, if it runs and nothing stands against it. Where
    /// it is worth it the node does so by itself.
    pub fn move_sector(&self, sector: SectorId, to: usize) {
        let entity = EntityKey::Sector(sector);
        self.core.send(ToCore::Event(Event::Move { entity, to }));
    }

    /// Has the node's audit log signed from now on; whoever verifies it finds the
    /// signer's certificate in the store.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn sign_with(&self, signer: Signer) -> std::io::Result<()> {
        let signer = signer::start(signer, self.core.clone())?;
        self.core.send(ToCore::Signer(signer));
        Ok(())
    }

    /// Tells every connection that the node stops.
    pub fn announce_shutdown(&self) {
        self.entities.ports.broadcast(&ToSession::ShuttingDown);
    }

    /// Takes nothing new, and waits until what was admitted is durable and
    /// released to its connections, but no longer than `within`. False when it
    /// took longer: nothing of what is left was acknowledged.
    pub async fn settle(&mut self, within: Duration) -> bool {
        self.status.stopping.store(true, Ordering::Relaxed);
        let forwarding = self.forwarding.take();
        let settled = async {
            if let Some(Forwarding { close, task }) = forwarding {
                let _ = close.send(());
                // A task that panicked forwards nothing more, which is as good.
                let _ = task.await;
            }
            let (done, settled) = oneshot::channel();
            self.core.send(ToCore::Settle(done));
            // A core that has ended drops the sender: it was deposed.
            settled.await.is_ok()
        };
        let settled = tokio::time::timeout(within, settled).await.unwrap_or(false);
        if !settled {
            tracing::error!(
                "stops without waiting any longer for what the store has not taken: commands and \
                 changes of accounts that nobody was told of; all that was acknowledged is durable"
            );
        }
        settled
    }

    /// Ends the threads, whatever waits. The store's end with the call that
    /// they are in.
    pub async fn end(self) {
        self.watchdog.stop();
        let (done, ended) = oneshot::channel();
        self.core.send(ToCore::End(done));
        // A core that has ended already drops the sender, which is as good.
        let _ = ended.await;
        self.tending.abort();
        for arbiter in self.arbiters {
            arbiter.stop();
        }
    }

    /// Makes durable what was admitted, if the store takes it, and ends.
    pub async fn stop(mut self) {
        self.settle(SETTLE_WITHIN).await;
        self.end().await;
    }
}

fn limits_of(config: &Config) -> Limits {
    let quiet_ms = config.engine.sector_quiet_s.u64() * 1_000;
    let silent_ms = config.cluster.silent_ms.u64();
    Limits { quiet_ms, silent_ms, ..Limits::default() }
}

fn threads_of(config: &Config) -> Tables {
    Tables { common: config.engine.arbiters.usize(), hot: config.engine.hot_threads() }
}

/// The core of a node that has its store for itself, or shares it.
fn seated(core: NodeCore, seat: &Seat, config: &Config) -> NodeCore {
    if seat.is_shared() { core.in_cluster().with_roles(config.node.roles) } else { core }
}

fn entities_of(
    world: &Arc<World>,
    core: &CoreHandle,
    view: ViewHandle,
    mesh: Arc<dyn Mesh>,
    about: About,
) -> Entities {
    Entities {
        world: world.clone(),
        ports: Arc::new(Ports::new(mesh.clone())),
        registry: Arc::default(),
        coordinator: CoordinatorActor::open(core.clone()),
        status: Arc::default(),
        view,
        mesh,
        about: Arc::new(about),
        loads: Arc::default(),
        turning: Arc::new(Semaphore::new(TURNING_MOST)),
    }
}

fn table_parts(entities: &Entities, core: &CoreHandle, ending: &Ending) -> TableParts {
    TableParts {
        core: core.clone(),
        ports: entities.ports.clone(),
        registry: entities.registry.clone(),
        view: entities.view.clone(),
        asking: Arc::<Asking>::default(),
        ending: ending.clone(),
    }
}

fn core_parts(
    entities: &Entities,
    core: NodeCore,
    tables: Vec<TableHandle>,
    store: StoreThreads,
    ending: Ending,
) -> CoreParts {
    CoreParts {
        core,
        tables,
        store,
        ports: entities.ports.clone(),
        registry: entities.registry.clone(),
        status: entities.status.clone(),
        view: entities.view.clone(),
        mesh: entities.mesh.clone(),
        last_words: None,
        ending,
    }
}

/// A table for each arbiter.
fn start_tables<'a>(
    arbiters: impl Iterator<Item = (&'a Arbiter, &'a &'static Workplace)>,
    world: &Arc<World>,
    limits: Limits,
    parts: &TableParts,
) -> Vec<TableHandle> {
    let start = |(index, (arbiter, place)): (usize, (&Arbiter, &&'static Workplace))| {
        let first = Attachment(uuid::Uuid::new_v4().as_u64_pair().1);
        let table = Table::new(world.clone(), limits, first);
        ticker::start(&arbiter.handle(), index, place, table, parts.clone())
    };
    arbiters.enumerate().map(start).collect()
}

/// A group of rows that is to be stored at the start, and its id.
type NewRows = (u64, Group);

/// The galaxy of the store, or a new one, by `rules`; the format version that the
/// cluster writes; and the groups that store what is new, and check that version.
fn find_galaxy(
    store: &dyn Store,
    node: NodeId,
    config: &Config,
    rules: Rules,
) -> Result<(Arc<World>, u16, Vec<NewRows>), GalaxyError> {
    let (format, checked) = galaxy::format(store, node, config.cluster.formats())?;
    let Found { world, made, new_rules } = galaxy::find_or_make(store, config, rules)?;
    tracing::info!("runs by {} and writes format {}", world.logic(), format.number);
    metrics::FORMAT.set(f64::from(format.number));
    let made = made.map(|group| (GALAXY_GROUP, group));
    let rules = new_rules.map(|group| (RULES_GROUP, group));
    let groups = made.into_iter().chain(rules).chain([(FORMAT_GROUP, checked)]);
    Ok((Arc::new(world), format.number, groups.collect()))
}
