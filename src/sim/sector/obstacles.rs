//! Owns how a way goes around circles that lie in it. Never looks at units.
//! Called by steering. Invariant: obstacles of a sector do not touch each
//! other, so that a way around one exists.

use crate::base::fixed::length;
use crate::base::geometry::SECTOR_STEPS;
use crate::base::{Position, SectorId};
use crate::sim::Galaxy;

/// Ways keep so far from an obstacle, where they can: 4 m.
const CLEAR_STEPS: i32 = 4_194;
/// Ways around it aim so far beside it: 12 m.
const BESIDE_STEPS: i32 = 12_582;

/// A circle that ships fly around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub centre: Position,
    pub radius: i32,
}

/// What is in the way in `sector`: nothing yet, galaxies are empty. The seam
/// for their contents, which must not touch each other.
pub(super) fn obstacles(_: &Galaxy, _: SectorId) -> Vec<Obstacle> {
    Vec::new()
}

/// Whether nobody can stand at `place`.
pub(super) fn covers(obstacles: &[Obstacle], place: Position) -> bool {
    obstacles.iter().any(|obstacle| {
        let (dx, dy) = between(place, obstacle.centre);
        dx * dx + dy * dy < square(obstacle.radius)
    })
}

/// Where to aim from `from` to get around what lies on the way to `to`, at
/// least `least` grid steps away; `None` when nothing does.
pub(super) fn detour(
    obstacles: &[Obstacle],
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
    let sides = [right, !right].map(|right| beside(first, from, right, least));
    let inside = |p: &Position| {
        let side = 0..SECTOR_STEPS;
        side.contains(&p.x) && side.contains(&p.y)
    };
    let [shorter, _] = sides;
    let found = sides.into_iter().find(inside).unwrap_or(shorter);
    let clamp = |v: i32| v.clamp(0, SECTOR_STEPS - 1);
    Some(Position { x: clamp(found.x), y: clamp(found.y) })
}

/// Whether the way from `from` to `to` touches it. Not when it begins in it:
/// then it leads out.
fn blocks(obstacle: &Obstacle, from: Position, to: Position) -> bool {
    let (dx, dy) = between(from, obstacle.centre);
    let (sx, sy) = between(from, to);
    let clear = square(obstacle.radius + CLEAR_STEPS);
    let (along, way) = (dx * sx + dy * sy, sx * sx + sy * sy);
    if dx * dx + dy * dy <= clear || along <= 0 {
        return false;
    }
    if along >= way {
        let (dx, dy) = between(to, obstacle.centre);
        return dx * dx + dy * dy < clear;
    }
    let cross = i128::from(dx * sy - dy * sx);
    cross * cross < i128::from(clear) * i128::from(way)
}

/// The point where a way from `from` that keeps its distance touches, right
/// or left of the obstacle, or farther on, `least` grid steps away.
fn beside(obstacle: &Obstacle, from: Position, right: bool, least: i64) -> Position {
    let (dx, dy) = between(from, obstacle.centre);
    let radius = i64::from(obstacle.radius + BESIDE_STEPS);
    let distance = (dx * dx + dy * dy).max(1);
    // On the circle and inside it is straight along the edge.
    let tangent = (distance - radius * radius).max(0).isqrt();
    let reach = radius.min(distance.isqrt());
    // The way to the centre, turned to the side; its length is `distance`.
    let side = if right { -1 } else { 1 };
    let (tx, ty) = (dx * tangent - side * dy * reach, dy * tangent + side * dx * reach);
    let far = i128::from(tangent.max(least));
    let unit = i128::from(length(tx, ty).max(1));
    let along = |p: i32, t: i64| {
        let steps = i128::from(t) * far / unit;
        p.saturating_add(i32::try_from(steps).unwrap_or(0))
    };
    Position { x: along(from.x, tx), y: along(from.y, ty) }
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
            let obstacle = Obstacle { centre, radius };
            if let Some(there) = detour(&[obstacle], from, to, 50_000) {
                prop_assert!(!blocks(&obstacle, from, there), "{there:?}");
            }
        }

        #[test]
        fn any_places_have_a_way(
            a: i32, b: i32, c: i32, d: i32, x: i32, y: i32, radius in 0..SECTOR_STEPS,
        ) {
            let obstacle = Obstacle { centre: Position { x, y }, radius };
            let (from, to) = (Position { x: a, y: b }, Position { x: c, y: d });
            covers(&[obstacle], from);
            detour(&[obstacle], from, to, 1 << 20);
        }
    }
}
