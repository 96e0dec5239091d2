//! Owns the meaning of a commit: which of its groups are accepted and what
//! they change. Never keeps anything: an engine shows it what is there
//! ([`Present`]) and carries out the [`Op`]s. Called by every engine, so that
//! there is one implementation of the rules. Invariant: the same commit on
//! the same contents gives the same decision.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::base::{EntityKey, Incarnation, NodeId, Tick};
use crate::entity::audit::root_after;
use crate::entity::commit::{Append, Check, Commit, CommitError, Expect, NodeRow};
use crate::entity::keys;

use super::ReadError;
use super::shape::{self, Group};

/// What an engine holds before a commit.
pub trait Present {
    /// The version of the last commit, 0 before the first.
    fn version(&self) -> u64;

    /// A node's row and its version.
    ///
    /// # Errors
    /// When it cannot be read; the commit's outcome is then unknown.
    fn row(&self, node: NodeId) -> Result<Option<(u64, NodeRow)>, ReadError>;

    /// What checks ask of a key.
    ///
    /// # Errors
    /// When it cannot be read; the commit's outcome is then unknown.
    fn stamp(&self, key: &[u8]) -> Result<Option<Stamp>, ReadError>;

    /// Where an entity's journal stands.
    fn journal(&self, entity: EntityKey) -> Journal;
}

/// What checks ask of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub version: u64,
    /// The big-endian u64 in the value's first 8 bytes.
    pub number: Option<u64>,
}

impl Stamp {
    /// The stamp of `value`, put by the commit with `version`.
    pub fn of(version: u64, value: &[u8]) -> Stamp {
        let number = value.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes));
        Stamp { version, number }
    }
}

/// Where an entity's journal stands; all zero for an entity the store does
/// not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// The sequence of the last record, also when it is trimmed.
    pub last: u64,
    /// The sequence of the snapshot, 0 for none.
    pub head: u64,
}

/// One change that an accepted group makes; carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// A key that is none of the below gets a value, or is deleted.
    Put { key: Cow<'a, [u8]>, value: Option<Cow<'a, [u8]>> },
    /// A node's row is replaced.
    Row { node: NodeId, row: Cow<'a, NodeRow> },
    /// An entity's journal grows by a record.
    Append { entity: EntityKey, sequence: u64, bytes: &'a [u8] },
    /// A chunk of a snapshot that is not the entity's yet.
    Chunk { entity: EntityKey, snapshot: u64, index: u32, bytes: &'a [u8] },
    /// A snapshot becomes the entity's: the key `head` gets `value`, records
    /// up to `snapshot` and chunks of earlier snapshots go.
    Head { entity: EntityKey, snapshot: u64, value: &'a [u8] },
    /// The entity is forgotten: key `head`, journal and chunks.
    Forget { entity: EntityKey },
}

/// What is to be done with a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// It was carried out before; answered from the row.
    Repeated { version: u64, refused: Vec<u32> },
    /// It is to be carried out.
    Accepted(Accepted<'a>),
}

/// What a commit changes, to be made durable in whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted<'a> {
    /// The store's version from now on.
    pub version: u64,
    pub refused: Vec<u32>,
    /// The committing node's row comes last.
    pub ops: Vec<Op<'a>>,
}

/// Decides about `commit` on what is `present`.
///
/// # Errors
/// `Malformed` whatever is there, `Fenced` by the node's row, `Unknown` when
/// something could not be read.
pub fn decide<'a, P: Present>(
    present: &P,
    commit: &'a Commit,
) -> Result<Decision<'a>, CommitError> {
    let groups = shape::parse(commit)?;
    let row = present.row(commit.node).map_err(unread)?;
    let tick = match fence(commit, row.as_ref().map(|(_, row)| row))? {
        Fence::Repeated { refused } => {
            let version = row.map_or(0, |(version, _)| version);
            return Ok(Decision::Repeated { version, refused });
        }
        Fence::Next { tick } => tick,
    };
    let mut trial = Trial::new(present);
    if let (0, Some((_, row))) = (commit.number, &row)
        && !row.is_vacant()
    {
        trial.end_incarnation(commit.node, row);
    }
    let mut refused = Vec::new();
    for (index, group) in (0..).zip(&groups) {
        if !trial.attempt(group).map_err(unread)? {
            refused.push(index);
        }
    }
    Ok(Decision::Accepted(trial.accept(commit, tick, refused)))
}

