//! Sectors that an operator moves to and fro while players play in them: nobody
//! notices, and when one of the two nodes dies in the middle nothing is lost.
//! STARMESH_CRASH_SEED repeats the orders.

use std::time::Instant;

use serde_json::Value;

use crate::audit::Counts;
use crate::cluster_support::{Cluster, UNITS};
use crate::crash::number;
use crate::operator::Operator;
#[cfg(feature = "postgres")]
use crate::postgres_server;
use crate::support::wait_for;
use crate::swarm::Swarm;
use crate::watcher::Watcher;

const CLIENTS: u64 = 18;
/// Times that a sector is moved there and back.
const ROUNDS: usize = 3;

const HANDED_OVER: &str = "starmesh_mesh_entities_handed_over_total";

/// A cluster under load, its first two nodes with units.
fn play(cluster: &Cluster, what: &str) -> Swarm {
    let seed = number("STARMESH_CRASH_SEED").unwrap_or_else(|| std::process::id().into());
    println!("{what}: STARMESH_CRASH_SEED={seed}");
    let mut swarm = cluster.swarm(CLIENTS, seed);
    swarm.wait_for_everybody(0);
    // By now there are units on their way.
    swarm.wait_for_successes(0, 100);
    (0..2).for_each(|index| cluster.wait_for_units(index));
    println!("{what}: {}", cluster.shown());
    swarm
}

/// All stop, and nothing is lost.
fn finish(cluster: Cluster, swarm: Swarm, watchers: Vec<Watcher>, what: &str) -> Counts {
    let heard: Vec<u64> = watchers.into_iter().map(Watcher::leave).collect();
    println!("{what}: watchers heard {heard:?} messages, all in order");
    let nodes = cluster.count() as u64;
    let told = swarm.told();
    println!("{what}: swarm {}", told.report);
    let found = cluster.audited(&told);
    println!("{what}: {} answers, {found:?}", told.answered.len());
    assert_eq!((found.players, found.nodes), (CLIENTS + heard.len() as u64, nodes));
    assert!(found.found > 10 * found.trimmed, "too little of what was told could be checked");
    found
}

fn handed_over(cluster: &Cluster) -> f64 {
    (0..cluster.count()).map(|index| cluster.metric(index, HANDED_OVER)).sum()
}

#[test]
fn the_busiest_sector_and_its_region_move_to_and_fro_and_nobody_notices() {
    to_and_fro(Cluster::start(2), ROUNDS);
}

#[cfg(feature = "postgres")]
#[test]
fn on_postgresql_the_busiest_sector_and_its_region_move_and_nobody_notices() {
    let server = postgres_server::shared();
    to_and_fro(Cluster::empty().on(&server.database()).of(2), 1);
}

/// Moves what is busiest so many times there and back.
fn to_and_fro(cluster: Cluster, rounds: usize) {
    let began = Instant::now();
    let mut swarm = play(&cluster, "migrate");
    // Their sectors move, too.
    let mut watchers: Vec<Watcher> =
        (0..2).map(|n| Watcher::new(cluster.node(n), &format!("watcher{n}"))).collect();
    let operator = Operator::register(cluster.node(0));
    let (sector, region) = operator.busiest(cluster.node(0), 2);
    println!("migrate: {sector} in {region} after {:?}", began.elapsed());
    for what in [&sector, &region] {
        watchers.iter_mut().for_each(Watcher::see_an_order_through);
        for round in 0..rounds {
            for (to, at) in [(1, 0), (2, 1)] {
                let (known, before) = (swarm.answered().len(), handed_over(&cluster));
                operator.migrate(cluster.node(at), what, to);
                let told = operator.ask(cluster.node(at), &["sector", what]);
                assert_eq!(told["entry"]["node"], to, "{told}");
                // Where everybody had left, nothing was there to be moved.
                let moved = handed_over(&cluster) - before;
                assert!(round > 0 || to == 2 || moved > 0.0, "nothing was handed over");
                swarm.wait_for_successes(known, CLIENTS);
            }
        }
    }
    for watcher in &mut watchers {
        let own = watcher.sector().to_string();
        for to in [1, 2, 1] {
            operator.migrate(cluster.node(0), &own, to);
            watcher.see_an_order_through();
        }
    }
    let known = swarm.answered().len();
    swarm.wait_for_everybody(known);
    println!("migrate: {}, {:?}", cluster.shown(), began.elapsed());
    let lost = swarm.disconnected();
    assert!(lost.is_empty(), "connections were lost: {lost:?}");
    swarm.expect_settled();
    watchers.iter_mut().for_each(Watcher::see_an_order_through);
    let found = finish(cluster, swarm, watchers, "migrate");
    assert!(found.handed_over > 2 * rounds as u64, "hardly anything moved: {found:?}");
    println!("migrate: {:?}", began.elapsed());
}

/// Has all of a region's sectors leave node `from`, and does not wait for it.
fn begin_to_move(cluster: &Cluster, operator: &Operator, from: u32, to: u32) {
    let (_, region) = operator.busiest(cluster.node(0), from);
    let to = to.to_string();
    operator.call(cluster.node(0), &["migrate", &region, "--to", &to, "--no-wait"]);
    println!("middle: {region} is on its way from {from} to {to}");
}

/// Waits until all units that are not on their way are on the nodes that run.
fn wait_for_all_units(cluster: &Cluster, without: usize) {
    let all = 8.0 * CLIENTS as f64;
    let others = || (0..cluster.count()).filter(|index| *index != without);
    wait_for("all units on the others", || {
        let units: f64 = others().map(|index| cluster.metric(index, UNITS)).sum();
        (units >= 0.9 * all).then_some(())
    });
}

#[test]
fn a_move_whose_taker_or_giver_is_killed_in_the_middle_loses_nothing() {
    let began = Instant::now();
    let mut cluster = Cluster::impatient(3);
    let mut swarm = play(&cluster, "middle");
    let operator = Operator::register(cluster.node(0));
    // The one with the store gives the first time.
    for (from, to, killed) in [(1, 3, 2), (2, 3, 1)] {
        cluster.wait_for_units(from as usize - 1);
        let lost = swarm.disconnected().len();
        let before = cluster.metric(from as usize - 1, HANDED_OVER);
        begin_to_move(&cluster, &operator, from, to);
        if killed + 1 == to as usize {
            // What it was given is its own by the journal, claimed or not.
            wait_for("an entity that is handed over", || {
                (cluster.metric(from as usize - 1, HANDED_OVER) > before).then_some(())
            });
        }
        cluster.kill(killed);
        let known = swarm.answered().len();
        wait_for_all_units(&cluster, killed);
        println!("middle: all is on the others after {:?}", began.elapsed());
        swarm.wait_for_those(known, |client| client as usize % 3 != killed);
        cluster.restart(killed);
        let known = swarm.answered().len();
        swarm.wait_for_everybody(known);
        let lost = swarm.disconnected().split_off(lost);
        let stays = |lost: &Value| Swarm::client(lost) as usize % 3 != killed;
        assert!(!lost.iter().any(stays), "a gateway that ran lost some: {lost:?}");
        println!("middle: {} after {:?}", cluster.shown(), began.elapsed());
    }
    let found = finish(cluster, swarm, Vec::new(), "middle");
    assert!(found.handed_over > 1, "hardly anything moved: {found:?}");
    println!("middle: {:?}", began.elapsed());
}
