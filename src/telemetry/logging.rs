//! Owns the log: lines for people, or JSON objects for machines, on standard
//! error, so that standard output stays a command's own. Never logs a secret:
//! passwords and tokens have types without a readable `Debug`. A log that
//! cannot be written, on a full disk say, is lost and stops nobody.

use std::io::IsTerminal;
use std::str::FromStr;

use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Who reads the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// What is logged: a level such as `info`, or levels per module such as
/// `info,starmesh::store=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevel(String);

impl FromStr for LogLevel {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        EnvFilter::builder().parse(text)?;
        Ok(LogLevel(text.to_string()))
    }
}

/// What libraries log that nobody can act on: a line for every stranger who
/// speaks no HTTP, and how their server starts. A directive for the same module
/// in the settings comes after these, and counts.
const QUIET: &str = "actix_http::h1::dispatcher=off,actix_server=warn";

/// The log is set up already.
#[derive(Debug, thiserror::Error)]
#[error("the log of this process is set up already")]
pub struct SetUpTwice;

/// Sets up the log of this process; call it once.
///
/// # Errors
/// When a log is set up already.
pub fn init(format: LogFormat, level: &LogLevel) -> Result<(), SetUpTwice> {
    let filter = EnvFilter::new(format!("{QUIET},{}", level.0));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Else it would be told on standard error, and panic when that is it.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    }
    .map_err(|_| SetUpTwice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_levels_and_levels_per_module() {
        "info".parse::<LogLevel>().unwrap();
        "warn,starmesh::store=debug".parse::<LogLevel>().unwrap();
    }

    #[test]
    fn refuses_what_is_no_level() {
        assert!("starmesh=loud".parse::<LogLevel>().is_err());
    }
}
