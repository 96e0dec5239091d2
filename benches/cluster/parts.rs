//! What the time between two updates of a dead node's sector is made of: where it
//! passes, by what the successor's audit log says and by what a player saw. All
//! clocks are of one machine.

use std::path::Path;
use std::time::{Duration, SystemTime};

use starmesh::entity::audit::{Decision, Entry};
use starmesh::entity::keys;
use starmesh::store::Store;
use starmesh::store::sled::{Options, Sled};

/// The longest time without an update, and when in it the node was killed.
#[derive(Clone, Copy)]
pub struct Gap {
    pub last: SystemTime,
    pub killed: SystemTime,
    pub next: SystemTime,
}

/// Parts of a gap, in their order.
const PARTS: [&str; 5] = [
    "update to SIGKILL",
    "SIGKILL to declared dead",
    "declared dead to directory",
    "directory to last claim",
    "claim to update",
];

/// Prints the parts of each gap; `folder` is of the node that lived on, which does
/// not run any more.
pub fn show(folder: &Path, gaps: &[Gap]) {
    let entries = entries(folder);
    println!("ms: {}", PARTS.join(" | "));
    let mut columns: Vec<Vec<u128>> = vec![Vec::new(); PARTS.len()];
    for gap in gaps {
        let Some(parts) = parts(&entries, gap) else {
            println!("  not all of it is in the audit log");
            continue;
        };
        let shown: Vec<String> = parts.iter().map(|part| part.as_millis().to_string()).collect();
        println!("  {}", shown.join(" | "));
        columns.iter_mut().zip(parts).for_each(|(column, part)| column.push(part.as_millis()));
    }
    for (name, mut column) in PARTS.into_iter().zip(columns) {
        column.sort_unstable();
        let at = |share: usize| column.get(column.len().saturating_sub(1) * share / 100).copied();
        println!("{name}: median {:?} ms, worst {:?} ms", at(50), at(100));
    }
}

fn parts(entries: &[(SystemTime, Decision)], gap: &Gap) -> Option<[Duration; 5]> {
    let inside = entries.iter().filter(|(at, _)| (gap.killed..gap.next).contains(at));
    let first = |of: fn(&Decision) -> bool| {
        inside.clone().find(|(_, decision)| of(decision)).map(|(at, _)| *at)
    };
    let dead = first(|it| matches!(it, Decision::DeclaredDead { .. }))?;
    let directory = first(|it| matches!(it, Decision::DirectoryChanged(_)))?;
    let is_claim = |it: &Decision| matches!(it, Decision::Claimed { .. });
    let claimed = inside.clone().rfind(|(_, it)| is_claim(it)).map(|(at, _)| *at)?;
    let since = |to: SystemTime, from: SystemTime| to.duration_since(from).unwrap_or_default();
    Some([
        since(gap.killed, gap.last),
        since(dead, gap.killed),
        since(directory, dead),
        since(claimed, directory),
        since(gap.next, claimed),
    ])
}

/// All decisions of the first node, by when they were made.
fn entries(folder: &Path) -> Vec<(SystemTime, Decision)> {
    let store = Sled::open(&folder.join("store"), Options::default()).expect("no node runs");
    let rows = store.scan(keys::AUDIT, None, usize::MAX).expect("the store answers");
    let entry = |(key, row): &(Vec<u8>, starmesh::store::Versioned)| {
        let place = keys::parse_audit(key)?;
        let entry = Entry::from_bytes(&row.value).ok().filter(|_| place.node.0 == 1)?;
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(entry.time.0);
        Some((at, entry.decision))
    };
    let mut entries: Vec<_> = rows.iter().filter_map(entry).collect();
    entries.sort_by_key(|(at, _)| *at);
    entries
}
