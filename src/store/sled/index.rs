//! Owns what the engine keeps in memory: rows, kept keys, where each
//! entity's parts lie, what keeps each segment alive. Never touches a file.
//! Called with every frame, by the commit that wrote it and by the recovery
//! that reads it again: one fold for both. Invariant: a segment's count is
//! the number of parts in `entities` that lie in it.

use std::collections::BTreeMap;

use crate::base::{EntityKey, NodeId};
use crate::entity::commit::NodeRow;
use crate::entity::keys;
use crate::store::Versioned;
use crate::store::journal::{EntityJournal, Length};

use super::frame::{Entry, Frame, SPAN_HEADER, Span};

/// The keys that every segment repeats, so that segments are enough to replay
/// an entity: what the galaxy is made of, and when incarnations ended.
pub const KEPT: [&[u8]; 3] = [keys::GALAXY, keys::RULES, keys::ENDED];

/// Where a part of an entity lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub segment: u32,
    /// Of its length and checksum.
    pub offset: u32,
    /// Without those.
    pub length: u32,
}

impl Length for Place {
    fn bytes(&self) -> usize {
        self.length as usize
    }
}

impl Place {
    /// Bytes in the file, length and checksum included.
    pub fn span(self) -> usize {
        SPAN_HEADER + self.length as usize
    }
}

/// What keeps a segment alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Records, chunks and heads that an entity would be loaded from.
    pub parts: u64,
    /// Entities forgotten in it: while an older segment is there, deleting
    /// this one would bring them back at the next start.
    pub forgotten: u64,
}

/// A key's change, in order of frames.
pub struct KeyChange<'a> {
    pub key: Vec<u8>,
    pub version: u64,
    pub value: Option<&'a [u8]>,
}

/// A frame that does not fit to those before it.
#[derive(Debug, PartialEq, Eq)]
pub struct Misfit(pub String);

/// What the engine keeps in memory.
#[derive(Debug, Default)]
pub struct Index {
    /// Of the last commit.
    pub version: u64,
    pub rows: BTreeMap<NodeId, (u64, NodeRow)>,
    pub kept: BTreeMap<Vec<u8>, Versioned>,
    pub entities: BTreeMap<EntityKey, EntityJournal<Place>>,
    pub uses: BTreeMap<u32, Uses>,
}

/// Where a frame begins.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    pub segment: u32,
    pub offset: u64,
}

impl Origin {
    fn place(self, span: Span<'_>) -> Place {
        // Segments are far below 4 GiB: `Options::segment_bytes` is a u32, and
        // a frame is at most `COMMIT_BYTES_MAX` and its overhead.
        let offset = (self.offset + span.offset as u64) as u32;
        Place { segment: self.segment, offset, length: span.bytes.len() as u32 }
    }
}

impl Index {
    /// Folds a frame in; hands what it changes of keys to `changed`.
    ///
    /// # Errors
    /// When it cannot be the next one; part of it may be folded in then.
    pub fn apply(
        &mut self,
        frame: &Frame<'_>,
        origin: Origin,
        mut changed: impl FnMut(KeyChange<'_>),
    ) -> Result<(), Misfit> {
        if frame.preamble {
            self.kept.clear();
        }
        self.version = frame.version;
        for entry in &frame.entries {
            self.apply_entry(*entry, frame.version, origin, &mut changed)?;
        }
        Ok(())
    }

    fn apply_entry(
        &mut self,
        entry: Entry<'_>,
        version: u64,
        origin: Origin,
        changed: &mut impl FnMut(KeyChange<'_>),
    ) -> Result<(), Misfit> {
        match entry {
            Entry::Put { key, value } => {
                self.put_kept(key, version, value);
                changed(KeyChange { key: key.to_vec(), version, value });
            }
            Entry::Kept { key, version, value } => self.put_kept(key, version, Some(value)),
            Entry::Row { node, version, row } => {
                let row = NodeRow::from_bytes(row).map_err(|error| Misfit(error.to_string()))?;
                self.rows.insert(node, (version, row));
            }
            Entry::Append { entity, sequence, record } => {
                self.append(entity, sequence, origin.place(record))?;
            }
            Entry::Chunk { entity, snapshot, index, chunk } => {
                let place = self.keep(origin.place(chunk));
                let replaced = self.entity(entity).put_chunk(snapshot, index, place);
                self.release(replaced);
            }
            Entry::Head { entity, snapshot, head } => {
                let place = self.keep(origin.place(head));
                let gone = self.entity(entity).adopt(snapshot, place);
                self.release(gone);
                changed(KeyChange { key: keys::head(entity), version, value: Some(head.bytes) });
            }
            Entry::Forget { entity } => {
                let gone = self.entities.remove(&entity);
                self.release(gone.into_iter().flat_map(EntityJournal::into_parts));
                self.uses.entry(origin.segment).or_default().forgotten += 1;
                changed(KeyChange { key: keys::head(entity), version, value: None });
            }
        }
        Ok(())
    }

    /// A record that is not the next follows a segment that was deleted, when
    /// nothing in it was needed any more: what was before it is not either.
    fn append(&mut self, entity: EntityKey, sequence: u64, place: Place) -> Result<(), Misfit> {
        let place = self.keep(place);
        let journal = self.entity(entity);
        let last = journal.journal().last;
        let gone = match sequence.cmp(&last.saturating_add(1)) {
            std::cmp::Ordering::Less => {
                return Err(Misfit(format!("record {sequence} of {entity} after {last}")));
            }
            std::cmp::Ordering::Equal => vec![],
            std::cmp::Ordering::Greater => journal.restart_after(sequence - 1),
        };
        journal.append(place);
        self.release(gone);
        Ok(())
    }

    fn put_kept(&mut self, key: &[u8], version: u64, value: Option<&[u8]>) {
        if !KEPT.iter().any(|prefix| key.starts_with(prefix)) {
            return;
        }
        match value {
            Some(value) => {
                let value = Versioned { version, value: value.to_vec() };
                self.kept.insert(key.to_vec(), value);
            }
            None => drop(self.kept.remove(key)),
        }
    }

    fn entity(&mut self, entity: EntityKey) -> &mut EntityJournal<Place> {
        self.entities.entry(entity).or_default()
    }

    fn keep(&mut self, place: Place) -> Place {
        self.uses.entry(place.segment).or_default().parts += 1;
        place
    }

    fn release(&mut self, gone: impl IntoIterator<Item = Place>) {
        for place in gone {
            let uses = self.uses.entry(place.segment).or_default();
            uses.parts = uses.parts.saturating_sub(1);
        }
    }

    /// The first entity whose records do not follow its snapshot, with what
    /// is missing: its segment is lost.
    pub fn first_gap(&self) -> Option<String> {
        self.entities.iter().find_map(|(entity, journal)| {
            let (at, first) = (journal.journal().head, journal.first()?);
            let gap = first > at.saturating_add(1);
            gap.then(|| format!("records {} to {} of {entity} are missing", at + 1, first - 1))
        })
    }

    /// The entities with a part in `segment`, at most `limit`.
    pub fn pinned_by(&self, segment: u32, limit: usize) -> Vec<EntityKey> {
        let held = self
            .entities
            .iter()
            .filter(|(_, journal)| journal.parts().any(|place| place.segment == segment));
        held.map(|(entity, _)| *entity).take(limit).collect()
    }
}
