//! Who comes, who dies, and who is only slow.

use starmesh::base::{EntityKey, NodeId, PlayerId};
use starmesh::cluster::core::directory::Kind;
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::loading::Loading;
use starmesh::cluster::core::message::{NodeMessage, ToTable};
use starmesh::cluster::core::node::Event;
use starmesh::cluster::core::table::Unavailable;
use starmesh::entity::input::Input;
use starmesh::entity::read::Query;
use starmesh::sim::Instruction;

use super::Cluster;

/// After a node may be declared dead, its entities run elsewhere within this.
const ELSEWHERE_MS: u64 = 2_000;
/// A row that did not move for so long may be of a dead node.
const SILENT_MS: u64 = 1_000;

#[test]
fn the_first_node_gets_everything_and_a_newcomer_its_share() {
    let mut cluster = Cluster::of(1);
    let (_, home) = cluster.found(1);
    assert_eq!(cluster.owner(EntityKey::Sector(home)), Some(NodeId(1)));
    cluster.start(2);
    let took = cluster.run_until("each has its share", |cluster| {
        cluster.is_settled() && cluster.directory().regions().any(|(_, node)| node == NodeId(2))
    });
    assert!(took <= 2_000, "{took} ms");
    cluster.judge();
}

#[test]
fn what_a_killed_node_ran_runs_elsewhere_within_two_seconds_of_its_silence() {
    let mut cluster = Cluster::of(3);
    for player in 1..=3 {
        cluster.found(player);
    }
    let ledger = cluster.world.ledger_of(PlayerId(1));
    let victim = cluster.home(ledger);
    let had: Vec<EntityKey> = cluster.node(victim).table.keys().collect();
    assert!(!had.is_empty());
    cluster.kill(victim);
    let took = cluster.run_until("all of it runs elsewhere", |cluster| {
        had.iter().all(|entity| cluster.owner(*entity).is_some())
    });
    assert!(took <= SILENT_MS + ELSEWHERE_MS, "{took} ms");
    cluster.judge();
}

#[test]
fn a_node_that_was_stopped_and_goes_on_is_not_heeded_and_ends() {
    let mut cluster = Cluster::of(3);
    let (_, home) = cluster.found(1);
    let sector = EntityKey::Sector(home);
    let victim = cluster.home(sector);
    cluster.node(victim).table.follow(sector).expect("it runs");
    cluster.run(1_000);
    cluster.node(victim).stopped = true;
    cluster.run_until("another runs it", |cluster| {
        let others = cluster.nodes.values().filter(|node| node.id.0 != victim);
        others.into_iter().any(|node| node.table.entity(sector).is_some())
    });
    let (before, sent) = (cluster.node(victim).released.len(), cluster.network.log.len());
    cluster.node(victim).stopped = false;
    // It finds out with its next commit, and until then shows nothing new.
    let mut shown = before;
    for _ in 0..100 {
        if let Some(node) = cluster.nodes.get(&NodeId(victim)) {
            shown = node.released.len();
        }
        cluster.run(10);
    }
    assert_eq!(shown, before, "a deposed owner showed something");
    assert!(!cluster.nodes.contains_key(&NodeId(victim)), "it has ended");
    let own = |(_, from, _, _): &&(u64, NodeId, NodeId, NodeMessage)| from.0 == victim;
    assert_eq!(cluster.network.log[sent..].iter().filter(own).count(), 0);
    cluster.judge();
}

#[test]
fn an_idle_node_that_was_deposed_ends_too() {
    let mut cluster = Cluster::of(2);
    cluster.node(2).stopped = true;
    cluster.run_until("it is declared dead", |cluster| {
        cluster.nodes[&NodeId(1)].core.living() == [NodeId(1)]
    });
    cluster.node(2).stopped = false;
    cluster.run(1_000);
    assert!(!cluster.nodes.contains_key(&NodeId(2)));
    cluster.start(2);
    cluster.judge();
    assert_eq!(cluster.directory().nodes_of(Kind::Ledger), [NodeId(1), NodeId(2)]);
}

