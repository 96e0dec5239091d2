//! Owns what was seen of a cluster so far, and judges by it each commit that the
//! store takes: none is of an incarnation that ended (2), no claim goes back behind
//! what was seen (5), and nobody is declared dead too soon, or beyond the cap (23).
//! In storms it has the [history](super::history) judge the records, too.

use std::collections::{BTreeMap, BTreeSet};

use starmesh::base::{EntityKey, Incarnation, NodeId};
use starmesh::cluster::core::table::Release;
use starmesh::entity::commit::{Commit, CommitAnswer, CommitError, Group, NodeRow};
use starmesh::entity::input::Input;
use starmesh::entity::keys;
use starmesh::entity::record::decode_record;
use starmesh::store::memory::Memory;
use starmesh::store::recovery;

use super::formats::Process;
use super::history::History;

/// A row that did not move for so long may be of a dead node.
const SILENT_MS: u64 = 1_000;
/// At most a third of the nodes, or one, are declared dead in this time.
const CAP_MS: u64 = 10_000;

#[derive(Default)]
pub struct Witness {
    /// The highest tick of each entity that was seen outside.
    seen: BTreeMap<EntityKey, u64>,
    /// When each node's row moved last, and to which version.
    moved: BTreeMap<NodeId, (u64, u64)>,
    /// Who was declared dead, and when.
    pub deaths: Vec<(u64, NodeId)>,
    /// The highest incarnation of each node that a row has named.
    incarnations: BTreeMap<NodeId, Incarnation>,
    pub history: Option<History>,
    /// The last process of each node.
    pub processes: BTreeMap<NodeId, Process>,
    /// What nodes let out for players and their sessions since it was last looked
    /// at, while there is a history.
    pub said: Vec<(NodeId, Release)>,
    /// What processes let out for views in that time.
    pub shown: Vec<(NodeId, Incarnation, Release)>,
}

impl Witness {
    pub fn note_said(&mut self, node: NodeId, release: &Release) {
        let is_for_players = matches!(release, Release::Player(_) | Release::Read { .. });
        if self.history.is_some() && is_for_players {
            self.said.push((node, release.clone()));
        }
    }

    pub fn note_shown(&mut self, node: NodeId, incarnation: Incarnation, release: &Release) {
        let is_for_views = matches!(
            release,
            Release::Scene { .. }
                | Release::Step { .. }
                | Release::Pace { .. }
                | Release::Gone { .. }
        );
        if self.history.is_some() && is_for_views {
            self.shown.push((node, incarnation, release.clone()));
        }
    }

    pub fn note_seen(&mut self, entity: EntityKey, tick: u64) {
        let most = self.seen.entry(entity).or_default();
        *most = tick.max(*most);
    }

    /// What the store said to a commit. Whether it took it now, and did not answer
    /// from the row what it had taken before.
    pub fn note_commit(
        &mut self,
        store: &Memory,
        commit: &Commit,
        done: &Result<CommitAnswer, CommitError>,
        now: u64,
    ) -> bool {
        let Ok(answer) = done else { return false };
        if self.moved.get(&commit.node).is_some_and(|(_, known)| answer.version <= *known) {
            return false;
        }
        self.moved.insert(commit.node, (now, answer.version));
        self.check_incarnation(commit.node, commit.incarnation);
        if let Some(history) = &mut self.history {
            history.note_durable(commit, &answer.refused, now);
        }
        let groups = (0_u32..).zip(&commit.groups);
        let accepted = groups.filter(|(index, _)| !answer.refused.contains(index));
        for (_, group) in accepted {
            self.check_claim(group);
            self.check_deaths(store, group, now);
        }
        true
    }

    fn check_incarnation(&mut self, node: NodeId, incarnation: Incarnation) {
        let known = self.incarnations.entry(node).or_insert(incarnation);
        assert!(*known <= incarnation, "2: a commit of {node}, {incarnation}, but it is {known}");
        *known = incarnation;
    }

    /// What a durable commit claims goes on at a tick that nobody has seen beyond.
    /// What was loaded too early is refused, and of what an owner hears too late
    /// that it had claimed, others may have shown more.
    fn check_claim(&self, group: &Group) {
        let Some(append) = &group.append else { return };
        let (_, record) = decode_record(&append.bytes).expect("a record");
        if record.inputs.iter().any(|input| matches!(input, Input::Claim(_))) {
            let (key, tick) = (append.entity, record.header.tick.0);
            let most = self.seen.get(&key).copied().unwrap_or_default();
            assert!(tick >= most, "5: {key} is claimed at {tick} but was seen at {most}");
        }
    }

    fn check_deaths(&mut self, store: &Memory, group: &Group, now: u64) {
        let dead: Vec<NodeId> =
            group.puts.iter().filter_map(|put| keys::parse_row(&put.key)).collect();
        if dead.is_empty() {
            return;
        }
        for put in &group.puts {
            let Some((node, row)) = keys::parse_row(&put.key).zip(put.value.as_deref()) else {
                continue;
            };
            let row = NodeRow::from_bytes(row).expect("a row");
            self.check_incarnation(node, row.incarnation);
        }
        for node in dead {
            let silent_ms = now - self.moved.get(&node).map_or(now, |(at, _)| *at);
            assert!(silent_ms >= SILENT_MS, "23: {node} is declared dead after {silent_ms} ms");
            self.deaths.push((now, node));
        }
        let recent = self.deaths.iter().filter(|(at, _)| now - at < CAP_MS);
        let recent: Vec<NodeId> = recent.map(|(_, node)| *node).collect();
        let rows = recovery::cluster(store, 0).expect("the memory answers").rows;
        let living = rows.iter().filter(|read| !NodeRow::is_vacant(&read.row)).map(|it| it.node);
        let nodes: BTreeSet<NodeId> = living.chain(recent.iter().copied()).collect();
        let cap = (nodes.len() / 3).max(1);
        assert!(recent.len() <= cap, "23: {:?} in ten seconds at {now}, of {nodes:?}", self.deaths);
    }
}
