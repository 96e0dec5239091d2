//! Owns the sled database that holds the keys. Never holds what a commit just
//! put: batches come here behind the journal, each with the journal's
//! position it stands for. Called for reads by anybody, for writes by the one
//! thread that flushes. Invariant: sled holds all changes of keys up to its
//! position, for a batch and its position are one atomic write.
//!
//! sled's `flush` is `sync_file_range`, so its file is synced after it; and
//! its first I/O error is final, so it is opened anew after one.

use std::fs::File;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::store::{ReadError, Versioned};

use super::error::OpenError;
use super::overlay::Batch;

/// Memory that sled may use for pages.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// How long an earlier handle of this process may take to let go of the file.
const RELEASE_MAX: Duration = Duration::from_secs(5);

/// Before every key; the position has another.
const KEY: u8 = b'k';
const POSITION: &[u8] = b"p";

/// A byte of the journal: all of a key's changes before it are in sled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub segment: u32,
    pub offset: u64,
}

/// The sled database.
pub struct Keys {
    path: PathBuf,
    /// `None` after an error, until it is opened anew.
    database: RwLock<Option<::sled::Db>>,
}

impl Keys {
    /// Opens or makes the database in the folder `path`.
    ///
    /// # Errors
    /// When it is damaged, or cannot be read or written.
    pub fn open(path: &Path) -> Result<Keys, OpenError> {
        let database = RwLock::new(Some(open_released(path)?));
        Ok(Keys { path: path.to_owned(), database })
    }

    /// Up to where the journal's keys are in it; `None` when it is new.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn position(&self) -> Result<Option<Position>, ReadError> {
        let bytes = self.with(|database| database.get(POSITION))?;
        bytes.map(|bytes| parse_position(&bytes)).transpose()
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Versioned>, ReadError> {
        let stored = self.with(|database| database.get(stored_key(key)))?;
        stored.map(|bytes| parse_value(&bytes)).transpose()
    }

    /// The keys with `prefix` from `from` on, ascending.
    ///
    /// # Errors
    /// When they cannot be read; also as an item.
    pub fn scan(
        &self,
        prefix: &[u8],
        from: Bound<&[u8]>,
    ) -> Result<impl Iterator<Item = Result<(Vec<u8>, Versioned), ReadError>>, ReadError> {
        let from = from.map(stored_key);
        let prefix = stored_key(prefix);
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let range = database.as_ref().ok_or_else(away)?.range((from, Bound::Unbounded));
        let range = range.take_while(move |item| {
            item.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix))
        });
        Ok(range.map(|item| {
            let (key, value) = item.map_err(broken)?;
            Ok((key.get(1..).unwrap_or_default().to_vec(), parse_value(&value)?))
        }))
    }

    /// Brings a batch in, durably; on an error none of it counts, and the
    /// next call opens the database anew.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, changes: &Batch, position: Position) -> Result<(), ReadError> {
        self.reopen_broken()?;
        let written = self.with(|database| {
            let mut batch = ::sled::Batch::default();
            for (key, change) in changes {
                match change {
                    Some(value) => batch.insert(stored_key(key), stored_value(value)),
                    None => batch.remove(stored_key(key)),
                }
            }
            batch.insert(POSITION, &stored_position(position));
            database.apply_batch(batch)?;
            database.flush()?;
            Ok(File::open(self.path.join("db")).and_then(|file| file.sync_data())?)
        });
        if written.is_err() {
            self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        }
        written
    }

    fn with<T>(&self, call: impl FnOnce(&::sled::Db) -> ::sled::Result<T>) -> Result<T, ReadError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        call(database.as_ref().ok_or_else(away)?).map_err(broken)
    }

    fn reopen_broken(&self) -> Result<(), ReadError> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if database.is_none() {
            *database = Some(open_released(&self.path)?);
        }
        Ok(())
    }
}

/// Opens the database, waiting for a handle that this process dropped just
/// now: sled's threads let go of the file a little later. No other process
/// can have it, for the store's own lock is held.
fn open_released(path: &Path) -> Result<::sled::Db, OpenError> {
    let began = Instant::now();
    loop {
        match open_database(path) {
            Err(OpenError::Io { source, .. })
                if source.to_string().contains("lock") && began.elapsed() < RELEASE_MAX =>
            {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            opened => return opened,
        }
    }
}

fn open_database(path: &Path) -> Result<::sled::Db, OpenError> {
    let config = ::sled::Config::new()
        .path(path)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(None)
        .mode(::sled::Mode::HighThroughput);
    // sled panics on some files that it did not write.
    let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
    match opened {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(::sled::Error::Io(source))) => {
            Err(OpenError::Io { doing: "open", path: path.to_owned(), source })
        }
        Ok(Err(error)) => Err(OpenError::damaged(path, 0, error.to_string())),
        Err(_) => Err(OpenError::damaged(path, 0, "sled cannot make sense of it")),
    }
}

fn stored_key(key: &[u8]) -> Vec<u8> {
    [&[KEY], key].concat()
}

fn stored_value(value: &Versioned) -> Vec<u8> {
    [&value.version.to_be_bytes()[..], &value.value].concat()
}

fn parse_value(bytes: &[u8]) -> Result<Versioned, ReadError> {
    let (version, value) = bytes
        .split_first_chunk::<8>()
        .ok_or_else(|| ReadError::Damaged("a key's value in sled has no version".into()))?;
    Ok(Versioned { version: u64::from_be_bytes(*version), value: value.to_vec() })
}

fn stored_position(position: Position) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&position.segment.to_be_bytes());
    bytes[4..].copy_from_slice(&position.offset.to_be_bytes());
    bytes
}

fn parse_position(bytes: &[u8]) -> Result<Position, ReadError> {
    let wrong = || ReadError::Damaged("sled's position in the journal is not one".into());
    let (segment, offset) = bytes.split_first_chunk::<4>().ok_or_else(wrong)?;
    let offset = offset.try_into().map(u64::from_be_bytes).map_err(|_| wrong())?;
    Ok(Position { segment: u32::from_be_bytes(*segment), offset })
}

fn away() -> ReadError {
    ReadError::Away("the keys' database failed and is opened anew".into())
}

fn broken(error: ::sled::Error) -> ReadError {
    match error {
        ::sled::Error::Io(error) => ReadError::Away(format!("the keys' database: {error}")),
        error => ReadError::Damaged(format!("the keys' database: {error}")),
    }
}
