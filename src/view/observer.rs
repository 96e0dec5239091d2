//! Owns what one observer of a sector was shown and what it is to be shown
//! next: whole records of units that are new to it or changed in a way it
//! could not predict, and ids of those it sees no more. Never decides when;
//! called by the table at every even tick of the sector.
//!
//! Invariant: an observer that applied every update has, at an update's tick,
//! exactly the units that it sees in the sector's state at that tick.

use std::collections::BTreeSet;

use crate::base::{PlayerId, Tick, UnitId};
use crate::sim::{Changes, Rules, SectorState, Unit};

/// What an observer of a place is shown at one tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The place's.
    pub tick: Tick,
    /// Whether `units` is everything; else only what changed.
    pub keyframe: bool,
    /// By id.
    pub units: Vec<Unit>,
    /// By id; none in a keyframe.
    pub removed: Vec<UnitId>,
}

/// One observer of a sector.
#[derive(Clone, Debug)]
pub struct Observer {
    player: PlayerId,
    /// The units it has, `None` before its keyframe.
    shown: Option<BTreeSet<UnitId>>,
}

impl Observer {
    pub fn new(player: PlayerId) -> Observer {
        Observer { player, shown: None }
    }

    /// What it is to be shown of `state`, which is after the step to `tick`;
    /// `None` for nothing. With `beat` it is shown something in any case.
    pub fn observe(
        &mut self,
        state: &SectorState,
        rules: &Rules,
        tick: Tick,
        changes: &Changes,
        beat: bool,
    ) -> Option<Update> {
        let visible = visible(state, rules, self.player);
        let ids = visible.iter().map(|unit| unit.id).collect();
        let Some(shown) = self.shown.replace(ids) else {
            let units = visible.into_iter().copied().collect();
            return Some(Update { tick, keyframe: true, units, removed: Vec::new() });
        };
        let now = self.shown.as_ref()?;
        let removed: Vec<UnitId> = shown.difference(now).copied().collect();
        let news = |unit: &&Unit| {
            !shown.contains(&unit.id)
                || changes.changed.contains(&unit.id)
                || changes.appeared.contains(&unit.id)
        };
        let units: Vec<Unit> = visible.into_iter().filter(news).copied().collect();
        let nothing = units.is_empty() && removed.is_empty() && !beat;
        (!nothing).then_some(Update { tick, keyframe: false, units, removed })
    }
}

/// The units that `player` sees, by id.
fn visible<'s>(state: &'s SectorState, _rules: &Rules, player: PlayerId) -> Vec<&'s Unit> {
    if state.units().iter().any(|unit| unit.owner == player) {
        state.units().iter().collect()
    } else {
        Vec::new()
    }
}
