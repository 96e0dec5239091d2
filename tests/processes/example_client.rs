//! The Python client of `docs/examples`, written from `docs/protocol.md`
//! alone, plays on a real node.

use std::path::Path;
use std::process::Command;

use crate::support::{Home, Process};

#[test]
fn the_example_client_moves_a_unit_and_sees_it_arrive() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let venv = Command::new(root.join("scripts/test-venv")).output().expect("the script runs");
    assert!(venv.status.success(), "{}", String::from_utf8_lossy(&venv.stderr));
    let python = String::from_utf8(venv.stdout).expect("a path");
    let mut home = Home::new();
    let _node = home.start();
    let mut command = Command::new(python.trim());
    command.arg(root.join("docs/examples/client.py")).arg(home.url());
    let log = home.path().join("client.log");
    let status = Process::spawn(command, &log).wait();
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    assert!(status.success(), "{status}:\n{said}\nThe node:\n{}", home.log());
    println!("{said}");
}
