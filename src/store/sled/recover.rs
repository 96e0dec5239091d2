//! Owns reading segments back: which frames count, where the journal ends,
//! what is damage and what a torn last write. Never changes a file. Called
//! when a store is opened and by the read-only reader. Invariant: a frame
//! that was acknowledged is folded in, or there is an error.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::error::OpenError;
use super::frame::{self, Frame, Parsed};
use super::index::{Index, KeyChange, Misfit, Origin};
use super::keys::Position;
use super::segment::{self, Contents, Header};

/// A segment file as it was found.
#[derive(Debug)]
pub struct Found {
    pub file: Arc<File>,
    pub header: Header,
    /// Behind its last frame that counts.
    pub end: u64,
    /// Of the file.
    pub length: u64,
    /// Something other than zeros is behind `end`.
    pub torn: bool,
}

/// What the segments say.
#[derive(Debug, Default)]
pub struct Recovered {
    pub index: Index,
    pub segments: BTreeMap<u32, Found>,
}

/// Whether the segments are being written meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They are ours: the last one's tail is judged, files can be written.
    Owner,
    /// A node may run and write while they are read: what looks broken may
    /// be whole the next time.
    Reader,
}

/// Reads all segments in `dir`; hands key changes behind `keys_from` to
/// `changed`.
///
/// # Errors
/// When a file cannot be read, or something that was acknowledged is missing.
pub fn recover(
    dir: &Path,
    mode: Mode,
    keys_from: Option<Position>,
    mut changed: impl FnMut(KeyChange<'_>),
) -> Result<Recovered, OpenError> {
    let ids = segment::list(dir).map_err(OpenError::io("list", dir))?;
    let headers = ids.iter().map(|id| segment::read_header(dir, *id));
    let headers = headers.collect::<Result<Vec<_>, _>>()?;
    let mut recovered = Recovered::default();
    for (at, header) in headers.iter().enumerate() {
        let next = headers.get(at + 1);
        let contents = segment::read(dir, header.id, mode == Mode::Owner)?;
        let mut scan = Scan { contents, header: *header, index: &mut recovered.index };
        scan.check_order(at.checked_sub(1).map(|before| headers[before].id))?;
        let end = scan.frames(next, keys_from, &mut changed)?;
        let found = scan.found(end);
        recovered.segments.insert(header.id, found);
    }
    match recovered.index.first_gap() {
        Some(gap) => Err(OpenError::damaged(dir, 0, gap)),
        None => Ok(recovered),
    }
}

/// One segment being read.
struct Scan<'i> {
    contents: Contents,
    header: Header,
    index: &'i mut Index,
}

impl Scan<'_> {
    fn damaged(&self, offset: usize, what: impl Into<String>) -> OpenError {
        OpenError::damaged(&self.contents.path, offset as u64, what)
    }

    /// Segments that nothing needs are deleted, also from between others; but
    /// versions go on without gap from one to the next.
    fn check_order(&mut self, before: Option<u32>) -> Result<(), OpenError> {
        let (version, base) = (self.index.version, self.header.base_version);
        let follows = before.and_then(|id| id.checked_add(1)) == Some(self.header.id);
        if (follows && base != version) || base < version {
            let what = format!("it begins after version {base}, the one before ends at {version}");
            return Err(self.damaged(0, what));
        }
        self.index.version = base;
        Ok(())
    }

    /// Folds in all frames; where they end.
    fn frames(
        &mut self,
        next: Option<&Header>,
        keys_from: Option<Position>,
        changed: &mut impl FnMut(KeyChange<'_>),
    ) -> Result<usize, OpenError> {
        let bytes = std::mem::take(&mut self.contents.bytes);
        let adjacent = next.filter(|next| Some(next.id) == self.header.id.checked_add(1));
        let limit = adjacent.map_or(bytes.len() as u64, |next| next.previous_end);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let Some(counted) = bytes.get(..limit) else {
            return Err(self.damaged(bytes.len(), format!("it should go on to byte {limit}")));
        };
        let mut at = segment::HEADER;
        loop {
            let frame = match frame::parse(&counted[at..], self.header.marker) {
                Parsed::Frame(frame) => frame,
                Parsed::Damaged => return Err(self.damaged(at, "a frame does not parse")),
                Parsed::Nothing => break,
            };
            self.check_version(&frame, at)?;
            let (segment, offset) = (self.header.id, at as u64);
            let known = keys_from.is_some_and(|known| Position { segment, offset } < known);
            let keys = |change: KeyChange<'_>| {
                if !known {
                    changed(change)
                }
            };
            let folded = self.index.apply(&frame, Origin { segment, offset }, keys);
            folded.map_err(|Misfit(what)| self.damaged(at, what))?;
            at += frame.length;
        }
        if at == segment::HEADER {
            return Err(self.damaged(at, "its first frame is broken"));
        }
        let whole = match (adjacent, next) {
            (Some(_), _) => at == limit,
            (None, Some(_)) => used(&bytes[at..]).is_empty(),
            (None, None) => !frame::any_behind(used(&bytes[at..]), self.header.marker),
        };
        self.contents.bytes = bytes;
        if whole { Ok(at) } else { Err(self.damaged(at, "a frame is broken, others follow it")) }
    }

    fn check_version(&self, frame: &Frame<'_>, at: usize) -> Result<(), OpenError> {
        let first = at == segment::HEADER;
        let expected = self.index.version.saturating_add(u64::from(!first));
        if frame.preamble != first || frame.version != expected {
            let found = frame.version;
            return Err(self.damaged(at, format!("version {found} where {expected} follows")));
        }
        Ok(())
    }

    fn found(self, end: usize) -> Found {
        let bytes = self.contents.bytes;
        let torn = !used(&bytes[end..]).is_empty();
        let Contents { file, length, .. } = self.contents;
        Found { file: Arc::new(file), header: self.header, end: end as u64, length, torn }
    }
}

/// `bytes` without the zeros at their end.
fn used(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &bytes[..end]
}
