//! Owns what a sector knows of the units just beyond its borders. Never decides what
//! that means. Called by the sector's table.
//!
//! A unit that changes its sector is told by the one that it left until it is known to
//! have arrived, and by the one it came to. So what a neighbour does not tell any more,
//! or is here now, is kept as gone for as long as a late word of another could bring it
//! back with fewer hops.
//!
//! Invariants: at most [`UNITS_MAX`] of each of eight sectors; the hops of a unit that is
//! seen, here or beyond, never fall while anything is held of it.

use std::collections::BTreeMap;

use super::Cast;
use crate::base::{Millis, SectorId, Tick, UnitId};
use crate::entity::kinds::sector::TICKS_PER_STEP;
use crate::sim::SectorState;
use crate::sim::shadow::Shadow;

/// Of one sector; what has higher ids is not held.
pub const UNITS_MAX: usize = 16_384;
/// What is not said again for so many ticks of the node is gone: three world ticks.
const KEPT_TICKS: u64 = 3 * TICKS_PER_STEP;

/// What is held of the eight sectors around.
#[derive(Clone, Debug, Default)]
pub struct Shadows {
    from: BTreeMap<SectorId, Neighbour>,
}

#[derive(Clone, Debug)]
struct Neighbour {
    /// The latest tick that came.
    tick: Tick,
    /// In order of ids.
    units: Vec<Held>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    shadow: Shadow,
    /// Of its sector, and of its node's clock.
    tick: Tick,
    time: Millis,
    /// The tick of this node at which it was said, or that it is gone.
    heard: Tick,
    is_gone: bool,
}

/// A unit of a neighbour, as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub from: SectorId,
    /// Of that sector, and of its node's clock.
    pub tick: Tick,
    pub time: Millis,
    pub shadow: Shadow,
}

impl Shadows {
    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.from.is_empty()
    }

    /// How many units are held, also as gone.
    pub fn len(&self) -> usize {
        self.from.values().map(|neighbour| neighbour.units.len()).sum()
    }

    /// Whether one of them moves.
    pub fn is_moving(&self) -> bool {
        let units = self.from.values().flat_map(|neighbour| &neighbour.units);
        units.into_iter().any(|held| !held.is_gone && held.shadow.is_moving())
    }

    /// Takes what came; false when later word of that sector has come already.
    pub fn take(&mut self, cast: &Cast, now: Tick) -> bool {
        let neighbour = self
            .from
            .entry(cast.from)
            .or_insert_with(|| Neighbour { tick: cast.tick, units: Vec::new() });
        if cast.tick < neighbour.tick {
            return false;
        }
        neighbour.tick = cast.tick;
        let above = |id: UnitId| move |held: &Held| held.shadow.id <= id;
        let start = neighbour.units.partition_point(above(cast.above));
        let end = neighbour.units.partition_point(above(cast.upto)).max(start);
        let before: Vec<Held> = neighbour.units[start..end].to_vec();
        neighbour.units.splice(start..end, merged(&before, cast, now));
        neighbour.units.truncate(UNITS_MAX);
        true
    }

    /// What nobody said again is gone, as what is in `own` by now, and forgotten after as
    /// long again.
    pub fn expire(&mut self, own: &SectorState, now: Tick) {
        self.from.retain(|_, neighbour| {
            neighbour.units.retain_mut(|held| {
                if let Some(unit) = own.unit(held.shadow.id)
                    && unit.hops > held.shadow.hops
                {
                    held.shadow.hops = unit.hops;
                    (held.heard, held.is_gone) = (now, true);
                }
                let is_due = now.since(held.heard) >= KEPT_TICKS;
                let stays = !(is_due && held.is_gone);
                if is_due {
                    (held.heard, held.is_gone) = (now, true);
                }
                stays
            });
            !neighbour.units.is_empty()
        });
    }

    /// The units beyond the borders of `own`, in order of ids: of each what has the
    /// most hops, and not those that are in `own` by then.
    pub fn seen(&self, own: &SectorState) -> Vec<Seen> {
        let mut best: BTreeMap<UnitId, (bool, Seen)> = BTreeMap::new();
        for (from, neighbour) in &self.from {
            for held in &neighbour.units {
                let Held { shadow, tick, time, .. } = *held;
                let seen = Seen { from: *from, tick, time, shadow };
                let known = best.entry(shadow.id).or_insert((held.is_gone, seen));
                if shadow.hops > known.1.shadow.hops {
                    *known = (held.is_gone, seen);
                }
            }
        }
        let is_there = |seen: &Seen| {
            let Seen { shadow, .. } = seen;
            own.unit(shadow.id).is_none_or(|unit| unit.hops < shadow.hops)
        };
        best.into_values()
            .filter_map(|(is_gone, seen)| (!is_gone).then_some(seen))
            .filter(is_there)
            .collect()
    }
}

