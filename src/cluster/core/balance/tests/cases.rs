//! What balancing does in the cases that it is for.

use super::*;
use crate::cluster::core::directory::Kind;

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
            (load.players, load.activity, load.cost_us, load.cold_since) = (4, 64, 2_000, None);
            sectors.push(load);
        }
    }
    // The first is under the root's entry, which is its node's too.
    edits.remove(1);
    let all = (1..=nodes).map(NodeId).collect();
    edits.extend(Kind::NUMBERED.map(|kind| Edit::Share { kind, nodes: Clone::clone(&all) }));
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
            sector.activity += 16;
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
            assert_eq!(plan.shares.len(), Kind::NUMBERED.len());
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
    assert!(
        Kind::NUMBERED.iter().all(|kind| !model.directory.nodes_of(*kind).contains(&NodeId(1)))
    );
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
fn what_an_operator_gave_to_a_node_that_is_drained_goes_and_may_be_balanced_again() {
    let mut model = even(3, 40);
    let (asleep, region) = (SectorId::tactical(200, 200), SectorId { x: 2, y: 0, scale: 3 });
    let pin = |sector| Edit::Pin { sector, node: NodeId(2) };
    model.directory.apply(&Change { seen: 1, edits: vec![pin(asleep), pin(region)] }).unwrap();
    assert!(model.plan().is_empty(), "{:?}", model.plan());
    model.load.nodes[1].draining = true;
    let mut rounds = 0;
    while model.directory.entries().any(|(_, node)| node == NodeId(2)) {
        model.carry_out(&model.plan());
        rounds += 1;
        assert!(rounds <= 8, "{:?}", model.plan());
    }
    assert_eq!(model.directory.pins().count(), 0);
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
        assert!(
            hot_moves.iter().all(|m| m.region.contains(hot) && m.sectors == 1 && m.to == quiet)
        );
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
    model
        .load
        .sectors
        .retain(|sector| model.directory.node_of(key(sector.sector)) != Some(NodeId(2)));
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

/// What sleeps in one would else be the node's above, and so would what wakes.
#[test]
fn entries_by_which_nodes_share_the_galaxy_stay_with_nothing_in_them() {
    let mut model = even(4, 40);
    let of = |node| SectorId { x: node, y: 0, scale: 3 };
    model.load.sectors.retain(|sector| !of(2).contains(sector.sector));
    model.settings.moves_max = 0;
    assert_eq!(model.plan().merged, [of(2)]);
    model.settings.kept_scale = 3;
    assert_eq!(model.plan().merged, []);
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
    // The first node has four more, far from the others, with all their players
    // at the third's gateway.
    for x in 200..204 {
        let mut sector = model.load.sectors[0].clone();
        sector.sector = SectorId::tactical(x, 200);
        sector.gateways = vec![(NodeId(3), 4)];
        model.load.sectors.push(sector);
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
