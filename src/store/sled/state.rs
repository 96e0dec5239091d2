//! Owns what commits change and readers see: index, overlay, open segments,
//! recent changes. Never writes a file. Called under the engine's lock.
//! Invariant: it shows exactly the commits whose frames are durable.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Bound;
use std::sync::Arc;

use crate::base::{EntityKey, NodeId};
use crate::entity::commit::NodeRow;
use crate::entity::keys::{self, parse_row};
use crate::store::changes::ChangeLog;
use crate::store::decide::{Journal, Present, Stamp};
use crate::store::journal::EntityJournal;
use crate::store::{ReadError, Versioned};

use super::frame::{Frame, FrameWriter};
use super::index::{Index, Misfit, Origin};
use super::keys::{Keys, Position};
use super::overlay::{Batch, Overlay, Pending};

/// An open segment.
#[derive(Clone, Debug)]
pub struct Segment {
    pub file: Arc<File>,
    pub end: u64,
    /// The file ends at `end`, durably; of the one being written, not yet.
    pub exact: bool,
}

/// What commits change and readers see.
#[derive(Debug)]
pub struct State {
    pub index: Index,
    pub overlay: Overlay,
    pub segments: BTreeMap<u32, Segment>,
    pub changes: ChangeLog,
    /// Up to where sled has the keys.
    pub flushed: Position,
}

impl State {
    /// Folds in a frame that is durable.
    ///
    /// # Errors
    /// When it does not follow the one before.
    pub fn fold(&mut self, frame: &Frame<'_>, origin: Origin) -> Result<(), Misfit> {
        let State { index, overlay, changes, .. } = self;
        index.apply(frame, origin, |change| {
            changes.record(change.version, &change.key, change.value);
            let version = change.version;
            let value = change.value.map(|value| Versioned { version, value: value.to_vec() });
            overlay.put(change.key, value);
        })?;
        changes.complete(frame.version);
        if let Some(segment) = self.segments.get_mut(&origin.segment) {
            segment.end = origin.offset + frame.length as u64;
        }
        Ok(())
    }

    /// Behind the last acknowledged frame.
    pub fn end(&self) -> Position {
        let last = self.segments.last_key_value();
        last.map_or(Position { segment: 0, offset: 0 }, |(id, segment)| Position {
            segment: *id,
            offset: segment.end,
        })
    }

    /// Bytes of all segments.
    pub fn journal_bytes(&self) -> u64 {
        self.segments.values().fold(0, |sum, segment| sum.saturating_add(segment.end))
    }

    /// The preamble of a segment that begins now.
    pub fn preamble(&self) -> FrameWriter {
        let mut frame = FrameWriter::preamble(self.index.version);
        for (node, (version, row)) in &self.index.rows {
            frame.row(*node, *version, &row.to_bytes());
        }
        for (key, Versioned { version, value }) in &self.index.kept {
            frame.kept(key, *version, value);
        }
        frame
    }

    /// See [`Store::get`](crate::store::Store::get).
    ///
    /// # Errors
    /// When sled cannot be read.
    pub fn get(&self, keys: &Keys, key: &[u8]) -> Result<Option<Versioned>, ReadError> {
        if let Some(node) = parse_row(key) {
            return Ok(self.row_value(node));
        }
        match self.overlay.find(key) {
            Some(change) => Ok(change.clone()),
            None => keys.get(key),
        }
    }

    /// See [`Store::scan`](crate::store::Store::scan).
    ///
    /// # Errors
    /// When sled cannot be read.
    pub fn scan(
        &self,
        keys: &Keys,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Versioned)>, ReadError> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let rows = self.rows_below(prefix);
        self.overlay.scan(prefix, from, &rows, keys.scan(prefix, from)?, limit)
    }

    fn row_value(&self, node: NodeId) -> Option<Versioned> {
        let (version, row) = self.index.rows.get(&node)?;
        Some(Versioned { version: *version, value: row.to_bytes() })
    }

    fn rows_below(&self, prefix: &[u8]) -> Batch {
        let related = keys::ROW.starts_with(prefix) || prefix.starts_with(keys::ROW);
        let nodes = self.index.rows.keys().filter(|_| related);
        nodes
            .map(|node| -> (Vec<u8>, Pending) { (keys::row(*node), self.row_value(*node)) })
            .collect()
    }

    /// Takes out the segments that nothing needs: no part of an entity, no
    /// key that sled lacks, no forgotten entity that an older one would bring
    /// back, no end of the one before that only its header tells.
    pub fn take_unused(&mut self) -> Vec<u32> {
        let mut taken = Vec::new();
        let mut before: Option<(u32, bool)> = None;
        for (id, segment) in &self.segments {
            let uses = self.index.uses.get(id).copied().unwrap_or_default();
            let ends_other = before.is_some_and(|(other, exact)| !exact && other + 1 == *id);
            let forgets = uses.forgotten > 0 && before.is_some();
            if *id < self.flushed.segment && uses.parts == 0 && !forgets && !ends_other {
                taken.push(*id);
            } else {
                before = Some((*id, segment.exact));
            }
        }
        for id in &taken {
            self.segments.remove(id);
            self.index.uses.remove(id);
        }
        taken
    }

    /// See [`Store::pins`](crate::store::Store::pins); at most `limit`.
    pub fn pins(&self, limit: usize) -> Vec<EntityKey> {
        let active = self.end().segment;
        let mut used = self.index.uses.iter().filter(|(id, uses)| **id < active && uses.parts > 0);
        used.next().map_or_else(Vec::new, |(oldest, _)| self.index.pinned_by(*oldest, limit))
    }
}

/// What a commit is decided on.
pub struct View<'a> {
    pub state: &'a State,
    pub keys: &'a Keys,
}

impl Present for View<'_> {
    fn version(&self) -> u64 {
        self.state.index.version
    }

    fn row(&self, node: NodeId) -> Result<Option<(u64, NodeRow)>, ReadError> {
        Ok(self.state.index.rows.get(&node).cloned())
    }

    fn stamp(&self, key: &[u8]) -> Result<Option<Stamp>, ReadError> {
        let found = self.state.get(self.keys, key)?;
        Ok(found.map(|found| Stamp::of(found.version, &found.value)))
    }

    fn journal(&self, entity: EntityKey) -> Journal {
        let journal = self.state.index.entities.get(&entity);
        journal.map(EntityJournal::journal).unwrap_or_default()
    }
}
