//! Owns a swarm as a process of its own: real clients that outlive the nodes
//! they play on, and what they write down of their answers.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use starmesh::base::{PlayerId, SessionId};
use starmesh::protocol::server::Ack;
use starmesh::protocol::{Answer, Place};

use crate::rebuilt::Shown;
use crate::support::{Home, Process, starmesh, wait_for};

/// Orders so fast that there is always one under way, and over borders, so that
/// there is always a unit between two sectors.
const SCENARIO: &str = r#"
description = "orders without a pause, for crashes to fall into"
[orders]
interval_ms_min = 200
interval_ms_max = 1200
units_max = UNITS
margin_m = 20
targets = "around"
warp_sectors = WARP
weight_move = 4
weight_stop = 1
weight_hold = 1
weight_batch = 1
weight_patrol = 1
weight_warp = 6
[checks]
keyframe_interval_ms = 1500
"#;

/// Everybody plays where it began.
pub const AT_HOME: &str = r#"
description = "players who stay at home"
[orders]
interval_ms_min = 200
interval_ms_max = 1200
units_max = 4
margin_m = 50
targets = "here"
weight_move = 4
weight_stop = 1
weight_hold = 1
weight_batch = 1
[checks]
keyframe_interval_ms = 1500
"#;

/// Orders without a pause, with warps of up to so many sectors and so many units in an order.
pub fn scenario(warp: u16, units: u16) -> String {
    SCENARIO.replace("WARP", &warp.to_string()).replace("UNITS", &units.to_string())
}

/// Clients that reconnect for as long as the test takes.
pub struct Swarm {
    process: Process,
    clients: u64,
    journal: PathBuf,
    report: PathBuf,
    log: PathBuf,
}

/// All that the clients of a swarm wrote down, and what it says of itself.
pub struct Told {
    pub answered: Vec<Answered>,
    /// Their own units, whenever others came or left, and in the end.
    pub shown: Vec<Shown>,
    pub report: Value,
}

/// A command and its final answer, as the swarm wrote it down.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    pub client: u64,
    pub player: PlayerId,
    pub session: SessionId,
    pub place: Option<Place>,
    pub ack: Ack,
}

impl Swarm {
    pub fn start(home: &Home, clients: u64, seed: u64) -> Swarm {
        Swarm::of(&[home], clients, seed, 3)
    }

    /// Spread over the gateways of several nodes, with warps of up to so many
    /// sectors; what it writes down is in the first one's folder.
    pub fn of(homes: &[&Home], clients: u64, seed: u64, warp: u16) -> Swarm {
        Swarm::playing(homes, clients, seed, &scenario(warp, 1))
    }

    /// The same, with orders as that scenario says.
    pub fn playing(homes: &[&Home], clients: u64, seed: u64, scenario: &str) -> Swarm {
        let file = |name: &str| homes[0].path().join(name);
        fs::write(file("swarm.toml"), scenario).expect("the folder is writable");
        let (journal, report) = (file("swarm.jsonl"), file("swarm.json"));
        let log = file("swarm.log");
        let mut command = starmesh();
        command.args(["swarm", "--reconnect"]);
        homes.iter().for_each(|home| _ = command.args(["--target", &home.url()]));
        command.args(["--clients", &clients.to_string(), "--seed", &seed.to_string()]);
        command.args(["--duration", "1h", "--ramp", "1s", "--scenario"]).arg(file("swarm.toml"));
        command.arg("--journal").arg(&journal).arg("--json").arg(&report);
        Swarm { process: Process::spawn(command, &log), clients, journal, report, log }
    }

    /// What was answered so far.
    pub fn answered(&self) -> Vec<Answered> {
        self.entries("answered")
    }

    /// Sessions that were opened, or gone on with: `client`, `session`, `resumed`.
    pub fn connected(&self) -> Vec<Value> {
        self.entries("connected")
    }

