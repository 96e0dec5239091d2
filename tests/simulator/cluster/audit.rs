//! Invariant 32: every decision has one entry in the group that carries it out,
//! and nothing can be taken from the log without its showing. What was decided is
//! told here from what is written, not from what the core says of it.

use std::collections::BTreeMap;

use starmesh::base::NodeId;
use starmesh::entity::audit::chain::{Chain, Problem, Rows, Verifier};
use starmesh::entity::audit::{Decision, Entry, Place};
use starmesh::entity::commit::{Commit, Group, NodeRow};
use starmesh::entity::input::Input;
use starmesh::entity::keys;
use starmesh::entity::record::decode_record;
use starmesh::store::memory::Memory;
use starmesh::store::{Store, audit};

use super::signatures;

/// Every group of `commit` has the entries of its decisions, and no other.
pub fn check_entries(commit: &Commit) -> Result<(), String> {
    let mut found: Vec<u32> = Vec::new();
    for group in &commit.groups {
        let mut entries = Vec::new();
        for put in group.puts.iter().filter(|put| put.key.starts_with(keys::AUDIT)) {
            let place = keys::parse_audit(&put.key).ok_or("32: a key that is no entry's")?;
            let own = (commit.node, commit.incarnation, commit.number);
            if (place.node, place.incarnation, place.number) != own {
                return Err(format!("32: {place} in another commit: {own:?}"));
            }
            found.push(place.index);
            let value = put.value.as_deref().ok_or("32: an entry was deleted")?;
            let entry = Entry::from_bytes(value).map_err(|error| error.to_string())?;
            if entry.base != commit.audit_root {
                return Err(format!("32: {place} has another base than its commit"));
            }
            entries.extend(told(&entry.decision));
        }
        let expected = decided(group)?;
        if entries != expected {
            return Err(format!("32: the group decides {expected:?}, its entries say {entries:?}"));
        }
    }
    let count = found.len() as u32;
    if found.iter().copied().eq(0..count) {
        return Ok(());
    }
    Err(format!("32: entries {found:?} instead of 0 to {count}"))
}

/// A decision in words, so that both sides can be compared.
fn told(decision: &Decision) -> Option<String> {
    Some(match decision {
        Decision::Claimed { entity, sequence, .. } => format!("claim {entity} {sequence}"),
        Decision::HandedOver { entity, sequence, to } => format!("give {entity} {sequence} {to}"),
        Decision::Closed { entity, sequence, kept } => format!("close {entity} {sequence} {kept}"),
        Decision::DeclaredDead { node, last } => format!("bury {node} {}", last.incarnation),
        Decision::DirectoryChanged(change) => {
            format!("directory {} {}", change.version, change.changed)
        }
        Decision::SetAside { entity, sequence, place } => {
            format!("skip {entity} {sequence} {place:?}")
        }
        Decision::Parked { entity, sequence } => format!("park {entity} {sequence}"),
        Decision::Resumed { entity } => format!("resume {entity}"),
        Decision::AccountMade { player } => format!("register {player}"),
        // Of the node itself, which no other key tells.
        Decision::Began { .. } | Decision::Witnessed { .. } | Decision::Stopping => return None,
        Decision::RolesTaken { roles } => format!("roles {roles}"),
        Decision::FormatRaised { version } => format!("format {version}"),
        other => format!("{other:?}"),
    })
}

