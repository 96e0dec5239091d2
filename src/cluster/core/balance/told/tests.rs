//! What counts of what nodes said, and what is planned by it.

use std::sync::Arc;

use super::*;
use crate::base::EntityKey;
use crate::cluster::core::balance::{Settings, Why, plan};
use crate::cluster::core::directory::{Change, Directory, Edit};
use crate::cluster::core::map::Standing;

const ROOT: SectorId = SectorId { x: 0, y: 0, scale: 4 };
/// Long after everything.
const NOW: Millis = Millis(10_000_000);

fn sector(x: i64) -> SectorLoad {
    let load = SectorLoad::new(SectorId::tactical(x, 0), Millis(0));
    SectorLoad { cost_us: 2_000, players: 1, cold_since: None, ..load }
}

/// Nodes 1 to `nodes` live, in incarnation 7; node 1 has everything.
fn map(nodes: u32) -> Map {
    let mut directory = Directory::default();
    let all: Vec<NodeId> = (1..=nodes).map(NodeId).collect();
    let share = |kind| Edit::Share { kind, nodes: all.clone() };
    let root = Edit::Assign { entity: EntityKey::Sector(ROOT), node: NodeId(1) };
    let kinds = crate::cluster::core::directory::Kind::ALL.map(share);
    let edits = kinds.into_iter().chain([root]).collect();
    directory.apply(&Change { seen: 0, edits }).unwrap();
    let standing = Standing { incarnation: Incarnation(7), lives: true };
    let nodes = all.into_iter().map(|node| (node, standing)).collect();
    Map { directory: Arc::new(directory), nodes, roles: BTreeMap::new() }
}

fn update(node: u32, timestamp: u64, sectors: Vec<SectorLoad>) -> TimestampedUpdate<NodeTold> {
    let data = NodeTold { directory: 1, capacity: 1, sectors, ..NodeTold::default() };
    TimestampedUpdate { data, timestamp: Millis(timestamp), server_id: NodeId(node) }
}

/// All of `nodes` have told, node 1 of eight sectors.
fn told(nodes: u32) -> Told {
    let mut told = Told::default();
    for node in 1..=nodes {
        let sectors = if node == 1 { (0..8).map(sector).collect() } else { Vec::new() };
        told.note(Incarnation(7), update(node, 100, sectors), NOW);
    }
    told
}

#[test]
fn what_all_nodes_told_is_planned_by() {
    let (map, told) = (map(2), told(2));
    assert_eq!((told.silent(&map, NOW), told.is_settled(&map, NOW)), (vec![], true));
    let plan = plan(&map.directory, &told.load(&map, NOW), &Settings::default());
    let moved: usize = plan.moves.iter().map(|it| it.sectors).sum();
    assert_eq!(moved, 4, "half of them: {plan:?}");
    assert!(plan.moves.iter().all(|it| it.why == Why::Load && it.to == NodeId(2)));
}

#[test]
fn of_a_node_that_was_silent_for_long_nothing_counts_and_nothing_moves() {
    let (map, mut told) = (map(2), told(2));
    let later = Millis(NOW.0 + STALE_MS);
    let sectors = (0..8).map(sector).collect();
    told.note(Incarnation(7), update(1, 101, sectors), later);
    assert_eq!(told.silent(&map, later), [NodeId(2)]);
    let load = told.load(&map, later);
    assert_eq!((load.nodes[0].told, load.nodes[1].told), (true, false));
    assert!(plan(&map.directory, &load, &Settings::default()).is_empty());
    assert!(told.is_settled(&map, later), "who says nothing holds nobody up");
}

#[test]
fn of_an_incarnation_that_ended_nothing_counts() {
    let (mut map, mut told) = (map(2), told(2));
    let standing = Standing { incarnation: Incarnation(8), lives: true };
    map.nodes.insert(NodeId(1), standing);
    assert_eq!(told.load(&map, NOW).sectors, [], "it began anew and has said nothing");
    told.note(Incarnation(8), update(1, 1, vec![sector(3)]), NOW);
    assert_eq!(told.load(&map, NOW).sectors.len(), 1, "whatever its clock says now");
    // Late, from before.
    told.note(Incarnation(7), update(1, 900, vec![sector(1), sector(2)]), NOW);
    assert_eq!(told.load(&map, NOW).sectors.len(), 1);
    map.nodes.insert(NodeId(1), Standing { lives: false, ..standing });
    let load = told.load(&map, NOW);
    assert_eq!((load.sectors.len(), load.nodes[0].alive, load.nodes[0].told), (0, false, false));
}

#[test]
fn the_later_word_counts_of_a_node_and_of_a_sector() {
    let (map, mut told) = (map(2), told(2));
    told.note(Incarnation(7), update(1, 99, Vec::new()), NOW);
    assert_eq!(told.load(&map, NOW).sectors.len(), 8, "it is from before");
    // It goes from node 1 to node 2, and both tell it.
    let came = SectorLoad { here_since: NOW, ..sector(3) };
    told.note(Incarnation(7), update(1, 101, (0..8).map(sector).collect()), NOW);
    told.note(Incarnation(7), update(2, 101, vec![came.clone()]), NOW);
    let load = told.load(&map, NOW);
    assert_eq!(load.sectors.len(), 8);
    assert!(load.sectors.contains(&came), "at the same time the larger node");
    told.note(Incarnation(7), update(1, 102, vec![sector(3)]), NOW);
    assert_eq!(told.load(&map, NOW).sectors, [sector(3)]);
}