/// What is held of a range of ids: what is said now, and as gone what was said before.
fn merged(before: &[Held], cast: &Cast, now: Tick) -> Vec<Held> {
    let mut merged = Vec::with_capacity(cast.units.len());
    let mut before = before.iter().peekable();
    let gone = |held: &Held| match held.is_gone {
        true => *held,
        false => Held { heard: now, is_gone: true, ..*held },
    };
    let Cast { tick, time, .. } = *cast;
    for shadow in cast.units.iter() {
        while let Some(left) = before.next_if(|held| held.shadow.id < shadow.id) {
            merged.push(gone(left));
        }
        let said = Held { shadow: *shadow, tick, time, heard: now, is_gone: false };
        let known = before.next_if(|held| held.shadow.id == shadow.id);
        let is_over = known.filter(|known| known.shadow.hops > shadow.hops);
        merged.push(is_over.map_or(said, gone));
    }
    merged.extend(before.map(gone));
    merged
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::{PlayerId, Position};
    use crate::sim::rules::sample::FIGHTER;
    use crate::sim::shadow::Border;
    use crate::sim::{Changes, Unit};

    const WEST: SectorId = SectorId::tactical(4, 5);
    const NORTH: SectorId = SectorId::tactical(5, 6);

    fn shadow(id: u64, hops: u32) -> Shadow {
        let mut unit = Unit::new(UnitId(id), FIGHTER, PlayerId(1), Position::default());
        unit.hops = hops;
        Shadow::from(&unit)
    }

    fn cast(from: SectorId, tick: u64, units: &[(u64, u32)]) -> Cast {
        let units: Arc<[Shadow]> = units.iter().map(|(id, hops)| shadow(*id, *hops)).collect();
        let border = if from == WEST { Border { dx: 1, dy: 0 } } else { Border { dx: 0, dy: -1 } };
        Cast::whole(from, border, (Tick(tick), Millis(tick)), units)
    }

    fn part(mut cast: Cast, above: u64, upto: u64) -> Cast {
        (cast.above, cast.upto) = (UnitId(above), UnitId(upto));
        cast
    }

    fn here() -> SectorState {
        SectorState::new(SectorId::tactical(5, 5))
    }

    /// The ids and hops that are seen.
    fn seen(shadows: &Shadows) -> Vec<(u64, u32)> {
        let seen = shadows.seen(&here());
        seen.iter().map(|seen| (seen.shadow.id.0, seen.shadow.hops)).collect()
    }

    #[test]
    fn what_is_said_replaces_what_was_said_of_the_same_range_and_nothing_else() {
        let mut shadows = Shadows::default();
        assert!(shadows.take(&cast(WEST, 2, &[(1, 0), (5, 0), (9, 0)]), Tick(2)));
        assert!(shadows.take(&part(cast(WEST, 4, &[(4, 0), (6, 0)]), 3, 8), Tick(4)));
        assert_eq!(seen(&shadows), [(1, 0), (4, 0), (6, 0), (9, 0)]);
        assert!(shadows.take(&cast(NORTH, 4, &[]), Tick(4)), "another sector's are its own");
        assert_eq!(seen(&shadows).len(), 4);
    }

    #[test]
    fn what_was_overtaken_changes_nothing() {
        let mut shadows = Shadows::default();
        assert!(shadows.take(&cast(WEST, 6, &[(1, 0)]), Tick(6)));
        assert!(!shadows.take(&cast(WEST, 4, &[(2, 0)]), Tick(7)));
        assert_eq!(seen(&shadows), [(1, 0)]);
        assert!(shadows.take(&cast(WEST, 6, &[(1, 0)]), Tick(8)), "said again, as a slow sector");
    }

    #[test]
    fn what_is_not_said_for_three_world_ticks_is_gone() {
        let mut shadows = Shadows::default();
        shadows.take(&cast(WEST, 2, &[(1, 0), (2, 0)]), Tick(10));
        shadows.take(&part(cast(WEST, 4, &[(1, 0)]), 0, 1), Tick(12));
        shadows.expire(&here(), Tick(15));
        assert_eq!(seen(&shadows), [(1, 0), (2, 0)]);
        shadows.expire(&here(), Tick(16));
        assert_eq!(seen(&shadows), [(1, 0)]);
        shadows.expire(&here(), Tick(18));
        assert_eq!(seen(&shadows), []);
        assert!(!shadows.is_empty(), "a late word of another must not bring them back");
        shadows.expire(&here(), Tick(24));
        assert!(shadows.is_empty());
    }

    #[test]
    fn of_one_unit_the_most_hops_count_whoever_says_it_last() {
        let mut shadows = Shadows::default();
        shadows.take(&cast(WEST, 2, &[(1, 3)]), Tick(2));
        shadows.take(&cast(NORTH, 9, &[(1, 4)]), Tick(3));
        shadows.take(&cast(WEST, 4, &[(1, 3)]), Tick(4));
        assert_eq!(seen(&shadows), [(1, 4)]);
        // It leaves the north's strip, and the west's last word is still about.
        shadows.take(&cast(NORTH, 11, &[]), Tick(5));
        shadows.take(&cast(WEST, 6, &[(1, 3)]), Tick(5));
        assert_eq!(seen(&shadows), [], "with fewer hops it does not come back");
        shadows.expire(&here(), Tick(11));
        assert_eq!(seen(&shadows), [], "who has no unit says nothing of it again");
        shadows.expire(&here(), Tick(17));
        assert!(shadows.is_empty());
    }

    #[test]
    fn a_shadow_ends_where_the_unit_is_here() {
        let mut shadows = Shadows::default();
        shadows.take(&cast(WEST, 2, &[(1, 3)]), Tick(2));
        let mut unit = Unit::new(UnitId(1), FIGHTER, PlayerId(1), Position::default());
        let own = |unit| {
            let mut own = here();
            own.insert(unit, &mut Changes::default());
            own
        };
        unit.hops = 4;
        assert_eq!(shadows.seen(&own(unit)), []);
        unit.hops = 2;
        assert_eq!(shadows.seen(&own(unit)).len(), 1, "it has gone there since");
    }

    #[test]
    fn what_was_here_does_not_come_back_with_fewer_hops() {
        let mut shadows = Shadows::default();
        shadows.take(&cast(WEST, 2, &[(1, 3)]), Tick(2));
        let mut unit = Unit::new(UnitId(1), FIGHTER, PlayerId(1), Position::default());
        unit.hops = 4;
        let mut own = here();
        own.insert(unit, &mut Changes::default());
        shadows.expire(&own, Tick(4));
        // It has left again, and what the west said before comes late.
        shadows.take(&cast(WEST, 4, &[(1, 3)]), Tick(5));
        assert_eq!(seen(&shadows), []);
        shadows.take(&cast(WEST, 6, &[(1, 5)]), Tick(6));
        assert_eq!(seen(&shadows), [(1, 5)], "it has gone there");
    }

    #[test]
    fn of_very_many_the_first_are_held() {
        let mut shadows = Shadows::default();
        let many: Vec<(u64, u32)> = (1..=UNITS_MAX as u64 + 9).map(|id| (id, 0)).collect();
        shadows.take(&cast(WEST, 2, &many), Tick(2));
        assert_eq!(seen(&shadows).len(), UNITS_MAX);
    }
}
