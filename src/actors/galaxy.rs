//! Owns how a galaxy is made once and found again: its row in the store holds
//! the seed, the extent, how full it is, the number of ledgers and the rules of
//! that day. Never changes it. Called at a node's start. Invariants: what the row
//! says of the galaxy wins over the configuration, because journals were written
//! under it; the rules are the node's own, and fit what was made by those before.

use crate::base::{Incarnation, NodeId};
use crate::config::Config;
use crate::entity::commit::{Check, Expect, Group, NodeRow, Put, RowError, VALUE_BYTES_MAX};
use crate::entity::format::{Format, FormatError, Formats};
use crate::entity::world::{WorldError, rules_group};
use crate::entity::{World, keys};
use crate::sim::rules::change::Unfit;
use crate::sim::{Galaxy, Invalid, Rules};
use crate::store::worlds::all_rules;
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
    #[error("rules {now:016x} cannot follow this galaxy's rules {before:016x}: {why}")]
    Rules { before: u64, now: u64, why: Unfit },
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error("the rules take {bytes} bytes in the store, expected at most {most}")]
    LongRules { bytes: usize, most: usize },
}

/// The galaxy with the node's own rules, and what is new of it.
#[derive(Debug)]
pub struct Found {
    pub world: World,
    /// The group that stores the galaxy, where there was none.
    pub made: Option<Group>,
    /// The group that stores the rules, where there were no such. It is refused when
    /// others have come since all that there were was read.
    pub new_rules: Option<Group>,
}

/// The galaxy with the node's own rules: the stored one, or that of `config`.
///
/// # Errors
/// When the store does not answer, its row is of another build, or the rules do
/// not fit what is there, or are too long for it.
pub fn find_or_make(
    store: &dyn Store,
    config: &Config,
    rules: Rules,
) -> Result<Found, GalaxyError> {
    // Before all that the rules are held against.
    let last = store.get(keys::RULES_LAST)?.map(|last| last.version);
    if let Some(row) = store.get(keys::WORLD)? {
        let made = World::from_bytes(&row.value)?;
        check_rules(store, &made.rules, &rules)?;
        let new_rules = new_rules(store, &rules, last)?;
        return Ok(Found { world: made.with_rules(rules), made: None, new_rules });
    }
    let settings = &config.galaxy;
    let side = settings.sectors_per_side.u32();
    let galaxy = Galaxy::generated(settings.seed, side, settings.parameters())?;
    let world = World::new(galaxy, settings.ledger_shards.u64(), rules);
    let group = Group {
        checks: vec![Check { key: keys::WORLD.to_vec(), expect: Expect::Absent }],
        puts: vec![Put { key: keys::WORLD.to_vec(), value: Some(world.to_bytes()) }],
        append: None,
    };
    let new_rules = new_rules(store, &world.rules, last)?;
    Ok(Found { world, made: Some(group), new_rules })
}

/// Types of units stay what they were. One that came with rules after the first
/// may be missing: that is a node that is restarted before it has those.
fn check_rules(store: &dyn Store, first: &Rules, now: &Rules) -> Result<(), GalaxyError> {
    for before in all_rules(store)? {
        let (before_hash, now_hash) = (before.hash(), now.hash());
        match now.may_follow(&before) {
            Ok(()) => {}
            Err(why @ Unfit::Missing { .. }) if before_hash != first.hash() => {
                tracing::warn!(%why, "rules {before_hash:016x}, which this galaxy had, know more");
            }
            Err(why) => {
                return Err(GalaxyError::Rules { before: before_hash, now: now_hash, why });
            }
        }
    }
    Ok(())
}

/// The group that stores the node's rules, if the store has not got them.
fn new_rules(
    store: &dyn Store,
    rules: &Rules,
    last: Option<u64>,
) -> Result<Option<Group>, GalaxyError> {
    if store.get(&keys::rules(rules.hash()))?.is_some() {
        return Ok(None);
    }
    let group = rules_group(rules, last);
    let bytes = group.puts.iter().filter_map(|put| put.value.as_ref()).map(Vec::len).sum();
    if bytes > VALUE_BYTES_MAX {
        return Err(GalaxyError::LongRules { bytes, most: VALUE_BYTES_MAX });
    }
    Ok(Some(group))
}

/// What the cluster writes, and the group that checks that it still does, and says
/// that `node` reads `reads`.
///
/// # Errors
/// When the store does not answer, or the node does not read that.
pub fn format(
    store: &dyn Store,
    node: NodeId,
    reads: Formats,
) -> Result<(Format, Group), GalaxyError> {
    let row = store.get(keys::FORMAT)?;
    let format = match row.as_ref().map(|row| (row.value.as_slice(), row.version)) {
        None if store.get(keys::WORLD)?.is_none() => Format::of_new_galaxy(reads),
        row => Format::found(row, reads)?,
    };
    let told = store.get(&keys::reads(node))?;
    let told = told.and_then(|told| Formats::from_bytes(&told.value));
    Ok((format, format.begin(node, reads, told)))
}

