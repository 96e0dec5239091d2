//! Owns how a galaxy is made once and found again: its row in the store holds
//! the seed, the extent, how full it is, the number of ledgers and the rules. Never changes
//! it. Called at a node's start. Invariant: what the row says wins over the
//! configuration, because journals were written under it.

use crate::base::Incarnation;
use crate::config::Config;
use crate::entity::commit::{Check, Expect, Group, NodeRow, Put, RowError};
use crate::entity::world::WorldError;
use crate::entity::{World, keys};
use crate::sim::{Galaxy, Invalid, Rules};
use crate::store::{ReadError, Store};

/// Why there is no world to run. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum GalaxyError {
    #[error("reading the galaxy: {0}")]
    Read(#[from] ReadError),
    #[error(transparent)]
    World(#[from] WorldError),
    #[error(transparent)]
    Row(#[from] RowError),
    #[error("galaxy: {0}")]
    Shape(#[from] Invalid),
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
    if let Some(row) = store.get(keys::WORLD)? {
        return Ok((World::from_bytes(&row.value)?, None));
    }
    let settings = &config.galaxy;
    let side = settings.sectors_per_side.u32();
    let galaxy = Galaxy::generated(settings.seed, side, settings.parameters())?;
    let world = World { rules, galaxy, ledger_shards: settings.ledger_shards.u64() };
    let group = Group {
        checks: vec![Check { key: keys::WORLD.to_vec(), expect: Expect::Absent }],
        puts: vec![Put { key: keys::WORLD.to_vec(), value: Some(world.to_bytes()) }],
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
    let row = NodeRow::from_bytes(&row.value)?;
    debug_assert!(row.incarnation >= Incarnation(1));
    Ok(Some(row))
}

/// The galaxy is run by other rules than those of the rule files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the rule files are not the rules of this galaxy, which go on to hold: \
     files {on_disk:016x}, galaxy {stored:016x}"
)]
pub struct RulesDiffer {
    pub on_disk: u64,
    pub stored: u64,
}

/// Compares the rules of `world` with the hash of those on disk.
pub fn compare_rules(world: &World, on_disk: u64) -> Option<RulesDiffer> {
    let stored = world.rules.hash();
    (stored != on_disk).then_some(RulesDiffer { on_disk, stored })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::rules::sample;
    use crate::store::memory::Memory;

    #[test]
    fn other_rules_than_the_galaxys_are_named_with_both_hashes() {
        let rules = sample::rules().unwrap();
        let config = Config::with("").unwrap();
        let (world, _) = find_or_make(&Memory::new(), &config, rules.clone()).unwrap();
        assert_eq!(compare_rules(&world, rules.hash()), None);
        let (stored, on_disk) = (rules.hash(), rules.hash() ^ 1);
        let differ = compare_rules(&world, on_disk).unwrap();
        assert_eq!(differ, RulesDiffer { on_disk, stored });
        let told = differ.to_string();
        assert!(
            told.contains(&format!("{stored:016x}")) && told.contains(&format!("{on_disk:016x}"))
        );
    }
}
