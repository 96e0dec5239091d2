//! Who has too little of a processor, or another clock.

use starmesh::base::{EntityKey, NodeId, UnitId};
use starmesh::cluster::core::limits::Limits;
use starmesh::entity::commands::CommandResult;
use starmesh::sim::Instruction;

use super::Cluster;

/// A cluster of three, a sector of node 1 that somebody watches, a unit in it.
fn watched() -> (Cluster, EntityKey, UnitId) {
    let mut cluster = Cluster::of(3);
    let (_, home) = cluster.found(1);
    let sector = EntityKey::Sector(home);
    cluster.assign(sector, 1);
    cluster.run_until("it is there", |cluster| cluster.owner(sector) == Some(NodeId(1)));
    cluster.node(1).table.follow(sector).expect("it runs");
    let unit = cluster.units(home)[0];
    cluster.patrol(1, 1, unit, home);
    (cluster, sector, unit)
}

#[test]
fn a_node_whose_table_is_behind_holds_its_time_and_is_not_taken_for_dead() {
    let (mut cluster, sector, unit) = watched();
    cluster.node(1).lags = true;
    let before = cluster.node(1).core.tick();
    cluster.run(20_000);
    let ticks = cluster.node(1).core.tick().since(before);
    assert!(ticks <= Limits::default().ticks_behind, "{ticks} ticks");
    assert_eq!((cluster.deaths(), cluster.owner(sector)), (0, Some(NodeId(1))));
    let event = cluster.node(1).catch_up();
    cluster.event(1, event);
    let answer = cluster.order(1, 2, unit, Instruction::Stop);
    assert!(matches!(answer, CommandResult::Done(_)), "{answer:?}");
    cluster.run(1_000);
    assert!(cluster.node(1).core.tick() >= before.after(10));
    cluster.judge();
}

/// Its core has its turn only now and then.
#[test]
fn a_node_at_full_load_lives_as_long_as_its_row_moves_within_a_second() {
    let (mut cluster, sector, unit) = watched();
    for _ in 0..30 {
        cluster.node(1).stopped = true;
        cluster.run(700);
        cluster.node(1).stopped = false;
        cluster.run(50);
    }
    assert_eq!((cluster.deaths(), cluster.owner(sector)), (0, Some(NodeId(1))));
    let answer = cluster.order(1, 2, unit, Instruction::Stop);
    assert!(matches!(answer, CommandResult::Done(_)), "{answer:?}");
    cluster.judge();
}

/// Its store's thread has no turn for longer than that, with a command on its way.
#[test]
fn a_node_that_is_slow_beyond_it_ends_and_what_it_held_back_is_never_shown() {
    let (mut cluster, sector, unit) = watched();
    let ticket = cluster.attach(1, sector, 1).expect("it answers");
    cluster.node(1).hold_commits = true;
    let command = cluster.command(1, 2, unit, Instruction::Stop);
    cluster.node(1).table.admit(sector, ticket, command.clone()).expect("there is room");
    cluster.run_until("it is declared dead", |cluster| cluster.deaths() == 1);
    let shown = cluster.node(1).released.len();
    cluster.run(3_000);
    let event = cluster.node(1).let_commits_go();
    cluster.event(1, event);
    assert!(!cluster.nodes.contains_key(&NodeId(1)), "it has ended");
    assert!(shown > 0);
    // The command was never durable, so it is taken where the unit is now, once.
    let owner = cluster.owner(sector).expect("another runs it").0;
    assert!(cluster.nodes.values().all(|node| node.answer(1, 2).is_none()));
    let ticket = cluster.attach(owner, sector, 1).expect("it answers");
    cluster.node(owner).table.admit(sector, ticket, command).expect("there is room");
    cluster.event(owner, starmesh::cluster::core::node::Event::Clock);
    let is_answered = |cluster: &Cluster| cluster.nodes[&NodeId(owner)].answer(1, 2).is_some();
    cluster.run_until("it is answered", is_answered);
    let answer = &cluster.node(owner).answer(1, 2).expect("an answer").result;
    assert!(matches!(answer, CommandResult::Done(_)), "{answer:?}");
    cluster.start(1);
    cluster.judge();
}

#[test]
fn a_node_that_stands_still_again_and_again_ends_each_time_and_loses_nothing() {
    let (mut cluster, sector, unit) = watched();
    for round in 1..=3 {
        cluster.node(1).stopped = true;
        cluster.run_until("it is declared dead", |cluster| cluster.deaths() == round);
        let shown = cluster.node(1).released.len();
        cluster.node(1).stopped = false;
        let mut most = shown;
        for _ in 0..100 {
            most = cluster.nodes.get(&NodeId(1)).map_or(most, |node| node.released.len());
            cluster.run(10);
        }
        assert_eq!(most, shown, "a deposed owner showed something");
        assert!(!cluster.nodes.contains_key(&NodeId(1)), "it has ended");
        cluster.run_until("another runs it", |cluster| cluster.owner(sector).is_some());
        cluster.start(1);
        // Then it may be declared dead again.
        cluster.run(12_000);
    }
    let before = cluster.position(unit);
    cluster.run_until("it goes on", |cluster| cluster.position(unit) != before);
    cluster.judge();
}

/// Each within two seconds of the store's: an entity's time goes on all the same.
#[test]
fn nodes_whose_clocks_differ_hand_over_without_a_step_back() {
    let mut cluster = Cluster::empty(1);
    for (id, ahead_ms) in (1..).zip([0, 1_900, 900]) {
        cluster.clocks_ms.insert(id, ahead_ms);
        cluster.start(id);
    }
    cluster.run_until("all have their share", |cluster| cluster.is_settled());
    let (_, home) = cluster.found(1);
    let (sector, unit) = (EntityKey::Sector(home), cluster.units(home)[0]);
    cluster.patrol(1, 1, unit, home);
    let mut last = None;
    for to in [1, 2, 3, 1, 3, 2, 1] {
        cluster.assign(sector, to);
        cluster.run_until("it is there", |cluster| cluster.owner(sector) == Some(NodeId(to)));
        cluster.run(500);
        let entity = cluster.node(to).table.entity(sector).expect("it runs");
        let now = Some((entity.tick(), entity.head().time));
        assert!(now > last && now.map(|it| it.1) >= last.map(|it| it.1), "{last:?}, then {now:?}");
        last = now;
    }
    cluster.judge();
}
