//! Owns how a unit that is seen moves, and what of a change has to be told:
//! the same code for the stage and for clients. Never knows cells or packets.
//! Invariant: applying [`difference`] to what was before gives what is after,
//! bit for bit; and moving is what [`Unit::advance`](crate::sim::Unit::advance)
//! does.

use serde::{Deserialize, Serialize};

use super::convert;
use crate::base::Position;
use crate::base::fixed::heading;
use crate::protocol::blocks::{Change, CourseChange, Seen, Waypoint};
use crate::protocol::{Course as WireCourse, UnitRecord};
use crate::sim::{Course, Speed, Unit, UnitState};

/// A unit as the stepping thread tells of it: what is seen, and the point that
/// its course aims at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mover {
    pub seen: Seen,
    pub waypoint: Waypoint,
}

impl From<&Unit> for Mover {
    fn from(unit: &Unit) -> Mover {
        let axis = |v: i16| (i32::from(v) + WAYPOINTS_BEFORE).clamp(0, Waypoint::MAX.into()) as u16;
        let waypoint = Waypoint { x: axis(unit.waypoint.x), y: axis(unit.waypoint.y) };
        Mover { seen: Seen { unit: convert::record(unit), speed: unit.speed.steps() }, waypoint }
    }
}

/// Ticks of a place from one step of its units to the next.
pub const TICKS_PER_STEP: u64 = 2;
/// The first waypoint is so many before the origin of its sector.
const WAYPOINTS_BEFORE: i32 = 1024;
/// Waypoints are 2^9 grid steps apart, in a sector of scale 0.
const WAYPOINT_BITS: u32 = 9;

/// Where a waypoint of a scale-0 sector is.
pub fn position(waypoint: Waypoint) -> Position {
    let axis = |v: u16| (i32::from(v) - WAYPOINTS_BEFORE) << WAYPOINT_BITS;
    Position { x: axis(waypoint.x), y: axis(waypoint.y) }
}

/// Steps of a place after tick `from`, up to and with tick `to`: it steps when
/// its tick becomes even.
pub fn steps_between(from: u64, to: u64) -> u64 {
    (to / TICKS_PER_STEP).saturating_sub(from / TICKS_PER_STEP)
}

/// Moves `unit` so many steps along its course.
pub fn advance(unit: &mut UnitRecord, steps: u64) {
    if unit.course.steps == 0 || steps == 0 {
        return;
    }
    let WireCourse { vx, vy, steps: remaining } = unit.course;
    let course = Course { velocity: (vx, vy), remaining };
    let (position, course) = course.after(unit.position.into(), steps);
    unit.position = position.into();
    unit.course = wire(course);
    if !course.is_moving() {
        unit.state &= !UnitState::MOVING.0;
    }
}

/// Changes `seen` as it is before a step's movement.
pub fn apply(change: &Change, seen: &mut Seen) {
    seen.speed = change.speed.unwrap_or(seen.speed);
    match change.course {
        None => {}
        Some(CourseChange::Stand) => steer(&mut seen.unit, Course::STANDING),
        Some(CourseChange::To(waypoint)) => {
            let course = course_to(seen, waypoint);
            steer(&mut seen.unit, course);
        }
        Some(CourseChange::Exact(WireCourse { vx, vy, steps })) => {
            steer(&mut seen.unit, Course { velocity: (vx, vy), remaining: steps });
        }
    }
    let unit = &mut seen.unit;
    unit.heading = change.heading.unwrap_or(unit.heading);
    unit.state ^= change.state.unwrap_or(0);
    unit.owner = change.owner.unwrap_or(unit.owner);
    let health = i32::from(unit.health).saturating_add(change.health.unwrap_or(0));
    unit.health = health.clamp(0, u16::MAX.into()) as u16;
}

/// What makes `after` of `before`, both before the step's movement; `None`
/// when no change can: then the unit has to be told anew as a whole.
pub fn difference(before: &Seen, after: &Mover) -> Option<Change> {
    let (was, is) = (&before.unit, &after.seen.unit);
    let fixed = |unit: &UnitRecord| (unit.id, unit.type_id, unit.hops, unit.position);
    if fixed(was) != fixed(is) {
        return None;
    }
    let mut change = Change::default();
    let mut made = *before;
    if before.speed != after.seen.speed {
        change.speed = Some(after.seen.speed);
        made.speed = after.seen.speed;
    }
    if was.course != is.course {
        let aimed = course_to(&made, after.waypoint);
        let (told, course) = if is.course == WireCourse::default() {
            (CourseChange::Stand, Course::STANDING)
        } else if wire(aimed) == is.course {
            (CourseChange::To(after.waypoint), aimed)
        } else {
            let WireCourse { vx, vy, steps } = is.course;
            (CourseChange::Exact(is.course), Course { velocity: (vx, vy), remaining: steps })
        };
        change.course = Some(told);
        steer(&mut made.unit, course);
    }
    if made.unit.heading != is.heading {
        change.heading = Some(is.heading);
    }
    if made.unit.state != is.state {
        change.state = Some(made.unit.state ^ is.state);
    }
    if was.health != is.health {
        change.health = Some(i32::from(is.health) - i32::from(was.health));
    }
    if was.owner != is.owner {
        change.owner = Some(is.owner);
    }
    Some(change)
}

