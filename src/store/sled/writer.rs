//! Owns the end of the journal: the segment being written, and what is done
//! after an error. Never reads, never knows what a frame means. Called by the
//! commit under way. Invariant: a frame is acknowledged only when it and all
//! before it are durable; after an error the next frame begins behind the
//! last acknowledged one.
//!
//! A failed *write* is cut off before the next one. After a failed *sync* the
//! kernel may have dropped the pages and call the next sync a success, so the
//! file is not written again: the frame goes into a new segment, whose header
//! says where the old one ends.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::disk::Disk;
use super::frame::FrameWriter;
use super::index::Origin;
use super::segment::{self, Header};

/// How the end of the segment being written looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    Clean,
    /// Part of a frame may be behind the end.
    Dirty,
    /// A sync failed.
    Poisoned,
}

/// The end of the journal.
pub struct Writer {
    pub(super) dir: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) segment_bytes: u64,
    active: Active,
    tail: Tail,
}

/// The segment being written.
#[derive(Clone, Debug)]
pub struct Active {
    pub id: u32,
    pub file: Arc<File>,
    pub marker: u64,
    /// Behind the last acknowledged frame.
    pub end: u64,
}

/// A segment that ended.
pub struct Sealed {
    pub id: u32,
    pub end: u64,
    /// The file ends there too, durably.
    pub exact: bool,
}

impl Writer {
    /// Goes on behind `active`'s last frame.
    pub fn new(dir: PathBuf, disk: Arc<dyn Disk>, segment_bytes: u64, active: Active) -> Writer {
        Writer { dir, disk, segment_bytes, active, tail: Tail::Clean }
    }

    /// The segment being written.
    pub fn active(&self) -> &Active {
        &self.active
    }

    /// Whether a frame of `bytes` needs a segment of its own: the one being
    /// written is full, or not to be trusted.
    pub fn needs_segment(&self, bytes: usize) -> bool {
        let full = self.active.end.saturating_add(bytes as u64) > self.segment_bytes;
        full || self.tail == Tail::Poisoned
    }

    /// Ends the segment being written, begins the next with `preamble`.
    ///
    /// # Errors
    /// When it cannot be made; nothing has changed then.
    pub fn begin_segment(
        &mut self,
        base_version: u64,
        preamble: &mut FrameWriter,
    ) -> io::Result<Sealed> {
        let id = self.active.id.checked_add(1).ok_or(io::ErrorKind::FileTooLarge)?;
        let sealed = self.seal();
        let header =
            Header { id, marker: random_marker()?, base_version, previous_end: self.active.end };
        self.active = create(
            &*self.disk,
            &self.dir,
            header,
            preamble.finish(header.marker),
            self.segment_bytes,
        )?;
        self.tail = Tail::Clean;
        Ok(sealed)
    }

    /// Cuts the reserved space off, and what an error left behind the end. If
    /// that fails, the next segment's header still says where this one ends.
    fn seal(&self) -> Sealed {
        let Active { id, end, ref file, .. } = self.active;
        let cut = file.set_len(end).and_then(|()| self.disk.sync_all(file));
        Sealed { id, end, exact: cut.is_ok() && self.tail != Tail::Poisoned }
    }

    /// Writes a frame, durably; where it begins.
    ///
    /// # Errors
    /// When it may or may not be durable; write the same again.
    pub fn write(&mut self, frame: &[u8]) -> io::Result<Origin> {
        if self.tail == Tail::Dirty {
            self.cut()?;
        }
        let Active { id, end, ref file, .. } = self.active;
        self.tail = Tail::Dirty;
        self.disk.write_at(file, frame, end)?;
        self.tail = Tail::Poisoned;
        self.disk.sync_data(file)?;
        self.tail = Tail::Clean;
        self.active.end = end + frame.len() as u64;
        Ok(Origin { segment: id, offset: end })
    }

    fn cut(&mut self) -> io::Result<()> {
        let file = &self.active.file;
        file.set_len(self.active.end)?;
        // The space was reserved before; without it the file grows as written.
        let _ = self.disk.reserve(file, self.segment_bytes);
        self.tail = Tail::Clean;
        Ok(())
    }
}

/// Makes a segment and its preamble.
pub fn create(
    disk: &dyn Disk,
    dir: &std::path::Path,
    header: Header,
    preamble: &[u8],
    segment_bytes: u64,
) -> io::Result<Active> {
    let file = Arc::new(segment::create(disk, dir, header, preamble, segment_bytes)?);
    let end = (segment::HEADER + preamble.len()) as u64;
    Ok(Active { id: header.id, file, marker: header.marker, end })
}

/// A marker that nobody can guess, so that nothing a player writes can look
/// like a frame.
pub fn random_marker() -> io::Result<u64> {
    let mut bytes = [0; 8];
    let random = ring::rand::SystemRandom::new();
    ring::rand::SecureRandom::fill(&random, &mut bytes)
        .map_err(|_| io::Error::other("the system gives no random numbers"))?;
    Ok(u64::from_le_bytes(bytes))
}
