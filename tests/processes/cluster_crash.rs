//! Nodes of a cluster that are killed or stand still under load: what they had
//! runs elsewhere, the others' players go on, nothing acknowledged is lost.
//! STARMESH_CRASH_SEED repeats the orders.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::audit::Counts;
use crate::cluster_support::{Cluster, DEATHS, UNITS};
use crate::crash::number;
use crate::support::{pause, wait_for};
use crate::swarm::Swarm;
use crate::watcher::Watcher;

pub const CLIENTS: u64 = 16;

/// A cluster under load, each node with units.
pub fn play(cluster: &Cluster, what: &str) -> Swarm {
    let seed = number("STARMESH_CRASH_SEED").unwrap_or_else(|| std::process::id().into());
    println!("{what}: STARMESH_CRASH_SEED={seed}");
    let mut swarm = cluster.swarm(CLIENTS, seed);
    swarm.wait_for_everybody(0);
    // By now there are units on their way.
    swarm.wait_for_successes(0, 100);
    (0..cluster.count()).for_each(|index| cluster.wait_for_units(index));
    println!("{what}: {}", cluster.shown());
    swarm
}

/// Everybody goes on; then all stop, and nothing is lost.
pub fn finish(cluster: Cluster, swarm: Swarm, what: &str) -> Counts {
    finish_with(cluster, swarm, Vec::new(), what)
}

/// The same, with players who looked on.
pub fn finish_with(
    cluster: Cluster,
    mut swarm: Swarm,
    watchers: Vec<Watcher>,
    what: &str,
) -> Counts {
    let heard: Vec<u64> = watchers.into_iter().map(Watcher::leave).collect();
    println!("{what}: watchers heard {heard:?} messages, all in order");
    let nodes = cluster.count() as u64;
    let known = swarm.answered().len();
    swarm.wait_for_everybody(known);
    println!("{what}: {}", cluster.shown());
    let told = swarm.told();
    println!("{what}: swarm {}", told.report);
    let found = cluster.audited(&told);
    println!("{what}: {} answers, {found:?}", told.answered.len());
    assert_eq!((found.players, found.nodes), (CLIENTS + heard.len() as u64, nodes));
    assert!(found.found > 10 * found.trimmed, "too little of what was told could be checked");
    found
}

/// Waits until all nodes but `dead` have all units that are not on their way.
pub fn wait_until_taken_over(cluster: &Cluster, dead: usize, what: &str, began: Instant) {
    wait_for_units_of(CLIENTS, cluster, dead, what, began);
}

fn wait_for_units_of(players: u64, cluster: &Cluster, dead: usize, what: &str, began: Instant) {
    let all = 8.0 * players as f64;
    let others = || (0..cluster.count()).filter(|index| *index != dead);
    wait_for("everything on the other nodes", || {
        let units: f64 = others().map(|index| cluster.metric(index, UNITS)).sum();
        (units >= 0.9 * all).then_some(())
    });
    println!("{what}: its sectors run elsewhere after {:?}", began.elapsed());
}

/// Waits until node `index` says that its store is away; then its time does not go on.
pub fn expect_time_stands_still(cluster: &Cluster, index: usize, what: &str) {
    let began = Instant::now();
    wait_for("a node that says that its store is away", || {
        (cluster.metric(index, "starmesh_store_away_state") > 0.0).then_some(())
    });
    println!("{what}: said to be away after {:?}", began.elapsed());
    assert!(cluster.refuses(index), "a node without a store takes no players");
    let tick = || cluster.metric(index, "starmesh_node_tick_count");
    let stood = tick();
    pause(Duration::from_secs(1));
    assert!((tick() - stood).abs() < 0.5, "time went on from {stood} to {}", tick());
}

