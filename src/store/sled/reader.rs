//! Owns reading entities out of segments: for the engine's `load`, and for
//! tools that look at the folder of a running node. Never writes, never
//! touches sled or the lock.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::base::{EntityKey, Millis};
use crate::entity::commit::{Commit, CommitAnswer, CommitError};
use crate::entity::keys;
use crate::store::{Changes, Cursor, LoadPage, ReadError, Store, Versioned};

use super::error::OpenError;
use super::frame::check_span;
use super::index::{Index, KEPT, Place};
use super::open::check_format;
use super::recover::{Found, Mode, Recovered, recover};
use super::system_time;

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

/// A look at the segments of a store, as of when it was opened; the store may
/// be open in another process. A store that is read only, of which the
/// journals, galaxy keys, ended incarnations, rows and heads are known: other
/// keys may be in sled alone, and asking for them is an error.
pub struct SegmentReader {
    index: Index,
    heads: BTreeMap<Vec<u8>, Versioned>,
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
        recover_running(&segments)
    }

    /// The entities with a snapshot or records, in order of their keys.
    pub fn entities(&self) -> impl Iterator<Item = EntityKey> {
        self.index.entities.keys().copied()
    }

    /// Whether the journal ends with a write that is not whole. A node that
    /// runs may be at it; one that died there never acknowledged it.
    pub fn is_torn(&self) -> bool {
        self.segments.last_key_value().is_some_and(|(_, last)| last.torn)
    }

    /// The known keys with `prefix`.
    fn known(&self, prefix: &[u8]) -> Result<BTreeMap<Vec<u8>, Versioned>, ReadError> {
        if prefix.starts_with(keys::ROW) {
            let rows = self.index.rows.iter().map(|(node, (version, row))| {
                (keys::row(*node), Versioned { version: *version, value: row.to_bytes() })
            });
            return Ok(rows.collect());
        }
        if prefix.starts_with(keys::HEAD) {
            return Ok(self.heads.clone());
        }
        if KEPT.iter().any(|kept| prefix.starts_with(kept)) {
            return Ok(self.index.kept.clone());
        }
        let prefix = prefix.escape_ascii();
        Err(ReadError::Away(format!("only the store itself knows keys below `{prefix}`")))
    }
}

impl Store for SegmentReader {
    /// Always malformed: a reader does not write.
    fn commit(&self, _: &Commit) -> Result<CommitAnswer, CommitError> {
        Err(CommitError::Malformed("the store was opened for reading only".into()))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, ReadError> {
        Ok(self.known(key)?.remove(key))
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Versioned)>, ReadError> {
        let known = self.known(prefix)?.into_iter();
        let found = known.filter(|(key, _)| key.starts_with(prefix));
        let found = found.filter(|(key, _)| after.is_none_or(|after| key.as_slice() > after));
        Ok(found.take(limit).collect())
    }

    /// Nothing: changes are not followed here.
    fn changes(&self, _: u64, _: usize) -> Result<Changes, ReadError> {
        Ok(Changes { changes: vec![], upto: self.index.version, too_old: true })
    }

    fn load(&self, entity: EntityKey, from: Option<Cursor>) -> Result<LoadPage, ReadError> {
        let file = |id| self.segments.get(&id).map(|found| Arc::clone(&found.file));
        plan(&self.index, entity, from, file)?.read()
    }

    fn time(&self) -> Result<Millis, ReadError> {
        Ok(system_time())
    }
}

/// Reads the segments while a node may write and delete some: one that went
/// away between listing and opening is no error the next time, nor is a frame
/// that was read while it was written.
fn recover_running(segments: &Path) -> Result<SegmentReader, OpenError> {
    const TRIES: u32 = 5;
    let mut tried = 1;
    loop {
        let mut heads = BTreeMap::new();
        let result = recover(segments, Mode::Reader, None, |change| {
            let version = change.version;
            match change.value.filter(|_| change.key.starts_with(keys::HEAD)) {
                Some(value) => {
                    heads.insert(change.key, Versioned { version, value: value.to_vec() });
                }
                None => drop(heads.remove(&change.key)),
            }
        });
        match result {
            Err(error) if tried < TRIES && may_pass(&error) => tried += 1,
            Err(error) => return Err(error),
            Ok(Recovered { index, segments }) => {
                return Ok(SegmentReader { index, heads, segments });
            }
        }
    }
}

fn may_pass(error: &OpenError) -> bool {
    match error {
        OpenError::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
        OpenError::Damaged { .. } => true,
        OpenError::Locked(_) | OpenError::Newer { .. } => false,
    }
}
