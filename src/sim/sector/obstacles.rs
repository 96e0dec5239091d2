//! Owns how a way goes around circles that lie in it. Never looks at units.
//! Called by steering. Invariant: obstacles of a sector do not touch each
//! other, so that a way around one exists.

use crate::base::fixed::length;
use crate::base::geometry::SECTOR_STEPS;
use crate::base::{Position, SectorId};
use crate::sim::Galaxy;
use crate::sim::galaxy::Circle;

/// Ways keep so far from an obstacle, where they can: 4 m.
const CLEAR_STEPS: i32 = 4_194;
/// Ways around it aim so far beside it: 12 m.
const BESIDE_STEPS: i32 = 12_582;

/// What is in the way in `sector`: the galaxy's contents; nothing in larger ones.
pub(super) fn obstacles(galaxy: &Galaxy, sector: SectorId) -> Vec<Circle> {
    galaxy.obstacles(sector)
}

/// Whether nobody can stand at `place`.
pub(super) fn covers(obstacles: &[Circle], place: Position) -> bool {
    obstacles.iter().any(|obstacle| {
        let (dx, dy) = between(place, obstacle.centre);
        dx * dx + dy * dy < square(obstacle.radius)
    })
}

/// Where to aim from `from` to get around what lies on the way to `to`, at
/// least `least` grid steps away; `None` when nothing does, or when it walls a
/// corner of the sector off: then straight through is the only way.
pub(super) fn detour(
    obstacles: &[Circle],
    from: Position,
    to: Position,
    least: i64,
) -> Option<Position> {
    // They do not touch: the nearest one is the first to get around.
    let blocking = obstacles.iter().filter(|obstacle| blocks(obstacle, from, to));
    let first = blocking.min_by_key(|obstacle| {
        let (dx, dy) = between(from, obstacle.centre);
        (dx * dx + dy * dy, obstacle.centre.x, obstacle.centre.y)
    })?;
    let (sx, sy) = between(from, to);
    let (dx, dy) = between(from, first.centre);
    // Where its centre is left of the way, the way right of it is shorter.
    let right = sx * dy - sy * dx > 0;
    let right = [right, !right].into_iter().find(|right| !is_walled(first, from, to, *right))?;
    Some(Edge::new(first, from, right).ahead(least))
}

/// Whether the way from `from` to `to` comes nearer to it than it should. One
/// to a place beside it comes as near as that needs. One that begins in it, as
/// after a border that it touches, leads out, and may only not go deep into it.
fn blocks(obstacle: &Circle, from: Position, to: Position) -> bool {
    let (dx, dy) = between(from, obstacle.centre);
    let (ex, ey) = between(to, obstacle.centre);
    let (sx, sy) = between(from, to);
    let (begin, end) = (dx * dx + dy * dy, ex * ex + ey * ey);
    let (radius, clear) = (i64::from(obstacle.radius), square(obstacle.radius + CLEAR_STEPS));
    let keep = if begin <= clear {
        radius / 4 * 3
    } else if end < clear {
        i64::midpoint(radius, end.isqrt())
    } else {
        radius + i64::from(CLEAR_STEPS)
    };
    let (keep, along, way) = (keep * keep, dx * sx + dy * sy, sx * sx + sy * sy);
    if begin <= keep || along <= 0 {
        return false;
    }
    if along >= way {
        return end < keep;
    }
    let cross = i128::from(dx * sy - dy * sx);
    cross * cross < i128::from(keep) * i128::from(way)
}

/// Whether the way around it, on its right or left, leads between it and a
/// border that it is too near to. That does not change on the way around the
/// other side, so nobody turns back and forth.
fn is_walled(obstacle: &Circle, from: Position, to: Position, right: bool) -> bool {
    let Circle { centre: Position { x, y }, radius } = *obstacle;
    let (from, to) = (between(obstacle.centre, from), between(obstacle.centre, to));
    // Right of it is counter-clockwise around it.
    let (start, end) = if right { (from, to) } else { (to, from) };
    let (x, y, last) = (i64::from(x), i64::from(y), i64::from(SECTOR_STEPS - 1));
    let borders = [((-1, 0), x), ((1, 0), last - x), ((0, -1), y), ((0, 1), last - y)];
    let near = borders.into_iter().filter(|(_, room)| *room < i64::from(radius + BESIDE_STEPS));
    near.into_iter().any(|(border, _)| is_between(start, border, end))
}

