//! Owns what a unit is, and how one moves for itself. Never looks at other
//! units. Called by sectors, and by clients to predict. Invariant: the bit
//! `MOVING` says whether the course does.

use serde::{Deserialize, Serialize};

use super::{Course, UnitTypeId};
use crate::base::fixed::heading;
use crate::base::{PlayerId, Position, UnitId};

/// One ship or structure, in a sector of scale 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    pub id: UnitId,
    pub type_id: UnitTypeId,
    pub owner: PlayerId,
    /// Transfers so far, between places; the highest count seen is the truth.
    pub hops: u32,
    /// From the origin of its sector.
    pub position: Position,
    pub course: Course,
    /// Binary angle of the last movement: 65,536 to the turn, 0 along +x.
    pub heading: u16,
    /// Of 65,535, which is the type's maximum.
    pub health: u16,
    pub state: UnitState,
    pub order: Order,
}

/// What a unit was told to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    #[default]
    Idle,
    /// Go there, in its own sector.
    Move { target: Position },
    /// Stay, whatever comes.
    Hold,
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
    /// Sets course; the heading turns at once, and stays when it stands.
    pub fn steer(&mut self, course: Course) {
        self.course = course;
        self.state = self.state.set(UnitState::MOVING, course.is_moving());
        if let Some(turned) = heading(course.velocity.0, course.velocity.1) {
            self.heading = turned;
        }
    }

    /// Moves it `steps` along its course; whether it arrived in these steps.
    /// A unit that was moved by order has none from then on.
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
        if matches!(self.order, Order::Move { .. }) {
            self.order = Order::Idle;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Speed;

    fn under_way() -> Unit {
        let target = Position { x: 0, y: 9_000 };
        let mut unit = Unit {
            id: UnitId(1),
            type_id: UnitTypeId(1),
            owner: PlayerId(1),
            hops: 0,
            position: Position { x: 0, y: 0 },
            course: Course::STANDING,
            heading: 0,
            health: u16::MAX,
            state: UnitState::default(),
            order: Order::Move { target },
        };
        unit.steer(Course::to(unit.position, target, Speed::MIN));
        unit
    }

    #[test]
    fn turns_at_once_and_says_that_it_moves() {
        let unit = under_way();
        assert_eq!(unit.heading, 0x4000);
        assert!(unit.state.has(UnitState::MOVING));
    }

    #[test]
    fn stands_without_an_order_and_keeps_its_heading_when_it_arrives() {
        let mut unit = under_way();
        assert!(!unit.advance(4));
        assert!(unit.advance(1));
        assert_eq!(unit.course, Course::STANDING);
        assert_eq!((unit.order, unit.state, unit.heading), (Order::Idle, UnitState(0), 0x4000));
        assert!(!unit.advance(1));
    }

    #[test]
    fn other_state_bits_stay_when_it_arrives() {
        let mut unit = under_way();
        unit.state = unit.state.set(UnitState::CLOAKED, true);
        assert!(unit.advance(u64::MAX));
        assert_eq!(unit.state, UnitState::CLOAKED);
    }
}
