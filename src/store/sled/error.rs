//! Owns what can be wrong when a store is opened, worded for the operator.

use std::io;
use std::path::{Path, PathBuf};

use crate::store::ReadError;

/// Why a store was not opened. Nothing in its folder was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the store in {} is locked by another process; stop that node, or give this one \
             a data folder of its own", .0.display())]
    Locked(PathBuf),
    #[error("the store in {} has format {found}, but this build reads up to {supported}; \
             start the newer build again", .dir.display())]
    Newer { dir: PathBuf, found: u32, supported: u32 },
    #[error("the store is damaged: {} at byte {offset}: {what}; restore the data folder from \
             a backup, or move it away to begin anew", .path.display())]
    Damaged { path: PathBuf, offset: u64, what: String },
    #[error("cannot {doing} {}: {source}", .path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
}

impl OpenError {
    pub(super) fn damaged(path: &Path, offset: u64, what: impl Into<String>) -> OpenError {
        OpenError::Damaged { path: path.to_owned(), offset, what: what.into() }
    }

    /// For `map_err`.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
        move |source| OpenError::Io { doing, path: path.to_owned(), source }
    }
}

impl From<OpenError> for ReadError {
    fn from(error: OpenError) -> ReadError {
        match error {
            OpenError::Damaged { .. } | OpenError::Newer { .. } => {
                ReadError::Damaged(error.to_string())
            }
            OpenError::Locked(_) | OpenError::Io { .. } => ReadError::Away(error.to_string()),
        }
    }
}
