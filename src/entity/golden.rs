//! Owns what earlier builds wrote and every later one must read and replay to
//! the same state: journals of a sector, a ledger and a board with every input there
//! is, their snapshots and hashes, the names of keys, envelopes. The bytes are
//! checked in ([`STORED`]). Never used by a node; checked by tests, by
//! `starmesh replay golden` in release, and in WebAssembly.
//!
//! Invariant: a line of [`STORED`] changes only together with the version of
//! the logic or of the format; [`rewrite`] refuses to change it else.

mod board;
mod ledger;
mod names;
mod packed;
mod play;
mod sector;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::format::FORMATS;
use super::input::Input;
use super::logics::KnownWorlds;
use super::record::{Record, decode_record};
use super::replay::{Image, replay};
use super::world::World;
use crate::base::{EntityKey, StateHash};
use crate::sim::rules::sample;
use crate::sim::{Galaxy, LOGIC_VERSION};
use play::Play;

/// What is checked in: lines of a name and bytes in hex, or a hash.
pub const STORED: &str = include_str!("golden/stored.txt");

const HEADING: &str =
    "# What stored bytes are and what they are replayed to; see src/entity/golden.rs.
# Written by `make golden`. A line changes only with a version in the first.
";

/// What is stored is not what this build reads, writes or makes of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Drift {
    #[error(
        "golden bytes: this build gives another `{line}` than the builds before it, so what they \
         stored cannot be read, or is replayed to another state. If that is meant, raise \
         LOGIC_VERSION in src/sim/mod.rs (for what happens) or FORMATS in src/entity/format.rs \
         (for how it is written; the form before stays readable), then run `make golden`.\n\
         stored: {stored}\n   now: {now}"
    )]
    Changed { line: String, stored: String, now: String },
    #[error("golden bytes: stored of {stored}, but this build is {now}: run `make golden`")]
    Version { stored: String, now: String },
    #[error("golden bytes: `{line}` is not stored yet: run `make golden`")]
    Missing { line: String },
    #[error(
        "golden bytes: `{line}` is stored and this build cannot read it: {why}. Raise FORMATS in \
         src/entity/format.rs and keep what reads the form before, then run `make golden`"
    )]
    Unreadable { line: String, why: String },
    #[error(
        "golden bytes: {of} has no record with input `{input}`: add one to the end of its play"
    )]
    Uncovered { of: &'static str, input: &'static str },
}

/// What the journals lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Golden {
    pub sector: StateHash,
    pub ledger: StateHash,
    pub board: StateHash,
}

/// Holds this build to what is stored: it reads it, replays it to the stored
/// hashes, and writes the same.
///
/// # Errors
/// The first line that is different, and what is to be done about it.
pub fn check(stored: &str) -> Result<Golden, Drift> {
    let (version, found) = parse(stored);
    if version != self::version() {
        return Err(Drift::Version { stored: version, now: self::version() });
    }
    let worlds = Worlds::new();
    names::read(&found)?;
    let plays = plays(&worlds);
    for play in &plays {
        covers(play)?;
        packed::read(play, &found)?;
    }
    for (line, now) in lines(&plays) {
        match found.get(line.as_str()) {
            None => return Err(Drift::Missing { line }),
            Some(stored) if **stored != now => {
                return Err(Drift::Changed { line, stored: (*stored).to_owned(), now });
            }
            Some(_) => {}
        }
    }
    let [sector, ledger, board] = plays;
    Ok(Golden {
        sector: replayed(&sector, &found, &worlds.known())?,
        ledger: replayed(&ledger, &found, &worlds.known())?,
        board: replayed(&board, &found, &worlds.known())?,
    })
}

/// What is to be stored instead of `stored`.
///
/// # Errors
/// When a line would change although no version did.
pub fn rewrite(stored: &str) -> Result<String, Drift> {
    let (version, found) = parse(stored);
    let worlds = Worlds::new();
    let plays = plays(&worlds);
    let mut now = lines(&plays);
    now.extend(packed::lines(&plays, &found)?);
    let mut text = format!("{HEADING}{}\n", self::version());
    for (line, now) in now {
        if let Some(stored) = found.get(line.as_str()).filter(|stored| **stored != now)
            && version == self::version()
        {
            return Err(Drift::Changed { line, stored: (*stored).to_owned(), now });
        }
        text.push_str(&format!("{line} {now}\n"));
    }
    Ok(text)
}

/// The first 8 bytes of the sector's last hash, big endian, for whoever loads
/// the module; 0 when anything differs.
#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "the linker is to keep the name; nothing else has it")]
#[unsafe(no_mangle)]
pub extern "C" fn golden_journals() -> u64 {
    check(STORED).map_or(0, |golden| {
        let StateHash([a, b, c, d, e, f, g, h, ..]) = golden.sector;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    })
}

/// The worlds of the plays: each begins in the first and adopts the other.
struct Worlds {
    first: Arc<World>,
    adopted: Arc<World>,
}

impl Worlds {
    fn new() -> Worlds {
        // Tests show that all are in range.
        let rules = sample::rules().expect("the sample is in range");
        let later = sample::later_rules().expect("the sample is in range");
        let galaxy = Galaxy::new(1, Galaxy::SIDE_MIN).expect("in range");
        let first = World::new(galaxy, 1, rules);
        Worlds { adopted: Arc::new(first.with_rules(later)), first: Arc::new(first) }
    }

