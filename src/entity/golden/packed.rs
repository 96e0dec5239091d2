//! Owns the golden snapshots in the form in which they are deflated. They are read and
//! never written again while they can be: the same state may be deflated to other
//! bytes, by another version of a library or for another target.

use std::collections::BTreeMap;

use super::Drift;
use super::play::Play;
use crate::entity::envelope::{self, DEFLATED};
use crate::entity::packed;

/// The lines of `plays`: those that are stored already, and else what this build
/// makes of each snapshot that becomes shorter.
///
/// # Errors
/// As [`read`].
pub fn lines(
    plays: &[Play<'_>],
    found: &BTreeMap<&str, &str>,
) -> Result<Vec<(String, String)>, Drift> {
    let mut lines = Vec::new();
    for (name, canonical) in plays.iter().flat_map(snapshots) {
        let stored = packed::pack(canonical.clone(), packed::SINCE);
        let kept = found.get(name.as_str()).map(|stored| (*stored).to_owned());
        if kept.is_some() {
            expect(&name, found, &canonical)?;
        }
        let new = || (envelope::form(&stored) == Some(DEFLATED)).then(|| super::to_hex(&stored));
        lines.extend(kept.or_else(new).map(|value| (name, value)));
    }
    Ok(lines)
}

/// Reads what is stored of `play`, which is something.
///
/// # Errors
/// The first line that is not what its play has, or none.
pub fn read(play: &Play<'_>, found: &BTreeMap<&str, &str>) -> Result<(), Drift> {
    let mut is_there = false;
    for (name, canonical) in snapshots(play) {
        if found.contains_key(name.as_str()) {
            expect(&name, found, &canonical)?;
            is_there = true;
        }
    }
    let missing = || Drift::Missing { line: format!("{}/packed", play.name) };
    is_there.then_some(()).ok_or_else(missing)
}

fn expect(line: &str, found: &BTreeMap<&str, &str>, canonical: &[u8]) -> Result<(), Drift> {
    let stored = super::bytes(found, line)?;
    let why = match packed::unpack(&stored) {
        Ok(_) if envelope::form(&stored) != Some(DEFLATED) => "it is not deflated".to_owned(),
        Ok(read) if read == canonical => return Ok(()),
        Ok(_) => "it is read as something else".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Drift::Unreadable { line: line.to_owned(), why })
}

/// The names of the lines, and the canonical bytes that they stand for.
fn snapshots<'p>(play: &'p Play<'_>) -> impl Iterator<Item = (String, Vec<u8>)> + 'p {
    let snapshots = play.lines.iter().filter_map(|(line, value)| {
        let sequence = line.strip_prefix(play.name)?.strip_prefix("/snapshot/")?;
        Some((format!("{}/packed/{sequence}", play.name), super::of_hex(value)?))
    });
    snapshots.collect::<Vec<_>>().into_iter()
}
