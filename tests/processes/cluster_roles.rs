//! Three nodes with a role each, of which each is killed, and each stands still
//! for too long, while players play: what its role is for waits until it is back,
//! nobody else takes it, all else goes on, and nothing is lost.
//! STARMESH_CRASH_SEED repeats the orders.

use std::time::Instant;

use rustix::process::Signal;

use crate::cluster_crash::CLIENTS;
use crate::cluster_support::{Cluster, SECTORS, UNITS};
use crate::crash::number;
use crate::postgres_server;
use crate::support::wait_for;
use crate::swarm::Swarm;
use crate::watcher::Watcher;

/// Which node has which role; the first says who gets what, too.
const META: usize = 0;
const SECTOR: usize = 1;
const GATEWAY: usize = 2;
/// Nodes that this one knows to live.
const LIVING: &str = "starmesh_mesh_nodes_living_count";
const RUNNING: &str = "starmesh_entity_running_count";
const TICK: &str = "starmesh_node_tick_count";

/// The nodes, on a database at `url`, and players at the gateway.
fn play(url: &str, what: &str) -> (Cluster, Swarm) {
    let seed = number("STARMESH_CRASH_SEED").unwrap_or_else(|| std::process::id().into());
    println!("{what}: STARMESH_CRASH_SEED={seed}");
    let empty = Cluster::empty().on(url).burying();
    let home = |name, roles| empty.home(name).with("NODE__ROLES", roles);
    let first = home("a", r#"["coordinator", "meta"]"#);
    let others = vec![home("b", r#"["sector"]"#), home("c", r#"["gateway"]"#)];
    let cluster = empty.started(first, others);
    for index in [META, SECTOR] {
        assert_eq!(web_socket(&cluster, index), 503, "it is no gateway");
    }
    let mut swarm = Swarm::of(&[cluster.node(GATEWAY)], CLIENTS, seed, 24);
    swarm.wait_for_everybody(0);
    println!("{what}: {}", cluster.shown());
    expect_roles(&cluster);
    (cluster, swarm)
}

/// What a call for a socket is answered.
fn web_socket(cluster: &Cluster, index: usize) -> u16 {
    let url = format!("{}/ws", cluster.node(index).url());
    match ureq::get(url).call() {
        Ok(response) => response.status().as_u16(),
        Err(ureq::Error::StatusCode(status)) => status,
        Err(error) => panic!("no answer: {error}"),
    }
}

/// Sectors run where the role is, ledgers where theirs is, nothing at the gateway.
fn expect_roles(cluster: &Cluster) {
    let all = 8.0 * CLIENTS as f64;
    wait_for("all units on the node for sectors", || {
        (cluster.metric(SECTOR, UNITS) >= 0.9 * all).then_some(())
    });
    expect_no_sectors(cluster, &[META, GATEWAY]);
    assert!(cluster.metric(META, RUNNING) > 0.5, "no ledger runs: {}", cluster.shown());
    assert!(cluster.metric(GATEWAY, RUNNING) < 0.5, "something runs at the gateway");
}

fn expect_no_sectors(cluster: &Cluster, of: &[usize]) {
    for index in of {
        let sectors = cluster.metric(*index, SECTORS);
        assert!(sectors < 0.5, "node {} runs {sectors} sectors without the role", index + 1);
    }
}

/// Waits until node `by` knows that one is dead.
fn wait_for_a_death(cluster: &Cluster, by: usize) {
    wait_for("a death that is known", || {
        (0.5..2.5).contains(&cluster.metric(by, LIVING)).then_some(())
    });
}

fn wait_until_all_live(cluster: &Cluster) {
    for index in [META, SECTOR, GATEWAY] {
        wait_for("three nodes that live", || (cluster.metric(index, LIVING) > 2.5).then_some(()));
    }
}

/// Everybody plays, as before; then nothing is lost.
fn finish(cluster: Cluster, mut swarm: Swarm, what: &str) {
    let known = swarm.answered().len();
    swarm.wait_for_everybody(known);
    expect_roles(&cluster);
    let told = swarm.told();
    println!("{what}: swarm {}", told.report);
    let found = cluster.audited(&told);
    println!("{what}: {} answers, {found:?}", told.answered.len());
    assert!(found.nodes == 3 && found.players >= CLIENTS, "{found:?}");
    assert!(found.found > 10 * found.trimmed, "too little of what was told could be checked");
}

#[test]
fn a_killed_node_of_each_role_stops_only_what_its_role_is_for() {
    let server = postgres_server::shared();
    let (mut cluster, mut swarm) = play(&server.database(), "role killed");
    let mut watcher = Watcher::new(cluster.node(GATEWAY), "watcher");
    watcher.see_an_order_through();

    let began = Instant::now();
    cluster.kill(SECTOR);
    wait_for_a_death(&cluster, META);
    wait_for_a_death(&cluster, GATEWAY);
    // Long enough for what was left to be claimed, if somebody did.
    for index in [META, GATEWAY] {
        let until = cluster.metric(index, TICK) + 20.0;
        wait_for("two seconds of ticks", || (cluster.metric(index, TICK) >= until).then_some(()));
    }
    expect_no_sectors(&cluster, &[META, GATEWAY]);
    assert!(cluster.is_ready(GATEWAY), "players stay connected");
    let known = swarm.answered().len();
    cluster.restart(SECTOR);
    swarm.wait_for_everybody(known);
    watcher.see_an_order_through();
    println!("role killed: sectors run again, all play after {:?}", began.elapsed());

    let began = Instant::now();
    cluster.kill(META);
    // Sectors ask nobody.
    watcher.see_an_order_through();
    let known = swarm.answered().len();
    swarm.wait_for_successes(known, CLIENTS);
    cluster.restart(META);
    watcher.see_an_order_through();
    println!("role killed: ledgers were away, sessions went on, {:?}", began.elapsed());
    println!("role killed: the watcher heard {} messages in order", watcher.leave());

    cluster.kill(GATEWAY);
    let before = cluster.metric(SECTOR, TICK);
    wait_for("sectors that go on", || (cluster.metric(SECTOR, TICK) > before + 9.0).then_some(()));
    cluster.restart(GATEWAY);
    wait_until_all_live(&cluster);
    finish(cluster, swarm, "role killed");
}

#[test]
fn a_node_of_each_role_that_stands_still_ends_and_comes_back() {
    let server = postgres_server::shared();
    let (mut cluster, swarm) = play(&server.database(), "role stopped");
    for index in [SECTOR, META, GATEWAY] {
        let began = Instant::now();
        cluster.process(index).signal(Signal::STOP);
        [META, SECTOR, GATEWAY]
            .into_iter()
            .filter(|other| *other != index)
            .for_each(|other| wait_for_a_death(&cluster, other));
        cluster.process(index).signal(Signal::CONT);
        let status = cluster.take(index).wait();
        assert!(!status.success(), "it was declared dead:\n{}", cluster.node(index).log());
        cluster.restart(index);
        wait_until_all_live(&cluster);
        println!("role stopped: node {} is back after {:?}", index + 1, began.elapsed());
    }
    finish(cluster, swarm, "role stopped");
}
