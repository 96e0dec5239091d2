//! What a plan keeps, whatever the load; and that a constant load comes to rest.

mod cases;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::base::{EntityKey, Millis, NodeId, SectorId};
use crate::cluster::core::directory::{Change, Edit};

const ROOT: SectorId = SectorId { x: 0, y: 0, scale: 8 };
/// Long enough for whatever came to be moved again.
const ROUND_MS: u64 = 400_000;

/// A cluster, small enough to try very many.
#[derive(Clone, Debug)]
struct Model {
    directory: Directory,
    load: ClusterLoad,
    settings: Settings,
}

fn key(sector: SectorId) -> EntityKey {
    EntityKey::Sector(sector)
}

fn assign(sector: SectorId, node: u32) -> Edit {
    Edit::Assign { entity: key(sector), node: NodeId(node) }
}

fn directory(edits: Vec<Edit>) -> Directory {
    let mut directory = Directory::default();
    directory.apply(&Change { seen: 0, edits }).expect("a change");
    directory
}

impl Model {
    fn node_of(&self, sector: SectorId) -> NodeId {
        self.directory.node_of(key(sector)).expect("the root has an entry")
    }

    /// What each node carries of sectors.
    fn carried(&self) -> BTreeMap<NodeId, u64> {
        let mut carried: BTreeMap<NodeId, u64> =
            self.load.nodes.iter().map(|node| (node.node, 0)).collect();
        for sector in &self.load.sectors {
            let weight = self.settings.strategy.weigh(sector);
            *carried.entry(self.node_of(sector.sector)).or_default() += weight;
        }
        carried
    }

    fn accepts(&self, node: NodeId) -> bool {
        let nodes = &self.load.nodes;
        nodes.iter().any(|n| n.node == node && n.alive && n.sectors && !n.draining)
    }

    fn plan(&self) -> Plan {
        plan(&self.directory, &self.load, &self.settings)
    }

    /// Does what a plan says; returns the sectors that changed their node.
    fn carry_out(&mut self, plan: &Plan) -> Vec<SectorId> {
        let before = self.clone();
        self.directory.apply(&plan.change()).expect("a plan is a change");
        self.load.now = Millis(self.load.now.0 + ROUND_MS);
        let mut moved = Vec::new();
        for sector in &mut self.load.sectors {
            let at = key(sector.sector);
            if self.directory.node_of(at) != before.directory.node_of(at) {
                sector.here_since = before.load.now;
                moved.push(sector.sector);
            }
        }
        moved
    }
}

fn sector_load() -> impl Strategy<Value = SectorLoad> {
    let place = (0_i64..64, 0_i64..64, prop::sample::select(vec![0_u8, 0, 0, 0, 0, 0, 0, 4]));
    let numbers = (0_u32..60, 0_u32..40, 0_u32..20_000);
    let since = (prop::option::of(0_u64..ROUND_MS), prop::option::of(0_u64..ROUND_MS));
    let gateways = prop::collection::vec((1_u32..8, 1_u32..20), 0..3);
    (place, numbers, since, gateways).prop_map(|((x, y, scale), numbers, since, gateways)| {
        SectorLoad {
            sector: SectorId { x: x >> scale, y: y >> scale, scale },
            players: numbers.0,
            activity: numbers.1,
            cost_us: numbers.2,
            hot_since: since.0.filter(|_| numbers.2 > 15_000).map(Millis),
            cold_since: since.1.map(Millis),
            here_since: Millis(0),
            gateways: gateways.into_iter().map(|(node, n)| (NodeId(node), n)).collect(),
        }
    })
}

fn node_load(id: u32) -> impl Strategy<Value = NodeLoad> {
    let trips = prop::collection::vec((1_u32..8, 0_u32..150_000), 0..8);
    let trips = trips.prop_map(|t| t.into_iter().map(|(node, us)| (NodeId(node), us)).collect());
    let states = prop::sample::select(vec![0_u8, 0, 0, 0, 0, 1, 2, 3]);
    (1_u32..5, 0_u32..5_000, states, trips).prop_map(
        move |(capacity, other_us, state, round_trips)| NodeLoad {
            other_us,
            sectors: state != 1,
            alive: state != 2,
            draining: state == 3,
            round_trips,
            ..NodeLoad::new(NodeId(id), capacity)
        },
    )
}

