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
    /// 1,000 m/s, the most outside warp: a sector in five steps.
    pub const CRUISE_MAX: Speed = Speed(209_715);
    /// 5,000 m/s: a sector of scale 0 in one step, one of scale 4 in sixteen.
    pub const MAX: Speed = Speed(1_048_576);
    /// 2,000 m/s: that of types in warp whose rules say nothing else.
    pub const WARP: Speed = Speed(419_430);

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
        allowed.then_some(speed).ok_or("a speed is 2,097 to 1,048,576 grid steps per step")
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

    /// The straight course from `from` to `target` at `speed` or up to two grid
    /// steps per step less.
    ///
    /// Where it ends, with both at most 8 m outside their scale-0 sector: a
    /// velocity is whole grid steps, so after n steps the unit
    /// is up to n / 2 steps off on each axis. n is at most 720 (the diagonal of
    /// 1,016 m at 10 m/s), so it stands within n / √2 = 509 steps, 0.49 m, of
    /// its target. A course from inside the sector never leaves it: where the
    /// nearest velocity would end beyond the border, the next one is taken,
    /// which ends up to n steps, 0.69 m, inside. 65,535 is never reached; a
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::fixed::length;

    /// Half a metre, in grid steps.
    const HALF_METRE: u64 = 524;

    fn inside() -> impl Strategy<Value = Position> {
        let near_border = prop_oneof![0..800, SECTOR_STEPS - 800..SECTOR_STEPS];
        let axis = prop_oneof![3 => 0..SECTOR_STEPS, 1 => near_border].boxed();
        (axis.clone(), axis).prop_map(|(x, y)| Position { x, y })
    }

    /// At most 4 m outside the sector.
    fn about() -> impl Strategy<Value = Position> {
        let axis = -4_194..SECTOR_STEPS + 4_194;
        (axis.clone(), axis).prop_map(|(x, y)| Position { x, y })
    }

    fn speed() -> impl Strategy<Value = Speed> {
        prop_oneof![Just(Speed::MIN.0), Speed::MIN.0..20_000, Speed::MIN.0..=Speed::MAX.0]
            .prop_map(|steps| Speed::try_from(steps).unwrap())
    }

    fn distance(a: Position, b: Position) -> u64 {
        length(i64::from(a.x) - i64::from(b.x), i64::from(a.y) - i64::from(b.y))
    }

    fn velocity(course: Course) -> u64 {
        crate::base::fixed::length_ceil(course.velocity.0.into(), course.velocity.1.into())
    }

    fn is_inside(p: Position) -> bool {
        (0..SECTOR_STEPS).contains(&p.x) && (0..SECTOR_STEPS).contains(&p.y)
    }

    proptest! {
        #[test]
        fn never_exceeds_the_speed(from in about(), target in about(), speed in speed()) {
            let course = Course::to(from, target, speed);
            prop_assert!(velocity(course) <= u64::from(speed.steps()));
        }

        #[test]
        fn takes_the_time_that_speed_and_distance_say(
            from in about(), target in about(), speed in speed(),
        ) {
            let course = Course::to(from, target, speed);
            let expected = distance(from, target) / u64::from(speed.steps() - 2);
            prop_assert!((expected..=expected + 1).contains(&course.remaining.into()));
            prop_assert!(course.remaining <= 714);
        }

        #[test]
        fn stands_within_half_a_metre_of_its_target(
            from in about(), target in about(), speed in speed(),
        ) {
            let margin = 800;
            let clear = |v: i32| (margin..SECTOR_STEPS - margin).contains(&v);
            prop_assume!(clear(target.x) && clear(target.y));
            let arrival = Course::to(from, target, speed).arrival(from);
            prop_assert!(distance(arrival, target) <= HALF_METRE);
        }

        #[test]
        fn stands_within_a_metre_of_a_target_at_the_border(
            from in inside(), target in inside(), speed in speed(),
        ) {
            let arrival = Course::to(from, target, speed).arrival(from);
            prop_assert!(distance(arrival, target) <= 2 * HALF_METRE);
        }

        #[test]
        fn never_leaves_the_sector_when_the_target_is_inside(
            from in inside(), target in inside(), speed in speed(),
        ) {
            let course = Course::to(from, target, speed);
            for steps in 0..=u64::from(course.remaining) {
                prop_assert!(is_inside(course.after(from, steps).0));
            }
        }

        #[test]
        fn goes_back_into_the_sector(from in about(), target in inside(), speed in speed()) {
            prop_assert!(is_inside(Course::to(from, target, speed).arrival(from)));
        }

        #[test]
        fn many_steps_are_as_many_single_ones(
            from in about(), target in about(), speed in speed(), steps in 0_u64..800,
        ) {
            let course = Course::to(from, target, speed);
            let single = (0..steps).fold((from, course), |(p, course), _| course.after(p, 1));
            prop_assert_eq!(course.after(from, steps), single);
        }

        #[test]
        fn any_course_from_outside_moves_alike_in_one_go_and_in_two(
            x: i32, y: i32, vx: i32, vy: i32, remaining: u16, first: u16, then: u16,
        ) {
            let (from, course) = (Position { x, y }, Course { velocity: (vx, vy), remaining });
            let (there, rest) = course.after(from, first.into());
            let twice = rest.after(there, then.into());
            prop_assert_eq!(course.after(from, u64::from(first) + u64::from(then)), twice);
        }

        #[test]
        fn any_two_places_have_a_course(
            a: i32, b: i32, c: i32, d: i32, speed in speed(),
        ) {
            let course = Course::to(Position { x: a, y: b }, Position { x: c, y: d }, speed);
            prop_assert!(velocity(course) <= u64::from(speed.steps()));
        }
    }

    #[test]
    fn speeds_are_rounded_down_to_grid_steps() {
        let steps =
            |thousandths| Speed::from_metres_per_second(Thousandths(thousandths)).map(Speed::steps);
        assert_eq!(steps(10_000), Some(Speed::MIN.steps()));
        assert_eq!(steps(60_000), Some(12_582));
        assert_eq!(steps(1_000_000), Some(Speed::CRUISE_MAX.steps()));
        assert_eq!(steps(2_000_000), Some(Speed::WARP.steps()));
        assert_eq!(steps(5_000_000), Some(Speed::MAX.steps()));
        for out_of_range in [i64::MIN, -1, 0, 9_999, 5_000_005, i64::MAX] {
            assert_eq!(steps(out_of_range), None, "{out_of_range}");
        }
    }

    #[test]
    fn a_target_within_one_step_is_reached_exactly() {
        let (from, target) = (Position { x: 100, y: 100 }, Position { x: 105, y: 90 });
        let course = Course::to(from, target, Speed::MIN);
        assert_eq!(course, Course { velocity: (5, -10), remaining: 1 });
        assert_eq!(course.arrival(from), target);
        assert_eq!(Course::to(from, from, Speed::MIN), Course::STANDING);
    }
}
