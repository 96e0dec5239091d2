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
    /// The units it has, `None` before its first keyframe.
    shown: Option<BTreeSet<UnitId>>,
    /// It asked for a keyframe once more.
    asked: bool,
}

impl Observer {
    pub fn new(player: PlayerId) -> Observer {
        Observer { player, shown: None, asked: false }
    }

    /// Shows it a keyframe with the next update, behind what changed: the
    /// observer compares the keyframe with what it rebuilt.
    pub fn ask_keyframe(&mut self) {
        self.asked = true;
    }

    /// What it is to be shown of `state`, which is after the step to `tick`:
    /// nothing, what changed, a keyframe, or one after the other. With `beat`
    /// it is shown something in any case.
    pub fn observe(
        &mut self,
        state: &SectorState,
        rules: &Rules,
        tick: Tick,
        changes: &Changes,
        beat: bool,
    ) -> impl Iterator<Item = Update> + use<> {
        let visible = visible(state, rules, self.player);
        let now: BTreeSet<UnitId> = visible.iter().map(|unit| unit.id).collect();
        let delta = self.shown.as_ref().and_then(|shown| {
            let (units, removed) = difference(&visible, shown, &now, changes);
            let nothing = units.is_empty() && removed.is_empty() && !beat;
            (!nothing).then_some(Update { tick, keyframe: false, units, removed })
        });
        let keyframe = (self.asked || self.shown.is_none()).then(|| {
            let units = visible.into_iter().copied().collect();
            Update { tick, keyframe: true, units, removed: Vec::new() }
        });
        self.shown = Some(now);
        self.asked = false;
        [delta, keyframe].into_iter().flatten()
    }
}

/// Of `visible`, whose ids are `now`, what an observer of the units `shown`
/// could not predict, and what it sees no more.
fn difference(
    visible: &[&Unit],
    shown: &BTreeSet<UnitId>,
    now: &BTreeSet<UnitId>,
    changes: &Changes,
) -> (Vec<Unit>, Vec<UnitId>) {
    let news = |id: UnitId| {
        !shown.contains(&id) || changes.changed.contains(&id) || changes.appeared.contains(&id)
    };
    let units = visible.iter().filter(|unit| news(unit.id)).map(|unit| **unit).collect();
    (units, shown.difference(now).copied().collect())
}

/// The units that `player` sees, by id.
fn visible<'s>(state: &'s SectorState, _rules: &Rules, player: PlayerId) -> Vec<&'s Unit> {
    if state.units().iter().any(|unit| unit.owner == player) {
        state.units().iter().collect()
    } else {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Position, SectorId};
    use crate::sim::{Course, Order, UnitState, UnitTypeId};

    /// What it is shown, by keyframe or not.
    fn kinds(
        observer: &mut Observer,
        state: &SectorState,
        changes: &Changes,
        beat: bool,
    ) -> Vec<bool> {
        let rules = crate::sim::rules::sample::rules().expect("tested there");
        observer.observe(state, &rules, Tick(2), changes, beat).map(|u| u.keyframe).collect()
    }

    fn sector() -> (SectorState, Changes) {
        let (mut state, mut changes) =
            (SectorState::new(SectorId::tactical(0, 0)), Changes::default());
        state.insert(
            Unit {
                id: UnitId(1),
                type_id: UnitTypeId(1),
                owner: PlayerId(7),
                hops: 0,
                position: Position::default(),
                course: Course::STANDING,
                heading: 0,
                health: 1,
                state: UnitState(0),
                order: Order::Idle,
            },
            &mut changes,
        );
        (state, changes)
    }

    #[test]
    fn begins_with_a_keyframe_and_then_shows_only_what_changed() {
        let (state, changes) = sector();
        let mut observer = Observer::new(PlayerId(7));
        assert_eq!(kinds(&mut observer, &state, &changes, false), [true]);
        assert_eq!(kinds(&mut observer, &state, &changes, false), [false]);
        assert!(kinds(&mut observer, &state, &Changes::default(), false).is_empty());
        assert_eq!(kinds(&mut observer, &state, &Changes::default(), true), [false]);
    }

    #[test]
    fn a_keyframe_asked_for_comes_behind_the_changes_of_its_tick() {
        let (state, changes) = sector();
        let mut observer = Observer::new(PlayerId(7));
        kinds(&mut observer, &state, &changes, false);
        observer.ask_keyframe();
        assert_eq!(kinds(&mut observer, &state, &changes, false), [false, true]);
        observer.ask_keyframe();
        assert_eq!(kinds(&mut observer, &state, &Changes::default(), false), [true]);
    }
}
