//! A cluster whose nodes are restarted one after the other under load, as
//! docs/operating.md says: nobody is disconnected but from the node that is
//! restarted, and nothing is lost. STARMESH_CRASH_SEED repeats the orders.

use std::collections::BTreeSet;
use std::fs;
use std::time::Instant;

use serde_json::Value;
use starmesh::sim::rules::file::BUILT_IN;

use crate::audit::Counts;
use crate::cluster_support::Cluster;
use crate::crash::number;
use crate::operator::Operator;
use crate::support::{Home, wait_for};
use crate::swarm::Swarm;
use crate::watcher::Watcher;

const NODES: usize = 3;
const CLIENTS: u64 = 18;

const TICK: &str = "starmesh_node_tick_count";
const ADOPTED: &str = "starmesh_entities_adopted_total";
const FORMAT: &str = "starmesh_store_format_state";
const STORE_AWAY: &str = "starmesh_store_away_state";

/// A cluster under load while its nodes are restarted.
struct Rolling {
    cluster: Cluster,
    /// The node that has the store, if one has.
    host: Option<usize>,
    swarm: Swarm,
    operator: Operator,
    began: Instant,
    /// Messages of places that came to those who watched the restarts.
    heard: Vec<u64>,
}

impl Rolling {
    fn begin(cluster: Cluster, host: Option<usize>) -> Rolling {
        let seed = number("STARMESH_CRASH_SEED").unwrap_or_else(|| std::process::id().into());
        println!("rolling: STARMESH_CRASH_SEED={seed}");
        let began = Instant::now();
        let mut swarm = cluster.swarm(CLIENTS, seed);
        let operator = Operator::register(cluster.node(0));
        swarm.wait_for_everybody(0);
        swarm.wait_for_successes(0, 100);
        println!("rolling: {}", cluster.shown());
        Rolling { cluster, host, swarm, operator, began, heard: Vec::new() }
    }

    /// Drain, stop, start, undrain; the operator asks another node.
    fn restart(&mut self, index: usize) {
        self.restart_after(index, |_| {});
    }

    /// The same, with something done while it is down.
    fn restart_after(&mut self, index: usize, meanwhile: impl FnOnce(&mut Cluster)) {
        let (number, other) = (index as u32 + 1, (index + 1) % NODES);
        let name = number.to_string();
        let (known, lost) = (self.swarm.answered().len(), self.swarm.disconnected().len());
        let before = self.swarm.connected().len();
        let mut watcher =
            Watcher::new(self.cluster.node(other), &format!("watcher{}", self.heard.len()));
        watcher.see_an_order_through();
        print!("{}", self.operator.call(self.cluster.node(other), &["drain", &name]));
        assert_eq!(self.operator.running(self.cluster.node(other), number), 0, "it was drained");
        assert_eq!(self.swarm.disconnected().len(), lost, "draining costs nobody the connection");
        // With its gateway everybody plays on, on sectors of others.
        self.swarm.wait_for_everybody(known);
        self.cluster.terminate(index);
        self.expect_the_others_go_on(index, other);
        meanwhile(&mut self.cluster);
        self.cluster.restart(index);
        // The others may find the store's node a moment after that one is ready.
        wait_for("all nodes take players", || {
            (0..NODES).all(|index| self.cluster.is_ready(index)).then_some(())
        });
        print!("{}", self.operator.call(self.cluster.node(other), &["undrain", &name]));
        wait_for("its share", || {
            (self.operator.running(self.cluster.node(other), number) > 0).then_some(())
        });
        let known = self.swarm.answered().len();
        self.swarm.wait_for_everybody(known);
        self.expect_only_its_players_left(index, lost, before);
        watcher.see_an_order_through();
        self.heard.push(watcher.leave());
        println!("rolling: node {number}, {}, {:?}", self.cluster.shown(), self.began.elapsed());
    }

    /// The format version that each node says to be written.
    fn formats(&self) -> [f64; NODES] {
        std::array::from_fn(|index| self.cluster.metric(index, FORMAT))
    }

    /// While node `index` is down: without the store time stands still, and with it
    /// everybody else plays.
    fn expect_the_others_go_on(&mut self, index: usize, other: usize) {
        if self.host == Some(index) {
            return wait_for("a node that says that its store is away", || {
                (self.cluster.metric(other, STORE_AWAY) > 0.0).then_some(())
            });
        }
        let (known, tick) = (self.swarm.answered().len(), self.cluster.metric(other, TICK));
        self.swarm.wait_for_those(known, |client| client as usize % NODES != index);
        wait_for("a second of the others' time", || {
            (self.cluster.metric(other, TICK) > tick + 10.0).then_some(())
        });
    }

    /// Behind the first `lost` lost connections and the first `known` sessions:
    /// all players of that gateway, and nobody else, had to come back, each once and
    /// with the session it had.
    fn expect_only_its_players_left(&self, index: usize, lost: usize, known: usize) {
        let lost = self.swarm.disconnected().split_off(lost);
        let clients: BTreeSet<u64> = lost.iter().map(Swarm::client).collect();
        let its: BTreeSet<u64> =
            (0..CLIENTS).filter(|client| *client as usize % NODES == index).collect();
        assert_eq!(clients, its, "whose connections were lost: {lost:?}");
        assert_eq!(lost.len(), its.len(), "each once: {lost:?}");
        let back = self.swarm.connected().split_off(known);
        assert!(back.iter().all(|it| it["resumed"] == true), "sessions were lost: {back:?}");
        let clients: BTreeSet<u64> = back.iter().map(Swarm::client).collect();
        assert_eq!(clients, its, "who came back: {back:?}");
        assert_eq!(back.len(), its.len(), "each came back once: {back:?}");
    }

