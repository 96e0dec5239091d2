//! Owns where a unit aims to come to a place, in its sector or beyond. Never
//! looks at other units. Called for orders and by steering. Invariant: a way
//! between two places of the galaxy stays in it.

use super::obstacles::detour;
use crate::base::geometry::SECTOR_STEPS;
use crate::base::{GalaxyPosition, Position, SectorId};
use crate::sim::galaxy::Circle;
use crate::sim::waypoint::shift;
use crate::sim::{Course, Order, Unit, UnitState, Waypoint};

/// A unit so far beyond a border has left its sector: 4 m.
pub(super) const BEYOND_STEPS: i32 = 4_194;

/// A way around something leads so many steps ahead; long before its end the
/// unit looks again.
pub(super) const WAY_STEPS: i64 = 16;

/// How often a unit may go around something until it arrives or leaves its
/// sector: for 200 s.
const PATIENCE: u8 = 255;

/// The point that leads from `from` straight to `goal`: the one nearest to
/// it, or where the way leaves the box that is 8 m larger on each side than
/// the sector, or a grid of waypoints where that is more.
pub(super) fn waypoint(sector: SectorId, from: Position, goal: GalaxyPosition) -> Waypoint {
    let (x, y) = goal.from_origin(sector);
    let side = 0..side(sector.scale).into();
    if side.contains(&x) && side.contains(&y) {
        return Waypoint::nearest(goal.position(sector), sector.scale);
    }
    exit(from, (x, y), sector.scale)
}

/// Grid steps along the side of a sector in which units live.
pub(super) fn side(scale: u8) -> i32 {
    SECTOR_STEPS << scale.min(crate::sim::waypoint::UNIT_SCALE_MAX)
}

/// Whether so far outside that a unit there has left.
pub(super) fn is_beyond(position: Position, scale: u8) -> bool {
    let inside = -BEYOND_STEPS + 1..side(scale) + BEYOND_STEPS;
    !(inside.contains(&position.x) && inside.contains(&position.y))
}

/// How far beyond the border courses aim: 7.8 m at scale 0.
fn outset(scale: u8) -> i64 {
    (16_i64 >> scale.min(4)) << shift(scale)
}

fn exit(from: Position, goal: (i64, i64), scale: u8) -> Waypoint {
    let (low, high) = (-outset(scale), i64::from(side(scale)) + outset(scale));
    let (x, y) = (i64::from(from.x).clamp(low, high), i64::from(from.y).clamp(low, high));
    let goal = beside(goal, low, high, scale);
    let (dx, dy) = (goal.0.saturating_sub(x), goal.1.saturating_sub(y));
    // The part of the way, as a fraction, to where it leaves on one axis; all
    // of it when it does not.
    let part = |p: i64, d: i64| {
        if d > high - p {
            (high - p, d)
        } else if d < low - p {
            (low - p, d)
        } else {
            (1, 1)
        }
    };
    let (a, b) = (part(x, dx), part(y, dy));
    let wide = |v: i64| i128::from(v);
    // Each pair has one sign, so these are products of magnitudes.
    let first = wide(a.0).abs() * wide(b.1).abs() <= wide(b.0).abs() * wide(a.1).abs();
    let (n, d) = if first { a } else { b };
    let along = |p: i64, delta: i64| {
        let there = wide(p) + wide(delta) * wide(n) / wide(d);
        // Inside the box, whose sides are i32.
        i32::try_from(there).unwrap_or(0)
    };
    Waypoint::nearest(Position { x: along(x, dx), y: along(y, dy) }, scale)
}

/// A goal between the border and the box is no place to stand: whoever did
/// would be in a sector that its goal is not in, and never beyond the border.
/// The box beside it is; from there the next sector leads back.
fn beside(goal: (i64, i64), low: i64, high: i64, scale: u8) -> (i64, i64) {
    let whole = low..=high;
    if !whole.contains(&goal.0) || !whole.contains(&goal.1) {
        return goal;
    }
    let inside = 0..i64::from(side(scale));
    let out = |v: i64| match v {
        v if inside.contains(&v) => v,
        v if v < 0 => low,
        _ => high,
    };
    (out(goal.0), out(goal.1))
}

