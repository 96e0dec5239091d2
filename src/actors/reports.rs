//! Owns what a node says of itself to operators: how it goes, which of its
//! sectors have most to do, what it runs of a region. Never decides anything by
//! it, and is never asked by what does. Called for the admin calls, here and
//! over the links. Invariant: an answer fits into a message, however much runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::entities::Entities;
use super::peers::Place;
use super::ticker::TableHandle;
use crate::base::{EntityKey, Incarnation, SectorId};
use crate::cluster::core::balance::RestLoad;
use crate::cluster::core::places::Tables;
use crate::config::{Balance, Config, StoreUrl};

/// Sectors of an answer at most: some 40 bytes each.
pub const SECTORS_MAX: usize = 2_048;
/// Threads of an answer at most.
const THREADS_MAX: usize = 512;
/// Microseconds in a thousandth of a tick.
const US: u32 = 100;

/// What a node knows of itself that does not change.
pub struct About {
    incarnation: Incarnation,
    /// Of all its threads, once they run.
    tables: OnceLock<Vec<TableHandle>>,
    threads: Tables,
    balance: Balance,
    url: StoreUrl,
    /// Whether it opened its store itself; not known before it has links.
    opens: OnceLock<bool>,
}

impl About {
    pub(super) fn new(incarnation: Incarnation, config: &Config, threads: Tables) -> About {
        About {
            incarnation,
            tables: OnceLock::new(),
            threads,
            balance: config.cluster.balance,
            url: config.store.url.clone(),
            opens: OnceLock::new(),
        }
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Threads for sectors, but for those that wait for single ones.
    pub(super) fn capacity(&self) -> u32 {
        u32::try_from(self.threads.common.max(1)).unwrap_or(u32::MAX)
    }

    pub(super) fn note_tables(&self, tables: Vec<TableHandle>) {
        // As below.
        let _ = self.tables.set(tables);
    }

    pub(super) fn tables(&self) -> &[TableHandle] {
        self.tables.get().map_or(&[], Vec::as_slice)
    }

    pub(super) fn note_store(&self, opens: bool) {
        // It is noted once.
        let _ = self.opens.set(opens);
    }

    /// How it comes to its store.
    fn store(&self) -> &'static str {
        match (&self.url, self.opens.get()) {
            (StoreUrl::Postgres(_), _) => "postgres",
            (StoreUrl::Embedded, Some(false)) => "mesh",
            (StoreUrl::Embedded, _) => "sled",
        }
    }
}

/// How a node goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    pub incarnation: Incarnation,
    pub build: String,
    /// `sled`, `postgres`, or `mesh` when another node has it.
    pub store: String,
    pub tick: u64,
    /// Its store answers and its disk has room.
    pub taking_commands: bool,
    /// The version of the directory that it knows.
    pub directory: u64,
    pub sectors: u64,
    /// Ledgers and boards.
    pub others: u64,
    /// Of both: those that the directory gives to another node.
    pub leaving: u64,
    pub parked: u64,
    pub units: u64,
    pub connections: u64,
    /// Thousandths of each tick that each thread of entities works.
    pub threads: Vec<u32>,
    /// Microseconds of each tick that its sectors cost, and all else on those
    /// threads.
    pub sectors_us: u64,
    pub other_us: u64,
    /// What it balances by when it is the one that plans.
    pub balance: String,
}

/// Sectors with most to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Busiest {
    /// Of this node, the busiest first.
    pub sectors: Vec<SectorReport>,
    /// How many run.
    pub total: u64,
    /// Sectors of whatever node that players of this gateway observe, and how
    /// many do.
    pub observed: Vec<(SectorId, u32)>,
}

/// A sector that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorReport {
    pub sector: SectorId,
    pub units: u32,
    pub activity: u32,
    /// Thousandths of a thread that it costs, at full rate.
    pub load: u32,
    pub own_thread: bool,
}

/// What a node runs of a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionReport {
    /// Of the directory that the node knows.
    pub directory: u64,
    pub sectors: u64,
    pub units: u64,
    /// Of the sectors, those that the directory gives to another node.
    pub leaving: u64,
}

impl Entities {
    /// How this node goes.
    pub async fn report(&self) -> NodeReport {
        self.computed(Entities::report_now).await
    }

    /// The sectors here with most to do, at most so many, and what this
    /// gateway's players observe.
    pub async fn busiest(&self, most: usize) -> Busiest {
        let most = most.min(SECTORS_MAX);
        let observed = self.view.observed(most).await;
        let (sectors, total) = self.computed(move |entities| entities.busiest_now(most)).await;
        Busiest { sectors, total, observed }
    }

