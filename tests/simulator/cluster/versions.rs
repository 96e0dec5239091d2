//! Nodes of different versions of the simulation: none can run what another's
//! journals hold, and yet entities go between them, by the state that their last
//! owner left. Every load is held to it (`logic::check_loaded`).

use starmesh::base::{EntityKey, NodeId};
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::node::Event;
use starmesh::entity::input::Input;
use starmesh::entity::record::decode_record;
use starmesh::store::recovery;

use super::Cluster;
use super::logic::{busy, kill_at_each, limits};

impl Cluster {
    fn lacking(&self) -> u64 {
        self.nodes.values().map(|node| node.core.counts().foreign).sum()
    }

    /// Whether the last that the store has of an entity is the record that gave it
    /// away: another version cannot go on from there.
    fn ends_with_a_hand_over(&self, entity: EntityKey) -> bool {
        let image = recovery::image(&*self.store, entity).expect("the memory answers");
        let last = image.records.last().map(|(_, bytes)| decode_record(bytes).expect("a record").1);
        let gives = |input: &Input| matches!(input, Input::HandOver { .. });
        last.is_some_and(|record| record.inputs.iter().any(gives))
    }
}

#[test]
fn mixed_logic_versions_a_busy_sector_goes_to_and_fro() {
    let (mut cluster, sector, unit) = busy(limits());
    let (first, next) = (cluster.world.clone(), cluster.next.clone());
    // What node 2 had is of the other version: node 1 gives it back.
    cluster.restart_with(2, &next);
    cluster.run_until("both have their share", |cluster| {
        cluster.is_settled() && cluster.waits().is_none()
    });
    for (node, world) in [(2, &next), (1, &first), (2, &next), (1, &first)] {
        cluster.assign(sector, node);
        let is_there = |cluster: &Cluster| cluster.owner(sector) == Some(NodeId(node));
        let took = cluster.run_until("it is there", is_there);
        assert!(took <= 1_000, "{took} ms");
        cluster
            .run_until("it is claimed", |cluster| cluster.logic_of(sector) == Some(world.logic()));
        cluster.run(3_000);
    }
    assert!(cluster.place(unit).is_some());
    assert_eq!(cluster.lacking(), 0);
    cluster.judge();
}

#[test]
fn mixed_logic_versions_what_nobody_can_run_waits_for_a_node_that_can() {
    let (mut cluster, sector, _) = busy(limits());
    let next = cluster.next.clone();
    (1..=2).for_each(|id| cluster.kill(id));
    (1..=2).for_each(|id| cluster.restart_with(id, &next));
    cluster.run_until("it is missed", |cluster| cluster.lacking() > 0);
    cluster.run(10_000);
    assert!(cluster.owner(sector).is_none() && cluster.nodes.values().all(|node| node.ready));
    // A node of the version before comes, and gives all of it to whom it belongs.
    cluster.start(3);
    cluster.run_until("it runs", |cluster| cluster.owner(sector).is_some());
    cluster.judge();
    assert_eq!(cluster.lacking(), 0);
}

#[test]
fn mixed_logic_versions_a_sector_that_sleeps_is_fetched_when_it_wakes() {
    let mut cluster = Cluster::of(2);
    let (_, home) = cluster.found(1);
    let (sector, next) = (EntityKey::Sector(home), cluster.next.clone());
    cluster.run_until("it sleeps", |cluster| {
        cluster.owner(sector).is_none() && cluster.logic_of(sector).is_some()
    });
    let node = cluster.home(sector);
    cluster.restart_with(node, &next);
    cluster.run_until("all have their share", |cluster| cluster.is_settled());
    cluster.event(node, Event::Wake(sector));
    cluster.run_until("it is awake", |cluster| cluster.owner(sector) == Some(NodeId(node)));
    cluster.run_until("it is adopted", |cluster| cluster.logic_of(sector) == Some(next.logic()));
    cluster.judge();
}

/// Kills the owner when so many more of its commits have reached the store, while
/// it gives a sector to a node of another version. Whether it had given it wholly,
/// and whether it had and not yet left its state.
fn kill_at(point: usize, torn: bool) -> (bool, bool) {
    let (mut cluster, sector, _) =
        busy(Limits { chunk_bytes: 100, chunks_per_commit: 1, ..limits() });
    let (first, next) = (cluster.world.clone(), cluster.next.clone());
    cluster.start(3);
    cluster.restart_with(2, &next);
    cluster.run_until("all have their share", |cluster| {
        cluster.is_settled() && cluster.waits().is_none()
    });
    cluster.assign(sector, 2);
    cluster.node(1).let_commits(point);
    cluster.run_until("it commits so often", |cluster| {
        cluster.nodes.get(&NodeId(1)).is_none_or(|node| node.is_holding())
    });
    if torn {
        let _ = cluster.node(1).let_commits_go();
    }
    let is_given = cluster.logic_of(sector) == Some(next.logic());
    let is_between = cluster.ends_with_a_hand_over(sector);
    cluster.kill(1);
    cluster.run_until("node 2 has it", |cluster| cluster.owner(sector) == Some(NodeId(2)));
    cluster.restart_with(1, &first);
    cluster.judge();
    (is_given, is_between)
}

#[test]
fn mixed_logic_versions_a_hand_over_survives_a_kill_before_and_after_every_commit() {
    kill_at_each(0, kill_at);
}

#[test]
fn mixed_logic_versions_what_another_node_runs_is_missed_no_more() {
    let (mut cluster, sector, _) = busy(limits());
    let next = cluster.next.clone();
    cluster.node(2).stopped = true;
    cluster.restart_with(1, &next);
    cluster.run_until("it is missed", |cluster| cluster.lacking() > 0);
    // It is nobody's yet when it becomes the other's.
    cluster.assign(sector, 2);
    cluster.node(2).stopped = false;
    cluster.run_until("it runs", |cluster| cluster.owner(sector) == Some(NodeId(2)));
    cluster.run_until("it is missed no more", |cluster| cluster.lacking() == 0);
    cluster.judge();
}
