//! Reads the settings of a subcommand: its file, the environment, its flags; and
//! the file of the rules that they name.

use std::fs;
use std::io::Read;
use std::path::Path;

use super::UsageError;
use crate::config::{self, Config, Override};
use crate::sim::{Rules, rules};

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

/// Rules are numbers and names: a file is never longer than so many bytes.
const RULES_BYTES_MAX: u64 = 1024 * 1024;

/// The rules by which a node runs: those of `rules.file`, or else the built-in ones.
///
/// # Errors
/// A file that cannot be read, is too long, or has something wrong in one of its
/// lines; all end with exit code 2.
pub fn rules(config: &Config) -> anyhow::Result<Rules> {
    let Some(file) = &config.rules.file else { return Ok(rules::file::built_in()?) };
    let name = file.display().to_string();
    let unread = |why: String| UsageError(format!("rules.file: {name}: {why}"));
    let opened =
        fs::File::open(file).map_err(|error| unread(format!("cannot be read: {error}")))?;
    let mut text = String::new();
    let read = opened.take(RULES_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| unread(format!("cannot be read: {error}")))?;
    if text.len() as u64 > RULES_BYTES_MAX {
        return Err(unread(format!("longer than {RULES_BYTES_MAX} bytes")).into());
    }
    let source = rules::file::Source { name: &name, text: &text };
    Ok(rules::file::read(&[source]).map_err(|error| UsageError(error.to_string()))?)
}

fn read(file: &Path) -> Result<(String, String), UsageError> {
    let name = file.display().to_string();
    match fs::read_to_string(file) {
        Ok(text) => Ok((name, text)),
        Err(error) => Err(UsageError(format!("{name}: cannot be read: {error}"))),
    }
}
