//! Owns when courses change by themselves: orders that waited begin, units at
//! a closed border wait and go on. Never moves a unit. Called at the start of
//! a step. Invariant: a unit has its turn in every fourth step, and its course
//! changes in others only where the border is closed or an order begins.

use super::aim::{is_beyond, set_out, side, waypoint};
use super::crossing::takes_units;
use super::{QUIET_STEPS, SectorState};
use crate::base::{GalaxyPosition, Position, SectorId};
use crate::sim::{Changes, Order, Surroundings, Unit, UnitState, Waypoint};

/// A unit that stands so near to a closed border waits there.
const NEAR_STEPS: i32 = 1 << 14;

impl SectorState {
    /// The first half of a step: courses change, and `changes` names the units
    /// whose did.
    pub fn steer(&mut self, around: &Surroundings<'_>, changes: &mut Changes) {
        self.begin_waiting(changes);
        let sector = self.sector;
        for unit in &mut self.units {
            let before = (unit.waypoint, unit.course);
            let turn = is_turn(unit, around.step);
            if unit.course.is_moving() {
                if turn && is_in_fight(unit) {
                    unit.brake(sector.scale);
                }
                stop_at_border(unit, sector, around);
            } else if turn && unit.order.target().is_some() {
                go_on(unit, sector, around);
            }
            if (unit.waypoint, unit.course) != before {
                changes.changed.insert(unit.id);
            }
        }
    }

    /// Orders that waited begin where the one before has ended.
    fn begin_waiting(&mut self, changes: &mut Changes) {
        let (sector, units) = (self.sector, &mut self.units);
        self.queues.retain(|id, queue| {
            // Units with a queue are here.
            let Ok(at) = units.binary_search_by_key(id, |unit| unit.id) else { return false };
            let unit = &mut units[at];
            while is_free(unit) {
                let Some(order) = queue.pop_front() else { break };
                let before = *unit;
                begin(unit, order, sector);
                if *unit != before {
                    changes.changed.insert(unit.id);
                }
            }
            !queue.is_empty()
        });
    }
}

/// Whether the next order may begin: those without an end give way, a patrol
/// at its ends.
fn is_free(unit: &Unit) -> bool {
    match unit.order {
        Order::Idle | Order::Hold => true,
        Order::Patrol { .. } => !unit.course.is_moving(),
        Order::Move { .. } | Order::AttackMove { .. } | Order::Warp { .. } => false,
    }
}

/// Gives `unit` an order and sets its course; one that leads where it stands
/// has ended at once.
pub(super) fn begin(unit: &mut Unit, order: Order, sector: SectorId) {
    unit.order = match order {
        Order::Patrol { to, .. } => {
            Order::Patrol { from: GalaxyPosition::of(sector, unit.position), to }
        }
        other => other,
    };
    set_out(unit, sector);
    let travels =
        matches!(unit.order, Order::Move { .. } | Order::AttackMove { .. } | Order::Patrol { .. });
    if travels && !unit.course.is_moving() && super::aim::has_arrived(unit, sector) {
        unit.order = Order::Idle;
    }
}

/// Whether it has found what its attack-move was for.
fn is_in_fight(unit: &Unit) -> bool {
    matches!(unit.order, Order::AttackMove { .. }) && unit.state.has(UnitState::IN_COMBAT)
}

fn is_turn(unit: &Unit, step: u64) -> bool {
    unit.id.0.wrapping_add(step).is_multiple_of(QUIET_STEPS.into())
}

/// A unit that would get beyond a border that is closed stands there instead.
fn stop_at_border(unit: &mut Unit, sector: SectorId, around: &Surroundings<'_>) {
    let next = unit.course.after(unit.position, 1).0;
    if !is_beyond(next, sector.scale) || leads_on(next, sector, around) {
        return;
    }
    let last = Waypoint::SIDE - 1;
    let Waypoint { x, y } = unit.waypoint;
    let border = Waypoint { x: x.clamp(0, last), y: y.clamp(0, last) };
    if is_inside(unit.position, sector.scale) {
        unit.aim(border, sector.scale);
    } else {
        unit.brake(sector.scale);
    }
}

/// A unit that stands on its way, where it waited or what it went around has
/// moved, goes on if it can.
fn go_on(unit: &mut Unit, sector: SectorId, around: &Surroundings<'_>) {
    if let Some(to) = unit.order.target() {
        let next = waypoint(sector, unit.position, to).position(sector.scale);
        let near = is_near_border(unit.position, sector.scale);
        let leaves = is_beyond(next, sector.scale);
        if near && leaves && !leads_on(next, sector, around) {
            return;
        }
    }
    set_out(unit, sector);
}

/// Whether the sector that `position` of `sector` lies in takes units.
fn leads_on(position: Position, sector: SectorId, around: &Surroundings<'_>) -> bool {
    takes_units(GalaxyPosition::of(sector, position).sector(sector.scale), around)
}

fn is_inside(Position { x, y }: Position, scale: u8) -> bool {
    let side = 0..side(scale);
    side.contains(&x) && side.contains(&y)
}

fn is_near_border(Position { x, y }: Position, scale: u8) -> bool {
    let far = NEAR_STEPS..side(scale) - NEAR_STEPS;
    !(far.contains(&x) && far.contains(&y))
}
