//! The golden scenario gives its hash, the golden journals are read, replayed
//! and written as ever, and the golden galaxy has what it had, whatever the
//! profile the binary was built in.

use std::process::Command;

use starmesh::entity::golden::{self, Golden};
use starmesh::sim::LOGIC_VERSION;
use starmesh::sim::galaxy::golden::HASH as GALAXY_HASH;
use starmesh::sim::golden::HASH;

fn played_by(binary: &str) -> String {
    let output = Command::new(binary).args(["replay", "golden"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn debug_and_release_builds_play_to_the_golden_hashes() {
    // `make test` names the release build; without it there is only this one.
    let release = std::env::var("STARMESH_RELEASE_BIN").ok();
    let this = env!("CARGO_BIN_EXE_starmesh").to_owned();
    let Golden { sector, ledger, board } = golden::check(golden::STORED).unwrap();
    let expected = format!(
        "{HASH}, logic version {LOGIC_VERSION}\njournals: sector {sector}, ledger {ledger}, board {board}\n\
         galaxy: {GALAXY_HASH}\n"
    );
    for binary in [Some(this), release].into_iter().flatten() {
        assert_eq!(played_by(&binary), expected, "{binary}");
    }
}
