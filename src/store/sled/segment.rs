//! Owns a segment file: its name, its header, how it is made and read. Never
//! decides when. Called by the writer, recovery and the reader. Invariant: a
//! file with the name of a segment has a whole header and preamble, for it
//! got the name after they were durable.
//!
//! Header, 48 bytes, little endian: magic, format u32, id u32, marker u64
//! (random; frames begin with it), version u64 of the last commit before it,
//! end u64 of the segment with the id before it, crc32 u32 over all of that.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::error::OpenError;

/// The format written; older ones there are none yet.
pub const FORMAT: u32 = 1;
/// Bytes of a segment's header.
pub const HEADER: usize = 48;
const MAGIC: [u8; 8] = *b"STARSEG\n";

/// What a segment's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub id: u32,
    pub marker: u64,
    pub base_version: u64,
    /// What is behind this byte of segment `id - 1` was never acknowledged,
    /// even if it is whole: its `fdatasync` failed.
    pub previous_end: u64,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER] {
        let mut out = Vec::with_capacity(HEADER);
        out.extend(MAGIC);
        out.extend(FORMAT.to_le_bytes());
        out.extend(self.id.to_le_bytes());
        out.extend(self.marker.to_le_bytes());
        out.extend(self.base_version.to_le_bytes());
        out.extend(self.previous_end.to_le_bytes());
        out.extend(crc32fast::hash(&out).to_le_bytes());
        let mut header = [0; HEADER];
        header[..out.len()].copy_from_slice(&out);
        header
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Header, OpenError> {
        let damaged = || OpenError::damaged(path, 0, "the segment's header is not whole");
        let bytes = bytes.first_chunk::<HEADER>().ok_or_else(damaged)?;
        let u32_at = |at: usize| bytes[at..at + 4].try_into().map(u32::from_le_bytes);
        let u64_at = |at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes);
        let crc = u32_at(40).map_err(|_| damaged())?;
        if bytes[..8] != MAGIC || crc32fast::hash(&bytes[..40]) != crc {
            return Err(damaged());
        }
        let read = || {
            let header = Header {
                id: u32_at(12)?,
                marker: u64_at(16)?,
                base_version: u64_at(24)?,
                previous_end: u64_at(32)?,
            };
            Ok::<_, std::array::TryFromSliceError>((u32_at(8)?, header))
        };
        let (found, header) = read().map_err(|_| damaged())?;
        if found > FORMAT {
            let dir = path.parent().unwrap_or(path).to_owned();
            return Err(OpenError::Newer { dir, found, supported: FORMAT });
        }
        Ok(header)
    }
}

/// The file of segment `id` in the segments' folder.
pub fn path(dir: &Path, id: u32) -> PathBuf {
    dir.join(format!("{id:010}.seg"))
}

/// The ids of the segments in a folder, ascending.
pub fn list(dir: &Path) -> io::Result<Vec<u32>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(".seg"));
        ids.extend(id.and_then(|id| id.parse::<u32>().ok()));
    }
    ids.sort_unstable();
    Ok(ids)
}

/// Makes a segment with `bytes` reserved for it: written under another name,
/// synced, renamed. On an error nothing of it stays.
pub fn create(
    disk: &dyn Disk,
    dir: &Path,
    header: Header,
    preamble: &[u8],
    bytes: u64,
) -> io::Result<File> {
    let (path, unfinished) = (path(dir, header.id), unfinished(dir));
    let made = || {
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(true).open(&unfinished)?;
        disk.reserve(&file, bytes)?;
        disk.write_at(&file, &header.to_bytes(), 0)?;
        disk.write_at(&file, preamble, HEADER as u64)?;
        disk.sync_all(&file)?;
        fs::rename(&unfinished, &path)?;
        disk.sync_all(&File::open(dir)?)?;
        Ok(file)
    };
    made().inspect_err(|_| {
        // What cannot be removed now is truncated, or removed at the next start.
        let _ = fs::remove_file(&unfinished);
        let _ = fs::remove_file(&path);
    })
}

/// Removes what a crash left of a segment that never got its name.
pub fn remove_unfinished(dir: &Path) -> io::Result<()> {
    match fs::remove_file(unfinished(dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn unfinished(dir: &Path) -> PathBuf {
    dir.join("unfinished")
}

/// The header of a segment.
///
/// # Errors
/// When it cannot be read, is not whole, of a newer format or another segment.
pub fn read_header(dir: &Path, id: u32) -> Result<Header, OpenError> {
    let path = path(dir, id);
    let mut bytes = Vec::with_capacity(HEADER);
    let file = File::open(&path).map_err(OpenError::io("open", &path))?;
    let read = (&file).take(HEADER as u64).read_to_end(&mut bytes);
    read.map_err(OpenError::io("read", &path))?;
    let header = Header::parse(&path, &bytes)?;
    if header.id != id {
        let what = format!("it says that it is segment {}", header.id);
        return Err(OpenError::damaged(&path, 12, what));
    }
    Ok(header)
}

/// A segment's contents, as of when they were read.
pub struct Contents {
    pub path: PathBuf,
    pub file: File,
    /// Without the reserved space at the end, where the file system knows it.
    pub bytes: Vec<u8>,
    /// Of the file.
    pub length: u64,
}

/// Reads a whole segment.
///
/// # Errors
/// When it cannot be read.
pub fn read(dir: &Path, id: u32, write: bool) -> Result<Contents, OpenError> {
    let path = path(dir, id);
    let file = File::options().read(true).write(write).open(&path);
    let file = file.map_err(OpenError::io("open", &path))?;
    let read = || {
        let length = file.metadata()?.len();
        let used = used_bytes(&file)?.unwrap_or(length).min(length);
        let mut bytes = Vec::with_capacity(usize::try_from(used).unwrap_or(0));
        (&file).seek(io::SeekFrom::Start(0))?;
        (&file).take(used).read_to_end(&mut bytes)?;
        Ok((bytes, length))
    };
    let (bytes, length) = read().map_err(OpenError::io("read", &path))?;
    Ok(Contents { path, file, bytes, length })
}

/// Where the last byte that was ever written ends; `None` where the file
/// system cannot tell.
fn used_bytes(file: &File) -> io::Result<Option<u64>> {
    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;
    let mut used = 0;
    loop {
        let data = match seek(file, SeekFrom::Data(used)) {
            Ok(data) => data,
            Err(Errno::NXIO) => return Ok(Some(used)),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        used = seek(file, SeekFrom::Hole(data))?;
    }
}