/// Sets the course that `unit`'s order says, from where it is.
pub(super) fn set_out(unit: &mut Unit, sector: SectorId, obstacles: &[Circle]) {
    unit.patience = if unit.order.target().is_some() { PATIENCE } else { 0 };
    match unit.order {
        Order::Idle | Order::Hold => unit.brake(sector.scale),
        Order::Warp { .. } if sector.scale == 0 => unit.brake(sector.scale),
        Order::AttackMove { .. } if unit.state.has(UnitState::IN_COMBAT) => {
            unit.brake(sector.scale);
        }
        Order::Move { to }
        | Order::AttackMove { to }
        | Order::Patrol { to, .. }
        | Order::Warp { to, .. } => {
            let goal = waypoint(sector, unit.position, to);
            let end = goal.position(sector.scale);
            let least = i64::from(unit.speed.steps()) * WAY_STEPS;
            // Larger sectors have none.
            let around = detour(obstacles, unit.position, end, least);
            unit.aim(around.map_or(goal, |place| Waypoint::nearest(place, 0)), sector.scale);
        }
    }
}

/// The course that leads `unit` to its goal, or out of the sector to it, if
/// nothing is in the way; its own course when it stands or goes nowhere.
pub(super) fn direct(unit: &Unit, sector: SectorId) -> Course {
    match unit.order.target() {
        Some(to) if unit.course.is_moving() => {
            let goal = waypoint(sector, unit.position, to);
            Course::to(unit.position, goal.position(sector.scale), unit.speed)
        }
        _ => unit.course,
    }
}

/// Whether `unit` stands where its order led it.
pub(super) fn has_arrived(unit: &Unit, sector: SectorId) -> bool {
    let Some(to) = unit.order.target() else { return false };
    !unit.course.is_moving()
        && to.sector(sector.scale) == sector
        && Waypoint::nearest(to.position(sector), sector.scale) == unit.waypoint
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sim::Speed;

    const HERE: SectorId = SectorId::tactical(700, 500);

    /// Anywhere, or within 10 m of HERE's border on either side.
    fn goal() -> impl Strategy<Value = (i64, i64)> {
        let origin = GalaxyPosition::of(HERE, Position { x: 0, y: 0 });
        let side = i64::from(SECTOR_STEPS);
        let near = || prop_oneof![-10_000_i64..10_000, 0..side, side - 10_000..side + 10_000];
        let near = (near(), near()).prop_map(move |(x, y)| (origin.x + x, origin.y + y));
        prop_oneof![(0_i64..1 << 31, 0_i64..1 << 31), near]
    }

    fn inside() -> impl Strategy<Value = Position> {
        (0..SECTOR_STEPS, 0..SECTOR_STEPS).prop_map(|(x, y)| Position { x, y })
    }

    proptest! {
        #[test]
        fn a_way_out_ends_on_the_box_around_the_sector_and_on_the_line(
            from in inside(), x in 0_i64..1 << 31, y in 0_i64..1 << 31,
        ) {
            let goal = GalaxyPosition { x, y };
            prop_assume!(goal.sector(0) != HERE);
            let there = waypoint(HERE, from, goal).position(0);
            let out = 8_192;
            let edge = |v: i32| v == -out || v == SECTOR_STEPS + out;
            prop_assert!(edge(there.x) || edge(there.y) , "{there:?}");
            let (gx, gy) = goal.from_origin(HERE);
            let (dx, dy) = (i128::from(gx) - i128::from(from.x), i128::from(gy) - i128::from(from.y));
            let (wx, wy) = (i128::from(there.x - from.x), i128::from(there.y - from.y));
            // Off the line by at most the grid of waypoints.
            let off = (dx * wy - dy * wx).unsigned_abs();
            let length = (dx * dx + dy * dy).unsigned_abs().isqrt() + 1;
            prop_assert!(off <= 513 * length);
        }

        #[test]
        fn whoever_flies_out_gets_beyond_the_border(
            from in inside(), (x, y) in goal(),
            speed in Speed::MIN.steps()..=Speed::CRUISE_MAX.steps(),
        ) {
            let goal = GalaxyPosition { x, y };
            prop_assume!(goal.sector(0) != HERE);
            let there = waypoint(HERE, from, goal).position(0);
            let course = Course::to(from, there, Speed::try_from(speed).unwrap());
            prop_assert!(is_beyond(course.arrival(from), 0));
        }

        #[test]
        fn any_places_have_a_way(x: i64, y: i64, px: i32, py: i32, scale in 0_u8..=10) {
            let sector = SectorId { scale, ..HERE };
            waypoint(sector, Position { x: px, y: py }, GalaxyPosition { x, y });
        }
    }

    #[test]
    fn a_place_inside_is_aimed_at_itself() {
        let goal = GalaxyPosition::of(HERE, Position { x: 512 * 30, y: 512 * 40 + 100 });
        let aimed = waypoint(HERE, Position { x: 0, y: 0 }, goal);
        assert_eq!(aimed, Waypoint { x: 30, y: 40 });
    }
}