/// What a group does, by its record and its other keys.
fn decided(group: &Group) -> Result<Vec<String>, String> {
    let mut decided = Vec::new();
    if let Some(append) = &group.append {
        let (_, record) = decode_record(&append.bytes).map_err(|error| error.to_string())?;
        let (entity, sequence) = (append.entity, record.header.sequence);
        let is_forgotten = group.puts.iter().any(|put| put.key == keys::head(entity));
        decided.extend(record.inputs.iter().filter_map(|input| match input {
            Input::Claim(_) => Some(format!("claim {entity} {sequence}")),
            Input::HandOver { to } => Some(format!("give {entity} {sequence} {to}")),
            Input::Skip(place) => Some(format!("skip {entity} {sequence} {place:?}")),
            Input::Park { .. } => Some(format!("park {entity} {sequence}")),
            Input::Close => Some(format!("close {entity} {sequence} {}", !is_forgotten)),
            _ => None,
        }));
    }
    for put in &group.puts {
        let value = put.value.as_deref().unwrap_or_default();
        if let Some(node) = keys::parse_row(&put.key) {
            let row = NodeRow::from_bytes(value).map_err(|error| error.to_string())?;
            decided.push(format!("bury {node} {}", row.incarnation.0 - 1));
        }
        if put.value.is_none() {
            decided.extend(keys::parse_parked(&put.key).map(|it| format!("resume {it}")));
        }
        if put.key == keys::DIRECTORY_VERSION {
            let version = value.try_into().map(u64::from_be_bytes).map_err(|_| "no version")?;
            let is_entry = |key: &[u8]| key.starts_with(keys::DIRECTORY);
            let changed = group.puts.iter().filter(|put| is_entry(&put.key)).count() - 1;
            decided.push(format!("directory {version} {changed}"));
        }
        if put.key == keys::FORMAT {
            let version = value.try_into().map(u16::from_be_bytes).map_err(|_| "no version")?;
            decided.push(format!("format {version}"));
        }
        if put.key.starts_with(keys::ROLES) {
            decided.extend(value.first().map(|roles| format!("roles {roles}")));
        }
        if let Some(player) = keys::account_player(&put.key) {
            decided.push(format!("register {player}"));
        }
    }
    Ok(decided)
}

/// What a store has of the audit log, to be tampered with.
#[derive(Clone, Default)]
pub struct Log {
    pub rows: Rows,
    pub entries: BTreeMap<Vec<u8>, Vec<u8>>,
    pub signatures: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Log {
    pub fn of(store: &Memory) -> Log {
        let all = |prefix| {
            let found = store.scan(prefix, None, usize::MAX).expect("the memory answers");
            found.into_iter().map(|(key, found)| (key, found.value))
        };
        let row = |(key, value): (Vec<u8>, Vec<u8>)| {
            let node = keys::parse_row(&key).expect("a row's key");
            (node, NodeRow::from_bytes(&value).expect("a row"))
        };
        Log {
            rows: all(keys::ROW).map(row).collect(),
            entries: all(keys::AUDIT).collect(),
            signatures: all(keys::AUDIT_SIGNATURE).collect(),
        }
    }

    pub fn verify(&self) -> Vec<Chain> {
        let mut verifier = Verifier::new(self.rows.clone());
        for (key, value) in &self.entries {
            verifier.add(keys::parse_audit(key).expect("an entry's key"), value);
        }
        for (key, value) in &self.signatures {
            verifier.add_signature(key, value, &signatures::check);
        }
        verifier.finish(&self.rows)
    }

    /// What is wrong with the log of a node.
    pub fn problem(&self, node: NodeId) -> Option<Problem> {
        self.verify().into_iter().find(|chain| chain.node == node)?.problem
    }
}

/// The log is whole, and without any one of its entries it is not.
pub fn judge(store: &Memory, most: usize) {
    for chain in audit::verify(store, &signatures::check, &[]).expect("the memory answers") {
        assert!(chain.problem.is_none(), "32: {chain:?}");
    }
    let log = Log::of(store);
    let every = log.entries.len().div_ceil(most).max(1);
    let places: Vec<Place> =
        log.entries.keys().map(|key| keys::parse_audit(key).expect("an entry's key")).collect();
    // The last of each node are among those that are tried.
    let is_last = |n: usize| places.get(n + 1).map(|it| it.node) != Some(places[n].node);
    for (_, place) in places.iter().enumerate().filter(|(n, _)| n % every == 0 || is_last(*n)) {
        let mut log = log.clone();
        log.entries.remove(&keys::audit_entry(*place));
        let problem = log.problem(place.node);
        assert!(
            matches!(problem, Some(Problem::Broken(_) | Problem::Tail)),
            "32: without {place}: {problem:?}"
        );
    }
}
