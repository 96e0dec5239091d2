//! `starmesh replay`: rebuilds an entity from its snapshot and journal, tells
//! what happened to it and verifies the journalled hashes. Reads segments only,
//! so that a node may run on the same data.

mod text;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;

use super::{UsageError, print};
use crate::base::{EntityKey, SectorId, Tick};
use crate::entity::golden::{self as journals, Golden};
use crate::entity::history::History;
use crate::entity::logics::KnownWorlds;
use crate::entity::replay::Image;
use crate::entity::{World, keys};
use crate::sim::{LOGIC_VERSION, galaxy, golden};
use crate::store::sled::{self, SegmentReader};
use crate::store::worlds::all_rules;
use crate::store::{Store, recovery};

/// Entities that are named when the one asked for has no journal.
const NAMED_MAX: usize = 20;

/// Rebuild an entity from its journal and verify the journalled hashes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Rebuild a sector, print what happened in it and verify its hashes.
    Sector {
        /// The sector as logs and errors print it: X,Y or X,Y,SCALE.
        #[arg(allow_hyphen_values = true)]
        sector: String,
        #[command(flatten)]
        options: Options,
    },
    /// Rebuild a shard of player ledgers and verify its hashes.
    Ledger {
        /// The shard: player id mod the number of shards.
        shard: u64,
        #[command(flatten)]
        options: Options,
    },
    /// Rebuild a ranking board and verify its hashes.
    Board {
        /// 0: the board of power.
        number: u64,
        #[command(flatten)]
        options: Options,
    },
    /// Play the fixed golden scenario and the golden journals, survey the golden
    /// galaxy, print their hashes.
    Golden,
}

#[derive(Debug, clap::Args)]
struct Options {
    /// Stop after this tick of the entity.
    #[arg(long, value_name = "TICK")]
    to: Option<u64>,
    /// The node's data; the node may run.
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    match args.what {
        What::Sector { sector, options } => {
            let sector: SectorId = sector.parse().map_err(|error| usage(&error))?;
            replay(EntityKey::Sector(sector), &options)
        }
        What::Ledger { shard, options } => replay(EntityKey::Ledger(shard), &options),
        What::Board { number, options } => replay(EntityKey::Board(number), &options),
        What::Golden => {
            let (hash, galaxy) = (golden::play(|sector| sector), galaxy::golden::survey());
            let Golden { sector, ledger, board } = journals::check(journals::STORED)?;
            print(&format!(
                "{hash}, logic version {LOGIC_VERSION}\njournals: sector {sector}, ledger {ledger}, board {board}\n\
                 galaxy: {galaxy}\n"
            ))
        }
    }
}

/// Tells the entity's history; an error when it is not sound.
fn replay(key: EntityKey, options: &Options) -> anyhow::Result<()> {
    let reader = SegmentReader::open(&options.data.join(sled::FOLDER))?;
    let image = recovery::image(&reader, key)?;
    if image.is_empty() {
        return Err(no_journal(key, &reader));
    }
    let to = options.to.map(Tick);
    let node_ticks = recovery::node_ticks(&reader)?;
    let known = known_worlds(&reader, &image)?;
    let history = History::tell(key, image, &known, to, &node_ticks);
    let mut text = if options.json {
        serde_json::to_string(&history).context("writing JSON")?
    } else {
        text::of(&history)
    };
    text.push('\n');
    print(&text)?;
    if reader.is_torn() {
        eprintln!("note: the journal ends with a write that is not whole; it was not acknowledged");
    }
    verdict(&history)
}

/// The galaxy by the rules that the entity has now, and by all others it ever had.
fn known_worlds(reader: &SegmentReader, image: &Image) -> anyhow::Result<KnownWorlds> {
    let row = reader.get(keys::WORLD)?.context("the store holds no galaxy yet")?;
    let made = World::from_bytes(&row.value)?;
    let mut worlds: Vec<Arc<World>> = Vec::new();
    for rules in all_rules(reader)? {
        worlds.push(Arc::new(made.with_rules(rules)));
    }
    let last = image.logics().pop();
    let own = worlds.iter().find(|world| Some(world.logic()) == last).cloned();
    let known = KnownWorlds::new(own.unwrap_or_else(|| Arc::new(made)));
    Ok(worlds.into_iter().fold(known, KnownWorlds::with))
}

fn verdict(history: &History) -> anyhow::Result<()> {
    if history.is_sound() {
        return Ok(());
    }
    match &history.problem {
        Some(problem) => anyhow::bail!("{} cannot be replayed: {problem}", history.entity),
        None => anyhow::bail!(
            "{}: replay gives another state than {} of the {} journalled hashes",
            history.entity,
            history.mismatches,
            history.hashes
        ),
    }
}

fn no_journal(key: EntityKey, reader: &SegmentReader) -> anyhow::Error {
    let mut names: Vec<String> =
        reader.entities().take(NAMED_MAX + 1).map(|entity| entity.to_string()).collect();
    if names.len() > NAMED_MAX {
        names[NAMED_MAX] = "…".into();
    }
    usage(&format!("{key} has no journal; there are: {}", names.join("; ")))
}

fn usage(error: &impl ToString) -> anyhow::Error {
    UsageError(error.to_string()).into()
}