#[test]
fn a_killed_node_without_the_store_is_replaced_and_gets_its_share_back() {
    let mut cluster = Cluster::impatient(2);
    let mut swarm = play(&cluster, "kill");
    // Of sectors of both nodes, at the gateway that stays.
    let mut watchers: Vec<Watcher> =
        (0..3).map(|n| Watcher::new(cluster.node(0), &format!("watcher{n}"))).collect();
    watchers.iter_mut().for_each(Watcher::see_an_order_through);
    let known = swarm.answered().len();
    let began = Instant::now();
    cluster.kill(1);
    wait_for_units_of(CLIENTS + 3, &cluster, 1, "kill", began);
    // Players of the gateway that stayed, wherever their units were.
    swarm.wait_for_those(known, |client| client % 2 == 0);
    println!("kill: everybody of the other gateway plays after {:?}", began.elapsed());
    watchers.iter_mut().for_each(Watcher::see_an_order_through);
    let began = Instant::now();
    cluster.restart(1);
    cluster.wait_for_units(1);
    println!("kill: it has its share again after {:?}", began.elapsed());
    watchers.iter_mut().for_each(Watcher::see_an_order_through);
    finish_with(cluster, swarm, watchers, "kill");
}

#[test]
fn a_node_that_stood_still_for_too_long_ends_and_nothing_of_it_is_heeded() {
    let mut cluster = Cluster::impatient(2);
    let swarm = play(&cluster, "stop");
    let began = Instant::now();
    cluster.process(1).signal(Signal::STOP);
    wait_until_taken_over(&cluster, 1, "stop", began);
    cluster.process(1).signal(Signal::CONT);
    let mut stopped = cluster.take(1);
    let status = stopped.wait();
    assert!(!status.success(), "it was declared dead:\n{}", cluster.node(1).log());
    println!("stop: it ended with {status} after {:?}", began.elapsed());
    cluster.restart(1);
    finish(cluster, swarm, "stop");
}

#[test]
fn while_the_stores_node_is_dead_time_stands_still_and_then_everybody_goes_on() {
    let mut cluster = Cluster::start(2);
    let swarm = play(&cluster, "store");
    cluster.kill(0);
    expect_time_stands_still(&cluster, 1, "store");
    let began = Instant::now();
    cluster.restart(0);
    wait_for("a node that takes players", || cluster.is_ready(1).then_some(()));
    println!("store: both take players again after {:?}", began.elapsed());
    finish(cluster, swarm, "store");
}

#[test]
fn while_the_stores_node_stands_still_so_does_time_and_nobody_is_declared_dead() {
    let mut cluster = Cluster::impatient(2);
    let mut swarm = play(&cluster, "store stopped");
    let mut watcher = Watcher::new(cluster.node(1), "watcher");
    watcher.see_an_order_through();
    let began = Instant::now();
    cluster.process(0).signal(Signal::STOP);
    expect_time_stands_still(&cluster, 1, "store stopped");
    // Longer than a node may be silent: it has not heard of the other, either.
    pause(Duration::from_secs(5).saturating_sub(began.elapsed()));
    cluster.process(0).signal(Signal::CONT);
    let began = Instant::now();
    wait_for("nodes that take players", || {
        (0..2).all(|index| cluster.is_ready(index)).then_some(())
    });
    println!("store stopped: both take players again after {:?}", began.elapsed());
    watcher.see_an_order_through();
    let deaths = (0..2).map(|index| cluster.metric(index, DEATHS)).sum::<f64>();
    let known = swarm.answered().len();
    swarm.wait_for_everybody(known);
    // The others' gateway was not there to answer, however long that took.
    swarm.expect_settled_of(|client| client % 2 == 1);
    finish_with(cluster, swarm, vec![watcher], "store stopped");
    assert!(deaths < 0.5, "{deaths} nodes were declared dead");
}

#[test]
fn a_stores_node_that_comes_back_at_another_address_is_found_by_those_that_run() {
    let mut cluster = Cluster::start(2);
    let file = cluster.node(0).data().join("cluster/port");
    let port = || std::fs::read_to_string(&file).expect("the port is remembered");
    let before = port();
    cluster.kill(0);
    wait_for("a node that says that its store is away", || {
        (cluster.metric(1, "starmesh_store_away_state") > 0.0).then_some(())
    });
    // Nobody but a link can tell where it is now: its row is in the store.
    std::fs::remove_file(&file).expect("it is there");
    let taken = std::net::UdpSocket::bind(("127.0.0.1", before.trim().parse().expect("a port")));
    cluster.restart(0);
    drop(taken);
    assert_ne!(port(), before);
    wait_for("a node that takes players", || cluster.is_ready(1).then_some(()));
    cluster.stop();
}