    /// All stop, and nothing is lost; what was looked at.
    fn finish(self) -> Counts {
        self.swarm.expect_settled();
        let told = self.swarm.told();
        println!("rolling: swarm {}", told.report);
        let found = self.cluster.audited(&told);
        println!("rolling: {} answers, {found:?}, {:?}", told.answered.len(), self.began.elapsed());
        println!("rolling: watchers heard {:?} messages, all in order", self.heard);
        let players = CLIENTS + self.heard.len() as u64;
        assert_eq!((found.players, found.nodes), (players, NODES as u64));
        assert!(found.handed_over > 0, "nothing was drained: {found:?}");
        found
    }
}

#[test]
fn each_node_is_restarted_in_turn_and_players_of_the_others_play_on() {
    let mut rolling = Rolling::begin(Cluster::start(NODES), Some(0));
    // Time stands still while the one with the store is away: it is the last.
    for index in [1, 2, 0] {
        rolling.restart(index);
    }
    let found = rolling.finish();
    assert!(found.found > 10 * found.trimmed, "too little of what was told could be checked");
}

/// The rules by which a node runs, by its own word.
fn rules_hash(at: &Home) -> String {
    let rules = ureq::get(format!("{}/api/rules", at.url())).call();
    let rules = rules.expect("the rules").body_mut().read_to_string().expect("a text");
    let rules: Value = serde_json::from_str(&rules).expect("an object");
    rules["hash"].as_str().expect("a hash").to_owned()
}

/// A file with the built-in rules, and a first type of unit that is so much faster.
fn faster_rules(at: &Home, by: u32) -> String {
    let text: String = BUILT_IN.iter().map(|source| source.text).collect();
    let (before, behind) = text.split_once("\nspeed = ").expect("a type of unit with a speed");
    let (speed, behind) = behind.split_once('\n').expect("a line's end");
    let speed: u32 = speed.parse().expect("metres per second");
    let file = at.path().join(format!("faster-by-{by}.toml"));
    let text = format!("{before}\nspeed = {}\n{behind}", speed + by);
    fs::write(&file, text).expect("the folder is writable");
    file.to_str().expect("a path in UTF-8").to_owned()
}

/// The nodes are those of a build that reads format version 1, and come back as those
/// of one that reads the next.
#[test]
fn each_node_comes_back_with_other_rules_and_format_and_all_goes_on_by_those() {
    let mut rolling = Rolling::begin(Cluster::empty().reading("1").of(NODES), Some(0));
    let before = rules_hash(rolling.cluster.node(0));
    let file = faster_rules(rolling.cluster.node(0), 7);
    let mut adopted = 0.0;
    for index in [1, 2, 0] {
        assert_eq!(rolling.formats(), [1.0; NODES], "one of them reads no other");
        rolling.cluster.set(index, "RULES__FILE", &file);
        rolling.cluster.set(index, "CLUSTER__FORMAT_MAX", "0");
        rolling.restart(index);
        adopted += rolling.cluster.metric(index, ADOPTED);
    }
    let now: BTreeSet<String> =
        (0..NODES).map(|index| rules_hash(rolling.cluster.node(index))).collect();
    assert_eq!(now.len(), 1, "one of the nodes has other rules: {now:?}");
    assert!(!now.contains(&before), "nothing changed");
    assert!(adopted > 0.0, "no entity took on other rules");
    println!("rolling: {adopted} entities adopted rules {now:?}");
    wait_for("all nodes to write the next format", || {
        (rolling.formats() == [2.0; NODES]).then_some(())
    });
    let risen = "every node reads format 2";
    let raised = |index: &usize| rolling.cluster.node(*index).log().contains(risen);
    assert_eq!((0..NODES).filter(raised).count(), 1, "it rises once, by one of them");
    go_back_and_on(&mut rolling, 2);
    // So that more is left to be looked at than was trimmed.
    let known = rolling.swarm.answered().len();
    rolling.swarm.wait_for_successes(known, 500);
    // Each adoption writes a snapshot, which trims what was before.
    let found = rolling.finish();
    assert!(found.found > CLIENTS && found.hashes > 0, "too little could be checked: {found:?}");
    assert!(found.deflated > 0, "nothing was written in the next format: {found:?}");
}

/// A node that reads the format before has no place any more; as it should be it has,
/// and writes in the next one what it adopts by yet other rules.
fn go_back_and_on(rolling: &mut Rolling, index: usize) {
    let file = faster_rules(rolling.cluster.node(0), 14);
    rolling.restart_after(index, |cluster| {
        cluster.set(index, "CLUSTER__FORMAT_MAX", "1");
        let said = cluster.refused(index);
        let why = "the cluster's format version is 2, and this node reads 1:";
        assert!(said.contains(why), "{said}");
        cluster.set(index, "CLUSTER__FORMAT_MAX", "0");
        cluster.set(index, "RULES__FILE", &file);
    });
    let adopted = rolling.cluster.metric(index, ADOPTED);
    assert!(adopted > 0.0, "it adopted nothing");
}

#[cfg(feature = "postgres")]
#[test]
fn on_a_database_the_others_play_on_whichever_node_is_restarted() {
    let server = crate::postgres_server::shared();
    let cluster = Cluster::empty().on(&server.database()).of(NODES);
    let mut rolling = Rolling::begin(cluster, None);
    (0..NODES).for_each(|index| rolling.restart(index));
    let found = rolling.finish();
    assert!(found.found > 10 * found.trimmed, "too little of what was told could be checked");
}
