//! Owns the embedded store: sled for the keys, append-only segment files for
//! journals and snapshots; `docs/store.md` has the layout. Never decides what
//! a commit means (`store::decide`). Called by the node's store thread and by
//! readers. Invariant: one commit is one checksummed frame and one
//! `fdatasync`; what was answered is in the segments, whatever sled lost.

mod disk;
mod error;
mod flush;
mod frame;
mod index;
mod keys;
mod open;
mod overlay;
mod reader;
mod recover;
mod segment;
mod state;
mod writer;

use std::fs::File;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::base::{EntityKey, Millis};
use crate::entity::commit::{Commit, CommitAnswer, CommitError};

use super::copy::Source;
use super::decide::{Accepted, Decision, decide};
use super::{Changes, Cursor, LoadPage, ReadError, Store, Versioned};

pub use disk::{Disk, RealDisk};
pub use error::OpenError;
pub use reader::SegmentReader;

use flush::Shared;
use frame::{FrameWriter, Parsed};
use state::{Segment, View};
use writer::Writer;

/// The store's folder in a node's data.
pub const FOLDER: &str = "store";

/// How a store is kept; the defaults are what a node uses.
#[derive(Clone)]
pub struct Options {
    /// A segment's size; the longest commit fits in it.
    pub segment_bytes: u32,
    /// Of all segments; above it [`Store::pins`] names entities.
    pub journal_bytes_max: u64,
    /// Changed keys, and their bytes, that are brought into sled together.
    pub batch_keys: usize,
    pub batch_bytes: usize,
    /// The store's clock.
    pub clock: Arc<dyn Fn() -> Millis + Send + Sync>,
    /// The disk, so that tests can make it fail.
    pub disk: Arc<dyn Disk>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: 64 * 1024 * 1024,
            journal_bytes_max: 512 * 1024 * 1024,
            batch_keys: 8 * 1024,
            batch_bytes: 8 * 1024 * 1024,
            clock: Arc::new(system_time),
            disk: Arc::new(RealDisk),
        }
    }
}

fn system_time() -> Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // A clock before 1970 is as wrong as one at 1970: the node notices either.
    let ms = since.map_or(0, |since| since.as_millis());
    Millis(u64::try_from(ms).unwrap_or(u64::MAX))
}

/// How much there is of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The version of the last commit.
    pub version: u64,
    pub segments: u64,
    /// Used bytes of all segments.
    pub journal_bytes: u64,
    pub entities: u64,
    /// Changed keys that sled does not have yet.
    pub pending_keys: u64,
}

/// The embedded store.
pub struct Sled {
    dir: PathBuf,
    shared: Arc<Shared>,
    writer: Mutex<Writer>,
    clock: Arc<dyn Fn() -> Millis + Send + Sync>,
    journal_bytes_max: u64,
    flusher: Option<JoinHandle<()>>,
    /// Held as long as the store is open.
    _lock: File,
}

impl Sled {
    /// Opens or makes the store in `dir`.
    ///
    /// # Errors
    /// When it is locked, of a newer format, damaged, or not to be read or
    /// written; what was acknowledged is still there then.
    pub fn open(dir: &Path, options: Options) -> Result<Sled, OpenError> {
        open::open(dir, options)
    }

    /// Brings all keys into sled, and deletes segments that nothing needs
    /// any more. Not needed for durability; the next start is quicker.
    ///
    /// # Errors
    /// When sled cannot be written; nothing is lost.
    pub fn flush_keys(&self) -> Result<(), ReadError> {
        self.shared.flush()
    }

    /// How much there is of what.
    pub fn stats(&self) -> Stats {
        let state = self.shared.state();
        Stats {
            version: state.index.version,
            segments: state.segments.len() as u64,
            journal_bytes: state.journal_bytes(),
            entities: state.index.entities.len() as u64,
            pending_keys: state.overlay.fresh().0 as u64,
        }
    }