/// Whether who turns counter-clockwise from `start` to `end` passes `way`.
fn is_between(start: (i64, i64), way: (i64, i64), end: (i64, i64)) -> bool {
    let cross = |a: (i64, i64), b: (i64, i64)| a.0 * b.1 - a.1 * b.0;
    let (first, second) = (cross(start, way), cross(way, end));
    if cross(start, end) > 0 { first > 0 && second > 0 } else { first >= 0 || second >= 0 }
}

/// The way from a place along one side of an obstacle, at its distance.
struct Edge {
    from: Position,
    /// Its direction; the length is that of the way to the centre, squared.
    way: (i64, i64),
    /// How far it leads to where it touches, or 12 m where it does already.
    touch: i64,
}

impl Edge {
    fn new(obstacle: &Circle, from: Position, right: bool) -> Edge {
        let (dx, dy) = between(from, obstacle.centre);
        let radius = i64::from(obstacle.radius + BESIDE_STEPS);
        let distance = (dx * dx + dy * dy).max(1);
        // On the circle and inside it is straight along the edge.
        let tangent = (distance - radius * radius).max(0).isqrt();
        let reach = radius.min(distance.isqrt());
        // The way to the centre, turned to the side.
        let side = if right { -1 } else { 1 };
        let way = (dx * tangent - side * dy * reach, dy * tangent + side * dx * reach);
        Edge { from, way, touch: tangent.max(BESIDE_STEPS.into()) }
    }

    /// The place `least` grid steps ahead or where it touches, if that is
    /// farther, but not beyond the border.
    fn ahead(&self, least: i64) -> Position {
        let far = self.touch.max(least);
        let room = |p: i32, v: i64| {
            let last = if v < 0 { 0 } else { SECTOR_STEPS - 1 };
            let room = i128::from((last - p.clamp(0, SECTOR_STEPS - 1)).unsigned_abs());
            let length = i128::from(length(self.way.0, self.way.1));
            let along = if v == 0 { i128::MAX } else { room * length / i128::from(v.abs()) };
            i64::try_from(along).unwrap_or(i64::MAX)
        };
        let Position { x, y } = self.from;
        let place = self.at(far.min(room(x, self.way.0)).min(room(y, self.way.1)));
        let clamp = |v: i32| v.clamp(0, SECTOR_STEPS - 1);
        Position { x: clamp(place.x), y: clamp(place.y) }
    }

    fn at(&self, far: i64) -> Position {
        let length = i128::from(length(self.way.0, self.way.1).max(1));
        let along = |p: i32, v: i64| {
            let steps = i128::from(v) * i128::from(far) / length;
            p.saturating_add(i32::try_from(steps).unwrap_or(0))
        };
        Position { x: along(self.from.x, self.way.0), y: along(self.from.y, self.way.1) }
    }
}

/// From `a` to `b`: below 2^33 for any two places, and squares of ways in a
/// sector below 2^42.
fn between(a: Position, b: Position) -> (i64, i64) {
    // Far outside its sector nobody steers; clamped, nothing overflows.
    let near = |v: i32| i64::from(v.clamp(-SECTOR_STEPS, 2 * SECTOR_STEPS));
    (near(b.x) - near(a.x), near(b.y) - near(a.y))
}

fn square(v: i32) -> i64 {
    i64::from(v) * i64::from(v)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn inside() -> impl Strategy<Value = Position> {
        (0..SECTOR_STEPS, 0..SECTOR_STEPS).prop_map(|(x, y)| Position { x, y })
    }

    proptest! {
        #[test]
        fn the_way_to_a_detour_is_free(
            from in inside(), to in inside(), centre in inside(), radius in 15_000..190_000,
        ) {
            let centre = Position {
                x: centre.x.clamp(200_000, SECTOR_STEPS - 200_000),
                y: centre.y.clamp(200_000, SECTOR_STEPS - 200_000),
            };
            let obstacle = Circle { centre, radius };
            if let Some(there) = detour(&[obstacle], from, to, 50_000) {
                prop_assert!(!blocks(&obstacle, from, there), "{there:?}");
            }
        }

        #[test]
        fn any_places_have_a_way(
            a: i32, b: i32, c: i32, d: i32, x: i32, y: i32, radius in 0..SECTOR_STEPS,
        ) {
            let obstacle = Circle { centre: Position { x, y }, radius };
            let (from, to) = (Position { x: a, y: b }, Position { x: c, y: d });
            covers(&[obstacle], from);
            detour(&[obstacle], from, to, 1 << 20);
        }
    }
}
