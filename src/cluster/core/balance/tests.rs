//! What a plan keeps, whatever the load; and that a constant load comes to rest.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::base::{EntityKey, Millis, NodeId, SectorId};
use crate::cluster::core::directory::{Change, Edit, Kind};

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
    let load = |node: &NodeLoad| {
        let other = u64::from(node.other_us) * u64::from(counts_other);
        f64::from(u32::try_from(carried[&node.node] + other).expect("small"))
    };
    let capacity: f64 = accepting.iter().map(|node| f64::from(node.capacity)).sum();
    let mean = accepting.iter().map(|node| load(node)).sum::<f64>() / capacity;
    let weights = model.load.sectors.iter().map(|s| model.settings.strategy.weigh(s));
    let heaviest = f64::from(u32::try_from(weights.max().unwrap_or(0)).expect("small"));
    let smallest = accepting.iter().map(|node| node.capacity).min().expect("one accepts");
    let gap = model.settings.strategy.gap_min() as f64;
    let most = 1.25 * (mean + heaviest / f64::from(smallest)) + gap;
    // What a node does besides cannot be moved away.
    accepting.iter().all(|node| {
        load(node) / f64::from(node.capacity) <= most || carried[&node.node] == 0
    })
}

/// Sectors of equal weight in a row of squares, each entry with its node.
fn even(nodes: u32, each: i64) -> Model {
    let mut edits = vec![assign(ROOT, 1)];
    let mut sectors = Vec::new();
    for node in 1..=nodes {
        let region = SectorId { x: i64::from(node), y: 0, scale: 3 };
        edits.push(assign(region, node));
        for n in 0..each {
            let sector = SectorId::tactical(region.x * 8 + n % 8, n / 8);
            let mut load = SectorLoad::new(sector, Millis(0));
            (load.players, load.activity, load.cost_us, load.cold_since) = (4, 4, 2_000, None);
            sectors.push(load);
        }
    }
    // The first is under the root's entry, which is its node's too.
    edits.remove(1);
    let all = (1..=nodes).map(NodeId).collect();
    edits.extend(Kind::ALL.map(|kind| Edit::Share { kind, nodes: Clone::clone(&all) }));
    let nodes = (1..=nodes).map(|node| NodeLoad::new(NodeId(node), 2)).collect();
    let load = ClusterLoad { now: Millis(ROUND_MS), nodes, sectors };
    Model { directory: directory(edits), load, settings: Settings::default() }
}

const ALL: [LoadBalanceStrategy; 4] = [
    LoadBalanceStrategy::PlayerCount,
    LoadBalanceStrategy::ActivityLevel,
    LoadBalanceStrategy::ResourceUsage,
    LoadBalanceStrategy::Geographic,
];

#[test]
fn nothing_moves_when_balanced_or_nearly() {
    for strategy in ALL {
        let mut model = even(5, 40);
        model.settings.strategy = strategy;
        assert_eq!(model.plan(), Plan { seen: 1, ..Plan::default() }, "{strategy:?}");
        // One has a fifth more than the others.
        for sector in model.load.sectors.iter_mut().take(40) {
            sector.players += 1;
            sector.activity += 1;
            sector.cost_us += 400;
        }
        assert!(model.plan().is_empty(), "{strategy:?}");
    }
}

#[test]
fn a_new_node_takes_its_share() {
    for strategy in ALL {
        for nodes in [1, 3, 20] {
            let mut model = even(nodes, 40);
            model.settings.strategy = strategy;
            let new = NodeId(nodes + 1);
            model.load.nodes.push(NodeLoad::new(new, 2));
            let plan = model.plan();
            assert!(plan.shares.iter().all(|(_, shared)| shared.contains(&new)));
            assert_eq!(plan.shares.len(), Kind::ALL.len());
            let moved = model.carry_out(&plan);
            let carried = model.carried();
            let mean = carried.values().sum::<u64>() / u64::from(nodes + 1);
            assert!(carried[&new] * 4 >= mean * 3, "{strategy:?}: {carried:?}");
            assert!(moved.len() <= 41 * nodes as usize / (nodes as usize + 1), "{moved:?}");
            assert!(model.plan().moves.is_empty());
        }
    }
}

#[test]
fn a_draining_node_loses_everything_a_few_at_a_time() {
    let mut model = even(4, 40);
    model.settings.sectors_max = 8;
    model.load.nodes[0].draining = true;
    let mut rounds = 0;
    while model.directory.entries().any(|(_, node)| node == NodeId(1)) {
        let plan = model.plan();
        assert!(plan.moves.iter().map(|m| m.sectors).sum::<usize>() <= 8);
        assert!(plan.moves.iter().all(|m| m.why == Why::Draining && m.from == NodeId(1)));
        model.carry_out(&plan);
        rounds += 1;
        assert!(rounds <= 8, "forty sectors, eight at a time: {plan:?}");
    }
    assert!(Kind::ALL.iter().all(|kind| !model.directory.nodes_of(*kind).contains(&NodeId(1))));
    assert!(is_even(&model));
}

#[test]
fn a_dead_nodes_entries_go_to_living_ones_at_once() {
    let mut model = even(4, 40);
    model.load.nodes[0].alive = false;
    model.load.nodes[0].told = false;
    let ledger = EntityKey::Ledger(7);
    let edits = vec![Edit::Assign { entity: ledger, node: NodeId(1) }];
    model.directory.apply(&Change { seen: 1, edits }).unwrap();
    let plan = model.plan();
    assert_eq!(plan.released, [ledger]);
    model.carry_out(&plan);
    assert!(model.directory.entries().all(|(_, node)| node != NodeId(1)));
    assert!(is_even(&model), "{:?}", model.carried());
}

