//! Load that is told, a plan made from it, and what the nodes do about it: as the
//! shells do it, a second after the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use starmesh::base::{EntityKey, Millis, NodeId, SectorId};
use starmesh::cluster::core::balance::{
    LoadBalanceStrategy, NodeTold, Rounds, SECTORS_TOLD_MAX, SectorLoad, Settings, Told, plan,
    planner_of,
};
use starmesh::cluster::core::map::{Map, Standing};
use starmesh::cluster::core::update::TimestampedUpdate;

use super::Cluster;

const PLAYERS: u64 = 12;
/// What came so lately is not moved again.
const REST_MS: u64 = 20_000;

/// The cluster, as each of its nodes knows it when nothing changes.
fn map(cluster: &Cluster) -> Map {
    let standing = |incarnation| Standing { incarnation, lives: true };
    let nodes = cluster.nodes.iter();
    let nodes = nodes.map(|(id, node)| (*id, standing(node.core.incarnation()))).collect();
    Map { directory: Arc::new(cluster.directory()), nodes, roles: BTreeMap::new() }
}

/// What a node says of its load.
fn word(cluster: &Cluster, id: NodeId) -> TimestampedUpdate<NodeTold> {
    let node = &cluster.nodes[&id];
    let costs = node.table.costs(SECTORS_TOLD_MAX);
    let is_leaving = |load: &&SectorLoad| {
        cluster.directory().node_of(EntityKey::Sector(load.sector)) != Some(id)
    };
    let data = NodeTold {
        directory: node.core.directory_version(),
        leaving: costs.sectors.iter().filter(is_leaving).count() as u64,
        capacity: 1,
        sectors: costs.sectors,
        rest: costs.rest,
        ..NodeTold::default()
    };
    TimestampedUpdate { data, timestamp: Millis(cluster.now), server_id: id }
}

/// Where each of these sectors runs.
fn places(cluster: &Cluster, sectors: &[SectorId]) -> BTreeMap<SectorId, Option<NodeId>> {
    sectors.iter().map(|at| (*at, cluster.owner(EntityKey::Sector(*at)))).collect()
}

/// Balances for so many seconds; in which of them the directory was changed.
fn balance(cluster: &mut Cluster, told: &mut Told, seconds: u64) -> Vec<u64> {
    let strategy = LoadBalanceStrategy::PlayerCount;
    let settings = Settings { strategy, rest_ms: REST_MS, kept_scale: 6, ..Settings::default() };
    let (mut rounds, mut changed) = (Rounds::new(3_000), Vec::new());
    for second in 0..seconds {
        cluster.run(1_000);
        let (map, now) = (map(cluster), Millis(cluster.now));
        for (id, standing) in &map.nodes {
            told.note(standing.incarnation, word(cluster, *id), now);
        }
        let settled = told.is_settled(&map, now);
        if !rounds.is_due(map.directory.version(), settled, now) {
            continue;
        }
        let plan = plan(&map.directory, &told.load(&map, now), &settings);
        if !plan.is_empty() {
            let planner = planner_of(&map).expect("somebody lives");
            cluster.change_by(planner.0, plan.change().edits);
            changed.push(second);
        }
    }
    changed
}

/// Three nodes, and players whose sectors are all of node 1, each with a unit that
/// flies about.
fn crowded() -> (Cluster, Vec<SectorId>) {
    let mut cluster = Cluster::of(3);
    let mut sectors = Vec::new();
    for player in 1..=PLAYERS {
        let (_, home) = cluster.found(player);
        cluster.assign(EntityKey::Sector(home), 1);
        let there = |cluster: &Cluster| cluster.owner(EntityKey::Sector(home)) == Some(NodeId(1));
        cluster.run_until("it is there", there);
        let unit = cluster.units(home)[0];
        cluster.patrol(player, 1, unit, home);
        sectors.push(home);
    }
    (cluster, sectors)
}

#[test]
fn a_crowd_at_one_node_is_spread_over_all_and_comes_to_rest() {
    let (mut cluster, sectors) = crowded();
    let mut told = Told::default();
    cluster.run(REST_MS);
    let changed = balance(&mut cluster, &mut told, 40);
    assert!(!changed.is_empty(), "nothing was balanced");
    let spread = places(&cluster, &sectors);
    let mut counts: BTreeMap<NodeId, u64> = BTreeMap::new();
    spread.values().flatten().for_each(|node| *counts.entry(*node).or_default() += 1);
    // A quarter off the mean is left alone, and so are two players.
    let even = |count: &u64| (PLAYERS / 3 - 2..=PLAYERS / 3 + 2).contains(count);
    assert!(counts.len() == 3 && counts.values().all(even), "{counts:?}");
    // Longer than anything rests that came: what could go to and fro would.
    let later = balance(&mut cluster, &mut told, 3 * REST_MS / 1_000);
    assert_eq!((later, places(&cluster, &sectors)), (vec![], spread));
    cluster.judge();
}

/// Whoever plans keeps nothing: another one goes on where it was.
#[test]
fn when_the_planner_dies_the_next_one_goes_on() {
    let (mut cluster, sectors) = crowded();
    cluster.kill(1);
    let taken_over = |cluster: &Cluster| {
        let of = |sector: &SectorId| cluster.owner(EntityKey::Sector(*sector));
        sectors.iter().all(|sector| of(sector).is_some()) && cluster.is_settled()
    };
    cluster.run_until("all runs at the others", taken_over);
    for sector in &sectors {
        cluster.assign(EntityKey::Sector(*sector), 3);
    }
    cluster.run(REST_MS);
    let changed = balance(&mut cluster, &mut Told::default(), 3 * REST_MS / 1_000);
    assert!(!changed.is_empty(), "nothing was balanced");
    let spread = places(&cluster, &sectors);
    let at = |id| spread.values().filter(|node| **node == Some(NodeId(id))).count() as u64;
    let even = PLAYERS / 2 - 2..=PLAYERS / 2 + 2;
    assert!(even.contains(&at(2)) && even.contains(&at(3)), "{spread:?}");
    cluster.judge();
}

#[test]
fn a_sector_that_was_handed_over_has_just_come_and_one_that_was_taken_over_has_not() {
    let (mut cluster, sectors) = crowded();
    let since = |cluster: &Cluster, id: u32| {
        let told = word(cluster, NodeId(id)).data.sectors;
        let found = told.into_iter().find(|load| load.sector == sectors[0]);
        found.map(|load| load.here_since)
    };
    let entity = EntityKey::Sector(sectors[0]);
    let before = Millis(cluster.now);
    cluster.assign(entity, 2);
    cluster.run_until("it is there", |cluster| cluster.owner(entity) == Some(NodeId(2)));
    cluster.run(1_500);
    let came = since(&cluster, 2).expect("it is told");
    assert!((before..=Millis(cluster.now)).contains(&came), "{came:?}");
    cluster.kill(2);
    cluster.run_until("it runs elsewhere", |cluster| cluster.owner(entity).is_some());
    cluster.run(1_500);
    let owner = cluster.owner(entity).expect("it runs");
    assert_eq!(since(&cluster, owner.0), Some(Millis(0)));
}
