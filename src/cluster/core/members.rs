//! Owns which nodes of a cluster live, as far as this one can tell: when each
//! one's row last moved, and of which incarnations it may be declared that they
//! are dead. Never reads a store and never writes a row:
//! the [core](super::node) reads them a few times a second and proposes what
//! comes of it. Called with each reading.
//!
//! ```text
//!   living ──(row unmoved for 1 s, ours moves, another's moves)──> may be declared
//!      ^                                                               │ group accepted
//!      └──────────────(a new process begins: commit 0)────────── vacant row
//! ```
//!
//! Invariants: a row counts as unmoved only for as long as this node read the
//! rows without a pause and its own commits returned, so that a node that stood
//! still itself accuses nobody; in ten seconds at most a third of the nodes, or
//! one, are declared dead, by whomever ([`deaths`](super::deaths)).

use std::collections::BTreeMap;

use super::deaths::{Deaths, DeathsRead};
use super::map::Standing;
use crate::base::{Incarnation, Millis, NodeId};
use crate::entity::commit::{Check, Expect, Group, NodeRow, Put};
use crate::entity::keys;

/// It need not be compared with another's any more after so many times that, and
/// need not have been seen to move.
const ALL_SILENT: u64 = 5;
/// Between two readings, or from a returned commit to now, no more may pass: a
/// node's own row moves every 200 ms.
const PAUSE_MS: u64 = 500;

/// A node's row as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowRead {
    pub node: NodeId,
    /// Of its key.
    pub version: u64,
    pub row: NodeRow,
}

#[derive(Clone, Debug)]
struct Member {
    version: u64,
    row: NodeRow,
    /// Since when it has been read like this.
    since: Millis,
    /// Whether it was seen to move since the store was last away, or this process
    /// began.
    moved: bool,
}

/// What is known of the rows.
#[derive(Debug)]
pub struct Members {
    me: NodeId,
    /// A row that did not move for so long may be of a dead node.
    silent_ms: u64,
    rows: BTreeMap<NodeId, Member>,
    read: Option<Millis>,
    /// When a commit of this node's last returned.
    returned: Option<Millis>,
    deaths: Deaths,
}

impl Members {
    pub fn new(me: NodeId, silent_ms: u64) -> Members {
        let (rows, deaths) = (BTreeMap::new(), Deaths::default());
        Members { me, silent_ms, rows, read: None, returned: None, deaths }
    }

    /// A commit of this node's returned. After a pause nothing that was read in
    /// it counts: the others may have waited for the same store, and may take
    /// longer than this node to be back.
    pub fn note_returned(&mut self, now: Millis) {
        let paused = self.returned.is_none_or(|at| now.since(at) > PAUSE_MS);
        self.returned = Some(now);
        if paused {
            for member in self.rows.values_mut() {
                (member.since, member.moved) = (now, false);
            }
        }
    }

    /// The last declarations of death, as they were read before the rows.
    pub fn note_deaths(&mut self, read: &DeathsRead, now: Millis) {
        self.deaths.note_read(read, now);
    }

    /// All rows, as they were read just now. Returns the nodes whose incarnation
    /// is another than before: what they owned is to be looked after.
    pub fn note_rows(&mut self, rows: Vec<RowRead>, now: Millis) -> Vec<NodeId> {
        let paused = self.read.is_none_or(|read| now.since(read) > PAUSE_MS);
        self.read = Some(now);
        let mut ended = Vec::new();
        for RowRead { node, version, row } in rows {
            let before = self.rows.get(&node);
            let is_new = before.is_none_or(|member| member.version != version);
            let since = before.map(|member| member.since).filter(|_| !is_new && !paused);
            if before.is_some_and(|member| member.row.incarnation < row.incarnation)
                || before.is_none() && row.incarnation > Incarnation(1)
            {
                ended.push(node);
            }
            // Behind a pause it may be from before the pause that it moved.
            let moved = !paused && before.is_some_and(|member| member.moved || is_new);
            self.rows.insert(node, Member { version, row, since: since.unwrap_or(now), moved });
        }
        ended
    }

    /// Every node's row as it was last read, ascending.
    pub fn rows(&self) -> impl Iterator<Item = (NodeId, &NodeRow)> {
        self.rows.iter().map(|(node, member)| (*node, &member.row))
    }

