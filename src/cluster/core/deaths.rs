//! Owns how many nodes may be declared dead just now: in ten seconds at most a
//! third of them, or one, by whomever. All who declare share
//! one key, which has the last declarations: it is read before the rows, and every
//! declaration checks that it is as it was read, and writes it anew. So of two who
//! saw the same silence one is refused, and reads first what the other did.
//! Never reads a store. Called by [`members`](super::members).
//!
//! Invariant: a declaration counts for ten seconds from when it was read here
//! first, which is not before it was made; so no clocks need agree. Only a process
//! that has just begun goes by the clock of whoever declared, and allows for a
//! minute that the declaration was on its way.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{Millis, NodeId};
use crate::entity::commit::{Check, Expect, Put};
use crate::entity::keys;

/// At most a third of the nodes are declared dead in this time.
const CAP_MS: u64 = 10_000;
/// A declaration was no longer on its way to a store that was away, and the clocks
/// of who declared and who reads it do not differ by more.
const LATE_MS: u64 = 60_000;
/// Of a declaration in the key: node and time, big endian.
const DEATH_BYTES: usize = 12;

/// That a node was declared dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Death {
    pub node: NodeId,
    /// By the clock of whoever declared it.
    pub at: Millis,
}

/// The key as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeathsRead {
    /// `None` where nobody was ever declared dead.
    pub version: Option<u64>,
    pub deaths: Vec<Death>,
}

impl DeathsRead {
    /// What `value`, put by the commit with `version`, says; `None` when it is not
    /// what was written.
    pub fn parse(version: u64, value: &[u8]) -> Option<DeathsRead> {
        let (deaths, rest) = value.as_chunks::<DEATH_BYTES>();
        let one = |bytes: &[u8; DEATH_BYTES]| {
            let (node, at) = bytes.split_first_chunk::<4>()?;
            let at = Millis(u64::from_be_bytes(at.try_into().ok()?));
            Some(Death { node: NodeId(u32::from_be_bytes(*node)), at })
        };
        let deaths = deaths.iter().map(one).collect::<Option<_>>()?;
        rest.is_empty().then_some(DeathsRead { version: Some(version), deaths })
    }
}

/// The last declarations.
#[derive(Debug, Default)]
pub struct Deaths {
    is_known: bool,
    version: Option<u64>,
    /// Those that the key has, and from when on each counts.
    since: BTreeMap<Death, Millis>,
}

impl Deaths {
    pub fn note_read(&mut self, read: &DeathsRead, now: Millis) {
        let is_first = !std::mem::replace(&mut self.is_known, true);
        self.version = read.version;
        let since = |death: &Death| {
            let said = Millis(death.at.0.saturating_add(LATE_MS)).min(now);
            let known = self.since.get(death).copied();
            (*death, known.unwrap_or(if is_first { said } else { now }))
        };
        self.since = read.deaths.iter().map(since).collect();
    }

    fn recent(&self, now: Millis) -> impl Iterator<Item = Death> {
        let is_recent = move |(_, since): &(&Death, &Millis)| now.since(**since) < CAP_MS;
        self.since.iter().filter(is_recent).map(|(death, _)| *death)
    }

    /// How many of those that live may be declared dead now.
    pub fn room(&self, living: impl Iterator<Item = NodeId>, now: Millis) -> usize {
        let dead: BTreeSet<NodeId> = self.recent(now).map(|death| death.node).collect();
        let nodes = living.filter(|node| !dead.contains(node)).count() + dead.len();
        (nodes / 3).max(1).saturating_sub(self.recent(now).count())
    }

    /// What a declaration of these nodes' deaths checks and puts besides their rows.
    pub fn declare(&self, nodes: &[NodeId], now: Millis) -> (Check, Put) {
        let expect = self.version.map_or(Expect::Absent, Expect::Version);
        let new = nodes.iter().map(|node| Death { node: *node, at: now });
        let bytes = |death: Death| {
            let Death { node, at } = death;
            node.0.to_be_bytes().into_iter().chain(at.0.to_be_bytes())
        };
        let value = self.recent(now).chain(new).flat_map(bytes).collect();
        let check = Check { key: keys::DEATHS.to_vec(), expect };
        (check, Put { key: keys::DEATHS.to_vec(), value: Some(value) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(deaths: &Deaths, nodes: u32, now: u64) -> usize {
        deaths.room((1..=nodes).map(NodeId), Millis(now))
    }

    fn read(deaths: &[(u32, u64)]) -> DeathsRead {
        let death = |(node, at): &(u32, u64)| Death { node: NodeId(*node), at: Millis(*at) };
        DeathsRead { version: Some(1), deaths: deaths.iter().map(death).collect() }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let mut deaths = Deaths::default();
        let (check, put) = deaths.declare(&[NodeId(7), NodeId(9)], Millis(1 << 41));
        assert_eq!(check.expect, Expect::Absent);
        let found = DeathsRead::parse(5, &put.value.unwrap()).unwrap();
        let expected = DeathsRead { version: Some(5), ..read(&[(7, 1 << 41), (9, 1 << 41)]) };
        assert_eq!(found, expected);
        assert_eq!(DeathsRead::parse(5, &[0; 13]), None);
        deaths.note_read(&found, Millis(1 << 41));
        assert_eq!(deaths.declare(&[], Millis(1 << 41)).0.expect, Expect::Version(5));
    }

    #[test]
    fn it_counts_from_when_it_was_read_whatever_its_clock_said() {
        let mut deaths = Deaths::default();
        deaths.note_read(&DeathsRead::default(), Millis(50_000));
        assert_eq!(room(&deaths, 7, 50_000), 2);
        deaths.note_read(&read(&[(7, 3)]), Millis(50_000));
        deaths.note_read(&read(&[(7, 3)]), Millis(59_000));
        assert_eq!(room(&deaths, 6, 59_999), 1, "of seven");
        deaths.note_read(&read(&[(7, 3), (6, 90_000)]), Millis(59_000));
        assert_eq!(room(&deaths, 5, 59_999), 0);
        assert_eq!(room(&deaths, 5, 60_000), 1, "the second still counts");
        assert_eq!(room(&deaths, 5, 69_000), 1, "of five that are left");
        assert_eq!(deaths.declare(&[], Millis(69_000)).1.value, Some(vec![]));
    }

    #[test]
    fn who_has_just_begun_goes_by_the_clock_of_who_declared() {
        let mut deaths = Deaths::default();
        deaths.note_read(&read(&[(2, 30_000), (3, 30_001), (4, 120_000)]), Millis(100_000));
        assert_eq!(room(&deaths, 9, 100_000), 1, "the second and the third count");
    }

    #[test]
    fn one_that_was_declared_dead_and_runs_again_is_one_node() {
        let mut deaths = Deaths::default();
        deaths.note_read(&DeathsRead::default(), Millis(0));
        deaths.note_read(&read(&[(5, 0)]), Millis(0));
        assert_eq!(room(&deaths, 5, 1), 0);
    }
}
