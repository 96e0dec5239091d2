//! A cluster whose store is on a PostgreSQL server: no node is needed by the
//! others, the first one neither, and while the server is down time stands still
//! for all of them. STARMESH_CRASH_SEED repeats the orders.

use std::time::{Duration, Instant};

use crate::cluster_crash::{
    expect_time_stands_still, finish, finish_with, play, wait_until_taken_over,
};
use crate::cluster_support::{Cluster, DEATHS};
use crate::postgres_server::{self, Server};
use crate::support::{pause, wait_for};
use crate::watcher::Watcher;

#[test]
fn on_postgresql_each_node_may_be_killed_the_first_included() {
    let server = postgres_server::shared();
    let mut cluster = Cluster::empty().on(&server.database()).burying().of(3);
    let mut swarm = play(&cluster, "any node");
    for index in 0..2 {
        let known = swarm.answered().len();
        let began = Instant::now();
        cluster.kill(index);
        wait_until_taken_over(&cluster, index, "any node", began);
        swarm.wait_for_those(known, |client| client % 3 != index as u64);
        println!("any node: without {} others play after {:?}", index + 1, began.elapsed());
        cluster.restart(index);
    }
    // One that is back at once goes on with what it had.
    cluster.kill(2);
    cluster.restart(2);
    let found = finish(cluster, swarm, "any node");
    assert!(found.hops > 0, "no unit crossed a border: {found:?}");
}

#[test]
fn while_postgresql_is_down_time_stands_still_and_nobody_is_declared_dead() {
    let server = Server::start(&[]);
    let cluster = Cluster::empty().on(&server.database()).burying().of(2);
    let swarm = play(&cluster, "server");
    let mut watcher = Watcher::new(cluster.node(0), "watcher");
    watcher.see_an_order_through();
    server.stop();
    let began = Instant::now();
    (0..2).for_each(|index| expect_time_stands_still(&cluster, index, "server"));
    // Longer than a node may be silent.
    pause(Duration::from_secs(7).saturating_sub(began.elapsed()));
    server.start_again();
    let began = Instant::now();
    wait_for("nodes that take players", || {
        (0..2).all(|index| cluster.is_ready(index)).then_some(())
    });
    println!("server: both take players again after {:?}", began.elapsed());
    let deaths = (0..2).map(|index| cluster.metric(index, DEATHS)).sum::<f64>();
    watcher.see_an_order_through();
    finish_with(cluster, swarm, vec![watcher], "server");
    assert!(deaths < 0.5, "{deaths} nodes were declared dead");
}
