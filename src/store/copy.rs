//! Owns copying a stopped galaxy from one store into an empty one, through
//! the trait alone, so between any two engines. Never changes the source.
//! Called by `starmesh store copy`. Invariant: until all is there the copy
//! has the key `copying`, and no node runs on a store that has it.

use crate::base::{EntityKey, Incarnation, NodeId, Tick};
use crate::entity::commit::{Append, Commit, CommitError, GROUPS_MAX, Group, NodeRow, Put};
use crate::entity::keys;

use super::{ReadError, Store, Versioned};

/// Keys and entities asked for at a time.
const PAGE: usize = 1024;
/// A commit is sent when it has so much.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// A commit whose outcome is unknown is sent so often.
const TRIES: u32 = 10;

/// A store that can tell which entities it has.
pub trait Source: Store {
    /// Up to `limit` entities with records or a snapshot, behind `after`, in
    /// an order of the engine's own.
    ///
    /// # Errors
    /// When the store is away or damaged.
    fn entities(&self, after: Option<EntityKey>, limit: usize)
    -> Result<Vec<EntityKey>, ReadError>;
}

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    pub entities: u64,
    pub chunks: u64,
    pub records: u64,
    pub keys: u64,
    pub nodes: u64,
}

/// Why a galaxy was not copied; the source is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    #[error("the source cannot be read: {0}")]
    Read(#[from] ReadError),
    #[error("the source holds no galaxy: no node has ever begun in it")]
    NoGalaxy,
    #[error("the source is itself a copy that did not come to its end")]
    HalfCopied,
    #[error("the target is not empty; nothing in it was changed")]
    NotEmpty,
    #[error("a node ran on the source meanwhile: stop all nodes, empty the target, copy again")]
    Moved,
    #[error("the target refused {0}: empty it and copy again")]
    Refused(String),
    #[error("the target is not complete ({0}): empty it and copy again")]
    Write(#[from] CommitError),
}

/// Copies all of `from` into `to`.
///
/// # Errors
/// See [`CopyError`]; what was written so far no node will run on.
pub fn copy(from: &dyn Source, to: &dyn Store) -> Result<Copied, CopyError> {
    if !to.scan(b"", None, 1)?.is_empty() {
        return Err(CopyError::NotEmpty);
    }
    if from.get(keys::COPYING)?.is_some() {
        return Err(CopyError::HalfCopied);
    }
    let before = rows(from)?;
    let Some(((_, node, row), others)) = before.split_first() else {
        return Err(CopyError::NoGalaxy);
    };
    let mut writer = Writer::begin(to, *node, row)?;
    let mut copied = copy_entities(from, &mut writer)?;
    copied.keys = copy_keys(from, &mut writer)?;
    for (_, node, row) in others {
        writer.put(keys::row(*node), Some(row.to_bytes()))?;
    }
    copied.nodes = before.len() as u64;
    if rows(from)? != before {
        return Err(CopyError::Moved);
    }
    writer.finish(from, row)?;
    Ok(copied)
}

/// The nodes' rows and their versions.
fn rows(store: &dyn Source) -> Result<Vec<(u64, NodeId, NodeRow)>, ReadError> {
    let rows = store.scan(keys::ROW, None, usize::MAX)?.into_iter().map(|(key, found)| {
        let damaged = || ReadError::Damaged(format!("`{}` is no node's row", key.escape_ascii()));
        let node = keys::parse_row(&key).ok_or_else(damaged)?;
        let row = NodeRow::from_bytes(&found.value).map_err(|_| damaged())?;
        Ok((found.version, node, row))
    });
    rows.collect()
}

fn copy_entities(from: &dyn Source, to: &mut Writer<'_>) -> Result<Copied, CopyError> {
    let (mut copied, mut after) = (Copied::default(), None);
    loop {
        let page = from.entities(after, PAGE)?;
        let Some(last) = page.last() else { return Ok(copied) };
        after = Some(*last);
        for entity in page {
            copied.entities += 1;
            let (chunks, records) = copy_entity(from, to, entity)?;
            copied.chunks += chunks;
            copied.records += records;
        }
    }
}

/// Chunks and records of one entity: chunks first, then the head that makes
/// them the entity's, then the records behind it.
fn copy_entity(
    from: &dyn Source,
    to: &mut Writer<'_>,
    entity: EntityKey,
) -> Result<(u64, u64), CopyError> {
    let damaged = || ReadError::Damaged(format!("the head of {entity}"));
    let (mut chunks, mut records) = (0_u32, 0);
    let (mut head, mut next) = (None, None);
    loop {
        let page = from.load(entity, next)?;
        head = head.or(page.head);
        for chunk in page.chunks {
            let snapshot = head.as_deref().and_then(<[u8]>::first_chunk).ok_or_else(damaged)?;
            let key = keys::chunk(entity, u64::from_be_bytes(*snapshot), chunks);
            to.put(key, Some(chunk))?;
            chunks += 1;
        }
        // Records follow when all chunks are there.
        let ended = page.next.is_none() || !page.records.is_empty();
        if let Some(head) = head.take_if(|_| ended) {
            to.put(keys::head(entity), Some(head))?;
        }
        records += page.records.len() as u64;
        for (sequence, bytes) in page.records {
            to.append(Append { entity, sequence, bytes })?;
        }
        next = page.next;
        if next.is_none() {
            return Ok((u64::from(chunks), records));
        }
    }
}

/// All keys but rows and heads, which are written by what they mean.
fn copy_keys(from: &dyn Source, to: &mut Writer<'_>) -> Result<u64, CopyError> {
    let (mut copied, mut after) = (0, None::<Vec<u8>>);
    loop {
        let page = from.scan(b"", after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(copied) };
        after = Some(last.clone());
        for (key, Versioned { value, .. }) in page {
            if !key.starts_with(keys::ROW) && !key.starts_with(keys::HEAD) {
                to.put(key, Some(value))?;
                copied += 1;
            }
        }
    }
}

/// Commits as one of the galaxy's nodes, so that no node is left behind that
/// the galaxy does not have.
struct Writer<'a> {
    to: &'a dyn Store,
    next: Commit,
    weight: usize,
}

