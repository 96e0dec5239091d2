//! Owns what it means that an audit log is whole. Never reads a store: it is
//! given every node's row, then all entries in the order of their keys. Called
//! by `starmesh audit verify`, and by tests.
//!
//! | what was done to the log | how it shows |
//! |---|---|
//! | an entry removed, changed, added or moved | the next commit's base is another than the chain's root |
//! | the same behind the last base | the row's root is another than the chain's |
//! | the last entries removed, and the row set back to that | a head that another node wrote down is beyond it |
//! | a whole history written anew, row and all | another node's head says otherwise |
//!
//! Invariant: of each node the first problem is told; what follows it is judged
//! from the next base on.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Decision, Entry, Fold, Head, Place, Root};
use crate::base::{Incarnation, Millis, NodeId};
use crate::entity::commit::NodeRow;
use crate::entity::keys;

/// What was found of one node's chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Chain {
    pub node: NodeId,
    pub entries: u64,
    /// When the first and the last of them were made.
    pub from: Option<Millis>,
    pub to: Option<Millis>,
    /// Heads of it that others wrote down and that are as they say.
    pub witnessed: u64,
    /// The first thing that is not as it was written.
    pub problem: Option<Problem>,
}

/// What is wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Problem {
    #[error("there are entries, but no row of the node")]
    NoRow,
    #[error("{at} cannot be read: {why}")]
    Damaged { at: Place, why: String },
    #[error("{0} does not follow from those before it: one was removed, added or changed")]
    Broken(Place),
    #[error(
        "the last entries are not those that the node's row stands for: some were removed, added or changed"
    )]
    Tail,
    #[error(
        "{by} saw this chain at commit {number} of incarnation {incarnation}, and it says otherwise: it was written anew"
    )]
    Contradicted { by: Place, incarnation: Incarnation, number: u64 },
    #[error(
        "{by} saw this chain at commit {number} of incarnation {incarnation}, which is beyond its end: it was cut off"
    )]
    CutOff { by: Place, incarnation: Incarnation, number: u64 },
}

/// The rows of all nodes.
pub type Rows = BTreeMap<NodeId, NodeRow>;

/// Takes all entries of a store and judges them.
#[derive(Debug)]
pub struct Verifier {
    rows: Rows,
    chains: BTreeMap<NodeId, Progress>,
    /// Who wrote down whose head.
    seen: Vec<(Place, NodeId, Head)>,
}

#[derive(Debug, Default)]
struct Progress {
    root: Root,
    /// The commit whose entries are being taken: its base, and the fold.
    open: Option<(Incarnation, u64, Root, Fold)>,
    /// After each commit with entries.
    roots: Vec<((Incarnation, u64), Root)>,
    entries: u64,
    span: Option<(Millis, Millis)>,
    witnessed: u64,
    problem: Option<Problem>,
}

impl Verifier {
    /// Begins with the rows, which are read before the entries: what is written
    /// behind them is not judged.
    pub fn new(rows: Rows) -> Verifier {
        let chains = rows.keys().map(|node| (*node, Progress::default())).collect();
        Verifier { rows, chains, seen: Vec::new() }
    }

    /// Takes the next entry; their keys ascend.
    pub fn add(&mut self, place: Place, value: &[u8]) {
        let chain = self.chains.entry(place.node).or_default();
        match self.rows.get(&place.node) {
            Some(row) if (place.incarnation, place.number) > position(row) => return,
            Some(_) => {}
            None => chain.note(Problem::NoRow),
        }
        let entry = match Entry::from_bytes(value) {
            Ok(entry) => entry,
            Err(error) => {
                chain.note(Problem::Damaged { at: place, why: error.to_string() });
                return;
            }
        };
        chain.take(place, &entry, value);
        match entry.decision {
            Decision::DeclaredDead { node, last } => self.seen.push((place, node, last)),
            Decision::Witnessed { heads } => {
                self.seen.extend(heads.into_iter().map(|(node, head)| (place, node, head)));
            }
            _ => {}
        }
    }

    /// What was found, of each node. `later` are the rows as they are now:
    /// another node's entry may name a commit that was made since they were read
    /// first.
    pub fn finish(mut self, later: &Rows) -> Vec<Chain> {
        for (node, chain) in &mut self.chains {
            chain.close();
            if self.rows.get(node).is_some_and(|row| row.audit_root != chain.root) {
                chain.note(Problem::Tail);
            }
        }
        for (by, node, head) in std::mem::take(&mut self.seen) {
            self.compare(by, node, head, later);
        }
        let chain = |(node, it): (NodeId, Progress)| Chain {
            node,
            entries: it.entries,
            from: it.span.map(|(from, _)| from),
            to: it.span.map(|(_, to)| to),
            witnessed: it.witnessed,
            problem: it.problem,
        };
        self.chains.into_iter().map(chain).collect()
    }

    fn compare(&mut self, by: Place, node: NodeId, head: Head, later: &Rows) {
        let Head { incarnation, number, root } = head;
        let at = (incarnation, number);
        let reaches = |rows: &Rows| rows.get(&node).is_some_and(|row| position(row) >= at);
        let chain = self.chains.entry(node).or_default();
        if reaches(&self.rows) {
            let known = chain.roots.partition_point(|(place, _)| *place <= at);
            let found = known.checked_sub(1).map_or([0; 32], |last| chain.roots[last].1);
            match found == root {
                true => chain.witnessed += 1,
                false => chain.note(Problem::Contradicted { by, incarnation, number }),
            }
        } else if !reaches(later) {
            chain.note(Problem::CutOff { by, incarnation, number });
        }
    }
}

impl Progress {
    fn note(&mut self, problem: Problem) {
        self.problem.get_or_insert(problem);
    }

    fn take(&mut self, place: Place, entry: &Entry, value: &[u8]) {
        let at = (place.incarnation, place.number);
        if self.open.as_ref().is_some_and(|open| (open.0, open.1) != at) {
            self.close();
        }
        let root = self.open.as_ref().map_or(self.root, |open| open.2);
        if entry.base != root {
            self.note(Problem::Broken(place));
            // From here on it is judged by itself.
            self.open = None;
        }
        let new = || (at.0, at.1, entry.base, Fold::on(&entry.base));
        self.open.get_or_insert_with(new).3.add(&keys::audit_entry(place), value);
        self.entries += 1;
        let from = self.span.map_or(entry.time, |(from, _)| from);
        self.span = Some((from, entry.time));
    }

    fn close(&mut self) {
        if let Some((incarnation, number, _, fold)) = self.open.take() {
            self.root = fold.root();
            self.roots.push(((incarnation, number), self.root));
        }
    }
}

fn position(row: &NodeRow) -> (Incarnation, u64) {
    (row.incarnation, row.number)
}
