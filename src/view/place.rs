//! Owns what a client knows of one place: units at a tick, carried forward by
//! keyframes, deltas and the courses themselves. Never asks for anything
//! (`client` does). Invariant: as long as no gap is reported, the units are
//! those that the server had at the same tick.

use std::collections::BTreeMap;

use super::convert;
use crate::base::UnitId;
use crate::protocol::UnitRecord;
use crate::protocol::frame::unwrap_tick;
use crate::protocol::server::{Keyframe, StateDelta};
use crate::sim::Unit;

/// Ticks of a place from one step of its units to the next.
pub const TICKS_PER_STEP: u64 = 2;
/// Differences told of one keyframe; more say no more.
pub const DIFFERENCES_MAX: usize = 8;

/// A place as a client sees it.
#[derive(Clone, Debug, Default)]
pub struct PlaceView {
    /// `None` until the first keyframe, and after a gap.
    state: Option<State>,
}

#[derive(Clone, Debug)]
struct State {
    /// Of the last message applied.
    tick: u64,
    units: BTreeMap<UnitId, Unit>,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The view is now at this tick.
    At(u64),
    /// It is older than the view and told nothing.
    Stale,
    /// Something between the view and it is missing: ask for a keyframe. The
    /// view is empty until then.
    Gap,
    /// A keyframe was not what the view said; the view is the keyframe's now.
    Desync { tick: u64, differences: Vec<Difference> },
}

/// One unit that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub unit: UnitId,
    /// What the client had made of earlier messages.
    pub rebuilt: Option<UnitRecord>,
    pub keyframe: Option<UnitRecord>,
}

impl PlaceView {
    /// The tick of the last message applied, `None` while there is no state.
    pub fn tick(&self) -> Option<u64> {
        self.state.as_ref().map(|state| state.tick)
    }

    /// The units at [`tick`](Self::tick), in order of ids.
    pub fn units(&self) -> impl Iterator<Item = &Unit> {
        self.state.iter().flat_map(|state| state.units.values())
    }

    /// The unit with this id at [`tick`](Self::tick).
    pub fn unit(&self, id: UnitId) -> Option<&Unit> {
        self.state.as_ref()?.units.get(&id)
    }

    /// Where `id` is at a tick that no message has told of yet: for drawing.
    pub fn predict(&self, id: UnitId, tick: u64) -> Option<Unit> {
        let state = self.state.as_ref()?;
        let mut unit = *state.units.get(&id)?;
        unit.advance(steps_between(state.tick, tick));
        Some(unit)
    }

    /// Takes the keyframe's units; compares them with its own first, if it has any.
    pub fn handle_keyframe(&mut self, keyframe: &Keyframe) -> Applied {
        let tick = keyframe.full_tick;
        if self.tick().is_some_and(|newer| newer > tick) {
            return Applied::Stale;
        }
        let units = keyframe.units.iter().map(|record| (record.id, convert::unit(record)));
        let told = State { tick, units: units.collect() };
        let Some(mut rebuilt) = self.state.replace(told) else { return Applied::At(tick) };
        rebuilt.advance_to(tick);
        let differences = self.differences(&rebuilt);
        if differences.is_empty() {
            return Applied::At(tick);
        }
        Applied::Desync { tick, differences }
    }

    /// Takes a delta with these low bits of the place's tick.
    pub fn handle_delta(&mut self, low: u16, delta: &StateDelta) -> Applied {
        let Some(state) = &mut self.state else { return Applied::Gap };
        let tick = unwrap_tick(state.tick, low);
        if tick <= state.tick {
            return Applied::Stale;
        }
        if tick.saturating_sub(u64::from(delta.base)) > state.tick {
            self.state = None;
            return Applied::Gap;
        }
        state.advance_to(tick);
        for record in &delta.units {
            state.take(convert::unit(record));
        }
        for id in &delta.removed {
            state.units.remove(id);
        }
        Applied::At(tick)
    }

    fn differences(&self, rebuilt: &State) -> Vec<Difference> {
        let Some(told) = &self.state else { return Vec::new() };
        let ids: std::collections::BTreeSet<_> =
            told.units.keys().chain(rebuilt.units.keys()).copied().collect();
        ids.into_iter()
            .filter(|id| told.units.get(id) != rebuilt.units.get(id))
            .take(DIFFERENCES_MAX)
            .map(|unit| Difference {
                unit,
                rebuilt: rebuilt.units.get(&unit).map(convert::record),
                keyframe: told.units.get(&unit).map(convert::record),
            })
            .collect()
    }
}

impl State {
    fn advance_to(&mut self, tick: u64) {
        let steps = steps_between(self.tick, tick);
        for unit in self.units.values_mut() {
            unit.advance(steps);
        }
        self.tick = tick;
    }