fn settings() -> impl Strategy<Value = Settings> {
    use LoadBalanceStrategy::{ActivityLevel, Geographic, PlayerCount, ResourceUsage};
    let strategy =
        prop::sample::select(vec![PlayerCount, ActivityLevel, ResourceUsage, Geographic]);
    (strategy, 1_usize..70, 1_usize..260, 1_usize..40).prop_map(
        |(strategy, moves_max, sectors_max, orphans_max)| Settings {
            strategy,
            moves_max,
            sectors_max,
            orphans_max,
            ..Settings::default()
        },
    )
}

fn entries() -> impl Strategy<Value = Vec<Edit>> {
    let entry = (0_i64..64, 0_i64..64, 0_u8..8, 1_u32..9).prop_map(|(x, y, scale, node)| {
        assign(SectorId { x: x >> scale, y: y >> scale, scale }, node)
    });
    // One of the nodes, 8, is not there.
    (1_u32..9, prop::collection::vec(entry, 0..30)).prop_map(|(root, mut entries)| {
        entries.push(assign(ROOT, root));
        entries
    })
}

fn model() -> impl Strategy<Value = Model> {
    let nodes = (1_u32..8).prop_flat_map(|n| (1..=n).map(node_load).collect::<Vec<_>>());
    let sectors = prop::collection::vec(sector_load(), 0..200);
    (entries(), nodes, sectors, settings()).prop_map(|(edits, nodes, sectors, settings)| {
        let sectors: BTreeMap<_, _> = sectors.into_iter().map(|s| (s.sector, s)).collect();
        let sectors = sectors.into_values().collect();
        let load = ClusterLoad { now: Millis(ROUND_MS), nodes, sectors };
        Model { directory: directory(edits), load, settings }
    })
}