fn unread(error: ReadError) -> CommitError {
    CommitError::Unknown(error.to_string())
}

enum Fence {
    Repeated { refused: Vec<u32> },
    Next { tick: Tick },
}

/// Holds a commit against its node's row.
fn fence(commit: &Commit, row: Option<&NodeRow>) -> Result<Fence, CommitError> {
    let fenced = || CommitError::Fenced { row: row.cloned() };
    let Some(row) = row else {
        let first = commit.number == 0 && commit.incarnation == Incarnation(1);
        return if first { Ok(Fence::Next { tick: Tick(0) }) } else { Err(fenced()) };
    };
    let same = (row.incarnation, row.nonce) == (commit.incarnation, commit.nonce);
    if same && row.number == commit.number || is_left_by(commit, row) {
        return Ok(Fence::Repeated { refused: row.refused.clone() });
    }
    if row.audit_root != commit.audit_root {
        // Its process knows another history than the row: neither goes on.
        return Err(fenced());
    }
    if commit.number == 0 {
        let next = row.incarnation.0.checked_add(1) == Some(commit.incarnation.0);
        return if next { Ok(Fence::Next { tick: row.tick }) } else { Err(fenced()) };
    }
    if !same || row.number.checked_add(1) != Some(commit.number) {
        return Err(fenced());
    }
    if commit.tick < row.tick {
        let (commit, row) = (commit.tick.0, row.tick.0);
        return Err(CommitError::Malformed(format!("tick {commit} after tick {row}")));
    }
    Ok(Fence::Next { tick: commit.tick })
}

/// Whether it is this commit that ended the incarnation. The row has no nonce by
/// then: what the commit made of the audit root stands for it.
fn is_left_by(commit: &Commit, row: &NodeRow) -> bool {
    let ended = row.incarnation.0.checked_sub(1);
    commit.is_last
        && row.was_left()
        && (ended, row.number) == (Some(commit.incarnation.0), commit.number)
        && row.audit_root == root_after(commit, &row.refused)
}

/// The groups tried so far, on top of what is present.
struct Trial<'a, 'p, P> {
    present: &'p P,
    version: u64,
    keys: BTreeMap<Cow<'a, [u8]>, Option<Stamp>>,
    journals: BTreeMap<EntityKey, Journal>,
    ops: Vec<Op<'a>>,
}

impl<'a, 'p, P: Present> Trial<'a, 'p, P> {
    fn new(present: &'p P) -> Self {
        let version = present.version().saturating_add(1);
        let (keys, journals) = (BTreeMap::new(), BTreeMap::new());
        Trial { present, version, keys, journals, ops: Vec::new() }
    }

    fn end_incarnation(&mut self, node: NodeId, row: &NodeRow) {
        let key = keys::ended_incarnation(node, row.incarnation).into();
        let value = Some(row.tick.0.to_be_bytes().to_vec().into());
        self.record(Op::Put { key, value });
    }

    /// Whether the group is accepted; if not, nothing of it happened.
    fn attempt(&mut self, group: &Group<'a>) -> Result<bool, ReadError> {
        for check in group.checks {
            if !self.holds(check)? {
                return Ok(false);
            }
        }
        let Some(journals) = self.journals_after(group) else {
            return Ok(false);
        };
        self.journals.extend(journals);
        if let Some(Append { entity, sequence, bytes }) = group.append {
            self.ops.push(Op::Append { entity: *entity, sequence: *sequence, bytes });
        }
        group.ops.iter().for_each(|op| self.record(op.clone()));
        Ok(true)
    }

