//! Owns what it means that an audit log is whole. Never reads a store and never
//! verifies a signature: it is given every node's row, then all entries in the
//! order of their keys, then all signatures and what came of them. Called by
//! `starmesh audit verify`, by the admin call, and by tests.
//!
//! | what was done to the log | how it shows |
//! |---|---|
//! | an entry removed, changed, added or moved | the next commit's base is another than the chain's root |
//! | the same behind the last base | the row's root is another than the chain's |
//! | the last entries removed, and the row set back to that | a head that another node wrote down, or a signature, is beyond it |
//! | a whole history written anew, row and all | another node's head, or a signature, says otherwise |
//! | the same, and all signatures removed | too much is unsigned (`audit/signed.rs`) |
//!
//! Invariant: of each node the first problem is told; what follows it is judged
//! from the next base on.

use std::collections::BTreeMap;

use serde::Serialize;

use super::commits::{Commits, Known};
use super::signed::{SIGNED_WITHIN_MS, Signed};
use super::{Decision, Doubt, Entry, Fold, Head, Place, Root, Signature};
use crate::base::{Incarnation, Millis, NodeId};
use crate::entity::commit::NodeRow;
use crate::entity::keys;

pub use super::problem::{Problem, SignedPlace, Witness};

/// What was found of one node's chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Chain {
    pub node: NodeId,
    /// As its row says: to be kept elsewhere.
    pub head: Option<KeptHead>,
    pub entries: u64,
    /// When the first and the last of them were made.
    pub from: Option<Millis>,
    pub to: Option<Millis>,
    /// Heads of it that others wrote down and that are as they say.
    pub witnessed: u64,
    /// Signatures over it that are believed and as the chain says.
    pub signatures: u64,
    /// Of the entries: those at the end that no signature is over.
    pub unsigned: u64,
    /// When the first of them was made.
    pub unsigned_since: Option<Millis>,
    /// The first thing that is not as it was written.
    pub problem: Option<Problem>,
}

/// A head as it is printed, and read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct KeptHead {
    pub incarnation: u64,
    pub number: u64,
    /// 64 hexadecimal digits.
    pub root: String,
}

impl KeptHead {
    fn of(row: &NodeRow) -> KeptHead {
        let root = row.audit_root.iter().map(|byte| format!("{byte:02x}")).collect();
        KeptHead { incarnation: row.incarnation.0, number: row.number, root }
    }

    /// The head, when the root is one.
    pub fn head(&self) -> Option<Head> {
        let mut root = [0; 32];
        let digits = self.root.as_bytes();
        let is_hex = digits.len() == 64 && digits.iter().all(u8::is_ascii_hexdigit);
        for (byte, n) in root.iter_mut().zip(0..).filter(|_| is_hex) {
            *byte = u8::from_str_radix(self.root.get(2 * n..2 * n + 2)?, 16).ok()?;
        }
        let incarnation = Incarnation(self.incarnation);
        is_hex.then_some(Head { incarnation, number: self.number, root })
    }
}

/// The rows of all nodes.
pub type Rows = BTreeMap<NodeId, NodeRow>;

/// Takes all entries and signatures of a store and judges them.
#[derive(Debug)]
pub struct Verifier {
    rows: Rows,
    chains: BTreeMap<NodeId, Progress>,
    /// All entries were taken.
    ended: bool,
    /// Who wrote down whose head.
    seen: Vec<(Witness, NodeId, Head)>,
}

#[derive(Debug, Default)]
struct Progress {
    root: Root,
    /// The commit whose entries are being taken.
    open: Option<Open>,
    commits: Commits,
    entries: u64,
    span: Option<(Millis, Millis)>,
    witnessed: u64,
    signed: Signed,
    /// There are entries, and there was no row of the node.
    has_no_row: bool,
    problem: Option<Problem>,
}

#[derive(Debug)]
struct Open {
    at: (Incarnation, u64),
    base: Root,
    time: Millis,
    fold: Fold,
}

impl Verifier {
    /// Begins with the rows, which are read before the entries: what is written
    /// behind them is not judged.
    pub fn new(rows: Rows) -> Verifier {
        let chains = rows.keys().map(|node| (*node, Progress::default())).collect();
        Verifier { rows, chains, ended: false, seen: Vec::new() }
    }

    /// Takes the next entry; their keys ascend.
    pub fn add(&mut self, place: Place, value: &[u8]) {
        let chain = self.chains.entry(place.node).or_default();
        match self.rows.get(&place.node) {
            Some(row) if (place.incarnation, place.number) > position(row) => return,
            Some(_) => {}
            // It may have begun since the rows were read.
            None => {
                chain.has_no_row = true;
                return;
            }
        }
        let entry = match Entry::from_bytes(value) {
            Ok(entry) => entry,
            Err(error) => {
                chain.note(Problem::Damaged { at: place, why: error.to_string() });
                return;
            }
        };
        chain.take(place, &entry, value);
        let by = Witness::Entry(place);
        match entry.decision {
            Decision::DeclaredDead { node, last } => self.seen.push((by, node, last)),
            Decision::Witnessed { heads } => {
                self.seen.extend(heads.into_iter().map(|(node, head)| (by, node, head)));
            }
            _ => {}
        }
    }