    /// The row of `node` as it was last read.
    pub fn row(&self, node: NodeId) -> Option<&NodeRow> {
        self.rows.get(&node).map(|member| &member.row)
    }

    /// Nodes that run, as far as is known, ascending.
    pub fn living(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.rows.iter().filter(|(_, member)| !member.row.is_vacant()).map(|(node, _)| *node)
    }

    /// Every node that ever was.
    pub fn standings(&self) -> BTreeMap<NodeId, Standing> {
        let standing = |member: &Member| Standing {
            incarnation: member.row.incarnation,
            lives: !member.row.is_vacant(),
        };
        self.rows.iter().map(|(node, member)| (*node, standing(member))).collect()
    }

    /// Whether `node` runs, as far as is known.
    pub fn is_living(&self, node: NodeId) -> bool {
        self.rows.get(&node).is_some_and(|member| !member.row.is_vacant())
    }

    /// Whether something of this incarnation may be heeded: it is not known to
    /// have ended.
    pub fn may_speak(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.rows.get(&node).is_none_or(|member| {
            let known = member.row.incarnation;
            incarnation > known || (incarnation == known && !member.row.is_vacant())
        })
    }

    /// When the next row will not have moved for so long that its node may be dead,
    /// if it does not until then.
    pub fn silent_at(&self, now: Millis) -> Option<Millis> {
        let others = self.rows.iter().filter(|(node, it)| **node != self.me && !it.row.is_vacant());
        let silent = others.map(|(_, member)| Millis(member.since.0 + self.silent_ms));
        silent.filter(|at| *at > now).min()
    }

    /// The group that declares dead whoever may be, and who that is: all of them, or
    /// nobody if one moved meanwhile, or another node declared somebody.
    pub fn deaths(&self, now: Millis) -> Option<(Vec<NodeId>, Group)> {
        let is_fresh = |at: &Millis| now.since(*at) <= PAUSE_MS;
        if !self.returned.is_some_and(|at| is_fresh(&at))
            || !self.read.is_some_and(|at| is_fresh(&at))
        {
            return None;
        }
        let silent = self.rows.iter().filter(|(node, _)| self.is_silent(**node, now));
        let silent: Vec<_> = silent.take(self.deaths.room(self.living(), now)).collect();
        let nodes: Vec<NodeId> = silent.iter().map(|(node, _)| **node).collect();
        let (check, put) = self.deaths.declare(&nodes, now);
        let mut group = Group { checks: vec![check], puts: vec![put], append: None };
        silent.into_iter().for_each(|(node, member)| declare(*node, member, &mut group));
        (!nodes.is_empty()).then_some((nodes, group))
    }

    fn is_silent(&self, node: NodeId, now: Millis) -> bool {
        let Some(member) = self.rows.get(&node).filter(|member| !member.row.is_vacant()) else {
            return false;
        };
        let silent_ms = now.since(member.since);
        let others = self
            .rows
            .iter()
            .filter(|(other, it)| **other != node && **other != self.me && !it.row.is_vacant());
        let mut others = others.peekable();
        let is_alone = others.peek().is_none();
        let another_moves = others.any(|(_, it)| now.since(it.since) < self.silent_ms);
        node != self.me
            && silent_ms >= self.silent_ms
            && (member.moved && (is_alone || another_moves)
                || silent_ms >= ALL_SILENT * self.silent_ms)
    }
}

/// Raises the row's incarnation if it still is as it was read: from then on the
/// node commits nothing, and what it had may be claimed at its last tick.
fn declare(node: NodeId, member: &Member, group: &mut Group) {
    let row = &member.row;
    let vacant = NodeRow { number: 0, refused: Vec::new(), ..row.clone() }.vacated();
    let ended = keys::ended_incarnation(node, row.incarnation);
    group.checks.push(Check { key: keys::row(node), expect: Expect::Version(member.version) });
    group.puts.push(Put { key: keys::row(node), value: Some(vacant.to_bytes()) });
    group.puts.push(Put { key: ended, value: Some(row.tick.0.to_be_bytes().to_vec()) });
}

#[cfg(test)]
mod tests;
