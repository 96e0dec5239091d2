//! Everybody in one sector: real clients bring a ship each to the same place and
//! order it about there. `make crowd` does it with a thousand.

use serde_json::Value;

use crate::support::{Home, starmesh};

/// Clients when nothing else is said.
const CLIENTS: u64 = 16;

fn clients() -> u64 {
    let said = std::env::var("STARMESH_CROWD_CLIENTS").ok();
    said.and_then(|count| count.parse().ok()).unwrap_or(CLIENTS)
}

#[test]
fn all_players_come_into_one_sector_and_see_each_other_there() {
    let clients = clients();
    // A small galaxy: from the farthest of a thousand starts it is three minutes
    // of warp, from the sixteenth one.
    let mut home = Home::new().with("GALAXY__SECTORS_PER_SIDE", "512");
    let node = home.start();
    let report = home.path().join("crowd.json");
    let mut command = starmesh();
    command.args(["swarm", "--target", &home.url(), "--scenario", "crowd"]);
    command.args(["--clients", &clients.to_string()]);
    command.args(["--ramp", &format!("{}s", 1 + clients / 30)]);
    command.args(["--duration", &format!("{}s", 90 + clients * 3 / 20)]);
    // It ends by itself.
    let output = command.arg("--json").arg(&report).output().expect("the binary runs");
    let (status, said) = (output.status, String::from_utf8_lossy(&output.stdout).into_owned());
    println!("{said}");
    assert!(status.success(), "{said}");
    let report = std::fs::read_to_string(&report).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("it is JSON");
    assert_eq!(report["gathered"], clients, "{said}");
    assert_eq!((&report["disconnects"], &report["gaveUp"]), (&0.into(), &0.into()), "{said}");
    assert!(report["effectsSeen"].as_u64() >= Some(clients), "{said}");
    let (status, _) = node.terminate();
    assert!(status.success(), "{status}:\n{}", home.log());
}