    /// Of two records of a unit the one with more hops is the truth.
    fn take(&mut self, unit: Unit) {
        let known = self.units.get(&unit.id).map_or(0, |known| known.hops);
        if unit.hops >= known {
            self.units.insert(unit.id, unit);
        }
    }
}

/// Steps of a place after tick `from`, up to and with tick `to`: it steps when
/// its tick becomes even.
pub fn steps_between(from: u64, to: u64) -> u64 {
    (to / TICKS_PER_STEP).saturating_sub(from / TICKS_PER_STEP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{PlayerId, Position};
    use crate::sim::{Course, UnitState, UnitTypeId};

    fn moving(id: u64, vx: i32, steps: u16) -> Unit {
        let mut unit =
            Unit::new(UnitId(id), UnitTypeId(1), PlayerId(7), Position { x: 1_000, y: 2_000 });
        unit.steer(Course { velocity: (vx, 0), remaining: steps });
        unit
    }

    fn keyframe(tick: u64, units: &[Unit]) -> Keyframe {
        Keyframe { full_tick: tick, units: units.iter().map(convert::record).collect() }
    }

    fn delta(base: u16, units: &[Unit], removed: &[u64]) -> StateDelta {
        let units = units.iter().map(convert::record).collect();
        StateDelta { base, units, removed: removed.iter().copied().map(UnitId).collect() }
    }

    #[test]
    fn units_fly_their_courses_between_messages() {
        let mut view = PlaceView::default();
        view.handle_keyframe(&keyframe(10, &[moving(1, 100, 3)]));
        assert_eq!(view.handle_delta(14, &delta(4, &[], &[])), Applied::At(14));
        assert_eq!(view.unit(UnitId(1)).map(|u| u.position.x), Some(1_200));
        assert_eq!(view.predict(UnitId(1), 99).map(|u| u.position.x), Some(1_300));
        assert_eq!(
            view.predict(UnitId(1), 99).map(|u| u.state.has(UnitState::MOVING)),
            Some(false)
        );
    }

    #[test]
    fn a_keyframe_that_agrees_is_no_desync() {
        let mut view = PlaceView::default();
        view.handle_keyframe(&keyframe(10, &[moving(1, 100, 3)]));
        let mut arrived = moving(1, 100, 3);
        arrived.advance(3);
        assert_eq!(view.handle_keyframe(&keyframe(17, &[arrived])), Applied::At(17));
    }

    #[test]
    fn a_keyframe_that_differs_in_one_step_is_a_desync() {
        let mut view = PlaceView::default();
        view.handle_keyframe(&keyframe(10, &[moving(1, 100, 3)]));
        let mut wrong = moving(1, 100, 3);
        wrong.advance(1);
        wrong.position.x += 1;
        let applied = view.handle_keyframe(&keyframe(12, &[wrong]));
        assert!(
            matches!(applied, Applied::Desync { tick: 12, differences } if differences.len() == 1)
        );
    }

    #[test]
    fn a_missing_or_unknown_unit_is_a_desync() {
        for told in [&[][..], &[moving(1, 0, 0), moving(2, 0, 0)][..]] {
            let mut view = PlaceView::default();
            view.handle_keyframe(&keyframe(10, &[moving(1, 0, 0)]));
            assert!(matches!(view.handle_keyframe(&keyframe(11, told)), Applied::Desync { .. }));
        }
    }

    #[test]
    fn a_gap_empties_the_view_until_a_keyframe() {
        let mut view = PlaceView::default();
        view.handle_keyframe(&keyframe(10, &[moving(1, 0, 0)]));
        assert_eq!(view.handle_delta(16, &delta(4, &[], &[1])), Applied::Gap);
        assert_eq!(view.units().count(), 0);
        assert_eq!(view.handle_delta(18, &delta(2, &[], &[])), Applied::Gap);
        assert_eq!(view.handle_keyframe(&keyframe(20, &[])), Applied::At(20));
    }

    #[test]
    fn an_old_delta_is_not_applied() {
        let mut view = PlaceView::default();
        view.handle_keyframe(&keyframe(0x1_0002, &[moving(1, 0, 0)]));
        assert_eq!(view.handle_delta(0xFFFF, &delta(4, &[], &[1])), Applied::Stale);
        assert_eq!(view.handle_delta(2, &delta(4, &[], &[1])), Applied::Stale);
        assert_eq!(view.handle_delta(4, &delta(2, &[], &[1])), Applied::At(0x1_0004));
        assert_eq!(view.units().count(), 0);
    }

    #[test]
    fn a_record_of_fewer_hops_does_not_replace_a_newer_one() {
        let mut view = PlaceView::default();
        let newer = Unit { hops: 3, ..moving(1, 0, 0) };
        view.handle_keyframe(&keyframe(10, &[newer]));
        view.handle_delta(12, &delta(2, &[Unit { hops: 2, health: 1, ..newer }], &[]));
        assert_eq!(view.unit(UnitId(1)).map(convert::record), Some(convert::record(&newer)));
    }
}
