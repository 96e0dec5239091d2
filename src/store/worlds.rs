//! Owns the worlds that a process can run: its own, and those of other rules that
//! a journal names, read from the store when one does. Never one of another
//! version of the simulation. Called by who loads entities. Invariant: a bounded
//! number is remembered; a load of the own logic reads nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::{ReadError, Store};
use crate::entity::envelope::Logic;
use crate::entity::logics::{KnownWorlds, Logics};
use crate::entity::replay::Image;
use crate::entity::world::read_rules;
use crate::entity::{World, keys};
use crate::sim::Rules;

/// Sets of rules remembered: a galaxy has one, and two while nodes are restarted
/// with others. With one more all are forgotten, and read again when named.
const REMEMBERED_MAX: usize = 16;

/// The worlds a process can run.
#[derive(Debug)]
pub struct Worlds {
    own: Arc<World>,
    others: Mutex<BTreeMap<Logic, Arc<World>>>,
}

impl Worlds {
    pub fn new(own: Arc<World>) -> Worlds {
        Worlds { own, others: Mutex::default() }
    }

    pub fn own(&self) -> &Arc<World> {
        &self.own
    }

    /// Those that are needed to run what `image` holds, as far as there are.
    ///
    /// # Errors
    /// When the store does not answer, or rules are damaged.
    pub fn of_image(&self, store: &dyn Store, image: &Image) -> Result<KnownWorlds, ReadError> {
        self.of(store, &image.logics())
    }

    /// Those of `logics`, as far as there are.
    ///
    /// # Errors
    /// When the store does not answer, or rules are damaged.
    pub fn of(&self, store: &dyn Store, logics: &[Logic]) -> Result<KnownWorlds, ReadError> {
        let mut known = KnownWorlds::new(self.own.clone());
        for logic in logics {
            if known.of(*logic).is_none()
                && let Some(world) = self.find(store, *logic)?
            {
                known = known.with(world);
            }
        }
        Ok(known)
    }

    fn find(&self, store: &dyn Store, logic: Logic) -> Result<Option<Arc<World>>, ReadError> {
        if logic.version != self.own.logic().version {
            return Ok(None);
        }
        // Whoever panicked in here left a map that is as good as before.
        let others = || self.others.lock().unwrap_or_else(|lock| lock.into_inner());
        if let Some(world) = others().get(&logic) {
            return Ok(Some(world.clone()));
        }
        let Some(rules) = rules(store, logic.rules)? else { return Ok(None) };
        let world = Arc::new(self.own.with_rules(rules));
        let mut others = others();
        if others.len() >= REMEMBERED_MAX {
            others.clear();
        }
        others.insert(logic, world.clone());
        Ok(Some(world))
    }
}

/// The rules with this hash that `store` has: under their own key, or in the row
/// of a galaxy that was made before there were such keys.
///
/// # Errors
/// When the store does not answer, or they are damaged.
pub fn rules(store: &dyn Store, hash: u64) -> Result<Option<Rules>, ReadError> {
    let damaged = |error: &dyn std::fmt::Display| ReadError::Damaged(error.to_string());
    if let Some(row) = store.get(&keys::rules(hash))? {
        return read_rules(hash, &row.value).map(Some).map_err(|error| damaged(&error));
    }
    let Some(row) = store.get(keys::WORLD)? else { return Ok(None) };
    let made = World::from_bytes(&row.value).map_err(|error| damaged(&error))?;
    Ok(Some(made.rules).filter(|rules| rules.hash() == hash))
}

/// All rules that `store` has.
///
/// # Errors
/// When the store does not answer, or some are damaged.
pub fn all_rules(store: &dyn Store) -> Result<Vec<Rules>, ReadError> {
    let damaged = |error: &dyn std::fmt::Display| ReadError::Damaged(error.to_string());
    let mut all = Vec::new();
    for (key, row) in store.scan(keys::RULES, None, usize::MAX)? {
        let hash = keys::parse_rules(&key).ok_or_else(|| damaged(&"the key of rules"))?;
        all.push(read_rules(hash, &row.value).map_err(|error| damaged(&error))?);
    }
    if let Some(row) = store.get(keys::WORLD)? {
        let made = World::from_bytes(&row.value).map_err(|error| damaged(&error))?.rules;
        if all.iter().all(|rules| rules.hash() != made.hash()) {
            all.push(made);
        }
    }
    Ok(all)
}