#[test]
fn a_node_that_has_not_told_its_load_yet_holds_up_all_but_what_must_go() {
    let mut model = even(4, 40);
    model.load.nodes.push(NodeLoad { told: false, ..NodeLoad::new(NodeId(5), 2) });
    assert!(model.plan().moves.is_empty());
    model.load.nodes[0].alive = false;
    let plan = model.plan();
    assert!(!plan.moves.is_empty() && plan.merged.is_empty());
    assert!(plan.moves.iter().all(|m| m.why == Why::Dead));
}

#[test]
fn what_came_lately_stays_unless_it_must_go() {
    let mut model = even(3, 40);
    model.load.nodes.push(NodeLoad::new(NodeId(4), 2));
    for sector in &mut model.load.sectors {
        sector.here_since = Millis(ROUND_MS - 1000);
    }
    assert_eq!(model.plan().moves, []);
    model.load.nodes[2].draining = true;
    assert!(model.plan().moves.iter().all(|m| m.why == Why::Draining));
    assert!(!model.plan().moves.is_empty());
}

#[test]
fn a_hot_sector_goes_to_the_quietest_node() {
    let mut model = even(3, 10);
    let hot = model.load.sectors[0].sector;
    model.load.sectors[0].cost_us = 18_000;
    let quiet = NodeId(3);
    for sector in &mut model.load.sectors[20..] {
        sector.cost_us = 200;
    }
    for (since, moves) in [(9_000, 0), (10_000, 1)] {
        model.load.sectors[0].hot_since = Some(Millis(ROUND_MS - since));
        let hot_moves: Vec<_> =
            model.plan().moves.into_iter().filter(|m| m.why == Why::Hot).collect();
        assert_eq!(hot_moves.len(), moves);
        assert!(hot_moves.iter().all(|m| m.region.contains(hot) && m.sectors == 1 && m.to == quiet));
    }
}

#[test]
fn a_hot_sector_alone_on_its_node_stays() {
    let mut model = even(3, 1);
    model.load.sectors[0].cost_us = 80_000;
    model.load.sectors[0].hot_since = Some(Millis(0));
    assert_eq!(model.plan().moves, []);
}

#[test]
fn cold_entries_go_and_the_directory_is_small_again() {
    let mut model = even(4, 40);
    let entries = model.directory.count();
    assert_eq!(entries, 4);
    // All that the second node has falls asleep, what the third has is cold.
    model.load.sectors.retain(|sector| model.directory.node_of(key(sector.sector)) != Some(NodeId(2)));
    for sector in &mut model.load.sectors {
        if model.directory.node_of(key(sector.sector)) == Some(NodeId(3)) {
            sector.cold_since = Some(Millis(ROUND_MS - 300_000));
        }
    }
    model.settings.moves_max = 0;
    let plan = model.plan();
    assert_eq!(plan.merged, [SectorId { x: 2, y: 0, scale: 3 }]);
    model.carry_out(&plan);
    assert_eq!(model.directory.count(), 3);
    assert_eq!(model.node_of(SectorId::tactical(24, 0)), NodeId(3), "it is awake, cold or not");
    assert!(model.plan().is_empty());
}

#[test]
fn a_cold_entry_goes_back_to_the_node_above_when_both_stay_near_the_mean() {
    let mut model = even(3, 40);
    let own = SectorId::tactical(24, 0);
    model.directory.apply(&Change { seen: 1, edits: vec![assign(own, 2)] }).unwrap();
    for sector in &mut model.load.sectors {
        let cold = Millis(ROUND_MS - 300_000);
        sector.cold_since = (sector.sector == own).then_some(cold);
    }
    let plan = model.plan();
    let moves: Vec<_> = plan.moves.iter().map(|m| (m.region, m.from, m.to, m.why)).collect();
    assert_eq!(moves, [(own, NodeId(2), NodeId(3), Why::Cold)]);
    model.carry_out(&plan);
    let plan = model.plan();
    assert_eq!((plan.merged.as_slice(), plan.moves.as_slice()), ([own].as_slice(), [].as_slice()));
    model.carry_out(&plan);
    assert!(model.plan().is_empty());
    assert_eq!(model.directory.count(), 3);
}

#[test]
fn sectors_go_nearer_to_their_players_while_load_stays_even() {
    let mut model = even(4, 40);
    model.settings.strategy = LoadBalanceStrategy::Geographic;
    for (at, node) in model.load.nodes.iter_mut().enumerate() {
        let far = |other: u32| if other as usize / 2 == at / 2 { 5_000 } else { 120_000 };
        node.round_trips = (0..4).map(|other| (NodeId(other + 1), far(other))).collect();
    }
    // Players of a few sectors of the first node are all at the third's gateway.
    for sector in model.load.sectors.iter_mut().take(4) {
        sector.gateways = vec![(NodeId(3), 4)];
    }
    let plan = model.plan();
    assert!(plan.moves.iter().all(|m| m.why == Why::Nearer && m.to == NodeId(3)), "{plan:?}");
    assert_eq!(plan.moves.iter().map(|m| m.sectors).sum::<usize>(), 4);
    model.carry_out(&plan);
    assert!(model.plan().is_empty(), "{:?}", model.plan());
    model.settings.strategy = LoadBalanceStrategy::ResourceUsage;
    assert!(model.plan().is_empty());
}

#[test]
fn a_directory_that_is_full_gets_no_new_entries() {
    let mut model = even(2, 40);
    model.load.nodes.push(NodeLoad::new(NodeId(3), 2));
    model.settings.entries_max = model.directory.count();
    let before = model.directory.count();
    let plan = model.plan();
    model.carry_out(&plan);
    assert!(model.directory.count() <= before);
}