/// Whoever plans knows when a sector came to where it is: not by remembering.
#[test]
fn what_came_lately_is_known_to_whoever_plans() {
    let (map, mut told) = (map(2), told(2));
    let came = |x| SectorLoad { here_since: Millis(NOW.0 - 60_000), ..sector(x) };
    told.note(Incarnation(7), update(1, 101, (0..8).map(came).collect()), NOW);
    let settings = Settings::default();
    assert!(plan(&map.directory, &told.load(&map, NOW), &settings).is_empty());
    told.note(Incarnation(7), update(1, 102, (0..8).map(sector).collect()), NOW);
    assert!(!plan(&map.directory, &told.load(&map, NOW), &settings).is_empty());
}

#[test]
fn while_something_is_on_its_way_it_is_not_settled() {
    let (map, mut told) = (map(2), told(2));
    let mut leaving = update(1, 101, Vec::new());
    leaving.data.leaving = 1;
    told.note(Incarnation(7), leaving, NOW);
    assert!(!told.is_settled(&map, NOW));
    told.note(Incarnation(7), update(1, 102, Vec::new()), NOW);
    assert!(told.is_settled(&map, NOW));
    let mut behind = update(2, 103, Vec::new());
    behind.data.directory = 0;
    told.note(Incarnation(7), behind, NOW);
    assert!(!told.is_settled(&map, NOW), "it does not know yet what it is to give");
}

#[test]
fn who_looks_at_a_sector_is_a_player_there_and_has_a_gateway() {
    let (map, mut told) = (map(2), told(2));
    let mut watching = update(2, 101, Vec::new());
    watching.data.observed = vec![(SectorId::tactical(3, 0), 5), (SectorId::tactical(99, 0), 1)];
    told.note(Incarnation(7), watching, NOW);
    let load = told.load(&map, NOW);
    let seen = load.sectors.iter().find(|load| load.sector == SectorId::tactical(3, 0)).unwrap();
    assert_eq!((seen.players, &seen.gateways[..]), (5, &[(NodeId(2), 5)][..]));
    assert!(load.sectors.iter().all(|load| load.players == 1 || load.players == 5));
}

#[test]
fn of_more_sectors_than_may_be_told_the_rest_weighs_where_it_is_and_no_entry_goes() {
    let mut map = map(2);
    let idle = SectorId { x: 1, y: 1, scale: 2 };
    let edit = Edit::Assign { entity: EntityKey::Sector(idle), node: NodeId(2) };
    let change = Change { seen: 1, edits: vec![edit] };
    map.directory = Arc::new(map.directory.applied(&change).unwrap());
    let settings = Settings::default();
    let many = i64::try_from(SECTORS_TOLD_MAX).unwrap();
    let mut told = Told::default();
    let sectors = (0..many + 6).map(|x| SectorLoad { cost_us: 100, ..sector(x % 16) }).collect();
    told.note(Incarnation(7), update(1, 100, sectors), NOW);
    told.note(Incarnation(7), update(2, 100, Vec::new()), NOW);
    let load = told.load(&map, NOW);
    let rest = RestLoad { count: 6, players: 6, activity: 0, cost_us: 600 };
    assert_eq!(load.nodes[0].rest, rest);
    assert_eq!(plan(&map.directory, &load, &settings).merged, [], "the six may be in there");
    let few = (0..8).map(|x| SectorLoad { cost_us: 100, ..sector(x) }).collect();
    told.note(Incarnation(7), update(1, 101, few), NOW);
    assert_eq!(plan(&map.directory, &told.load(&map, NOW), &settings).merged, [idle]);
}

/// Hot sector, own thread, own node: what is told hot for ten seconds goes to
/// the quietest node, alone, and nothing else does.
#[test]
fn a_sector_that_is_told_hot_goes_to_the_quietest_node() {
    let map = map(3);
    let mut told = told(3);
    let hot = |since| SectorLoad { cost_us: 60_000, hot_since: Some(since), ..sector(5) };
    let mut tell = |since: Millis, at| {
        let others = (0..4).map(|x| SectorLoad { cost_us: 8_000, ..sector(x) });
        told.note(Incarnation(7), update(1, at, others.chain([hot(since)]).collect()), NOW);
        let mut third = update(3, at, Vec::new());
        third.data.other_us = 2_000;
        told.note(Incarnation(7), third, NOW);
        plan(&map.directory, &told.load(&map, NOW), &Settings::default())
    };
    let early = tell(Millis(NOW.0 - 9_000), 101);
    assert!(early.moves.iter().all(|it| it.why != Why::Hot), "not for ten seconds yet: {early:?}");
    let plan = tell(Millis(NOW.0 - 10_000), 102);
    let moves: Vec<_> = plan.moves.iter().filter(|it| it.why == Why::Hot).collect();
    assert_eq!(moves.len(), 1, "{plan:?}");
    let (region, to) = (moves[0].region, moves[0].to);
    assert_eq!((region, to), (SectorId::tactical(5, 0), NodeId(2)));
}