/// The row of `node`, if it ran before.
///
/// # Errors
/// When the store does not answer.
pub fn last_row(store: &dyn Store, node: NodeId) -> Result<Option<NodeRow>, GalaxyError> {
    let Some(row) = store.get(&keys::row(node))? else { return Ok(None) };
    let row = NodeRow::from_bytes(&row.value)?;
    debug_assert!(row.incarnation >= Incarnation(1));
    Ok(Some(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::world::read_rules;
    use crate::sim::UnitTypeId;
    use crate::sim::rules::sample;
    use crate::store::memory::Memory;

    /// A store with a galaxy of `rules`.
    fn store(rules: &Rules) -> Memory {
        let (store, config) = (Memory::new(), Config::with("").unwrap());
        let found = find_or_make(&store, &config, rules.clone()).unwrap();
        assert_eq!(&found.world.rules, rules);
        put(&store, found.made.into_iter().chain(found.new_rules).collect());
        store
    }

    fn put(store: &Memory, groups: Vec<Group>) {
        assert_eq!(refused(store, groups), [0; 0]);
    }

    /// Puts what is accepted.
    fn refused(store: &Memory, groups: Vec<Group>) -> Vec<u32> {
        let before = store.get(&keys::row(NodeId(1))).unwrap();
        let before = before.map(|row| NodeRow::from_bytes(&row.value).unwrap());
        let commit = crate::entity::commit::Commit {
            node: NodeId(1),
            incarnation: Incarnation(before.as_ref().map_or(1, |row| row.incarnation.0 + 1)),
            number: 0,
            nonce: 7,
            tick: crate::base::Tick(0),
            audit_root: before.map_or([0; 32], |row| row.audit_root),
            is_last: false,
            groups,
        };
        store.commit(&commit).unwrap().refused
    }

    fn find(store: &Memory, rules: &Rules) -> Result<Found, GalaxyError> {
        let config = Config::with("").unwrap();
        find_or_make(store, &config, rules.clone())
    }

    fn new_rules(store: &Memory, rules: &Rules) -> Option<Group> {
        find(store, rules).unwrap().new_rules
    }

    fn with_type(rules: &Rules, id: u16, name: &str) -> Rules {
        let mut types = rules.types().to_vec();
        types.push(crate::sim::rules::UnitType {
            id: UnitTypeId(id),
            name: name.into(),
            ..types[0].clone()
        });
        Rules::new(types, rules.multipliers().to_vec(), rules.start().to_vec()).unwrap()
    }

    #[test]
    fn a_node_runs_a_galaxy_by_its_own_rules_and_stores_them_once() {
        let (first, later) = (sample::rules().unwrap(), sample::later_rules().unwrap());
        let store = store(&first);
        assert_eq!(find(&store, &later).unwrap().world.rules, later);
        assert!(new_rules(&store, &first).is_none());
        put(&store, vec![new_rules(&store, &later).unwrap()]);
        assert!(new_rules(&store, &later).is_none());
        let row = store.get(&keys::rules(later.hash())).unwrap().unwrap();
        assert_eq!(read_rules(later.hash(), &row.value), Ok(later));
    }

    #[test]
    fn rules_that_make_another_of_a_type_are_refused_with_both_hashes() {
        let first = with_type(&sample::rules().unwrap(), 9, "Cruiser");
        let store = store(&first);
        for other in [sample::rules().unwrap(), with_type(&sample::rules().unwrap(), 9, "Tug")] {
            let said = find(&store, &other).unwrap_err().to_string();
            for hash in [first.hash(), other.hash()] {
                assert!(said.contains(&format!("{hash:016x}")), "{said}");
            }
            assert!(said.contains("Cruiser"), "{said}");
        }
    }

    #[test]
    fn a_node_without_a_type_that_others_have_by_now_may_start_again() {
        let first = sample::rules().unwrap();
        let store = store(&first);
        let more = with_type(&first, 9, "Cruiser");
        put(&store, vec![new_rules(&store, &more).unwrap()]);
        assert_eq!(find(&store, &first).unwrap().world.rules, first);
        let other = with_type(&first, 9, "Tug");
        assert!(matches!(find(&store, &other), Err(GalaxyError::Rules { .. })));
    }

    #[test]
    fn of_two_sets_of_rules_that_come_at_once_the_second_is_held_against_the_first() {
        let first = sample::rules().unwrap();
        let (one, other) = (with_type(&first, 9, "Cruiser"), with_type(&first, 9, "Tug"));
        for is_first_made in [true, false] {
            let store = if is_first_made { store(&first) } else { Memory::new() };
            let found = [&one, &other].map(|rules| find(&store, rules).unwrap());
            let [this, that] = found.map(|it| it.made.into_iter().chain(it.new_rules).collect());
            put(&store, this);
            assert!(!refused(&store, that).is_empty(), "nobody saw the other's");
            let said = find(&store, &other).unwrap_err().to_string();
            for hash in [one.hash(), other.hash()] {
                assert!(said.contains(&format!("{hash:016x}")), "{said}");
            }
            assert!(new_rules(&store, &one).is_none());
        }
    }
}
