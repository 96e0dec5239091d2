//! `starmesh demo`: its players join, and it goes on where it was killed.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::support::{Process, starmesh, wait_for};

/// Three players have eight units each.
const ALL_PLAY: &str = "3 players  24 units";
/// Followed by a tick; ten are a second.
const BEGINS: &str = "begins at tick ";

/// A demo on the world in `folder`, and the file with what it prints.
fn start(folder: &Path, log: &str) -> (Process, PathBuf) {
    let mut command = starmesh();
    command.args(["demo", "--players", "3", "--http", "127.0.0.1:0", "--data"]);
    command.arg(folder.join("world"));
    let log = folder.join(log);
    (Process::spawn(command, &log), log)
}

/// Waits until a line with `part` is printed, and gives all that was.
fn wait_for_line(demo: &mut Process, log: &Path, part: &str) -> String {
    wait_for(part, || {
        let said = fs::read_to_string(log).unwrap_or_default();
        assert!(demo.ended().is_none(), "the demo ended:\n{said}");
        said.lines().any(|line| line.contains(part)).then_some(said)
    })
}

/// The tick at which a demo that printed `said` began.
fn first_tick(said: &str) -> u64 {
    let tick = said.lines().find_map(|line| line.strip_prefix(BEGINS));
    tick.and_then(|tick| tick.parse().ok()).expect("a demo says at which tick it begins")
}

#[test]
fn the_demo_goes_on_where_it_was_killed_and_stops_on_ctrl_c() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut demo, log) = start(folder.path(), "first");
    let first = wait_for_line(&mut demo, &log, ALL_PLAY);
    demo.kill();

    let (mut demo, log) = start(folder.path(), "second");
    let second = wait_for_line(&mut demo, &log, ALL_PLAY);
    assert!(first_tick(&second) > first_tick(&first) + 10, "{first}\n{second}");
    demo.signal(Signal::INT);
    let status = demo.wait();
    let said = fs::read_to_string(&log).unwrap_or_default();
    assert!(status.success(), "{status}:\n{said}");
    assert!(said.contains("stopped"), "{said}");
}
