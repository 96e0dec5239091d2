//! Owns what a unit is, what it was told, and how one moves for itself. Never
//! looks at other units. Called by sectors, and by clients to predict.
//! Invariant: the bit `MOVING` says whether the course does.

use serde::{Deserialize, Serialize};

use super::{Course, Speed, UnitTypeId, Waypoint};
use crate::base::fixed::heading;
use crate::base::{FleetId, GalaxyPosition, PlayerId, Position, UnitId};

/// One ship or structure, in a sector of scale 0 or, in warp, a larger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    pub id: UnitId,
    pub type_id: UnitTypeId,
    pub owner: PlayerId,
    /// Transfers so far, between places; the highest count seen is the truth.
    pub hops: u32,
    /// From the origin of its sector.
    pub position: Position,
    /// Its cruising speed now: its type's, or that of its fleet's slowest
    /// member, or its type's in warp. Of what cannot move the least there is.
    pub speed: Speed,
    /// What its course aims at, or aimed at when it stands: the course is
    /// [`Course::to`] there, at its speed, from where it was set.
    pub waypoint: Waypoint,
    pub course: Course,
    /// Binary angle of the last movement: 65,536 to the turn, 0 along +x.
    pub heading: u16,
    /// Of 65,535, which is the type's maximum.
    pub health: u16,
    pub state: UnitState,
    pub fleet: FleetId,
    /// How often it may still go around others before it flies straight
    /// through them, so that every way ends.
    pub patience: u8,
    pub order: Order,
}

/// What a unit was told to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Stands, and makes room for others.
    #[default]
    Idle,
    /// Goes there and stands.
    Move { to: GalaxyPosition },
    /// As `Move`, but stands while it is in combat.
    AttackMove { to: GalaxyPosition },
    /// Goes to `to`, and then back and forth between the two; once back and
    /// forth ends when another order waits.
    Patrol { from: GalaxyPosition, to: GalaxyPosition },
    /// Stays, whatever comes.
    Hold,
    /// Stands for `wait` more steps, then flies at warp speed.
    Warp { to: GalaxyPosition, wait: u8 },
}

impl Order {
    /// Where it leads now.
    pub fn target(self) -> Option<GalaxyPosition> {
        match self {
            Order::Idle | Order::Hold => None,
            Order::Move { to }
            | Order::AttackMove { to }
            | Order::Patrol { to, .. }
            | Order::Warp { to, .. } => Some(to),
        }
    }
}

/// The state bits of a unit; their numbers are part of the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnitState(pub u8);

impl UnitState {
    pub const MOVING: UnitState = UnitState(1);
    pub const ATTACKING: UnitState = UnitState(1 << 1);
    pub const IN_COMBAT: UnitState = UnitState(1 << 2);
    pub const IN_TRANSIT: UnitState = UnitState(1 << 3);
    pub const CLOAKED: UnitState = UnitState(1 << 4);
    pub const MINING: UnitState = UnitState(1 << 5);
    pub const BUILDING: UnitState = UnitState(1 << 6);
    pub const DOCKED: UnitState = UnitState(1 << 7);

    /// Whether any of `bits` is set.
    pub fn has(self, bits: UnitState) -> bool {
        self.0 & bits.0 != 0
    }

    /// With `bits` set or cleared.
    #[must_use]
    pub fn set(self, bits: UnitState, on: bool) -> UnitState {
        UnitState(if on { self.0 | bits.0 } else { self.0 & !bits.0 })
    }
}

impl Unit {
    /// A unit as it is made in a sector of scale 0: whole, standing, without an
    /// order. Its speed comes with its first order.
    pub fn new(id: UnitId, type_id: UnitTypeId, owner: PlayerId, position: Position) -> Unit {
        Unit {
            id,
            type_id,
            owner,
            hops: 0,
            position,
            speed: Speed::MIN,
            waypoint: Waypoint::nearest(position, 0),
            course: Course::STANDING,
            heading: 0,
            health: u16::MAX,
            state: UnitState::default(),
            fleet: FleetId(0),
            patience: 0,
            order: Order::Idle,
        }
    }

