//! `starmesh cluster`: three nodes are up and are played on, what it says to try
//! can be done, and Ctrl-C ends all of it.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use starmesh::client::Target;

use crate::support::{Process, metric, starmesh, wait_for};

/// What is printed of a node.
struct Shown {
    process: Pid,
    url: String,
}

/// Of those that a test which failed left behind.
impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = kill_process(self.process, Signal::KILL);
        }
    }
}

/// The nodes in what it prints: "  a  process 123  HTTP http://...  players ws://...".
fn shown(said: &str) -> Vec<Shown> {
    let nodes = said.lines().filter_map(|line| {
        let (process, rest) = line.split_once("  process ")?.1.split_once(" HTTP ")?;
        let process = Pid::from_raw(process.trim().parse().ok()?)?;
        Some(Shown { process, url: rest.split_whitespace().next()?.to_owned() })
    });
    nodes.collect()
}

/// The value behind `name` in a line that it says to try.
fn value_behind<'a>(said: &'a str, name: &str) -> &'a str {
    let (_, rest) = said.split_once(name).unwrap_or_else(|| panic!("no {name} in:\n{said}"));
    rest.split(['\n', ')', '\'', ' ']).next().unwrap_or_default()
}

/// What `admin ARGUMENTS` as printed, with the alias's words, answers.
fn admin(said: &str, arguments: &[&str]) -> Value {
    let password = fs::read_to_string(value_behind(said, "STARMESH_PASSWORD=$(cat "));
    let mut command = starmesh();
    command.env("STARMESH_PASSWORD", password.expect("the file that is named").trim());
    command.args(["admin", "--url", value_behind(said, "admin --url ")]);
    command.args(["--user", value_behind(said, " --user ")]);
    let output = command.args(arguments).arg("--json").output().expect("the binary starts");
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {complained}");
    serde_json::from_slice(&output.stdout).expect("an answer in JSON")
}

/// Starts it in a folder, and waits until it has said all there is to try.
fn start(folder: &Path) -> (Process, String) {
    let log = folder.join("log");
    let mut command = starmesh();
    command.args(["cluster", "--port", "0", "--players", "3", "--data"]);
    command.arg(folder.join("data"));
    let mut cluster = Process::spawn(command, &log);
    let said = wait_for("what to try", || {
        let said = fs::read_to_string(&log).unwrap_or_default();
        assert!(cluster.ended().is_none(), "it ended:\n{said}");
        said.contains("Ctrl-C stops it").then_some(said)
    });
    (cluster, said)
}

#[test]
fn three_nodes_are_up_can_be_steered_as_it_says_and_stop_on_ctrl_c() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut cluster, said) = start(folder.path());
    let nodes = shown(&said);
    assert_eq!(nodes.len(), 3, "{said}");
    let targets: Vec<Target> =
        nodes.iter().map(|node| node.url.parse().expect("an address")).collect();
    for part in ["kill -9 ", "admin migrate SECTOR --to 3", "admin drain 2", "watch --target "] {
        assert!(said.contains(part), "{part}:\n{said}");
    }
    let told = admin(&said, &["nodes"]);
    let listed = told["nodes"].as_array().expect("a list");
    assert!(listed.len() == 3 && listed.iter().all(|node| node["lives"] == true), "{told}");
    // Three players have eight units each.
    wait_for("units of all players, on their nodes", || {
        let units = |target| metric(target, "starmesh_sector_units_count");
        let all: Option<Vec<f64>> = targets.iter().map(units).collect();
        (all?.iter().sum::<f64>() >= 24.0).then_some(())
    });
    let told = admin(&said, &["sectors", "--hot"]);
    assert!(told["sectors"].is_array() && told["silent"] == serde_json::json!([]), "{told}");

    cluster.signal(Signal::INT);
    let status = cluster.wait();
    let said = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    assert!(status.success(), "{status}:\n{said}");
    assert!(said.contains("stopped; ") && !said.contains("is killed"), "{said}");
    let answers = |target| metric(target, "starmesh_node_tick_count").is_some();
    assert!(!targets.iter().any(answers), "a node outlived the cluster");
}
