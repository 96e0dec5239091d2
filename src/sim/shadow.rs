//! Owns which units of a sector those around it are told of, and what they are told:
//! enough to see who comes in reach, nothing that could be acted on. Never changes a
//! unit and never knows who is told. Called by the sector's table at every world tick.
//! Invariant: shadows of one border are in order of ids, each unit once.

use serde::{Deserialize, Serialize};

use super::{Rules, SectorState, Unit, UnitTypeId};
use crate::base::geometry::SECTOR_STEPS;
use crate::base::{PlayerId, Position, UnitId};

/// Units so many metres from a border are told to who is beyond it, or as many as the
/// farthest weapon reaches.
pub const REACH_METRES: u32 = 200;

/// A unit of a neighbour, as of one of that sector's ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow {
    pub id: UnitId,
    pub owner: PlayerId,
    pub type_id: UnitTypeId,
    /// The higher count is the truer place.
    pub hops: u32,
    /// From the origin of the sector that it is in.
    pub position: Position,
    /// Grid steps in a step of 200 ms; none of what stands.
    pub velocity: (i32, i32),
    /// Of 65,535, which is the type's maximum.
    pub health: u16,
}

impl From<&Unit> for Shadow {
    fn from(unit: &Unit) -> Shadow {
        Shadow {
            id: unit.id,
            owner: unit.owner,
            type_id: unit.type_id,
            hops: unit.hops,
            position: unit.position,
            velocity: if unit.course.is_moving() { unit.course.velocity } else { (0, 0) },
            health: unit.health,
        }
    }
}

impl Shadow {
    pub fn is_moving(&self) -> bool {
        self.velocity != (0, 0)
    }
}

/// One of the eight sectors around: so many to the east and to the north.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Border {
    pub dx: i8,
    pub dy: i8,
}

impl Border {
    pub const ALL: [Border; 8] = [
        Border { dx: -1, dy: -1 },
        Border { dx: 0, dy: -1 },
        Border { dx: 1, dy: -1 },
        Border { dx: -1, dy: 0 },
        Border { dx: 1, dy: 0 },
        Border { dx: -1, dy: 1 },
        Border { dx: 0, dy: 1 },
        Border { dx: 1, dy: 1 },
    ];

    /// Whether who is beyond it is told of a unit that far from it.
    fn is_near(self, at: Position, reach: i32) -> bool {
        let near = |d: i8, v: i32| match d {
            0 => true,
            -1 => v < reach,
            _ => v >= SECTOR_STEPS - reach,
        };
        near(self.dx, at.x) && near(self.dy, at.y)
    }
}

/// How far from a border units are told of, in grid steps: no weapon of these rules
/// reaches farther than across a sector.
pub fn reach(rules: &Rules) -> i32 {
    let ranges = rules.types().iter().map(|kind| kind.range);
    let metres = ranges.fold(REACH_METRES, u32::max);
    let steps = i64::from(metres) * i64::from(SECTOR_STEPS) / 1_000;
    i32::try_from(steps).unwrap_or(SECTOR_STEPS)
}

