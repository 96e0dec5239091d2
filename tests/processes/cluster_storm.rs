//! Units cross the border between two nodes' sectors all the time, as do their
//! players' commands: in the end each command was applied once and each unit is
//! in one place. STARMESH_CRASH_SEED repeats the orders.

use std::time::Instant;

use crate::cluster_support::Cluster;
use crate::crash::number;

const CLIENTS: u64 = 24;

#[test]
fn a_storm_of_transfers_between_two_nodes_loses_and_doubles_nothing() {
    let seed = number("STARMESH_CRASH_SEED").unwrap_or_else(|| std::process::id().into());
    println!("storm: STARMESH_CRASH_SEED={seed}");
    let began = Instant::now();
    let cluster = Cluster::start(2);
    println!("storm: two nodes after {:?}", began.elapsed());
    let mut swarm = cluster.swarm(CLIENTS, seed);
    swarm.wait_for_everybody(0);
    swarm.wait_for_successes(0, 600);
    println!("storm: {}", cluster.shown());
    for index in 0..2 {
        cluster.wait_for_units(index);
    }
    let told = swarm.told();
    println!("storm: swarm {}", told.report);
    let found = cluster.audited(&told);
    println!("storm: {} answers, {found:?}, {:?}", told.answered.len(), began.elapsed());
    assert_eq!((found.players, found.nodes), (CLIENTS, 2));
    assert!(found.on_several > 2, "hardly anybody crossed from one node to the other: {found:?}");
    assert!(found.hops > CLIENTS, "hardly a unit crossed a border: {found:?}");
    assert!(found.found > 10 * found.trimmed, "too little of what was told could be checked");
}
