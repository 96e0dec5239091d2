//! Units and fleets cross the border between two nodes' sectors all the time, as do their
//! players' commands: in the end each command was applied once and each unit is
//! in one place. STARMESH_CRASH_SEED repeats the orders.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::cluster_support::Cluster;
use crate::crash::number;
use crate::operator::{Operator, id};
#[cfg(feature = "postgres")]
use crate::postgres_server;
use crate::watcher::Watcher;

const CLIENTS: u64 = 24;

/// Where somebody began, gives the four sectors beside each other that this is one
/// of to the node that does not have them: then there is a border of nodes on two
/// sides, and at half of the places that its orders are for.
fn give_squares(cluster: &Cluster) {
    let operator = Operator::register(cluster.node(0));
    let told = operator.ask(cluster.node(0), &["sectors", "--limit", "500"]);
    let sectors = told["sectors"].as_array().expect("a list of sectors").iter();
    let mut given = BTreeSet::new();
    for played in sectors.filter(|it| it["units"].as_u64() >= Some(4)) {
        let square = id(&played["sector"]).ancestor(1).expect("an ancestor");
        if !given.insert(square) {
            continue;
        }
        let to = if played["node"] == 1 { "2" } else { "1" };
        let migrate = ["migrate", &square.to_string(), "--to", to, "--no-wait"];
        operator.call(cluster.node(0), &migrate);
    }
    println!("storm: {} squares given", given.len());
}

#[test]
fn a_storm_of_transfers_between_two_nodes_loses_and_doubles_nothing() {
    storm(Cluster::empty());
}

#[cfg(feature = "postgres")]
#[test]
fn on_postgresql_a_storm_of_transfers_loses_and_doubles_nothing() {
    let server = postgres_server::shared();
    storm(Cluster::empty().on(&server.database()));
}

/// On the store of these nodes, of which there is none yet.
fn storm(empty: Cluster) {
    let seed = number("STARMESH_CRASH_SEED").unwrap_or_else(|| std::process::id().into());
    println!("storm: STARMESH_CRASH_SEED={seed}");
    let began = Instant::now();
    // Who has a sector then has it to the end: whoever plays on both nodes has units
    // that crossed.
    let [first, second] = ["a", "b"].map(|name| empty.home(name).with("CLUSTER__BALANCE", "off"));
    let cluster = empty.started(first, vec![second]);
    println!("storm: two nodes after {:?}", began.elapsed());
    let mut swarm = cluster.fleets(CLIENTS, seed);
    swarm.wait_for_everybody(0);
    let mut watchers: Vec<Watcher> =
        (0..2).map(|n| Watcher::new(cluster.node(n), &format!("watcher{n}"))).collect();
    give_squares(&cluster);
    watchers.iter_mut().for_each(Watcher::see_an_order_through);
    swarm.wait_for_successes(0, 600);
    println!("storm: {}", cluster.shown());
    for index in 0..2 {
        cluster.wait_for_units(index);
    }
    watchers.iter_mut().for_each(Watcher::see_an_order_through);
    let heard: Vec<u64> = watchers.into_iter().map(Watcher::leave).collect();
    println!("storm: watchers heard {heard:?} messages, all in order");
    let told = swarm.told();
    println!("storm: swarm {}", told.report);
    let found = cluster.audited(&told);
    println!("storm: {} answers, {found:?}, {:?}", told.answered.len(), began.elapsed());
    assert_eq!((found.players, found.nodes), (CLIENTS + 2, 2));
    assert!(found.on_several > CLIENTS / 4, "hardly anybody played on both nodes: {found:?}");
    assert!(found.hops > CLIENTS, "hardly a unit crossed a border: {found:?}");
    assert!(found.found > 10 * found.trimmed, "too little of what was told could be checked");
}
