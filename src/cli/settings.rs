//! Reads the settings of a subcommand: its file, the environment, its flags.

use std::fs;
use std::path::Path;

use super::UsageError;
use crate::config::{self, Config, Override};

/// The settings from the defaults, then `file`, then the environment, then
/// `flags`.
///
/// # Errors
/// A file that cannot be read or a wrong setting; both end with exit code 2.
pub fn load(file: Option<&Path>, flags: Vec<Override>) -> anyhow::Result<Config> {
    let text = file.map(read).transpose()?;
    layered(text.as_ref().map(|(name, text)| (name.as_str(), text.as_str())), flags)
}

/// As [`load`], of a file that is known already: its name and its text.
///
/// # Errors
/// A wrong setting, which ends with exit code 2.
pub fn layered(file: Option<(&str, &str)>, flags: Vec<Override>) -> anyhow::Result<Config> {
    let mut overrides = Override::from_env(std::env::vars());
    overrides.extend(flags);
    Ok(config::load(file, &overrides)?)
}

fn read(file: &Path) -> Result<(String, String), UsageError> {
    let name = file.display().to_string();
    match fs::read_to_string(file) {
        Ok(text) => Ok((name, text)),
        Err(error) => Err(UsageError(format!("{name}: cannot be read: {error}"))),
    }
}
