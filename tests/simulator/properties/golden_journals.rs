//! What earlier builds stored is read, replayed to the same states and written
//! the same. `make golden` writes anew what a raised version changed.

use starmesh::base::{EntityKey, SectorId};
use starmesh::entity::Entity;
use starmesh::entity::golden::{self, Drift, STORED};

#[test]
fn golden_journals_are_read_replayed_and_written_as_ever() {
    if std::env::var_os("STARMESH_WRITE_GOLDEN").is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/entity/golden/stored.txt");
        let text = golden::rewrite(STORED).unwrap_or_else(|drift| panic!("{drift}"));
        std::fs::write(file, text).expect("writing the golden bytes");
        return;
    }
    golden::check(STORED).unwrap_or_else(|drift| panic!("{drift}"));
}

/// `STORED` with the last digit of one line changed.
fn damaged(line: &str) -> String {
    let damage = |found: &str| match found.split_once(' ') {
        Some((name, bytes)) if name == line => {
            let (kept, last) = bytes.split_at(bytes.len() - 1);
            format!("{name} {kept}{}\n", if last == "0" { "1" } else { "0" })
        }
        _ => format!("{found}\n"),
    };
    STORED.lines().map(damage).collect()
}

#[test]
fn a_line_that_is_not_as_it_was_is_named_and_never_written_over() {
    for line in ["key/owned", "sector/record/4", "sector/state/7", "ledger/snapshot/5"] {
        let stored = damaged(line);
        let said = golden::check(&stored).expect_err(line).to_string();
        assert!(said.contains(line) && said.contains("make golden"), "{said}");
        let refused = golden::rewrite(&stored).expect_err(line);
        assert!(matches!(&refused, Drift::Changed { line: named, .. } if named == line));
    }
}

#[test]
fn a_deflated_snapshot_that_is_not_as_it_was_is_named_and_never_written_over() {
    for of in ["sector", "ledger", "board"] {
        let start = format!("{of}/packed/");
        let line = STORED.lines().find(|line| line.starts_with(&start)).expect("one at least");
        let (line, _) = line.split_once(' ').expect("a name and bytes");
        let stored = damaged(line);
        let said = golden::check(&stored).expect_err(line);
        assert!(matches!(&said, Drift::Unreadable { line: named, .. } if named == line), "{said}");
        assert_eq!(golden::rewrite(&stored), Err(said));
    }
}

#[test]
fn another_version_asks_for_new_bytes_and_gets_them() {
    let stored = STORED.replace("\nformat ", "\nformat 9, or ");
    assert!(matches!(golden::check(&stored), Err(Drift::Version { .. })));
    assert_eq!(golden::rewrite(&stored).as_deref(), Ok(STORED));
}

/// The bytes of a line.
fn stored(line: &str) -> Vec<u8> {
    let hex = STORED.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
    let hex = hex.expect("the line").as_bytes().chunks(2);
    let byte = |two| u8::from_str_radix(str::from_utf8(two).expect("hex"), 16).expect("hex");
    hex.map(byte).collect()
}

#[test]
fn the_snapshot_in_the_sectors_play_has_everything_a_head_can_have() {
    let play = stored("sector/snapshot/7");
    let sector = EntityKey::from_bytes(&stored("sector/key")).expect("a key");
    assert!(matches!(sector, EntityKey::Sector(SectorId { scale: 0, .. })));
    let head = Entity::restore(sector, &play).expect("a snapshot").head().clone();
    assert!(!head.outbox.is_settled() && !head.backlog.is_empty());
    assert!(head.inbox.applied(EntityKey::Ledger(0)).is_some_and(|(_, applied)| applied > 1));
    assert!(head.commands.next_due().is_some() && head.claim.is_some());
    let ledger = Entity::restore(EntityKey::Ledger(0), &stored("ledger/snapshot/5"));
    assert!(!ledger.expect("a snapshot").head().open_requests.is_empty());
}