#[test]
fn a_node_whose_commits_wait_is_alive_as_long_as_another_could_say_the_same() {
    let mut cluster = Cluster::of(3);
    cluster.found(1);
    // The store answers nobody: all rows stand still.
    (1..=3).for_each(|id| cluster.node(id).hold_commits = true);
    cluster.run(30_000);
    for id in 1..=3 {
        let event = cluster.node(id).let_commits_go();
        cluster.event(id, event);
        // Each tries again when its back-off is over.
        cluster.run(400);
    }
    cluster.run(3_000);
    assert_eq!(cluster.nodes.len(), 3, "nobody was declared dead");
    cluster.judge();
}

/// Its successor may have acknowledged more by then than it knows.
#[test]
fn a_node_that_has_ended_its_incarnation_answers_nothing_however_long_it_runs_on() {
    let mut cluster = Cluster::of(2);
    let (session, home) = cluster.found(1);
    let sector = EntityKey::Sector(home);
    let victim = cluster.home(sector);
    let ticket = cluster.attach(victim, sector, 1).expect("it answers");
    let query = Query::Applied { player: PlayerId(1), session };
    let ask = |cluster: &mut Cluster| cluster.node(victim).table.read(900, sector, &query);
    cluster.event(victim, Event::Settle);
    cluster.run_until("it is settled", |cluster| cluster.nodes[&NodeId(victim)].core.is_settled());
    assert_eq!(ask(&mut cluster), Ok(()), "it is its own as yet");
    cluster.event(victim, Event::Leave);
    cluster.run_until("it is over", |cluster| cluster.nodes[&NodeId(victim)].core.is_over());
    assert_eq!(ask(&mut cluster), Err(Unavailable::Busy));
    let unit = cluster.units(home)[0];
    let command = cluster.command(1, 1, unit, Instruction::Stop);
    let table = &mut cluster.node(victim).table;
    assert_eq!(table.admit(sector, ticket, command), Err(Unavailable::Busy));
    assert_eq!(table.propose(sector, Input::Time), Err(Unavailable::Busy));
    let other = NodeId(3 - victim);
    cluster.run_until("another runs it", |cluster| {
        cluster.nodes[&other].table.entity(sector).is_some()
    });
    assert_eq!(ask(&mut cluster), Err(Unavailable::Busy));
    cluster.kill(victim);
    cluster.start(victim);
    cluster.judge();
}

#[test]
fn a_node_that_starts_again_goes_on_with_what_is_still_its_own() {
    let mut cluster = Cluster::of(2);
    let (_, home) = cluster.found(1);
    let sector = EntityKey::Sector(home);
    let victim = cluster.home(sector);
    cluster.kill(victim);
    cluster.run(300);
    cluster.start(victim);
    cluster
        .run_until("it runs there again", |cluster| cluster.owner(sector) == Some(NodeId(victim)));
    assert_eq!(cluster.home(sector), victim, "nobody else took it");
    cluster.judge();
}

#[test]
fn all_nodes_killed_and_started_again_have_lost_nothing() {
    let mut cluster = Cluster::of(3);
    let (_, home) = cluster.found(1);
    let unit = cluster.units(home)[0];
    cluster.patrol(1, 1, unit, home.neighbour(1, 0).expect("a neighbour"));
    cluster.run(20_000);
    (1..=3).for_each(|id| cluster.kill(id));
    cluster.run(60_000);
    (1..=3).for_each(|id| cluster.start(id));
    cluster.judge();
    let before = cluster.place(unit);
    cluster.run_until("it goes on", |cluster| cluster.place(unit) != before);
}

