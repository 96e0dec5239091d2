//! Owns why a call to the server failed, and what that means to callers.

use tokio_postgres::error::SqlState;

use super::url::UrlError;
use crate::entity::commit::CommitError;
use crate::store::ReadError;

/// Why the store does not open. Nothing of the galaxy was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("store.url: {0}")]
    Url(#[from] UrlError),
    #[error("no thread for the store: {0}")]
    Thread(#[from] std::io::Error),
    #[error("{0}")]
    Away(#[from] Failure),
    /// A build that knows more has used the store.
    #[error(
        "the store has schema {found}, but this build reads up to {known}: use the newer build; nothing was changed"
    )]
    Newer { found: i32, known: i32 },
}

/// Why a call to the server has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("no connection to the PostgreSQL server: {0}")]
    Connect(String),
    #[error("PostgreSQL: {}", told(.0))]
    Database(#[from] tokio_postgres::Error),
    /// The server did it, but not as durably as it should have.
    #[error("PostgreSQL warned: {0}")]
    Warned(String),
    #[error("the PostgreSQL server did not answer within {0} ms")]
    Late(u128),
    #[error("{0}")]
    Damaged(String),
    /// See [`ReadError::Replaced`].
    #[error("the snapshot was replaced while it was read")]
    Replaced,
    #[error("the store is closed")]
    Closed,
}

impl Failure {
    /// The server did nothing of it and would do it now: two commits wanted
    /// each other's locks, or the partition was just replaced.
    pub fn is_passing(&self) -> bool {
        let Failure::Database(error) = self else { return false };
        error.code().is_some_and(|code| {
            [
                SqlState::T_R_SERIALIZATION_FAILURE,
                SqlState::T_R_DEADLOCK_DETECTED,
                SqlState::CHECK_VIOLATION,
            ]
            .contains(code)
        })
    }
}

/// The server's own words; the library's alone say "db error".
fn told(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(told) => format!("{} ({})", told.message(), told.code().code()),
        None => match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
}

impl From<Failure> for ReadError {
    fn from(failure: Failure) -> ReadError {
        match failure {
            Failure::Damaged(what) => ReadError::Damaged(what),
            Failure::Replaced => ReadError::Replaced,
            other => ReadError::Away(other.to_string()),
        }
    }
}

impl From<Failure> for CommitError {
    fn from(failure: Failure) -> CommitError {
        CommitError::Unknown(failure.to_string())
    }
}
