//! Owns how a galaxy is made once and found again: its row in the store holds
//! the seed, the extent, the number of ledgers and the rules. Never changes
//! it. Called at a node's start. Invariant: what the row says wins over the
//! configuration, because journals were written under it.

use serde::{Deserialize, Serialize};

use crate::base::Incarnation;
use crate::config::Config;
use crate::entity::World;
use crate::entity::commit::{Check, Expect, Group, NodeRow, Put};
use crate::entity::envelope::{self, EnvelopeError, Kind, Logic};
use crate::entity::keys;
use crate::sim::{Galaxy, Invalid, Rules};
use crate::store::{ReadError, Store};

/// Why there is no world to run. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum GalaxyError {
    #[error("reading the galaxy: {0}")]
    Read(#[from] ReadError),
    #[error("the galaxy's row: {0}")]
    Envelope(#[from] EnvelopeError),
    #[error("the galaxy's row: {0}")]
    Payload(String),
    #[error("galaxy: {0}")]
    Shape(#[from] Invalid),
}

/// What the row holds.
#[derive(Serialize, Deserialize)]
struct Stored {
    galaxy: Galaxy,
    ledger_shards: u64,
    rules: Rules,
}

/// The galaxy's world: the stored one, or that of `config` with the group that
/// stores it.
///
/// # Errors
/// When the store does not answer, or its row is of another build.
pub fn find_or_make(
    store: &dyn Store,
    config: &Config,
    rules: Rules,
) -> Result<(World, Option<Group>), GalaxyError> {
    if let Some(row) = store.get(&row_key())? {
        return Ok((decode(&row.value)?, None));
    }
    let settings = &config.galaxy;
    let side = settings.sectors_per_side.u32();
    let galaxy = Galaxy::new(settings.seed, side)?;
    let world = World { rules, galaxy, ledger_shards: settings.ledger_shards.u64() };
    let group = Group {
        checks: vec![Check { key: row_key(), expect: Expect::Absent }],
        puts: vec![Put { key: row_key(), value: Some(encode(&world)) }],
        append: None,
    };
    Ok((world, Some(group)))
}

/// The row of `node`, if it ran before.
///
/// # Errors
/// When the store does not answer.
pub fn last_row(
    store: &dyn Store,
    node: crate::base::NodeId,
) -> Result<Option<NodeRow>, GalaxyError> {
    let Some(row) = store.get(&keys::row(node))? else { return Ok(None) };
    let row = NodeRow::from_bytes(&row.value)
        .map_err(|error| GalaxyError::Payload(format!("the node's row: {error}")))?;
    debug_assert!(row.incarnation >= Incarnation(1));
    Ok(Some(row))
}

fn row_key() -> Vec<u8> {
    [keys::GALAXY, b"world"].concat()
}

fn encode(world: &World) -> Vec<u8> {
    let stored = Stored {
        galaxy: world.galaxy,
        ledger_shards: world.ledger_shards,
        rules: world.rules.clone(),
    };
    // Rules are lists of numbers and names, which postcard always takes.
    let payload = postcard::to_stdvec(&stored).expect("rules serialize");
    envelope::seal(Kind::Galaxy, Logic::default(), &payload)
}

fn decode(bytes: &[u8]) -> Result<World, GalaxyError> {
    let (_, payload) = envelope::open(Kind::Galaxy, bytes)?;
    let stored: Stored =
        postcard::from_bytes(payload).map_err(|error| GalaxyError::Payload(error.to_string()))?;
    Ok(World { rules: stored.rules, galaxy: stored.galaxy, ledger_shards: stored.ledger_shards })
}
