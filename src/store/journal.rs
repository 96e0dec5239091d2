//! Owns what a store holds of one entity: its snapshot's head and chunks, and
//! the records behind it. Never knows where bytes are: `T` is the bytes in
//! the memory engine and their place in a segment file in the sled engine.
//! Called by both. Invariant: records are without gap from the head's
//! sequence + 1 to `last`.

use std::collections::{BTreeMap, VecDeque};

use super::decide::Journal;
use super::{Cursor, ReadError};

/// About the bytes in one page of a load.
pub const PAGE_BYTES: usize = 1024 * 1024;

/// Something with a length in bytes.
pub trait Length {
    fn bytes(&self) -> usize;
}

impl Length for Vec<u8> {
    fn bytes(&self) -> usize {
        self.len()
    }
}

/// What a store holds of one entity.
#[derive(Clone, Debug)]
pub struct EntityJournal<T> {
    last: u64,
    head: Option<(u64, T)>,
    chunks: BTreeMap<(u64, u32), T>,
    records: VecDeque<T>,
}

/// Parts of an entity, as [`LoadPage`](super::LoadPage) has them.
#[derive(Debug)]
pub struct Page<'a, T> {
    pub head: Option<&'a T>,
    pub chunks: Vec<&'a T>,
    pub records: Vec<(u64, &'a T)>,
    pub next: Option<Cursor>,
}

impl<T> Default for EntityJournal<T> {
    fn default() -> Self {
        let (chunks, records) = (BTreeMap::new(), VecDeque::new());
        EntityJournal { last: 0, head: None, chunks, records }
    }
}

impl<T> EntityJournal<T> {
    pub fn journal(&self) -> Journal {
        Journal { last: self.last, head: self.head_sequence() }
    }

    fn head_sequence(&self) -> u64 {
        self.head.as_ref().map_or(0, |(sequence, _)| *sequence)
    }

    /// Everything held, in no order that matters.
    pub fn parts(&self) -> impl Iterator<Item = &T> {
        let head = self.head.iter().map(|(_, head)| head);
        head.chain(self.chunks.values()).chain(&self.records)
    }

    /// Adds the next record.
    pub fn append(&mut self, record: T) {
        self.last = self.last.saturating_add(1);
        self.records.push_back(record);
    }

    /// Adds a chunk; hands back the one it replaces.
    pub fn put_chunk(&mut self, snapshot: u64, index: u32, chunk: T) -> Option<T> {
        self.chunks.insert((snapshot, index), chunk)
    }

    /// The sequence of the first record held.
    pub fn first(&self) -> Option<u64> {
        let held = u64::try_from(self.records.len()).ok().filter(|held| *held > 0)?;
        Some(self.last.saturating_sub(held).saturating_add(1))
    }

    /// Takes it that all records up to `last` are trimmed; hands back those
    /// held. Only a recovery does, that read records which no longer count.
    pub fn restart_after(&mut self, last: u64) -> Vec<T> {
        self.last = last;
        std::mem::take(&mut self.records).into()
    }

    /// Makes `snapshot` the entity's; hands back what it replaces.
    pub fn adopt(&mut self, snapshot: u64, head: T) -> Vec<T> {
        let held = u64::try_from(self.records.len()).unwrap_or(u64::MAX);
        let first = self.last.saturating_sub(held).saturating_add(1);
        let behind = snapshot.saturating_add(1).saturating_sub(first).min(held);
        let mut gone: Vec<T> = self.records.drain(..behind as usize).collect();
        let kept = self.chunks.split_off(&(snapshot, 0));
        gone.extend(std::mem::replace(&mut self.chunks, kept).into_values());
        gone.extend(self.head.replace((snapshot, head)).map(|(_, head)| head));
        self.last = self.last.max(snapshot);
        gone
    }

    /// Everything held, when the entity is forgotten.
    pub fn into_parts(self) -> impl Iterator<Item = T> {
        let head = self.head.into_iter().map(|(_, head)| head);
        head.chain(self.chunks.into_values()).chain(self.records)
    }
}

impl<T: Length> EntityJournal<T> {
    /// The page that `from` asks for, at least one part long.
    ///
    /// # Errors
    /// `Replaced` when a newer snapshot took away what `from` asks for.
    pub fn page(&self, from: Option<Cursor>) -> Result<Page<'_, T>, ReadError> {
        let at = self.head_sequence();
        let mut page = Page { head: None, chunks: vec![], records: vec![], next: None };
        let mut room = PAGE_BYTES;
        let after = match from {
            None => {
                page.head = self.head.as_ref().map(|(_, head)| head);
                self.fill_chunks(at, 0, &mut page, &mut room).then_some(at)
            }
            Some(Cursor::Chunk { snapshot, index }) if snapshot == at => {
                self.fill_chunks(at, index, &mut page, &mut room).then_some(at)
            }
            Some(Cursor::After(sequence)) if sequence >= at => Some(sequence),
            Some(_) => return Err(ReadError::Replaced),
        };
        if let Some(after) = after {
            self.fill_records(after, &mut page, &mut room);
        }
        Ok(page)
    }

    /// Whether all chunks from `index` on fitted.
    fn fill_chunks<'a>(
        &'a self,
        snapshot: u64,
        index: u32,
        page: &mut Page<'a, T>,
        room: &mut usize,
    ) -> bool {
        for ((_, index), chunk) in self.chunks.range((snapshot, index)..=(snapshot, u32::MAX)) {
            if *room == 0 {
                page.next = Some(Cursor::Chunk { snapshot, index: *index });
                return false;
            }
            *room = room.saturating_sub(chunk.bytes());
            page.chunks.push(chunk);
        }
        true
    }

    fn fill_records<'a>(&'a self, after: u64, page: &mut Page<'a, T>, room: &mut usize) {
        let head = self.head_sequence();
        let skipped = usize::try_from(after.saturating_sub(head)).unwrap_or(usize::MAX);
        let numbered = (head.saturating_add(1)..).zip(&self.records);
        for (sequence, record) in numbered.skip(skipped) {
            if *room == 0 {
                page.next = Some(Cursor::After(sequence - 1));
                return;
            }
            *room = room.saturating_sub(record.bytes());
            page.records.push((sequence, record));
        }
    }
}