    fn holds(&self, check: &Check) -> Result<bool, ReadError> {
        let stamp = match self.keys.get(check.key.as_slice()) {
            Some(stamp) => *stamp,
            None => self.present.stamp(&check.key)?,
        };
        Ok(match check.expect {
            Expect::Absent => stamp.is_none(),
            Expect::Version(version) => stamp.is_some_and(|s| s.version == version),
            Expect::NumberBelow(bound) => stamp.is_none_or(|s| s.number.is_some_and(|n| n < bound)),
        })
    }

    /// Where the journals that the group touches stand after it, `None` when
    /// a sequence is not the expected one.
    fn journals_after(&self, group: &Group<'a>) -> Option<BTreeMap<EntityKey, Journal>> {
        let mut after = BTreeMap::new();
        if let Some(append) = group.append {
            let journal = self.journal(&after, append.entity);
            after.insert(append.entity, journal.append(append.sequence)?);
        }
        for op in &group.ops {
            let (entity, change): (_, &dyn Fn(Journal) -> Option<Journal>) = match op {
                Op::Head { entity, snapshot, .. } => (entity, &|j| j.adopt(*snapshot)),
                Op::Chunk { entity, snapshot, .. } => (entity, &|j| j.chunk(*snapshot)),
                Op::Forget { entity } => (entity, &|_| Some(Journal::default())),
                Op::Put { .. } | Op::Row { .. } | Op::Append { .. } => continue,
            };
            let journal = self.journal(&after, *entity);
            after.insert(*entity, change(journal)?);
        }
        Some(after)
    }

    fn journal(&self, after: &BTreeMap<EntityKey, Journal>, entity: EntityKey) -> Journal {
        let known = after.get(&entity).or_else(|| self.journals.get(&entity));
        known.copied().unwrap_or_else(|| self.present.journal(entity))
    }

    /// Keeps `op`, and what later groups' checks see of it.
    fn record(&mut self, op: Op<'a>) {
        let seen = match &op {
            Op::Put { key, value } => {
                let stamp = value.as_deref().map(|value| Stamp::of(self.version, value));
                Some((key.clone(), stamp))
            }
            Op::Row { node, row } => {
                let stamp = Stamp::of(self.version, &row.to_bytes());
                Some((keys::row(*node).into(), Some(stamp)))
            }
            Op::Head { entity, value, .. } => {
                Some((keys::head(*entity).into(), Some(Stamp::of(self.version, value))))
            }
            Op::Forget { entity } => Some((keys::head(*entity).into(), None)),
            Op::Append { .. } | Op::Chunk { .. } => None,
        };
        self.keys.extend(seen);
        self.ops.push(op);
    }

    fn accept(mut self, commit: &Commit, tick: Tick, refused: Vec<u32>) -> Accepted<'a> {
        let mut row = NodeRow {
            incarnation: commit.incarnation,
            nonce: commit.nonce,
            number: commit.number,
            tick,
            refused: refused.clone(),
            audit_root: root_after(commit, &refused),
        };
        if commit.is_last {
            self.end_incarnation(commit.node, &row);
            row = row.vacated();
        }
        self.ops.push(Op::Row { node: commit.node, row: Cow::Owned(row) });
        Accepted { version: self.version, refused, ops: self.ops }
    }
}

impl Journal {
    fn append(self, sequence: u64) -> Option<Journal> {
        let next = self.last.checked_add(1)? == sequence;
        next.then_some(Journal { last: sequence, ..self })
    }

    /// Chunks belong to a snapshot later than the one in use, so that a
    /// half-written snapshot never mixes with it.
    fn chunk(self, snapshot: u64) -> Option<Journal> {
        (snapshot > self.head).then_some(self)
    }

    /// A snapshot is later than the one it replaces, and of records that are
    /// there; only for an entity without any (an import) it sets the sequence.
    fn adopt(self, snapshot: u64) -> Option<Journal> {
        let known = snapshot <= self.last || self.last == 0;
        let adopted = Journal { head: snapshot, last: self.last.max(snapshot) };
        (snapshot > self.head && known).then_some(adopted)
    }
}