/// Two who see different nodes fall silent first may not each declare as many as
/// the cap allows: from one reading to the next it is another who is accused.
#[test]
fn observers_that_saw_different_nodes_fall_silent_keep_the_cap_together() {
    for delay in (0..400).step_by(40) {
        let mut cluster = Cluster::of(6);
        cluster.found(1);
        // Each hears from the store when chance has it.
        cluster.network.weather.slow_ms = 150;
        cluster.kill(5);
        cluster.kill(6);
        cluster.run(delay);
        cluster.kill(3);
        cluster.kill(4);
        cluster.run_until("two are dead", |cluster| cluster.deaths() >= 2);
        cluster.run(5_000);
        assert_eq!(cluster.deaths(), 2, "of six, for ten seconds");
        cluster.run_until("all are", |cluster| cluster.deaths() == 4);
        (3..=6).for_each(|id| cluster.start(id));
        cluster.judge();
    }
}

#[test]
fn what_a_node_ran_that_leaves_in_order_runs_elsewhere_at_once_and_nobody_died() {
    let mut cluster = Cluster::of(3);
    for player in 1..=3 {
        cluster.found(player);
    }
    let victim = cluster.home(cluster.world.ledger_of(PlayerId(1)));
    let had: Vec<EntityKey> = cluster.node(victim).table.keys().collect();
    assert!(!had.is_empty());
    let left = cluster.leave(victim);
    assert!(left <= 100, "{left} ms");
    let took = cluster.run_until("all of it runs elsewhere", |cluster| {
        had.iter().all(|entity| cluster.owner(*entity).is_some())
    });
    assert!(took <= 700, "{took} ms");
    assert_eq!(cluster.deaths(), 0);
    cluster.start(victim);
    cluster.judge();
    assert_eq!((cluster.deaths(), cluster.nodes.len()), (0, 3));
}

/// One after the other, with nothing given away before.
#[test]
fn a_rolling_restart_without_a_drain_loses_nothing_and_nobody_died() {
    let mut cluster = Cluster::of(3);
    let (_, home) = cluster.found(1);
    let (unit, east) = (cluster.units(home)[0], home.neighbour(1, 0).expect("a neighbour"));
    cluster.patrol(1, 1, unit, east);
    for round in 0..6 {
        let id = 1 + round % 3;
        cluster.leave(id);
        cluster.run(300);
        cluster.start(id);
        cluster.run_until("all have their share", |cluster| cluster.is_settled());
    }
    assert_eq!(cluster.deaths(), 0);
    cluster.judge();
    let before = cluster.position(unit);
    cluster.run_until("it goes on", |cluster| cluster.position(unit) != before);
}

#[test]
fn all_nodes_that_left_in_order_go_on_where_they_were() {
    let mut cluster = Cluster::of(2);
    let (_, home) = cluster.found(1);
    let unit = cluster.units(home)[0];
    cluster.patrol(1, 1, unit, home.neighbour(1, 0).expect("a neighbour"));
    cluster.run(5_000);
    (1..=2).for_each(|id| _ = cluster.leave(id));
    cluster.run(60_000);
    (1..=2).for_each(|id| cluster.start(id));
    cluster.judge();
    assert_eq!(cluster.deaths(), 0);
    let before = cluster.position(unit);
    cluster.run_until("it goes on", |cluster| cluster.position(unit) != before);
}

/// What is said to it while its last commit is on its way is another's to do.
#[test]
fn nothing_is_committed_behind_a_last_commit() {
    let mut cluster = Cluster::of(2);
    let (_, home) = cluster.found(1);
    let sector = EntityKey::Sector(home);
    let victim = cluster.home(sector);
    cluster.event(victim, Event::Settle);
    assert!(cluster.node(victim).core.is_settled());
    cluster.node(victim).hold_commits = true;
    cluster.event(victim, Event::Leave);
    cluster.event(victim, Event::Propose(sector, Input::Time));
    assert!(!cluster.node(victim).core.is_over(), "it is not known to be durable");
    let commits = cluster.node(victim).core.counts().commits;
    let event = cluster.node(victim).let_commits_go();
    cluster.event(victim, event);
    assert!(cluster.node(victim).core.is_over());
    cluster.event(victim, Event::Propose(sector, Input::Time));
    cluster.run(300);
    assert_eq!(cluster.node(victim).core.counts().commits, commits + 1);
    cluster.kill(victim);
    cluster.run_until("another runs it", |cluster| cluster.owner(sector).is_some());
    cluster.start(victim);
    cluster.judge();
    assert_eq!(cluster.deaths(), 0);
}