/// The course of a unit that is told a waypoint.
fn course_to(seen: &Seen, waypoint: Waypoint) -> Course {
    // A speed that no unit has is a server's fault; then it stands.
    let Ok(speed) = Speed::try_from(seen.speed) else { return Course::STANDING };
    Course::to(seen.unit.position.into(), position(waypoint), speed)
}

/// As `Unit::steer` does: the heading turns at once.
fn steer(unit: &mut UnitRecord, course: Course) {
    unit.course = wire(course);
    let moving = UnitState(unit.state).set(UnitState::MOVING, course.is_moving());
    unit.state = moving.0;
    unit.heading = heading(course.velocity.0, course.velocity.1).unwrap_or(unit.heading);
}

fn wire(course: Course) -> WireCourse {
    WireCourse { vx: course.velocity.0, vy: course.velocity.1, steps: course.remaining }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::{PlayerId, UnitId};
    use crate::protocol::Point;
    use crate::sim;

    pub fn seen() -> impl Strategy<Value = Seen> {
        let axis = || prop_oneof![0..1 << 20, any::<i32>()];
        let course = (-40_000..40_000, -40_000..40_000, any::<u16>());
        let course = prop_oneof![
            Just(WireCourse::default()),
            course.prop_map(|(vx, vy, steps)| WireCourse { vx, vy, steps }),
            any::<(i32, i32, u16)>().prop_map(|(vx, vy, steps)| WireCourse { vx, vy, steps }),
        ];
        let names = (1..1_u64 << 53, any::<u16>(), 0..1_u64 << 53, any::<u32>());
        let rest = (axis(), axis(), course, any::<u16>(), any::<u16>(), any::<u8>());
        (names, rest, prop_oneof![2_097..13_000_u32, any::<u32>()]).prop_map(
            |((id, type_id, owner, hops), (x, y, course, heading, health, state), speed)| Seen {
                unit: UnitRecord {
                    id: UnitId(id),
                    type_id,
                    owner: PlayerId(owner),
                    hops,
                    position: Point { x, y },
                    course,
                    heading,
                    health,
                    state,
                },
                speed,
            },
        )
    }

    pub fn waypoint() -> impl Strategy<Value = Waypoint> {
        (0..=Waypoint::MAX, 0..=Waypoint::MAX).prop_map(|(x, y)| Waypoint { x, y })
    }

    proptest! {
        #[test]
        fn moves_as_the_simulation_does(seen in seen(), steps in 0..70_000_u64) {
            let (mut told, mut unit) = (seen.unit, convert::unit(&seen.unit));
            advance(&mut told, steps);
            unit.advance(steps);
            prop_assert_eq!(told, convert::record(&unit));
        }

        #[test]
        fn the_difference_makes_one_of_the_other(before in seen(), other in seen(), to in waypoint()) {
            let fixed = UnitRecord {
                id: before.unit.id,
                type_id: before.unit.type_id,
                hops: before.unit.hops,
                position: before.unit.position,
                ..other.unit
            };
            let after = Mover { seen: Seen { unit: fixed, speed: other.speed }, waypoint: to };
            let change = difference(&before, &after).unwrap();
            let mut made = before;
            apply(&change, &mut made);
            prop_assert_eq!(made, after.seen);
        }

        #[test]
        fn what_the_simulation_aims_at_is_told_by_a_waypoint(
            seen in seen(), x in 0..1 << 20, y in 0..1 << 20, speed in 2_097..13_000_u32,
            to_x in sim::Waypoint::MIN..=sim::Waypoint::MAX,
            to_y in sim::Waypoint::MIN..=sim::Waypoint::MAX,
        ) {
            let mut unit = convert::unit(&seen.unit);
            unit.position = Position { x, y };
            unit.speed = Speed::try_from(speed).unwrap();
            // As every state has it: the bit says whether it moves.
            unit.steer(unit.course);
            let before = Mover::from(&unit);
            unit.aim(sim::Waypoint { x: to_x, y: to_y }, 0);
            let after = Mover::from(&unit);
            prop_assert_eq!(position(after.waypoint), unit.waypoint.position(0));
            let told = difference(&before.seen, &after).unwrap();
            prop_assert!(matches!(told.course, None | Some(CourseChange::To(_) | CourseChange::Stand)));
            let mut made = before.seen;
            apply(&told, &mut made);
            prop_assert_eq!(made, after.seen);
        }

        #[test]
        fn a_new_course_is_told_by_its_waypoint(before in seen(), speed in 2_097..13_000_u32, to in waypoint()) {
            let mut before = before;
            before.speed = speed;
            let mut after = before;
            apply(&Change { course: Some(CourseChange::To(to)), ..Change::default() }, &mut after);
            let told = difference(&before, &Mover { seen: after, waypoint: to }).unwrap();
            prop_assert!(matches!(told.course, None | Some(CourseChange::To(_) | CourseChange::Stand)));
            prop_assert_eq!((told.heading, told.speed, told.state), (None, None, None));
        }
    }
}
