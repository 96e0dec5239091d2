//! Owns how a moving unit goes around others: it takes the first direction of
//! a few in which it comes too near to nobody, that to its goal before all.
//! Never stops it and never turns it more than 60° away from its goal, so it
//! comes nearer all the time. Called by steering. Invariant: what is decided
//! follows from the neighbours, whatever their order.

use super::space::{AHEAD_STEPS, Neighbour, Space};
use crate::base::Position;

/// Centres pass each other at this distance: 7.8 m.
pub(super) const APART_STEPS: i64 = 1 << 13;
/// Meetings so many steps ahead are avoided.
const HORIZON: i64 = 8;
/// Cosines and sines of 20°, 40° and 60° in 1,024ths.
const TURNS: [(i64, i64); 3] = [(962, 350), (784, 658), (512, 887)];

/// A unit that looks for its way.
#[derive(Clone, Copy)]
pub(super) struct Pilot<'a> {
    pub space: &'a Space,
    /// Its place in the sector's list.
    pub at: u32,
    pub position: Position,
    /// So many steps until it stands, if it goes straight.
    pub steps: i64,
}

impl Pilot<'_> {
    /// Whether it meets nobody with this velocity.
    pub(super) fn is_clear(&self, velocity: (i32, i32)) -> bool {
        let ahead = |p: i32, v: i32| {
            p.saturating_add(v.saturating_mul(self.steps.min(AHEAD_STEPS as i64) as i32))
        };
        let there = Position {
            x: ahead(self.position.x, velocity.0),
            y: ahead(self.position.y, velocity.1),
        };
        let mut near = self.space.near(there);
        !near.any(|n| n.at != self.at && self.meets(n, velocity))
    }

    /// The velocity nearest to `straight` that is clear, or `now` when that is;
    /// `None` when no way is, and straight through is as good as any.
    pub(super) fn evade(&self, straight: (i32, i32), now: (i32, i32)) -> Option<(i32, i32)> {
        if now != straight && is_within_60_degrees(now, straight) && self.is_clear(now) {
            return Some(now);
        }
        let turned = |(cosine, sine): (i64, i64), side: i64| {
            let (x, y) = (i64::from(straight.0), i64::from(straight.1));
            let (sine, steps) = (sine * side, |v: i64| i32::try_from(v >> 10).unwrap_or(0));
            (steps(x * cosine - y * sine), steps(x * sine + y * cosine))
        };
        // To the right first: two that meet head-on both turn right.
        let ways = TURNS.into_iter().flat_map(|turn| [turned(turn, -1), turned(turn, 1)]);
        ways.into_iter().find(|way| self.is_clear(*way))
    }

    /// Whether centres come nearer than they should within the horizon.
    fn meets(&self, other: &Neighbour, (vx, vy): (i32, i32)) -> bool {
        let now = |ahead: i32, v: i32, p: i32| {
            i64::from(ahead) - i64::from(v) * AHEAD_STEPS as i64 - i64::from(p)
        };
        let dx = now(other.ahead.x, other.velocity.0, self.position.x);
        let dy = now(other.ahead.y, other.velocity.1, self.position.y);
        let (rx, ry) = (
            i64::from(vx) - i64::from(other.velocity.0),
            i64::from(vy) - i64::from(other.velocity.1),
        );
        let (closing, speed) = (dx * rx + dy * ry, rx * rx + ry * ry);
        if closing <= 0 || speed == 0 {
            return false;
        }
        // When they are nearest, in sixteenths of a step.
        let at = (16 * closing / speed).min(16 * self.steps.min(HORIZON));
        let (x, y) = (dx - rx * at / 16, dy - ry * at / 16);
        x * x + y * y < APART_STEPS * APART_STEPS
    }
}

/// Whether two velocities differ by more than 3°.
pub(super) fn differ(a: (i32, i32), b: (i32, i32)) -> bool {
    let (dot, cross) = products(a, b);
    // The tangent of 3° is 0.0524.
    dot <= 0 || 10_000 * i128::from(cross.abs()) > 524 * i128::from(dot)
}

fn is_within_60_degrees(a: (i32, i32), b: (i32, i32)) -> bool {
    let (dot, cross) = products(a, b);
    // The tangent of 60° is 1.732.
    dot > 0 && 1_000 * i128::from(cross.abs()) <= 1_732 * i128::from(dot)
}

fn products(a: (i32, i32), b: (i32, i32)) -> (i64, i64) {
    let ((ax, ay), (bx, by)) = ((i64::from(a.0), i64::from(a.1)), (i64::from(b.0), i64::from(b.1)));
    // Velocities of units are below 2^21.
    (
        ax.wrapping_mul(bx).wrapping_add(ay.wrapping_mul(by)),
        ax.wrapping_mul(by).wrapping_sub(ay.wrapping_mul(bx)),
    )
}
