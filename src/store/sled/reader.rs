//! Owns reading entities out of segments: for the engine's `load`, and for
//! tools that look at the folder of a running node. Never writes, never
//! touches sled or the lock.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::base::{EntityKey, NodeId};
use crate::entity::commit::NodeRow;
use crate::store::{Cursor, LoadPage, ReadError, Versioned};

use super::error::OpenError;
use super::frame::check_span;
use super::index::{Index, Place};
use super::open::check_format;
use super::recover::{Found, Mode, Recovered, recover};

/// A page of an entity, its places not read yet.
pub(super) struct Plan {
    head: Option<Place>,
    chunks: Vec<Place>,
    records: Vec<(u64, Place)>,
    next: Option<Cursor>,
    files: BTreeMap<u32, Arc<File>>,
}

/// Where the page of `entity` lies that `from` asks for.
pub(super) fn plan(
    index: &Index,
    entity: EntityKey,
    from: Option<Cursor>,
    file: impl Fn(u32) -> Option<Arc<File>>,
) -> Result<Plan, ReadError> {
    let unknown = Default::default();
    let page = index.entities.get(&entity).unwrap_or(&unknown).page(from)?;
    let head = page.head.copied();
    let chunks: Vec<Place> = page.chunks.into_iter().copied().collect();
    let records: Vec<_> = page.records.into_iter().map(|(n, place)| (n, *place)).collect();
    let places = head.iter().chain(&chunks).chain(records.iter().map(|(_, place)| place));
    let mut files = BTreeMap::new();
    for id in places.map(|place| place.segment) {
        if let std::collections::btree_map::Entry::Vacant(entry) = files.entry(id) {
            let lost = || ReadError::Damaged(format!("segment {id} is not there"));
            entry.insert(file(id).ok_or_else(lost)?);
        }
    }
    Ok(Plan { head, chunks, records, next: page.next, files })
}

impl Plan {
    /// Reads it. The files stay readable even if they are deleted meanwhile.
    pub fn read(self) -> Result<LoadPage, ReadError> {
        let read = |place| self.read_place(place);
        Ok(LoadPage {
            head: self.head.map(read).transpose()?,
            chunks: self.chunks.iter().copied().map(read).collect::<Result<_, _>>()?,
            records: self
                .records
                .iter()
                .map(|(sequence, place)| Ok((*sequence, read(*place)?)))
                .collect::<Result<_, ReadError>>()?,
            next: self.next,
        })
    }

    fn read_place(&self, place: Place) -> Result<Vec<u8>, ReadError> {
        let Place { segment, offset, .. } = place;
        let damaged = || {
            ReadError::Damaged(format!("segment {segment}, byte {offset}: the checksum is wrong"))
        };
        let file = self.files.get(&segment).ok_or_else(damaged)?;
        let mut bytes = vec![0; place.span()];
        file.read_exact_at(&mut bytes, offset.into())
            .map_err(|error| ReadError::Away(format!("segment {segment}: {error}")))?;
        check_span(bytes).ok_or_else(damaged)
    }
}

/// A look at the segments of a store, as of when it was opened. The store may
/// be open in another process. What was trimmed is gone, and of keys only
/// galaxy keys, node rows and snapshot heads are in segments for certain.
pub struct SegmentReader {
    index: Index,
    segments: BTreeMap<u32, Found>,
}

impl SegmentReader {
    /// Reads the segments of the store in `dir`.
    ///
    /// # Errors
    /// When there is no store, it is newer or damaged.
    pub fn open(dir: &Path) -> Result<SegmentReader, OpenError> {
        let segments = dir.join("segments");
        if !segments.exists() {
            let source = std::io::ErrorKind::NotFound.into();
            return Err(OpenError::Io { doing: "find a store in", path: segments, source });
        }
        check_format(dir, &segments)?;
        let Recovered { index, segments } = recover_running(&segments)?;
        Ok(SegmentReader { index, segments })
    }

    /// The entities with a snapshot or records, in order of their keys.
    pub fn entities(&self) -> impl Iterator<Item = EntityKey> {
        self.index.entities.keys().copied()
    }

    /// A page of an entity, as [`Store::load`](crate::store::Store::load).
    ///
    /// # Errors
    /// When it cannot be read or its checksum is wrong.
    pub fn load(&self, entity: EntityKey, from: Option<Cursor>) -> Result<LoadPage, ReadError> {
        let file = |id| self.segments.get(&id).map(|found| Arc::clone(&found.file));
        plan(&self.index, entity, from, file)?.read()
    }

    /// The value of a key below `galaxy/`.
    pub fn galaxy(&self, key: &[u8]) -> Option<&Versioned> {
        self.index.galaxy.get(key)
    }

    /// The nodes' rows.
    pub fn rows(&self) -> impl Iterator<Item = (NodeId, &NodeRow)> {
        self.index.rows.iter().map(|(node, (_, row))| (*node, row))
    }
}

/// Reads the segments while a node may write and delete some: one that went
/// away between listing and opening is no error the next time.
fn recover_running(segments: &Path) -> Result<Recovered, OpenError> {
    const TRIES: u32 = 5;
    let mut tried = 1;
    loop {
        match recover(segments, Mode::Reader, None, |_| {}) {
            Err(OpenError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound && tried < TRIES =>
            {
                tried += 1;
            }
            result => return result,
        }
    }
}
