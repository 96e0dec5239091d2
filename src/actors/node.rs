//! Owns a running node: its threads, its arbiters, its way to entities and
//! rows. Never decides anything. Called by `starmesh node` and by tests;
//! started and stopped once.

use std::sync::Arc;

use actix::Arbiter;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::coordinator::CoordinatorActor;
use super::core_thread::{self, CoreHandle, CoreParts, CoreStatus, GALAXY_GROUP, ToCore};
use super::ending::Ending;
use super::entities::Entities;
use super::galaxy::{self, GalaxyError};
use super::ports::{Ports, ToSession};
use super::registry::Registry;
use super::rows::{GroupRequest, Rows, RowsLimits};
use super::store_threads::StoreThreads;
use super::ticker::{self, TableHandle};
use crate::base::NodeId;
use crate::cluster::core::limits::Limits;
use crate::cluster::core::node::{Event, NodeCore, NodeCounts};
use crate::cluster::core::table::{Table, TableCounts};
use crate::config::Config;
use crate::sim::Rules;
use crate::store::Store;

/// A store engine of one node: its only node has this id.
const ONLY_NODE: NodeId = NodeId(1);

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
    /// Resolves, with the reason, when the node was declared dead, another
    /// process took its place, or a thread that holds state panicked.
    pub deposed: Option<oneshot::Receiver<String>>,
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
        let on_disk = rules.hash();
        let (world, made) = galaxy::find_or_make(store.as_ref(), config, rules)?;
        if let Some(differ) = galaxy::compare_rules(&world, on_disk) {
            tracing::warn!("{differ}");
        }
        let row = galaxy::last_row(store.as_ref(), ONLY_NODE)?;
        let world = Arc::new(world);
        let limits = Limits::default();
        let (core, receiver) = core_thread::queue();
        let ports = Arc::new(Ports::default());
        let registry = Arc::new(Registry::default());
        let status = Arc::new(CoreStatus::default());

        let (ending, ended) = Ending::new();
        let arbiters: Vec<Arbiter> =
            (0..config.engine.arbiters.usize()).map(|_| Arbiter::new()).collect();
        let start_table = |arbiter: &Arbiter| {
            let (world, core) = (world.clone(), core.clone());
            let (ports, registry) = (ports.clone(), registry.clone());
            let table = Table::new(world, limits);
            ticker::start(&arbiter.handle(), table, core, ports, registry, ending.clone())
        };
        let tables: Vec<TableHandle> = arbiters.iter().map(start_table).collect();

        let store_threads = StoreThreads::start(
            store.clone(),
            ONLY_NODE,
            world.clone(),
            core.clone(),
            &ending,
            config,
            &limits,
        )?;
        if let Some(group) = made {
            core.send(ToCore::Event(Event::Rows { id: GALAXY_GROUP, group }));
        }
        let nonce = uuid::Uuid::new_v4().as_u64_pair().0;
        let parts = CoreParts {
            core: NodeCore::new(ONLY_NODE, nonce, row.as_ref(), world.clone(), limits),
            tables: tables.clone(),
            store: store_threads,
            ports: ports.clone(),
            registry: registry.clone(),
            status: status.clone(),
            ending,
        };
        core_thread::start(parts, receiver)?;

        let (rows, queue) = Rows::new(store, RowsLimits::from(&config.store));
        actix::spawn(forward_rows(queue, core.clone()));
        let coordinator = CoordinatorActor::open(core.clone());
        let entities = Entities {
            world,
            ports,
            registry: registry.clone(),
            coordinator,
            status: status.clone(),
        };
        let deposed = Some(ended);
        Ok(Node { entities, rows, status, core, tables, arbiters, registry, deposed })
    }

    /// What was counted so far.
    pub fn summary(&self) -> NodeSummary {
        let mut tables = TableCounts::default();
        for handle in &self.tables {
            let counts = handle.counts.lock().map(|counts| *counts).unwrap_or_default();
            tables.entities += counts.entities;
            tables.active += counts.active;
            tables.units += counts.units;
            tables.steps += counts.steps;
            tables.inputs += counts.inputs;
        }
        let core = self.status.counts.lock().map(|counts| *counts).unwrap_or_default();
        NodeSummary { core, tables, connections: self.entities.ports.count() }
    }

    /// Sectors and other entities that run here.
    pub fn entity_counts(&self) -> (usize, usize) {
        self.registry.counts()
    }

    /// Tells every connection that the node stops.
    pub fn announce_shutdown(&self) {
        self.entities.ports.broadcast(&ToSession::ShuttingDown);
    }

    /// Makes durable what was admitted and ends the threads.
    pub async fn stop(self) {
        let (done, ended) = oneshot::channel();
        self.core.send(ToCore::Stop(done));
        // A core that has ended already drops the sender, which is as good.
        let _ = ended.await;
        for arbiter in self.arbiters {
            arbiter.stop();
        }
    }
}

/// Groups of rows wait in their bounded queue while as many as this are in the
/// core's hands: while the store is away, they are all there will be.
const ROWS_IN_CORE: usize = 1024;

async fn forward_rows(mut queue: mpsc::Receiver<GroupRequest>, core: CoreHandle) {
    let room = Arc::new(Semaphore::new(ROWS_IN_CORE));
    while let Some(request) = queue.recv().await {
        // The semaphore is never closed.
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        core.send(ToCore::Rows(request, permit));
    }
}
