//! Owns how a store's folder is opened or made: lock, format, sled, segments,
//! in this order. Never changes a file before all of them were found good,
//! but for making what is missing.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::store::changes::ChangeLog;

use super::error::OpenError;
use super::flush::{self, Shared};
use super::keys::{Keys, Position};
use super::overlay::Overlay;
use super::recover::{Found, Mode, Recovered, recover};
use super::segment::{self, Header};
use super::state::{Segment, State};
use super::writer::{self, Active, Writer};
use super::{Options, Sled};
use crate::store::Versioned;

/// The folder's format; raised when an older build could not read it.
const FORMAT: u32 = 1;

pub(super) fn open(dir: &Path, options: Options) -> Result<Sled, OpenError> {
    fs::create_dir_all(dir).map_err(OpenError::io("make", dir))?;
    let lock = lock(dir)?;
    let segments = dir.join("segments");
    check_format(dir, &segments)?;
    make_folder(&segments)?;
    segment::remove_unfinished(&segments).map_err(OpenError::io("tidy", &segments))?;
    let keys = Keys::open(&dir.join("keys"))?;
    sync_folder(dir)?;
    let position = keys
        .position()
        .map_err(|error| OpenError::damaged(&dir.join("keys"), 0, error.to_string()))?;
    let mut overlay = Overlay::default();
    let mut recovered = recover(&segments, Mode::Owner, position, |change| {
        let version = change.version;
        let value = change.value.map(|value| Versioned { version, value: value.to_vec() });
        overlay.put(change.key, value);
    })?;
    check_position(dir, position, &recovered.segments)?;
    let active = match recovered.segments.last_entry() {
        Some(last) => go_on(&segments, *last.key(), last.get(), &options)?,
        None => begin(&segments, &options)?,
    };
    let state = state(&segments, recovered, overlay, &active, position)?;
    let bytes = u64::from(options.segment_bytes);
    let writer = Writer::new(segments.clone(), Arc::clone(&options.disk), bytes, active);
    start(dir, state, keys, segments, writer, options, lock)
}

fn start(
    dir: &Path,
    state: State,
    keys: Keys,
    segments: std::path::PathBuf,
    writer: Writer,
    options: Options,
    lock: File,
) -> Result<Sled, OpenError> {
    let batch = (options.batch_keys, options.batch_bytes);
    let shared = Arc::new(Shared::new(state, keys, segments, batch));
    let flushing = Arc::clone(&shared);
    let thread = std::thread::Builder::new().name("store-keys".into());
    let flusher = thread.spawn(move || flush::run(&flushing));
    let flusher = flusher.map_err(OpenError::io("start a thread for", dir))?;
    Ok(Sled {
        dir: dir.to_owned(),
        shared,
        writer: Mutex::new(writer),
        clock: options.clock,
        journal_bytes_max: options.journal_bytes_max,
        flusher: Some(flusher),
        _lock: lock,
    })
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(OpenError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(OpenError::Io { doing: "lock", path, source }),
    }
}

/// Reads the folder's format, or writes it into a new folder.
pub(super) fn check_format(dir: &Path, segments: &Path) -> Result<(), OpenError> {
    let path = dir.join("format");
    let found = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !segments.exists() => {
            return write_format(dir, &path).map_err(OpenError::io("write", &path));
        }
        Err(source) => return Err(OpenError::Io { doing: "read", path, source }),
    };
    match found.trim().parse::<u32>() {
        Ok(found) if found > FORMAT => {
            Err(OpenError::Newer { dir: dir.to_owned(), found, supported: FORMAT })
        }
        Ok(FORMAT) => Ok(()),
        _ => Err(OpenError::damaged(&path, 0, "it should be a number, the folder's format")),
    }
}

fn write_format(dir: &Path, path: &Path) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut file = File::create(&unfinished)?;
    writeln!(file, "{FORMAT}")?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(dir)?.sync_all()
}

fn make_folder(path: &Path) -> Result<(), OpenError> {
    fs::create_dir_all(path).map_err(OpenError::io("make", path))
}

fn sync_folder(path: &Path) -> Result<(), OpenError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(OpenError::io("sync", path))
}

/// Sled's position is in a segment that is there: none that it or a later
/// start needs was ever deleted.
fn check_position(
    dir: &Path,
    position: Option<Position>,
    segments: &BTreeMap<u32, Found>,
) -> Result<(), OpenError> {
    let Some(position) = position else {
        // Ids begin with 1, so nothing was ever deleted if there are so many.
        let all =
            segments.last_key_value().is_none_or(|(last, _)| *last as usize == segments.len());
        let what = "it is empty, and segments that could fill it are deleted";
        return if all { Ok(()) } else { Err(OpenError::damaged(&dir.join("keys"), 0, what)) };
    };
    match segments.get(&position.segment) {
        Some(found) if position.offset <= found.end => Ok(()),
        _ => {
            let path = segment::path(&dir.join("segments"), position.segment);
            let what = "the keys' database has seen a longer journal";
            Err(OpenError::damaged(&path, position.offset, what))
        }
    }
}

/// Begins the first segment.
fn begin(segments: &Path, options: &Options) -> Result<Active, OpenError> {
    let made = writer::random_marker().and_then(|marker| {
        let header = Header { id: 1, marker, base_version: 0, previous_end: 0 };
        let mut preamble = super::frame::FrameWriter::preamble(0);
        let preamble = preamble.finish(marker);
        writer::create(&*options.disk, segments, header, preamble, options.segment_bytes.into())
    });
    made.map_err(OpenError::io("make a segment in", segments))
}

/// Goes on in the last segment; a torn frame is cut off, nobody was told of it.
fn go_on(segments: &Path, id: u32, last: &Found, options: &Options) -> Result<Active, OpenError> {
    let path = segment::path(segments, id);
    let cut = || {
        if last.torn {
            last.file.set_len(last.end)?;
        }
        if last.torn || last.length < options.segment_bytes.into() {
            // Without the reserved space the file grows as it is written.
            let _ = options.disk.reserve(&last.file, options.segment_bytes.into());
        }
        options.disk.sync_all(&last.file)
    };
    cut().map_err(OpenError::io("repair the end of", &path))?;
    let (file, marker) = (Arc::clone(&last.file), last.header.marker);
    Ok(Active { id, file, marker, end: last.end })
}

fn state(
    dir: &Path,
    recovered: Recovered,
    overlay: Overlay,
    active: &Active,
    position: Option<Position>,
) -> Result<State, OpenError> {
    let Recovered { index, segments } = recovered;
    let mut open = BTreeMap::new();
    for (id, found) in segments {
        if id != active.id && found.length > found.end {
            let path = segment::path(dir, id);
            let cut = found.file.set_len(found.end).and_then(|()| found.file.sync_all());
            cut.map_err(OpenError::io("cut the end of", &path))?;
        }
        open.insert(id, Segment { file: found.file, end: found.end, exact: id != active.id });
    }
    let file = Arc::clone(&active.file);
    open.insert(active.id, Segment { file, end: active.end, exact: false });
    let flushed = position.unwrap_or(Position { segment: 0, offset: 0 });
    let changes = ChangeLog::new(index.version);
    Ok(State { index, overlay, segments: open, changes, flushed })
}