/// What a node says to another is judged by what a successor would make of the
/// journals at that moment (`judge::check_sent`); here a unit crosses while the
/// store is slow, and its owner dies at every moment about that.
#[test]
fn a_unit_that_crosses_does_so_once_whenever_its_owner_dies() {
    let mut crossed = 0;
    for delay in (0..600).step_by(20) {
        let mut cluster = Cluster::of(2);
        let (_, home) = cluster.found(1);
        let east = home.neighbour(1, 0).expect("a neighbour");
        cluster.assign(EntityKey::Sector(home), 1);
        cluster.assign(EntityKey::Sector(east), 2);
        cluster.run_until("each is where it belongs", |cluster| cluster.is_settled());
        let unit = cluster.units(home)[0];
        cluster.patrol(1, 1, unit, east);
        let is_near = |cluster: &Cluster| {
            cluster.position(unit).is_some_and(|(place, x)| place == home && x > 1_030_000)
        };
        cluster.run_until("it is near the border", is_near);
        cluster.run(delay);
        let was_there = cluster.place(unit) == Some((NodeId(1), home));
        cluster.node(1).hold_commits = true;
        cluster.run(300);
        // It left in ticks of which no row tells.
        crossed += u32::from(was_there && cluster.place(unit).is_none());
        cluster.kill(1);
        cluster.run_until("it is across", |cluster| {
            cluster.position(unit).is_some_and(|(place, _)| place == east)
        });
        cluster.start(1);
        cluster.judge();
    }
    assert!(crossed > 0, "it never left its owner's table while commits were on their way");
}

#[test]
fn what_comes_late_from_a_dead_incarnation_is_not_heeded() {
    let (mut cluster, home, east) = Cluster::with_border(2);
    let unit = cluster.units(home)[0];
    cluster.patrol(1, 1, unit, east);
    // Everything takes five seconds, and the sender is dead after two.
    cluster.network.weather.late_ms = 1;
    cluster.network.delay_ms = 5_000;
    cluster.run_until("it is in a message", |cluster| cluster.place(unit).is_none());
    cluster.run(200);
    cluster.kill(1);
    cluster.run(6_000);
    assert!(cluster.node(2).core.counts().unheeded > 0);
    cluster.network.delay_ms = 0;
    cluster.start(1);
    cluster.judge();
}

/// Of what a dead node leaves behind, say.
#[test]
fn who_is_waited_for_is_loaded_first() {
    let limits = Limits::default();
    let mut loading = Loading::default();
    let keys = [1, 2, 3, 4, 5].map(EntityKey::Ledger);
    keys.into_iter().for_each(|key| loading.want_left(key));
    assert!(loading.keep(keys[3], ToTable::Away(false), false, &limits));
    assert!(loading.want_seen(keys[2], false, &limits));
    assert!(loading.keep(keys[2], ToTable::Away(false), false, &limits));
    let mut order: Vec<_> = std::iter::from_fn(|| loading.begin_next(&limits)).collect();
    assert_eq!(order, [3, 2, 0, 1, 4].map(|at| keys[at]));
    // Tried again in the same order.
    order.sort_unstable();
    order.iter().for_each(|key| loading.postpone(*key));
    loading.retry();
    let again: Vec<_> = std::iter::from_fn(|| loading.begin_next(&limits)).collect();
    assert_eq!(again, [2, 3, 0, 1, 4].map(|at| keys[at]));
    keys.iter().for_each(|key| drop(loading.finish(*key)));
    assert!(loading.is_empty());
}