impl<'a> Writer<'a> {
    fn begin(to: &'a dyn Store, node: NodeId, row: &NodeRow) -> Result<Writer<'a>, CopyError> {
        let next = Commit {
            node,
            incarnation: Incarnation(1),
            number: 0,
            nonce: row.nonce,
            tick: Tick(0),
            audit_root: row.audit_root,
            groups: vec![],
            is_last: false,
        };
        let mut writer = Writer { to, next, weight: 0 };
        writer.put(keys::COPYING.to_vec(), Some(vec![]))?;
        writer.send()?;
        Ok(writer)
    }

    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), CopyError> {
        self.push(Group { puts: vec![Put { key, value }], ..Group::default() })
    }

    fn append(&mut self, append: Append) -> Result<(), CopyError> {
        self.push(Group { append: Some(append), ..Group::default() })
    }

    fn push(&mut self, group: Group) -> Result<(), CopyError> {
        let weight = group.weight();
        if self.weight + weight > BATCH_BYTES || self.next.groups.len() == GROUPS_MAX {
            self.send()?;
        }
        self.weight += weight;
        self.next.groups.push(group);
        Ok(())
    }

    fn send(&mut self) -> Result<(), CopyError> {
        let mut tried = 1;
        let answer = loop {
            match self.to.commit(&self.next) {
                Err(CommitError::Unknown(_)) if tried < TRIES => tried += 1,
                other => break other?,
            }
        };
        if let Some(refused) = answer.refused.first().and_then(|n| usize::try_from(*n).ok()) {
            return Err(CopyError::Refused(name(&self.next.groups[refused])));
        }
        self.next.groups.clear();
        self.next.number += 1;
        self.weight = 0;
        Ok(())
    }

    /// Brings the committing node's row to where it was: its tick, and its
    /// incarnation, each begun and ended; what ending one writes becomes again
    /// what the source has. Only the number of its last commit is another,
    /// which no one but that incarnation would ask for.
    fn finish(&mut self, from: &dyn Source, row: &NodeRow) -> Result<(), CopyError> {
        self.next.tick = row.tick;
        if row.incarnation == Incarnation(1) {
            self.put(keys::COPYING.to_vec(), None)?;
        }
        self.send()?;
        while self.next.incarnation < row.incarnation {
            let ended = keys::ended_incarnation(self.next.node, self.next.incarnation);
            self.next.incarnation = Incarnation(self.next.incarnation.0 + 1);
            self.next.number = 0;
            let value = from.get(&ended)?.map(|found| found.value);
            self.put(ended, value)?;
            if self.next.incarnation == row.incarnation {
                self.put(keys::COPYING.to_vec(), None)?;
            }
            self.send()?;
        }
        Ok(())
    }
}

/// What a group is about, for an error.
fn name(group: &Group) -> String {
    match (&group.append, group.puts.first()) {
        (Some(append), _) => format!("record {} of {}", append.sequence, append.entity),
        (None, Some(put)) => format!("key `{}`", put.key.escape_ascii()),
        (None, None) => "nothing".into(),
    }
}
