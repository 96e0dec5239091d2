//! Owns straight movement: speeds and courses. Never steers and never looks at
//! other units. Called by sectors, and by clients, which extrapolate the same
//! course with the same code. Invariant: a unit on a course is at p + v × n
//! after n steps, exactly, and never faster than its speed.

use serde::{Deserialize, Serialize};

use crate::base::fixed::{divide_rounded, length_ceil};
use crate::base::geometry::SECTOR_STEPS;
use crate::base::{Position, fixed::Thousandths};

/// A speed in grid steps per step of a sector (200 ms).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Speed(u32);

impl Speed {
    /// 10 m/s. Slower, and a course across the whole sector would end more
    /// than half a metre from its target: see [`Course::to`].
    pub const MIN: Speed = Speed(2_097);
    /// 1,000 m/s: a sector in five steps.
    pub const MAX: Speed = Speed(209_715);

    /// A speed of so many m/s, rounded down to whole grid steps per step;
    /// `None` unless between [`MIN`](Self::MIN) and [`MAX`](Self::MAX).
    pub fn from_metres_per_second(speed: Thousandths) -> Option<Speed> {
        // 2^20 grid steps are 1,000 m, and five steps a second.
        let steps = speed.0.checked_mul(i64::from(SECTOR_STEPS))? / (1000 * 1000 * 5);
        Speed::try_from(u32::try_from(steps).ok()?).ok()
    }

    /// Grid steps per step.
    pub fn steps(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Speed {
    type Error = &'static str;

    fn try_from(steps: u32) -> Result<Speed, Self::Error> {
        let speed = Speed(steps);
        let allowed = (Speed::MIN..=Speed::MAX).contains(&speed);
        allowed.then_some(speed).ok_or("a speed is 2,097 to 209,715 grid steps per step")
    }
}

impl From<Speed> for u32 {
    fn from(speed: Speed) -> u32 {
        speed.0
    }
}

/// Where a unit is going: straight on, until it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course {
    /// Grid steps per step of the sector; (0, 0) iff standing.
    pub velocity: (i32, i32),
    /// Steps after which the unit stands.
    pub remaining: u16,
}

impl Course {
    /// No movement.
    pub const STANDING: Course = Course { velocity: (0, 0), remaining: 0 };

    /// The straight course from `from` to `target`, both at most 4 m outside
    /// their scale-0 sector, at `speed` or up to two grid steps per step less.
    ///
    /// Where it ends: a velocity is whole grid steps, so after n steps the unit
    /// is up to n / 2 steps off on each axis. n is at most 714 (the diagonal of
    /// 1,008 m at 10 m/s), so it stands within n / √2 = 505 steps, 0.48 m, of
    /// its target. A course from inside the sector never leaves it: where the
    /// nearest velocity would end beyond the border, the next one is taken,
    /// which ends up to n steps, 0.68 m, inside. 65,535 is never reached; a
    /// course that would take longer, between places outside those bounds,
    /// ends on its way.
    pub fn to(from: Position, target: Position, speed: Speed) -> Course {
        let delta = |to: i32, from: i32| i64::from(to) - i64::from(from);
        let (dx, dy) = (delta(target.x, from.x), delta(target.y, from.y));
        // Rounding adds less than 1 to each component, less than √2 to the
        // length, so two steps less than allowed keep the speed.
        let steps = length_ceil(dx, dy).div_ceil(u64::from(speed.0 - 2));
        // A length of two i32 components is below 2^33.
        let steps = i64::try_from(steps).unwrap_or(i64::MAX);
        if steps == 0 {
            return Course::STANDING;
        }
        let velocity = (axis(from.x, target.x, dx, steps), axis(from.y, target.y, dy, steps));
        if velocity == (0, 0) {
            return Course::STANDING;
        }
        Course { velocity, remaining: u16::try_from(steps).unwrap_or(u16::MAX) }
    }

    /// Position and course `steps` later.
    pub fn after(self, from: Position, steps: u64) -> (Position, Course) {
        // At most `remaining`, so it fits.
        let moved = u16::try_from(steps).unwrap_or(u16::MAX).min(self.remaining);
        let left = self.remaining - moved;
        let course = if left == 0 { Course::STANDING } else { Course { remaining: left, ..self } };
        (self.ahead(from, moved), course)
    }

    /// Where the unit will stand.
    pub fn arrival(self, from: Position) -> Position {
        self.ahead(from, self.remaining)
    }

    /// Whether there is movement.
    pub fn is_moving(self) -> bool {
        self.remaining != 0
    }

    fn ahead(self, from: Position, steps: u16) -> Position {
        // Courses made by `to` stay in range; bytes from outside may say
        // anything, and wrap alike however the steps are grouped.
        let go = |p: i32, v: i32| p.wrapping_add(v.wrapping_mul(i32::from(steps)));
        Position { x: go(from.x, self.velocity.0), y: go(from.y, self.velocity.1) }
    }
}

/// The velocity on one axis that goes `delta` in `steps`, to the nearest grid
/// step, but the one on the other side when only that ends in the sector.
fn axis(from: i32, target: i32, delta: i64, steps: i64) -> i32 {
    let inside = |p: i64| (0..i64::from(SECTOR_STEPS)).contains(&p);
    let end = |v: i64| i64::from(from) + v * steps;
    let nearest = divide_rounded(delta, steps);
    let other = nearest + (delta - nearest * steps).signum();
    let leaves = inside(i64::from(target)) && !inside(end(nearest)) && inside(end(other));
    // No faster than `Speed::MAX`, so it fits.
    i32::try_from(if leaves { other } else { nearest }).unwrap_or(0)
}