    /// Writes what `accepted` changes, then shows it.
    fn carry_out(&self, writer: &mut Writer, accepted: &Accepted<'_>) -> Result<(), CommitError> {
        let mut frame = FrameWriter::commit(accepted.version);
        accepted.ops.iter().for_each(|op| frame.op(accepted.version, op));
        let unknown = |error: std::io::Error| CommitError::Unknown(error.to_string());
        if writer.needs_segment(frame.len()) {
            self.begin_segment(writer).map_err(unknown)?;
        }
        let marker = writer.active().marker;
        let bytes = frame.finish(marker);
        let origin = writer.write(bytes).map_err(unknown)?;
        let Parsed::Frame(frame) = frame::parse(bytes, marker) else {
            unreachable!("`finish` has just written it, and tests parse every entry back");
        };
        let folded = self.shared.state_mut().fold(&frame, origin);
        // `decide` accepted each record as the one behind the last.
        folded.expect("a decided commit follows the one before");
        self.shared.committed(&frame);
        Ok(())
    }

    fn begin_segment(&self, writer: &mut Writer) -> std::io::Result<()> {
        // Only commits change what the preamble repeats, and one is under way.
        let (version, mut preamble) = {
            let state = self.shared.state();
            (state.index.version, state.preamble())
        };
        let sealed = writer.begin_segment(version, &mut preamble)?;
        let mut state = self.shared.state_mut();
        if let Some(segment) = state.segments.get_mut(&sealed.id) {
            (segment.end, segment.exact) = (sealed.end, sealed.exact);
        }
        let active = writer.active();
        let segment = Segment { file: Arc::clone(&active.file), end: active.end, exact: false };
        state.segments.insert(active.id, segment);
        drop(state);
        self.shared.request_flush();
        Ok(())
    }

    fn answer(&self, version: u64, refused: Vec<u32>) -> CommitAnswer {
        CommitAnswer { version, refused, store_time: (self.clock)() }
    }
}

impl Source for Sled {
    fn entities(
        &self,
        after: Option<EntityKey>,
        limit: usize,
    ) -> Result<Vec<EntityKey>, ReadError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.shared.state();
        let behind = state.index.entities.range((from, Bound::Unbounded));
        Ok(behind.map(|(entity, _)| *entity).take(limit).collect())
    }
}

impl Store for Sled {
    fn commit(&self, commit: &Commit) -> Result<CommitAnswer, CommitError> {
        // A commit that panicked left whole frames and whole values behind.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.wait_for_room()?;
        let decision = {
            let state = self.shared.state();
            decide(&View { state: &state, keys: &self.shared.keys }, commit)?
        };
        match decision {
            Decision::Repeated { version, refused } => Ok(self.answer(version, refused)),
            Decision::Accepted(accepted) => {
                self.carry_out(&mut writer, &accepted)?;
                Ok(self.answer(accepted.version, accepted.refused))
            }
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, ReadError> {
        self.shared.state().get(&self.shared.keys, key)
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Versioned)>, ReadError> {
        self.shared.state().scan(&self.shared.keys, prefix, after, limit)
    }

    fn changes(&self, since: u64, limit: usize) -> Result<Changes, ReadError> {
        Ok(self.shared.state().changes.since(since, limit))
    }

    fn load(&self, entity: EntityKey, from: Option<Cursor>) -> Result<LoadPage, ReadError> {
        let plan = {
            let state = self.shared.state();
            reader::plan(&state.index, entity, from, |id| {
                state.segments.get(&id).map(|segment| Arc::clone(&segment.file))
            })?
        };
        plan.read()
    }

    fn time(&self) -> Result<Millis, ReadError> {
        Ok((self.clock)())
    }

    fn free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.dir).ok()?;
        disk.f_bavail.checked_mul(disk.f_frsize)
    }

    fn pins(&self) -> Vec<EntityKey> {
        const NAMED_MAX: usize = 64;
        let state = self.shared.state();
        let long = state.journal_bytes() > self.journal_bytes_max;
        if long { state.pins(NAMED_MAX) } else { Vec::new() }
    }
}

impl Drop for Sled {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(flusher) = self.flusher.take() {
            // A panic of the flusher lost nothing: the segments have it all.
            let _ = flusher.join();
        }
    }
}
