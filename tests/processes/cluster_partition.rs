//! Nodes that do not reach each other for a while, under load: whether the store
//! is out of reach, too, or only each other, nothing is lost, and with the network
//! back everybody goes on. STARMESH_CRASH_SEED repeats the orders.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use starmesh::cluster::relay::{Config, Relay, Transport};

use crate::cluster_support::Cluster;
use crate::crash::number;
use crate::support::{Home, pause, wait_for};
use crate::watcher::Watcher;

const CLIENTS: u64 = 16;
/// Longer than the silence after which a link is given up.
const CUT: Duration = Duration::from_secs(5);

/// A home whose node others reach through a relay only.
pub async fn behind_relay(home: Home) -> (Home, Relay) {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let free = UdpSocket::bind(anywhere).and_then(|socket| socket.local_addr());
    let own = free.expect("a free port");
    let relay = Relay::start(Config::new(Transport::Udp, anywhere, own)).await.expect("a relay");
    let home = home.with("CLUSTER__LISTEN", &own.to_string());
    (home.with("CLUSTER__ADVERTISE", &relay.address().to_string()), relay)
}

/// Plays, cuts the relays for a while, and plays on; then nothing is lost.
fn cut_and_heal(cluster: Cluster, relays: &[Relay], what: &str, down: &[usize], store_away: bool) {
    let seed = number("STARMESH_CRASH_SEED").unwrap_or_else(|| std::process::id().into());
    println!("{what}: STARMESH_CRASH_SEED={seed}");
    let mut swarm = cluster.swarm(CLIENTS, seed);
    swarm.wait_for_everybody(0);
    // By now there are units on their way.
    swarm.wait_for_successes(0, 100);
    println!("{what}: {}", cluster.shown());
    let mut watchers: Vec<Watcher> = (0..cluster.count())
        .map(|n| Watcher::new(cluster.node(n), &format!("watcher{n}")))
        .collect();
    watchers.iter_mut().for_each(Watcher::see_an_order_through);
    let said = |index: usize, part: &str| cluster.node(index).log().matches(part).count();
    let before: Vec<usize> = down.iter().map(|index| said(*index, "link up")).collect();
    let lost: Vec<usize> = down.iter().map(|index| said(*index, "link down")).collect();
    relays.iter().for_each(|relay| relay.control().cut());
    let began = Instant::now();
    for (index, lost) in down.iter().zip(lost) {
        wait_for("a link that is down", || (said(*index, "link down") > lost).then_some(()));
    }
    println!("{what}: links down after {:?}", began.elapsed());
    pause(CUT.saturating_sub(began.elapsed()));
    let last = cluster.count() - 1;
    wait_for("a node that takes players, or none", || {
        let holds = if store_away { cluster.refuses(last) } else { cluster.is_ready(last) };
        holds.then_some(())
    });
    relays.iter().for_each(|relay| relay.control().heal());
    let began = Instant::now();
    for (index, before) in down.iter().zip(before) {
        wait_for("a link again", || (said(*index, "link up") > before).then_some(()));
    }
    println!("{what}: links up after {:?}", began.elapsed());
    let known = swarm.answered().len();
    swarm.wait_for_everybody(known);
    println!("{what}: everybody plays after {:?}; {}", began.elapsed(), cluster.shown());
    watchers.iter_mut().for_each(Watcher::see_an_order_through);
    let heard: Vec<u64> = watchers.into_iter().map(Watcher::leave).collect();
    println!("{what}: watchers heard {heard:?} messages, all in order");
    let nodes = cluster.count();
    let told = swarm.told();
    println!("{what}: swarm {}", told.report);
    let found = cluster.audited(&told);
    println!("{what}: {} answers, {found:?}", told.answered.len());
    assert_eq!((found.players, found.nodes), (CLIENTS + heard.len() as u64, nodes as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_lose_each_other_and_the_store_go_on_when_healed() {
    let empty = Cluster::empty();
    let (first, to_first) = behind_relay(empty.home("a")).await;
    let (second, to_second) = behind_relay(empty.home("b")).await;
    tokio::task::block_in_place(|| {
        let cluster = empty.started(first, vec![second]);
        cut_and_heal(cluster, &[to_first, to_second], "partition", &[0, 1], true);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_reach_the_store_and_not_each_other_go_on_when_healed() {
    let empty = Cluster::empty();
    let (second, to_second) = behind_relay(empty.home("b")).await;
    let (third, to_third) = behind_relay(empty.home("c")).await;
    tokio::task::block_in_place(|| {
        let first = empty.home("a");
        let cluster = empty.started(first, vec![second, third]);
        cut_and_heal(cluster, &[to_second, to_third], "link", &[1, 2], false);
    });
}
