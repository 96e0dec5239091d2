//! The Python clients of `docs/examples`, written from `docs/protocol.md`
//! alone, play on a real node.

use std::path::Path;
use std::process::Command;

use crate::support::{Home, Process};

#[test]
fn the_example_client_moves_a_unit_and_sees_it_arrive() {
    play("client.py");
}

#[test]
fn the_example_client_in_messagepack_does_the_same() {
    play("client_msgpack.py");
}

fn play(script: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let venv = Command::new(root.join("scripts/test-venv")).output().expect("the script runs");
    assert!(venv.status.success(), "{}", String::from_utf8_lossy(&venv.stderr));
    let python = String::from_utf8(venv.stdout).expect("a path");
    let mut home = Home::new();
    let _node = home.start();
    let mut command = Command::new(python.trim());
    command.arg(root.join("docs/examples").join(script)).arg(home.url());
    let log = home.path().join("client.log");
    let status = Process::spawn(command, &log).wait();
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    assert!(status.success(), "{status}:\n{said}\nThe node:\n{}", home.log());
    println!("{said}");
}
