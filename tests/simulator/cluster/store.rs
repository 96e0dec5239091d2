//! What a store does to a cluster that is away, or whose answers are lost, or that
//! hears from an owner that stood still.

use starmesh::base::{EntityKey, NodeId, UnitId};
use starmesh::cluster::core::message::NodeBody;
use starmesh::cluster::core::node::Event;
use starmesh::entity::commands::CommandResult;
use starmesh::entity::commit::CommitError;
use starmesh::entity::keys;
use starmesh::sim::Instruction;
use starmesh::store::Store;

use super::Cluster;

/// A cluster of three, and a unit that flies over a border between two of them.
fn busy() -> (Cluster, EntityKey, UnitId) {
    let (mut cluster, home, east) = Cluster::with_border(3);
    let unit = cluster.units(home)[0];
    cluster.patrol(1, 1, unit, east);
    (cluster, EntityKey::Sector(home), unit)
}

/// Of each node its tick, and how much it has shown.
fn shown(cluster: &Cluster) -> Vec<(u64, usize)> {
    let of = |node: &super::Node| (node.core.tick().0, node.released.len());
    cluster.nodes.values().map(of).collect()
}

fn delivered(cluster: &Cluster) -> usize {
    let log = cluster.network.log.iter();
    log.filter(|(.., message)| matches!(message.body, NodeBody::Deliver(_))).count()
}

fn set_away(cluster: &mut Cluster, away: bool) {
    cluster.nodes.values_mut().for_each(|node| node.away = away);
}

#[test]
fn a_store_that_is_away_for_half_a_minute_kills_nobody_and_loses_nothing() {
    let (mut cluster, _, unit) = busy();
    set_away(&mut cluster, true);
    cluster.run(1_000);
    let before = (shown(&cluster), delivered(&cluster));
    cluster.run(30_000);
    assert_eq!((shown(&cluster), delivered(&cluster)), before, "25: time stands still");
    set_away(&mut cluster, false);
    cluster.run(2_000);
    for ((tick, _), (now, _)) in before.0.iter().zip(shown(&cluster)) {
        assert!((tick + 10..tick + 25).contains(&now), "25: from {tick} it goes on, not {now}");
    }
    assert_eq!((cluster.nodes.len(), cluster.deaths()), (3, 0));
    let answer = cluster.order(1, 2, unit, Instruction::Stop);
    assert!(matches!(answer, CommandResult::Done(_)), "{answer:?}");
    cluster.judge();
}

#[test]
fn nodes_that_find_the_store_back_at_different_moments_take_nobody_for_dead() {
    for late in [[0, 400, 1_200], [0, 1_500, 1_500], [0, 2_000, 4_000]] {
        let (mut cluster, _, unit) = busy();
        set_away(&mut cluster, true);
        cluster.run(30_000);
        let back = cluster.now;
        for (id, ms) in (1..).zip(late) {
            let now = cluster.now;
            cluster.run(back + ms - now);
            cluster.node(id).away = false;
        }
        cluster.run(10_000);
        assert_eq!((cluster.nodes.len(), cluster.deaths()), (3, 0), "{late:?}");
        let before = cluster.position(unit);
        cluster.run_until("it goes on", |cluster| cluster.position(unit) != before);
        cluster.judge();
    }
}

#[test]
fn a_node_whose_way_to_the_store_alone_is_cut_is_dead_and_says_nothing_more() {
    let (mut cluster, sector, _) = busy();
    cluster.node(1).table.follow(sector).expect("it runs");
    cluster.run(500);
    cluster.node(1).away = true;
    cluster.run_until("it is declared dead", |cluster| cluster.deaths() == 1);
    let shown = cluster.node(1).released.len();
    cluster.run(2_000);
    assert_eq!(cluster.node(1).released.len(), shown, "25: nothing is shown");
    cluster.node(1).away = false;
    cluster.run(1_000);
    assert!(!cluster.nodes.contains_key(&NodeId(1)), "it heard of it and has ended");
    cluster.start(1);
    cluster.judge();
}

/// Of a claim, of a hand-over and of a last commit.
#[test]
fn a_commit_whose_answer_is_lost_counts_once() {
    let (mut cluster, sector, unit) = busy();
    for (sequence, (from, to)) in (2..).zip([(1, 2), (2, 3)]) {
        for id in [from, to] {
            cluster.node(id).lose_answers = true;
            cluster.assign_by(id, sector, to);
            // For less than a row may stand still.
            cluster.run(300);
            cluster.node(id).lose_answers = false;
            cluster.run(700);
        }
        let is_there = |cluster: &Cluster| cluster.owner(sector) == Some(NodeId(to));
        cluster.run_until("it is there", is_there);
        let answer = cluster.order(1, sequence, unit, Instruction::Stop);
        assert!(matches!(answer, CommandResult::Done(_)), "{answer:?}");
    }
    cluster.node(3).lose_answers = true;
    cluster.begin_leaving(3);
    cluster.run(500);
    assert!(!cluster.node(3).core.is_over(), "it cannot know");
    cluster.node(3).lose_answers = false;
    let took = cluster.run_until("it has left", |cluster| !cluster.nodes.contains_key(&NodeId(3)));
    assert!(took <= 500, "{took} ms: it was told that it had");
    cluster.run_until("another runs it", |cluster| cluster.owner(sector).is_some());
    assert_eq!(cluster.deaths(), 0);
    cluster.start(3);
    cluster.judge();
}

/// Its owner had the last of it on the way to the store when it stood still.
#[test]
fn a_snapshot_of_an_owner_that_stood_still_is_refused() {
    let (mut cluster, sector, _) = busy();
    cluster.node(1).hold_commits = true;
    cluster.event(1, Event::Pinned(vec![sector]));
    let head = keys::head(sector);
    assert!(cluster.node(1).holds(&head), "the snapshot is on its way");
    let elsewhere = |cluster: &Cluster| {
        let mut others = cluster.nodes.values().filter(|node| node.id != NodeId(1));
        others.find(|node| node.table.entity(sector).is_some()).map(|node| node.id.0)
    };
    cluster.run_until("another runs it", |cluster| elsewhere(cluster).is_some());
    let successor = elsewhere(&cluster).expect("it runs");
    cluster.run(2_000);
    let before = cluster.store.get(&head).expect("the memory answers");
    let event = cluster.node(1).let_commits_go();
    let is_fenced = matches!(event, Event::CommitDone(Err(CommitError::Fenced { .. })));
    assert!(is_fenced, "{event:?}");
    cluster.event(1, event);
    assert!(!cluster.nodes.contains_key(&NodeId(1)), "it has ended");
    let after = |cluster: &Cluster| cluster.store.get(&head).expect("the memory answers");
    assert_eq!(after(&cluster), before, "6: the snapshot is as it was");
    cluster.event(successor, Event::Pinned(vec![sector]));
    cluster.run_until("there is a newer one", |cluster| after(cluster) != before);
    cluster.start(1);
    cluster.judge();
}
