//! A node joins a cluster with one line: players of either gateway play on both,
//! and who may not join hears why, as does the node that was asked.

use crate::cluster_support::{Cluster, expect_sound};
#[cfg(feature = "postgres")]
use crate::postgres_server;
use crate::socket::{Socket, log_in, register};
use crate::support::{Home, wait_for};

/// As many players as it takes for both nodes to have some.
const PLAYERS: usize = 4;

/// Goes through `gateway` to its units and orders one.
async fn play(gateway: &Home, token: &str) {
    let mut socket = Socket::connect_again(&gateway.target(), token, None).await;
    let sector = socket.sector();
    let units = socket.watch(&sector).await;
    assert_eq!(units.len(), 8, "what a player starts with, in {sector}");
    socket.order_again(&sector, 1, &units[0]).await;
}

#[tokio::test]
async fn a_node_joins_with_one_line_and_serves_players_of_the_whole_galaxy() {
    join_and_play(Cluster::start(2)).await;
}

#[cfg(feature = "postgres")]
#[test]
fn a_node_joins_on_postgresql_and_serves_players_of_the_whole_galaxy() {
    let server = postgres_server::shared();
    let cluster = Cluster::empty().on(&server.database()).of(2);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(join_and_play(cluster));
}

/// Players of either gateway play on both, also when one was started anew.
async fn join_and_play(mut cluster: Cluster) {
    let mut names = Vec::new();
    for n in 0..PLAYERS {
        let (at, elsewhere) = (cluster.node(n % 2), cluster.node(1 - n % 2));
        let name = format!("player{n}");
        let own = register(&at.target(), &name).await;
        play(at, &own).await;
        let token = log_in(&elsewhere.target(), &name).await.expect("its account is everywhere");
        play(elsewhere, &token).await;
        play(elsewhere, &own).await;
        names.push(name);
    }
    for index in 0..2 {
        cluster.wait_for_units(index);
    }
    println!("join: {}", cluster.shown());

    // It has joined; from now on it needs no line.
    let (status, _) = cluster.take(1).terminate();
    assert!(status.success(), "{status}:\n{}", cluster.node(1).log());
    cluster.restart(1);
    for name in &names {
        let token = log_in(&cluster.node(1).target(), name).await.expect("an account");
        play(cluster.node(1), &token).await;
    }
    cluster.stop();
}

/// What a node said that was started with this line and ended.
fn refused(home: &Home, line: &str) -> String {
    let before = home.log().len();
    let mut command = home.command();
    command.env("STARMESH_CLUSTER__JOIN", line);
    let status = home.spawn_by(command).wait();
    assert!(!status.success(), "it joined:\n{}", home.log());
    home.log().split_off(before)
}

#[test]
fn who_may_not_join_hears_why_and_so_does_the_node_that_was_asked() {
    let cluster = Cluster::start(2);
    let said = |home: &Home, part: &str| {
        wait_for(part, || home.log().contains(part).then_some(()));
    };
    let third = cluster.home("c");
    let log = refused(&third, cluster.used_line());
    assert!(log.contains("the token was used by another node"), "{log}");
    said(cluster.node(0), "the token was used by another node");

    let taken = cluster.home("b");
    let log = refused(&taken, &cluster.line());
    assert!(log.contains("a node named b is there already"), "{log}");
    said(cluster.node(0), "a node named b is there already");

    // Another cluster's token, shown at this cluster's door.
    let mut other = cluster.home("other");
    let _other = other.start();
    let theirs = wait_for("a join line", || other.join_line());
    let (line, token) = (cluster.line(), theirs.split_once('#').expect("a token").1);
    let (address, _) = line.split_once('#').expect("a token");
    let log = refused(&third, &format!("{address}#{token}"));
    assert!(log.contains("is not of the cluster that the token is for"), "{log}");
    said(cluster.node(0), "turned away");

    let (before, behind) = line.split_at(line.len() - 6);
    let mistyped = if behind.starts_with('a') { "b" } else { "a" };
    let log = refused(&third, &format!("{before}{mistyped}{}", &behind[1..]));
    assert!(log.contains("its checksum does not match"), "{log}");

    // Nobody who was refused left anything behind.
    let mut cluster = cluster;
    cluster.join(third);
    expect_sound(cluster.node(2));
    cluster.stop();
}