    /// Open connections that were lost: `client`, `reason`.
    pub fn disconnected(&self) -> Vec<Value> {
        self.entries("disconnected")
    }

    /// What was written down of a kind. A line being written is left out.
    fn entries<T: DeserializeOwned>(&self, kind: &str) -> Vec<T> {
        let text = fs::read_to_string(&self.journal).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let entries = whole.lines().map(serde_json::from_str::<Value>);
        let entries = entries.map(|entry| entry.expect("a line is an object"));
        let of_kind = entries.filter(|entry| entry["kind"] == kind);
        of_kind.map(|entry| serde_json::from_value(entry).expect(kind)).collect()
    }

    /// Waits for `more` acknowledgements behind the first `known` answers.
    pub fn wait_for_successes(&mut self, known: usize, more: u64) {
        wait_for("acknowledged commands", || {
            self.expect_running();
            let answered = self.answered();
            let new = answered.get(known..).unwrap_or_default();
            let successes = new.iter().filter(|entry| entry.ack.success).count();
            (successes as u64 >= more).then_some(())
        });
    }

    /// Waits until every client had a success behind the first `known` answers.
    pub fn wait_for_everybody(&mut self, known: usize) {
        self.wait_for_those(known, |_| true);
    }

    /// Waits until each client of these had a success behind the first `known`
    /// answers.
    pub fn wait_for_those(&mut self, known: usize, of: impl Fn(u64) -> bool) {
        let expected: BTreeSet<u64> = (0..self.clients).filter(|client| of(*client)).collect();
        wait_for("a command of every client", || {
            self.expect_running();
            let answered = self.answered();
            let new = answered.get(known..).unwrap_or_default();
            let successes = new.iter().filter(|entry| entry.ack.success);
            let successes: BTreeSet<u64> = successes.map(|entry| entry.client).collect();
            expected.is_subset(&successes).then_some(())
        });
    }

    /// Every command so far was done, or refused for a reason that it said. None was
    /// given up: put off for too long, or never answered.
    pub fn expect_settled(&self) {
        self.expect_settled_of(|_| true);
    }

    /// The same of these clients.
    pub fn expect_settled_of(&self, of: impl Fn(u64) -> bool) {
        let is_final = |entry: &Answered| match &entry.ack.error {
            None => entry.ack.success,
            Some(Answer::Refused { .. } | Answer::NotHere {} | Answer::Moved { .. }) => true,
            Some(_) => false,
        };
        let is_odd = |entry: &Answered| of(entry.client) && !is_final(entry);
        let odd: Vec<Answered> = self.answered().into_iter().filter(is_odd).collect();
        assert!(odd.is_empty(), "answered neither done nor refused: {odd:?}");
        let mut gave_up: Vec<Value> = self.entries("gaveUp");
        gave_up.retain(|entry| of(Swarm::client(entry)));
        assert!(gave_up.is_empty(), "given up: {gave_up:?}");
    }

    /// The client of an entry.
    pub fn client(entry: &Value) -> u64 {
        entry["client"].as_u64().expect("an entry is of a client")
    }

    /// Lets the clients finish; expects that they found nothing wrong.
    pub fn stop(self) -> (Vec<Answered>, Value) {
        let Told { answered, report, .. } = self.told();
        (answered, report)
    }

    /// The same, with all that they wrote down.
    pub fn told(mut self) -> Told {
        self.process.signal(Signal::INT);
        let status = self.process.wait();
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        assert!(status.success(), "the swarm found something, {status}:\n{said}");
        let report = fs::read(&self.report).expect("a report");
        let report = serde_json::from_slice(&report).expect("a report is JSON");
        Told { answered: self.answered(), shown: self.entries("units"), report }
    }

    fn expect_running(&mut self) {
        if let Some(status) = self.process.ended() {
            let said = fs::read_to_string(&self.log).unwrap_or_default();
            panic!("the swarm ended, {status}:\n{said}");
        }
    }
}
