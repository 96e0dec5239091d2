//! Owns how a plan is made by hand: the cluster's load, put together from what
//! the nodes say of themselves, and the plan that a strategy makes of it. Never
//! commits it. What nodes do not tell (how long a sector is where it is, how
//! long it is cold) is taken to be long ago, and nothing is taken to be cold.

use std::collections::BTreeMap;

use super::{SteerError, Steering};
use crate::actors::peers::{PeerAnswer, PeerQuestion};
use crate::actors::reports::{Busiest, HOT, NodeReport, SECTORS_MAX};
use crate::base::{Millis, NodeId, SectorId};
use crate::cluster::core::balance::{
    ClusterLoad, LoadBalanceStrategy, NodeLoad, Plan, SectorLoad, Settings, plan,
};
use crate::cluster::core::directory::Directory;
use crate::cluster::core::map::Map;
use crate::cluster::core::roles::Role;

/// Microseconds of a tick in a thousandth of it.
const US: u32 = 100;

/// A plan, and what it was made from.
pub struct Planned {
    pub plan: Plan,
    /// Living nodes that did not say what they do: nothing but what must move
    /// does.
    pub silent: Vec<NodeId>,
    /// Sectors that run and were not told, as there are too many.
    pub untold: u64,
}

/// What a node said of itself.
type Told = Option<(NodeReport, Busiest)>;

impl Steering {
    /// What `strategy` would change now.
    ///
    /// # Errors
    /// When this node is in no cluster.
    pub async fn plan(&self, strategy: LoadBalanceStrategy) -> Result<Planned, SteerError> {
        let map = self.map()?;
        let most = u16::try_from(SECTORS_MAX).unwrap_or(u16::MAX);
        let (reports, busiest) = tokio::join!(
            self.ask(&map, PeerQuestion::Report),
            self.ask(&map, PeerQuestion::Busiest { most }),
        );
        let both = |report, busiest| match (report, busiest) {
            (Some(PeerAnswer::Report(report)), Some(PeerAnswer::Busiest(busiest))) => {
                Some((*report, busiest))
            }
            _ => None,
        };
        let answers = reports.into_iter().zip(busiest);
        let answers = answers.map(|((node, report), (_, busiest))| (node, both(report, busiest)));
        let told: BTreeMap<NodeId, Told> = answers.collect();
        let silent = told.iter().filter(|(_, told)| told.is_none()).map(|(node, _)| *node);
        let untold = told
            .values()
            .flatten()
            .map(|(_, busiest)| busiest.total.saturating_sub(busiest.sectors.len() as u64));
        let (silent, untold) = (silent.collect(), untold.sum());
        let mut load = cluster_load(&map, &told, self.entities.time().1);
        self.add_round_trips(&mut load);
        let settings = Settings { strategy, ..Settings::default() };
        Ok(Planned { plan: plan(&map.directory, &load, &settings), silent, untold })
    }

    /// Only this node's own links are known.
    fn add_round_trips(&self, load: &mut ClusterLoad) {
        let me = self.me();
        let Some(mine) = load.nodes.iter_mut().find(|node| node.node == me) else { return };
        mine.round_trips = self.links().iter().filter_map(super::round_trip).collect();
    }
}

/// The load that `told` makes.
fn cluster_load(map: &Map, told: &BTreeMap<NodeId, Told>, now: Millis) -> ClusterLoad {
    let nodes = map.nodes.keys().map(|node| {
        let told = told.get(node).and_then(Option::as_ref);
        let threads = told.map_or(1, |(report, _)| report.threads.len().max(1));
        NodeLoad {
            alive: map.lives(*node),
            draining: map.directory.is_draining(*node),
            told: told.is_some(),
            sectors: map.has(*node, Role::Sector),
            meta: map.has(*node, Role::Meta),
            ..NodeLoad::new(*node, u32::try_from(threads).unwrap_or(u32::MAX))
        }
    });
    let mut sectors: BTreeMap<SectorId, SectorLoad> = BTreeMap::new();
    let all = told.iter().filter_map(|(node, told)| Some((*node, &told.as_ref()?.1)));
    for (_, busiest) in all.clone() {
        for it in &busiest.sectors {
            let load = SectorLoad {
                activity: it.activity,
                cost_us: it.load.saturating_mul(US),
                hot_since: (it.own_thread && it.load >= HOT).then_some(Millis(0)),
                cold_since: None,
                ..SectorLoad::new(it.sector, Millis(0))
            };
            sectors.insert(it.sector, load);
        }
    }
    for (gateway, busiest) in all {
        for (sector, players) in &busiest.observed {
            if let Some(load) = sectors.get_mut(sector) {
                load.players = load.players.saturating_add(*players);
                load.gateways.push((gateway, *players));
            }
        }
    }
    let nodes = nodes.collect();
    ClusterLoad { now, nodes, sectors: owned(&map.directory, sectors) }
}

/// Those that belong to somebody, as a plan expects.
fn owned(directory: &Directory, sectors: BTreeMap<SectorId, SectorLoad>) -> Vec<SectorLoad> {
    let is_owned = |sector: &SectorLoad| directory.region_of(sector.sector).is_some();
    sectors.into_values().filter(is_owned).collect()
}
