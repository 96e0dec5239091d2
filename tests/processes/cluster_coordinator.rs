//! The node that plans is killed, and stands still for too long, while players play
//! at the others: another plans then, nobody loses a connection, all that ran goes
//! on, and whoever has the role plans again when it is back.
//! STARMESH_CRASH_SEED repeats the orders.

use std::time::Instant;

use rustix::process::Signal;

use crate::cluster_support::{Cluster, SECTORS};
use crate::crash::number;
use crate::operator::Operator;
use crate::postgres_server;
use crate::support::wait_for;
use crate::swarm::Swarm;
use crate::watcher::Watcher;

const CLIENTS: u64 = 16;
/// Which node has the role, and nothing else; those that do all the rest.
const COORDINATOR: usize = 0;
const OTHERS: [usize; 2] = [1, 2];
/// Nodes that this one knows to live.
const LIVING: &str = "starmesh_mesh_nodes_living_count";

/// The nodes, on a database, and players at the gateways.
fn play(url: &str, seed: u64) -> (Cluster, Swarm) {
    let empty = Cluster::empty().on(url).burying();
    let home = |name, roles| {
        let home = empty.home(name).with("NODE__ROLES", roles);
        home.with("CLUSTER__BALANCE_EVERY_MS", "1000")
    };
    let first = home("a", r#"["coordinator"]"#);
    let others = ["b", "c"].map(|name| home(name, r#"["sector", "meta", "gateway"]"#));
    let cluster = empty.started(first, others.into());
    let gateways = OTHERS.map(|index| cluster.node(index));
    let mut swarm = Swarm::of(&gateways, CLIENTS, seed, 24);
    swarm.wait_for_everybody(0);
    swarm.wait_for_successes(0, 100);
    OTHERS.into_iter().for_each(|index| cluster.wait_for_units(index));
    (cluster, swarm)
}

/// Plans that a node made, whatever came of them.
fn plans(cluster: &Cluster, index: usize) -> f64 {
    let of = |outcome: &str| format!("starmesh_balance_plans_total{{outcome=\"{outcome}\"}}");
    let outcomes = ["committed", "even", "overtaken", "refused", "silent"];
    outcomes.iter().map(|outcome| cluster.happened(index, &of(outcome))).sum()
}

/// Waits until both others say that this node plans, and it does.
fn wait_for_planner(cluster: &Cluster, operator: &Operator, planner: usize) {
    for index in OTHERS {
        wait_for("a planner that is known", || {
            let told = operator.ask(cluster.node(index), &["nodes"]);
            (told["planner"] == planner as u64 + 1).then_some(())
        });
    }
    let before = plans(cluster, planner);
    wait_for("a plan", || (plans(cluster, planner) > before).then_some(()));
}

/// The node with the role is gone: another plans, and all play.
fn go_on_without(cluster: &Cluster, swarm: &mut Swarm, operator: &Operator) {
    let known = swarm.answered().len();
    for index in OTHERS {
        wait_for("a death that is known", || {
            (0.5..2.5).contains(&cluster.metric(index, LIVING)).then_some(())
        });
    }
    wait_for_planner(cluster, operator, OTHERS[0]);
    swarm.wait_for_everybody(known);
}

fn come_back(cluster: &mut Cluster, operator: &Operator) {
    cluster.restart(COORDINATOR);
    wait_for_planner(cluster, operator, COORDINATOR);
    assert!(cluster.metric(COORDINATOR, SECTORS) < 0.5, "it runs sectors without the role");
}

#[test]
fn without_the_node_that_plans_another_does_and_nobody_else_notices() {
    let seed = number("STARMESH_CRASH_SEED").unwrap_or_else(|| std::process::id().into());
    println!("coordinator: STARMESH_CRASH_SEED={seed}");
    let began = Instant::now();
    let server = postgres_server::shared();
    let (mut cluster, mut swarm) = play(&server.database(), seed);
    let operator = Operator::register(cluster.node(1));
    let mut watchers: Vec<Watcher> = OTHERS
        .iter()
        .map(|index| Watcher::new(cluster.node(*index), &format!("watcher{index}")))
        .collect();
    wait_for_planner(&cluster, &operator, COORDINATOR);
    println!("coordinator: {} after {:?}", cluster.shown(), began.elapsed());

    cluster.kill(COORDINATOR);
    go_on_without(&cluster, &mut swarm, &operator);
    watchers.iter_mut().for_each(Watcher::see_an_order_through);
    println!("coordinator: killed, and another planned, {:?}", began.elapsed());
    come_back(&mut cluster, &operator);

    cluster.process(COORDINATOR).signal(Signal::STOP);
    go_on_without(&cluster, &mut swarm, &operator);
    cluster.process(COORDINATOR).signal(Signal::CONT);
    let status = cluster.take(COORDINATOR).wait();
    assert!(!status.success(), "it was declared dead:\n{}", cluster.node(COORDINATOR).log());
    watchers.iter_mut().for_each(Watcher::see_an_order_through);
    println!("coordinator: stood still, and another planned, {:?}", began.elapsed());
    come_back(&mut cluster, &operator);

    let known = swarm.answered().len();
    swarm.wait_for_everybody(known);
    let heard: Vec<u64> = watchers.into_iter().map(Watcher::leave).collect();
    println!("coordinator: watchers heard {heard:?} messages, all in order");
    assert!(swarm.disconnected().is_empty(), "connections were lost: {:?}", swarm.disconnected());
    swarm.expect_settled();
    let told = swarm.told();
    println!("coordinator: swarm {}", told.report);
    let found = cluster.audited(&told);
    println!("coordinator: {} answers, {found:?}, {:?}", told.answered.len(), began.elapsed());
    assert_eq!((found.players, found.nodes), (CLIENTS + 2, 3));
    assert!(found.found > 10 * found.trimmed, "too little of what was told could be checked");
}
