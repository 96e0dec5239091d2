//! The audit log of a node that ran and stopped: whole and signed to the end, and
//! `starmesh audit verify` finds whatever is done to it afterwards.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use starmesh::base::NodeId;
use starmesh::entity::audit::{Entry, Place};
use starmesh::entity::commit::{Group, NodeRow, Put};
use starmesh::entity::keys;
use starmesh::store::Store;
use starmesh::store::conformance::Process as Writer;
use starmesh::store::sled::{Options, Sled};

use crate::socket::register;
use crate::support::{Home, starmesh};

const NODE: NodeId = NodeId(1);
/// Of a node that is to be signed when it stops.
const STARTS_MAX: u32 = 5;

/// Verifies the log of `home`; the exit code, and the line of its node.
fn verify(home: &Home, more: &[&str]) -> (Option<i32>, Value) {
    let output = run(home, more);
    let (said, errors) = (text(&output.stdout), text(&output.stderr));
    let lines = said.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let of_node = lines.into_iter().find(|line| line["node"] == NODE.0);
    println!("{said}{errors}");
    (output.status.code(), of_node.unwrap_or_default())
}

fn run(home: &Home, more: &[&str]) -> Output {
    let mut command = starmesh();
    command.args(["audit", "verify", "--json", "--data"]).arg(home.data()).args(more);
    command.output().expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Somebody who can write the store, as another node whose log is whole.
struct Vandal {
    writer: Writer,
}

impl Vandal {
    fn at(home: &Home) -> Vandal {
        let mut writer = Writer { root: [0; 32], ..Writer::new(9) };
        writer.must(&open(home), Vec::new());
        Vandal { writer }
    }

    fn put(&mut self, home: &Home, puts: Vec<Put>) {
        let group = Group { puts, ..Group::default() };
        let answer = self.writer.must(&open(home), vec![group]);
        assert!(answer.refused.is_empty());
    }
}

fn open(home: &Home) -> Sled {
    Sled::open(&home.data().join("store"), Options::default()).expect("no node runs")
}

fn all(home: &Home, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let found = open(home).scan(prefix, None, usize::MAX).expect("the store answers");
    found.into_iter().map(|(key, found)| (key, found.value)).collect()
}

fn put(key: &[u8], value: Option<Vec<u8>>) -> Put {
    Put { key: key.to_vec(), value }
}

/// A home whose node ran, made an account and stopped, all of it signed: a node
/// that got no time for that on a busy machine runs again.
async fn used() -> Home {
    let mut home = Home::new();
    for starts in 1..=STARTS_MAX {
        let node = home.start();
        register(&home.target(), &format!("anna-{starts}")).await;
        assert!(node.terminate().0.success(), "{}", home.log());
        if verify(&home, &[]).1["unsigned"] == 0 {
            return home;
        }
    }
    panic!("a node that stops in order does not sign: {}", home.log());
}

#[tokio::test]
async fn the_log_of_a_node_that_stopped_is_signed_to_its_end() {
    let home = used().await;
    let (code, node) = verify(&home, &[]);
    assert_eq!((code, &node["problem"]), (Some(0), &Value::Null));
    assert!(node["entries"].as_u64().is_some_and(|entries| entries >= 4), "{node}");
    assert!(node["signatures"].as_u64().is_some_and(|signatures| signatures >= 1), "{node}");
    assert_eq!(node["unsigned"], 0, "{node}");
    // Its certificate was signed by its own cluster's authority, not by another.
    let other = home.path().join("other");
    let mut cert = starmesh();
    cert.args(["cert", "init", "--cluster", "other", "--out"]).arg(&other);
    assert!(cert.output().expect("the binary starts").status.success());
    let ca = other.join("ca.pem").display().to_string();
    let (code, node) = verify(&home, &["--ca", &ca]);
    assert_eq!(code, Some(1));
    assert!(node["problem"]["Doubtful"]["doubt"]["Foreign"].is_string(), "{node}");
}

#[tokio::test]
async fn whatever_is_done_to_a_log_afterwards_is_found_and_named() {
    let home = used().await;
    let heads = home.path().join("heads.json");
    std::fs::write(&heads, &run(&home, &[]).stdout).expect("the folder is writable");
    let mut vandal = Vandal::at(&home);
    assert_eq!(verify(&home, &["--heads", path(&heads)]).0, Some(0));

    // One byte of an entry.
    let entries = all(&home, keys::AUDIT);
    let (key, value) = entries[1].clone();
    let mut changed = value.clone();
    *changed.last_mut().expect("it is longer") ^= 1;
    vandal.put(&home, vec![put(&key, Some(changed))]);
    let (code, node) = verify(&home, &[]);
    assert_eq!(code, Some(1));
    let broken = [&node["problem"]["Broken"], &node["problem"]["Damaged"]["at"]];
    let at = broken.into_iter().find_map(|place| place["number"].as_u64());
    assert!(at.is_some() || node["problem"] == "Tail", "{node}");
    vandal.put(&home, vec![put(&key, Some(value))]);
    assert_eq!(verify(&home, &[]).0, Some(0), "it is as it was");

    // The tail, and the row with it.
    let (row_put, cut) = cut_tail(&home, &entries);
    vandal.put(&home, cut.into_iter().chain([row_put]).collect());
    let (code, node) = verify(&home, &[]);
    assert_eq!(code, Some(1));
    assert!(node["problem"]["SignedBeyond"]["number"].is_u64(), "{node}");

    // And all signatures: only what was kept elsewhere remembers.
    let gone = all(&home, keys::AUDIT_SIGNATURE).into_iter().map(|(key, _)| put(&key, None));
    vandal.put(&home, gone.collect());
    let (code, node) = verify(&home, &["--heads", path(&heads)]);
    assert_eq!(code, Some(1));
    assert_eq!(node["problem"]["CutOff"]["by"], "Kept", "{node}");
}

fn path(path: &Path) -> &str {
    path.to_str().expect("its name is UTF-8")
}

/// What removes the entries of the node's last commit with entries, and sets its
/// row to where it was before.
fn cut_tail(home: &Home, entries: &[(Vec<u8>, Vec<u8>)]) -> (Put, Vec<Put>) {
    let place = |key: &[u8]| keys::parse_audit(key).expect("an entry's key");
    let of_node = |(key, _): &&(Vec<u8>, Vec<u8>)| place(key).node == NODE;
    let (last, value) = entries.iter().rfind(of_node).expect("it has entries");
    let Place { incarnation, number, .. } = place(last);
    let base = Entry::from_bytes(value).expect("an entry").base;
    let is_last = |(key, _): &&(Vec<u8>, Vec<u8>)| {
        let place = place(key);
        (place.node, place.incarnation, place.number) == (NODE, incarnation, number)
    };
    let cut = entries.iter().filter(is_last).map(|(key, _)| put(key, None)).collect();
    let found = open(home).get(&keys::row(NODE)).expect("the store answers").expect("a row");
    let row = NodeRow::from_bytes(&found.value).expect("a row");
    let row = NodeRow { incarnation, number: number - 1, audit_root: base, ..row };
    (put(&keys::row(NODE), Some(row.to_bytes())), cut)
}