    fn known(&self) -> KnownWorlds {
        KnownWorlds::new(self.first.clone()).with(self.adopted.clone())
    }
}

fn plays(worlds: &Worlds) -> [Play<'_>; 3] {
    [sector::play(worlds), ledger::play(worlds), board::play(worlds)]
}

fn version() -> String {
    let rules = Worlds::new().first.rules.hash();
    let format = FORMATS.highest;
    format!("format {format}, logic {LOGIC_VERSION}, rules {rules:016x}")
}

/// The version in the first line, and the lines behind it by name.
fn parse(stored: &str) -> (String, BTreeMap<&str, &str>) {
    let mut lines = stored.lines().filter(|line| !line.starts_with('#'));
    let version = lines.next().unwrap_or_default().to_owned();
    (version, lines.filter_map(|line| line.split_once(' ')).collect())
}

fn lines(plays: &[Play<'_>; 3]) -> Vec<(String, String)> {
    let mut lines = names::lines();
    plays.iter().for_each(|play| lines.extend(play.lines.iter().cloned()));
    lines
}

/// Every input there is, and its name; a new one is added to both lists.
const INPUTS: [&str; 16] = [
    "claim",
    "close",
    "ids",
    "message",
    "acknowledged",
    "command",
    "connect",
    "left",
    "hash",
    "time",
    "dilate",
    "hand over",
    "gateway",
    "adopt",
    "skip",
    "park",
];

fn input_name(input: &Input) -> &'static str {
    match input {
        Input::Claim(_) => "claim",
        Input::Close => "close",
        Input::Ids { .. } => "ids",
        Input::Message(_) => "message",
        Input::Acknowledged(_) => "acknowledged",
        Input::Command(_) => "command",
        Input::Connect(_) => "connect",
        Input::Left(_) => "left",
        Input::Hash { .. } => "hash",
        Input::Time => "time",
        Input::Dilate(_) => "dilate",
        Input::HandOver { .. } => "hand over",
        Input::Gateway(_) => "gateway",
        Input::Adopt { .. } => "adopt",
        Input::Skip(_) => "skip",
        Input::Park { .. } => "park",
    }
}

fn covers(play: &Play<'_>) -> Result<(), Drift> {
    let has = |name| {
        let mut inputs = play.records.iter().flat_map(|record| &record.inputs);
        inputs.any(|input| input_name(input) == name)
    };
    match INPUTS.into_iter().find(|name| !has(*name)) {
        Some(input) => Err(Drift::Uncovered { of: play.name, input }),
        None => Ok(()),
    }
}

/// Reads the stored journal of `play` from its beginning and from each stored
/// snapshot; all lead to the stored hash.
fn replayed(
    play: &Play<'_>,
    found: &BTreeMap<&str, &str>,
    known: &KnownWorlds,
) -> Result<StateHash, Drift> {
    let mut records = Vec::new();
    for record in &play.records {
        let line = format!("{}/record/{}", play.name, record.header.sequence);
        let bytes = bytes(found, &line)?;
        expect_record(&line, &bytes, record)?;
        records.push((record.header.sequence, bytes));
    }
    let image = Image { records: records.clone(), ..Image::default() };
    let hash = replay_to_end(play.key, &image, known, &format!("{}/record/1", play.name))?;
    for sequence in &play.snapshots {
        let line = format!("{}/snapshot/{sequence}", play.name);
        let snapshot = bytes(found, &line)?;
        let head = Some(bytes(found, &format!("{}/head/{sequence}", play.name))?);
        let chunks = vec![snapshot.clone()];
        let behind = records.iter().filter(|(record, _)| record > sequence).cloned().collect();
        let again =
            replay_to_end(play.key, &Image { head, chunks, records: behind }, known, &line)?;
        if again != hash {
            let why = format!("from it the end is {again}, from the beginning {hash}");
            return Err(Drift::Unreadable { line, why });
        }
    }
    Ok(hash)
}

fn expect_record(line: &str, bytes: &[u8], expected: &Record) -> Result<(), Drift> {
    let why = match decode_record(bytes) {
        Ok((_, record)) if record == *expected => return Ok(()),
        Ok((_, record)) => format!("it is read as {record:?}"),
        Err(error) => error.to_string(),
    };
    Err(Drift::Unreadable { line: line.to_owned(), why })
}

fn replay_to_end(
    key: EntityKey,
    image: &Image,
    known: &KnownWorlds,
    line: &str,
) -> Result<StateHash, Drift> {
    let why = match replay(key, image, known) {
        Ok(replayed) if replayed.mismatches.is_empty() => {
            return Ok(StateHash::of(&replayed.entity.snapshot_of(replayed.logic)));
        }
        Ok(replayed) => format!("from it on, {:?}", replayed.mismatches),
        Err(error) => error.to_string(),
    };
    Err(Drift::Unreadable { line: line.to_owned(), why })
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that `line` holds.
fn bytes(found: &BTreeMap<&str, &str>, line: &str) -> Result<Vec<u8>, Drift> {
    let hex = found.get(line).ok_or_else(|| Drift::Missing { line: line.to_owned() })?;
    let why = "it is not hex".to_owned();
    of_hex(hex).ok_or_else(|| Drift::Unreadable { line: line.to_owned(), why })
}

fn of_hex(hex: &str) -> Option<Vec<u8>> {
    let byte = |at: usize| hex.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    (0..hex.len()).step_by(2).map(byte).collect()
}