proptest! {
    #[test]
    fn moves_lead_from_where_things_are_to_nodes_that_accept(model in model()) {
        for m in model.plan().moves {
            prop_assert!(model.accepts(m.to), "{m:?}");
            prop_assert_eq!(model.node_of(m.region), m.from);
            prop_assert!(m.from != m.to);
            let must = !model.accepts(m.from);
            prop_assert_eq!(must, matches!(m.why, Why::Dead | Why::Draining));
        }
    }

    #[test]
    fn a_plan_is_never_more_than_its_bounds(model in model()) {
        let (plan, settings) = (model.plan(), model.settings);
        let (dead, live): (Vec<_>, Vec<_>) = plan.moves.iter().partition(|m| m.why == Why::Dead);
        prop_assert!(live.len() <= settings.moves_max);
        prop_assert!(live.iter().map(|m: &Move| m.sectors).sum::<usize>() <= settings.sectors_max);
        prop_assert!(dead.len() <= settings.orphans_max);
        prop_assert!(plan.merged.len() <= settings.merges_max);
    }

    /// What a move says it moves is what changes its node, all of it and nothing
    /// else; so the total stays the same.
    #[test]
    fn what_moves_is_what_the_moves_say(model in model()) {
        let plan = model.plan();
        let mut after = model.clone();
        let moved = after.carry_out(&plan);
        prop_assert_eq!(moved.len(), plan.moves.iter().map(|m| m.sectors).sum::<usize>());
        let mut expected = model.carried();
        for m in &plan.moves {
            *expected.entry(m.from).or_default() -= m.weight;
            *expected.entry(m.to).or_default() += m.weight;
        }
        let carried = after.carried();
        prop_assert_eq!(carried.values().sum::<u64>(), model.carried().values().sum::<u64>());
        for (node, weight) in expected {
            prop_assert_eq!(carried.get(&node).copied().unwrap_or(0), weight);
        }
    }

    #[test]
    fn the_order_in_which_load_is_told_does_not_matter(model in model(), by in 0_usize..50) {
        let mut other = model.clone();
        other.load.sectors.reverse();
        let sectors = other.load.sectors.len().max(1);
        other.load.sectors.rotate_left(by % sectors);
        let nodes = other.load.nodes.len();
        other.load.nodes.rotate_left(by % nodes);
        prop_assert_eq!(other.plan(), model.plan());
    }

    /// Whether it is awake, asleep, hot or cold, alone on its node or one too many.
    #[test]
    fn what_an_operator_gave_to_a_node_leaves_it_only_if_it_must(
        model in model(), nth in any::<prop::sample::Index>(),
    ) {
        let mut model = model;
        let regions: Vec<_> = model.directory.regions().collect();
        let (sector, node) = regions[nth.index(regions.len())];
        let edits = vec![Edit::Pin { sector, node }];
        model.directory.apply(&Change { seen: model.directory.version(), edits }).expect("a change");
        prop_assume!(model.accepts(node));
        let own: Vec<SectorId> = model.load.sectors.iter().map(|it| it.sector).collect();
        let is_under = |it: &SectorId| model.directory.region_of(*it) == Some((sector, node));
        let own: Vec<SectorId> = own.into_iter().filter(is_under).collect();
        for _ in 0..10 {
            let moved = model.carry_out(&model.plan());
            prop_assert!(!own.iter().any(|it| moved.contains(it)), "{:?} moved", moved);
            prop_assert_eq!(model.directory.region_of(sector), Some((sector, node)));
            prop_assert!(model.directory.is_pinned(sector));
        }
        // An order to balance is newer.
        model.settings.heeds_pins = false;
        model.carry_out(&model.plan());
        prop_assert!(!model.directory.is_pinned(sector));
    }

    /// A constant load comes to rest and stays; then nothing is left on nodes
    /// that are dead or draining, and no node is off the mean by more than what
    /// one sector weighs beyond the band.
    #[test]
    fn a_constant_load_comes_to_rest(model in model()) {
        let mut model = model;
        let nodes = model.load.nodes.clone();
        prop_assume!(nodes.iter().any(|node| model.accepts(node.node)));
        let mut moves: BTreeMap<SectorId, u32> = BTreeMap::new();
        let mut rounds = 0;
        loop {
            let plan = model.plan();
            if plan.is_empty() {
                break;
            }
            for sector in model.carry_out(&plan) {
                *moves.entry(sector).or_default() += 1;
            }
            rounds += 1;
            prop_assert!(rounds < 500, "still moving: {:?}", model.plan());
        }
        for _ in 0..3 {
            model.load.now = Millis(model.load.now.0 + ROUND_MS);
            let plan = model.plan();
            prop_assert!(plan.is_empty(), "{plan:?}");
        }
        // Drained, evened out, brought nearer, returned cold: hardly more.
        let most = moves.values().max().copied().unwrap_or(0);
        prop_assert!(most <= 6, "a sector moved {most} times");
        for (entity, node) in model.directory.entries() {
            prop_assert!(model.accepts(node), "{entity} is left on {node}");
        }
        prop_assert!(is_even(&model), "{:?}", model.carried());
    }
}

/// Whether no node carries more than the band and one sector beyond the mean.
fn is_even(model: &Model) -> bool {
    let accepting: Vec<_> =
        model.load.nodes.iter().filter(|node| model.accepts(node.node)).collect();
    let counts_other = model.settings.strategy.counts_other();
    let carried = model.carried();
    let load =
        |node: &NodeLoad| carried[&node.node] + u64::from(node.other_us) * u64::from(counts_other);
    let capacity: u64 = accepting.iter().map(|node| u64::from(node.capacity)).sum();
    let total: u64 = accepting.iter().map(|node| load(node)).sum();
    let weights = model.load.sectors.iter().map(|s| model.settings.strategy.weigh(s));
    let heaviest = weights.max().unwrap_or(0);
    let smallest = accepting.iter().map(|node| node.capacity).min().expect("one accepts");
    let gap = model.settings.strategy.gap_min();
    // At most 1.25 x (total / capacity + heaviest / smallest) + gap, by capacity.
    let (scale, smallest) = (4 * capacity * u64::from(smallest), u64::from(smallest));
    let most = 5 * (total * smallest + heaviest * capacity) + scale * gap;
    // What a node does besides cannot be moved away.
    accepting.iter().all(|node| {
        load(node) * scale <= most * u64::from(node.capacity) || carried[&node.node] == 0
    })
}