    /// Aims at `waypoint` of its sector, which is of `scale`.
    pub fn aim(&mut self, waypoint: Waypoint, scale: u8) {
        self.waypoint = waypoint;
        self.steer(Course::to(self.position, waypoint.position(scale), self.speed));
    }

    /// Stands after the next step, less than a step ahead and not beyond the
    /// border of its sector, which is of `scale`.
    pub fn brake(&mut self, scale: u8) {
        if !self.course.is_moving() {
            return;
        }
        // With three quarters of a step the grid of waypoints adds too little
        // to need a second one, and turns it by 13° at the most.
        let ahead = |p: i32, v: i32| p.saturating_add(v / 4 * 3);
        let (Position { x, y }, (vx, vy)) = (self.position, self.course.velocity);
        let Waypoint { x, y } =
            Waypoint::nearest(Position { x: ahead(x, vx), y: ahead(y, vy) }, scale);
        let here = Waypoint::nearest(self.position, scale);
        // Outside it stays as far outside as it is.
        let last = |here: i16| (here.min(0), here.max(Waypoint::SIDE - 1));
        let ((left, right), (low, high)) = (last(here.x), last(here.y));
        self.aim(Waypoint { x: x.clamp(left, right), y: y.clamp(low, high) }, scale);
    }

    /// Sets course; the heading turns at once, and stays when it stands.
    pub fn steer(&mut self, course: Course) {
        self.course = course;
        self.state = self.state.set(UnitState::MOVING, course.is_moving());
        if let Some(turned) = heading(course.velocity.0, course.velocity.1) {
            self.heading = turned;
        }
    }

    /// Moves it `steps` along its course; whether it arrived in these steps.
    pub fn advance(&mut self, steps: u64) -> bool {
        if !self.course.is_moving() || steps == 0 {
            return false;
        }
        let (position, course) = self.course.after(self.position, steps);
        (self.position, self.course) = (position, course);
        if course.is_moving() {
            return false;
        }
        self.state = self.state.set(UnitState::MOVING, false);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On its way to (0, 9216), 18 waypoints north of it.
    fn under_way() -> Unit {
        let mut unit = Unit::new(UnitId(1), UnitTypeId(1), PlayerId(1), Position::default());
        unit.aim(Waypoint { x: 0, y: 18 }, 0);
        unit
    }

    #[test]
    fn turns_at_once_and_says_that_it_moves() {
        let unit = under_way();
        assert_eq!(unit.heading, 0x4000);
        assert!(unit.state.has(UnitState::MOVING));
    }

    #[test]
    fn stands_and_keeps_its_heading_when_it_arrives() {
        let mut unit = under_way();
        assert!(!unit.advance(4));
        assert!(unit.advance(1));
        assert_eq!(unit.course, Course::STANDING);
        assert_eq!((unit.state, unit.heading), (UnitState(0), 0x4000));
        assert!(!unit.advance(1));
    }

    #[test]
    fn other_state_bits_stay_when_it_arrives() {
        let mut unit = under_way();
        unit.state = unit.state.set(UnitState::CLOAKED, true);
        assert!(unit.advance(u64::MAX));
        assert_eq!(unit.state, UnitState::CLOAKED);
    }

    #[test]
    fn brakes_on_the_grid_in_one_step_and_does_not_turn_back() {
        let mut unit = under_way();
        unit.advance(2);
        unit.brake(0);
        // At 3,686 and with 1,380 more it would be at 9.9 of the grid.
        assert_eq!((unit.course.remaining, unit.waypoint), (1, Waypoint { x: 0, y: 10 }));
        assert!(unit.advance(1));
        let stands = unit;
        unit.brake(0);
        assert_eq!((unit, unit.position), (stands, Position { x: 0, y: 10 << 9 }));
    }
}