    /// What runs here of `region`.
    pub async fn region(&self, region: SectorId) -> RegionReport {
        self.computed(move |entities| entities.region_now(region)).await
    }

    /// Looks at every entity, so beside the threads that carry messages.
    pub(super) async fn computed<T: Default + Send + 'static>(
        &self,
        look: impl FnOnce(&Entities) -> T + Send + 'static,
    ) -> T {
        let entities = self.clone();
        // It ends early only with the process.
        tokio::task::spawn_blocking(move || look(&entities)).await.unwrap_or_default()
    }

    fn report_now(&self) -> NodeReport {
        let (mut units, mut threads) = (0, Vec::new());
        let (mut sectors_us, mut other_us) = (0, 0);
        for table in self.about.tables() {
            units += table.counts.lock().map(|counts| counts.units).unwrap_or_default();
            threads.push(table.load().share());
            let (costs, other) = table.measured();
            sectors_us += RestLoad::of(&costs.sectors).plus(costs.rest).cost_us;
            other_us += u64::from(other);
        }
        threads.truncate(THREADS_MAX);
        let (sectors, metas) = (self.registry.sectors().len(), self.registry.metas().len());
        NodeReport {
            incarnation: self.about.incarnation,
            build: concat!("starmesh ", env!("CARGO_PKG_VERSION")).into(),
            store: self.about.store().into(),
            tick: self.time().0.0,
            taking_commands: self.status.taking_commands.load(Ordering::Relaxed),
            directory: self.mesh.directory_version(),
            sectors: sectors as u64,
            others: metas as u64,
            leaving: self.leaving_now(),
            parked: self.parked() as u64,
            units,
            connections: self.ports.count() as u64,
            threads,
            sectors_us,
            other_us,
            balance: self.about.balance.to_string(),
        }
    }

    /// Sectors and others that run here and are another's by now.
    pub(super) fn leaving_now(&self) -> u64 {
        let sectors = self.registry.sectors().into_iter().map(EntityKey::Sector);
        let keys = sectors.chain(self.registry.metas());
        keys.filter(|key| self.is_leaving(*key)).count() as u64
    }

    fn busiest_now(&self, most: usize) -> (Vec<SectorReport>, u64) {
        // Of those that are not told one by one the cost is too little to matter.
        let (mut costs, mut alone) = (BTreeMap::new(), BTreeSet::new());
        for table in self.about.tables() {
            let told = table.measured().0.sectors;
            costs.extend(told.into_iter().map(|load| (load.sector, load.cost_us)));
            let told = table.told();
            alone.extend(told.heaviest.filter(|_| told.sectors == 1).map(|(key, _)| key));
        }
        let running = self.registry.sectors();
        let total = running.len() as u64;
        let mut sectors: Vec<SectorReport> = Vec::new();
        for sector in running {
            let known = self.view.branches.get(sector).map(|(known, _)| known);
            sectors.push(SectorReport {
                sector,
                units: known.map_or(0, |known| known.unit_count),
                activity: known.map_or(0, |known| u32::from(known.activity_level)),
                load: costs.get(&sector).copied().unwrap_or_default() / US,
                own_thread: alone.contains(&EntityKey::Sector(sector)),
            });
        }
        sectors.sort_by_key(|it| (std::cmp::Reverse((it.load, it.units)), it.sector));
        sectors.truncate(most);
        (sectors, total)
    }

    fn region_now(&self, region: SectorId) -> RegionReport {
        let directory = self.mesh.directory_version();
        let mut report = RegionReport { directory, ..RegionReport::default() };
        for sector in self.registry.sectors().into_iter().filter(|it| region.contains(*it)) {
            report.sectors += 1;
            let known = self.view.branches.get(sector);
            report.units += known.map_or(0, |(known, _)| u64::from(known.unit_count));
            report.leaving += u64::from(self.is_leaving(EntityKey::Sector(sector)));
        }
        report
    }

    fn is_leaving(&self, key: EntityKey) -> bool {
        self.mesh.place_of(key) != Place::Here
    }
}

impl Default for NodeReport {
    /// Of a node that ends.
    fn default() -> NodeReport {
        NodeReport {
            incarnation: Incarnation(0),
            build: String::new(),
            store: String::new(),
            tick: 0,
            taking_commands: false,
            directory: 0,
            sectors: 0,
            others: 0,
            leaving: 0,
            parked: 0,
            units: 0,
            connections: 0,
            threads: Vec::new(),
            sectors_us: 0,
            other_us: 0,
            balance: String::new(),
        }
    }
}