/// What each of the sectors around is told, in the order of [`Border::ALL`]: of the
/// units here, and of those on their way out, which are in positions of this sector.
pub fn cast(sector: &SectorState, leaving: &[Shadow], reach: i32) -> [Vec<Shadow>; 8] {
    let mut cast: [Vec<Shadow>; 8] = Default::default();
    let inner = reach..SECTOR_STEPS - reach;
    let mut tell = |at: Position, shadow: &dyn Fn() -> Shadow| {
        if inner.contains(&at.x) && inner.contains(&at.y) {
            return;
        }
        for (border, told) in Border::ALL.into_iter().zip(&mut cast) {
            if border.is_near(at, reach) {
                told.push(shadow());
            }
        }
    };
    for unit in sector.units() {
        tell(unit.position, &|| Shadow::from(unit));
    }
    leaving.iter().for_each(|shadow| tell(shadow.position, &|| *shadow));
    if !leaving.is_empty() {
        // One that left and came back is told as what is here.
        for told in &mut cast {
            told.sort_by_key(|shadow| (shadow.id, std::cmp::Reverse(shadow.hops)));
            told.dedup_by_key(|shadow| shadow.id);
        }
    }
    cast
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SectorId;
    use crate::sim::rules::sample::{self, FIGHTER};
    use crate::sim::{Changes, Course, SectorState};

    const REACH: i32 = 1_000;

    fn unit(id: u64, x: i32, y: i32) -> Unit {
        Unit::new(UnitId(id), FIGHTER, PlayerId(7), Position { x, y })
    }

    fn sector(units: &[Unit]) -> SectorState {
        let mut sector = SectorState::new(SectorId::tactical(5, 5));
        units.iter().for_each(|unit| sector.insert(*unit, &mut Changes::default()));
        sector
    }

    /// The borders at which a unit there is told.
    fn borders(x: i32, y: i32) -> Vec<(i8, i8)> {
        let cast = cast(&sector(&[unit(1, x, y)]), &[], REACH);
        let told = Border::ALL.into_iter().zip(cast).filter(|(_, told)| !told.is_empty());
        told.map(|(Border { dx, dy }, _)| (dx, dy)).collect()
    }

    #[test]
    fn a_unit_is_told_to_all_who_are_within_reach_of_it_and_to_nobody_else() {
        let (mid, last) = (SECTOR_STEPS / 2, SECTOR_STEPS - 1);
        assert_eq!(borders(mid, mid), []);
        assert_eq!(borders(REACH, mid), [], "just out of reach");
        assert_eq!(borders(REACH - 1, mid), [(-1, 0)]);
        assert_eq!(borders(SECTOR_STEPS - REACH, mid), [(1, 0)]);
        assert_eq!(borders(SECTOR_STEPS - REACH - 1, mid), []);
        assert_eq!(borders(mid, 0), [(0, -1)]);
        assert_eq!(borders(mid, last), [(0, 1)]);
        assert_eq!(borders(0, 0), [(-1, -1), (0, -1), (-1, 0)]);
        assert_eq!(borders(last, last), [(1, 0), (0, 1), (1, 1)]);
        assert_eq!(borders(-3_000, mid), [(-1, 0)], "held outside at a closed border");
        assert_eq!(borders(SECTOR_STEPS + 3_000, 0), [(0, -1), (1, -1), (1, 0)]);
    }

    #[test]
    fn a_shadow_says_what_the_unit_is_and_where_it_goes() {
        let mut moving = unit(3, 10, 20);
        (moving.hops, moving.health) = (9, 77);
        moving.course = Course { velocity: (-5, 4), ..moving.course };
        let [_, _, _, west, ..] =
            cast(&sector(&[unit(8, 1, SECTOR_STEPS / 2), moving]), &[], REACH);
        let ids: Vec<u64> = west.iter().map(|shadow| shadow.id.0).collect();
        assert_eq!(ids, [3, 8], "in order of ids");
        let Shadow { owner, type_id, hops, position, health, .. } = west[0];
        assert_eq!((owner, type_id, hops, health), (PlayerId(7), FIGHTER, 9, 77));
        assert_eq!(position, Position { x: 10, y: 20 });
        assert!(!west[1].is_moving());
    }

    #[test]
    fn who_is_on_its_way_out_is_told_until_it_has_arrived() {
        let gone = Shadow::from(&unit(5, -3_000, SECTOR_STEPS / 2));
        let here = Shadow { hops: 2, ..gone };
        let mut back = unit(5, 10, SECTOR_STEPS / 2);
        back.hops = 2;
        let [_, _, _, west, ..] =
            cast(&sector(&[unit(3, 10, 10), unit(8, 10, 10)]), &[gone], REACH);
        assert_eq!(west.iter().map(|it| it.id.0).collect::<Vec<_>>(), [3, 5, 8]);
        let [_, _, _, west, ..] = cast(&sector(&[back]), &[gone], REACH);
        assert_eq!(west.iter().map(|it| it.hops).collect::<Vec<_>>(), [here.hops]);
    }

    #[test]
    fn the_farthest_weapon_says_how_far_if_it_reaches_farther_than_200_m() {
        let in_metres = |range: u32| {
            let rules = sample::rules().unwrap();
            let mut types = rules.types().to_vec();
            types.iter_mut().for_each(|kind| kind.range = range);
            let rules = Rules::new(types, Vec::new(), rules.start().to_vec()).unwrap();
            f64::from(reach(&rules)) * 1_000.0 / f64::from(SECTOR_STEPS)
        };
        assert_eq!(in_metres(700).round(), 700.0);
        assert_eq!(in_metres(50).round(), 200.0);
        assert_eq!(in_metres(1_000).round(), 1_000.0);
    }
}