    /// Takes a head that was kept elsewhere.
    pub fn add_kept(&mut self, node: NodeId, head: Head) {
        self.seen.push((Witness::Kept, node, head));
    }

    /// Takes the next signature, after all entries, and what came of verifying it;
    /// the keys ascend.
    pub fn add_signature(
        &mut self,
        key: &[u8],
        value: &[u8],
        judge: &dyn Fn(&Signature) -> Result<(), Doubt>,
    ) {
        let Some((node, (incarnation, number), by)) = keys::parse_audit_signature(key) else {
            return;
        };
        self.end_entries();
        let chain = self.chains.entry(node).or_default();
        let end = self.rows.get(&node).map(position);
        let taken = match Signature::of_row(key, value) {
            Ok(signature) => {
                let verdict = judge(&signature);
                chain.signed.take(&signature.statement, verdict, &chain.commits, end)
            }
            Err(_) => {
                let at = SignedPlace { node, incarnation, number, by };
                Err(Problem::DamagedSignature(at))
            }
        };
        taken.unwrap_or_else(|problem| chain.note(problem));
    }

    /// Commits and heads that are kept until the end, of less than 100 bytes each.
    pub fn held(&self) -> usize {
        let commits = self.chains.values().map(|chain| chain.commits.len());
        self.seen.len() + commits.sum::<usize>()
    }

    /// What was found, of each node. `later` are the rows as they are now:
    /// another node's entry may name a commit that was made since they were read
    /// first.
    pub fn finish(mut self, later: &Rows) -> Vec<Chain> {
        self.end_entries();
        for (by, node, head) in std::mem::take(&mut self.seen) {
            self.compare(by, node, head, later);
        }
        for (node, chain) in &mut self.chains {
            if chain.has_no_row && !later.contains_key(node) {
                chain.note(Problem::NoRow);
            }
            for at in std::mem::take(&mut chain.signed.beyond) {
                if !reaches(later, *node, (at.incarnation, at.number)) {
                    chain.note(Problem::SignedBeyond(at));
                }
            }
            if let Some(row) = self.rows.get(node) {
                chain.note_unsigned(row);
            }
        }
        let rows = self.rows;
        self.chains.into_iter().map(|(node, it)| it.chain(node, rows.get(&node))).collect()
    }

    /// No entry comes any more.
    fn end_entries(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        for (node, chain) in &mut self.chains {
            chain.close();
            if self.rows.get(node).is_some_and(|row| row.audit_root != chain.root) {
                chain.note(Problem::Tail);
            }
        }
    }

    fn compare(&mut self, by: Witness, node: NodeId, head: Head, later: &Rows) {
        let Head { incarnation, number, root } = head;
        let at = (incarnation, number);
        let chain = self.chains.entry(node).or_default();
        if reaches(&self.rows, node, at) {
            match chain.commits.root_at(at) == root {
                true => chain.witnessed += 1,
                false => chain.note(Problem::Contradicted { by, incarnation, number }),
            }
        } else if !reaches(later, node, at) {
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
        if self.open.as_ref().is_some_and(|open| open.at != at) {
            self.close();
        }
        let root = self.open.as_ref().map_or(self.root, |open| open.base);
        if entry.base != root {
            self.note(Problem::Broken(place));
            // From here on it is judged by itself.
            self.open = None;
        }
        let (base, time) = (entry.base, entry.time);
        let new = || Open { at, base, time, fold: Fold::on(&base) };
        self.open.get_or_insert_with(new).fold.add(&keys::audit_entry(place), value);
        self.entries += 1;
        let from = self.span.map_or(entry.time, |(from, _)| from);
        self.span = Some((from, entry.time));
    }

    fn close(&mut self) {
        if let Some(Open { at, time, fold, .. }) = self.open.take() {
            self.root = fold.root();
            self.commits.push(Known { at, root: self.root, time, entries: self.entries });
        }
    }

    fn note_unsigned(&mut self, row: &NodeRow) {
        let ms = self.signed.unsigned_ms(&self.commits, row).unwrap_or(0);
        if ms > SIGNED_WITHIN_MS {
            let entries = self.unsigned();
            self.note(Problem::Unsigned { entries, ms });
        }
    }

    fn unsigned(&self) -> u64 {
        let signed = self.commits.upto(self.signed.upto).last();
        self.entries - signed.map_or(0, |commit| commit.entries)
    }

    fn chain(self, node: NodeId, row: Option<&NodeRow>) -> Chain {
        let first_unsigned = self.commits.after(self.signed.upto).first();
        Chain {
            node,
            head: row.map(KeptHead::of),
            entries: self.entries,
            from: self.span.map(|(from, _)| from),
            to: self.span.map(|(_, to)| to),
            witnessed: self.witnessed,
            signatures: self.signed.count,
            unsigned: self.unsigned(),
            unsigned_since: first_unsigned.map(|commit| commit.time),
            problem: self.problem,
        }
    }
}

fn position(row: &NodeRow) -> (Incarnation, u64) {
    (row.incarnation, row.number)
}

fn reaches(rows: &Rows, node: NodeId, at: (Incarnation, u64)) -> bool {
    rows.get(&node).is_some_and(|row| position(row) >= at)
}
