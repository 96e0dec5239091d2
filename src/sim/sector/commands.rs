//! Owns what a command does to the units of a sector, and which rules refuse
//! it. Never checks the shape of a command (`UnitIds::new` did). Invariant: a
//! refused command changed nothing.

use std::collections::VecDeque;

use super::SectorState;
use super::aim::direct;
use super::pace::Pace;
use super::steering::begin;
use crate::base::fixed::length_ceil;
use crate::base::{FleetId, GalaxyPosition, PlayerId, UnitId};
use crate::sim::travel::{QUEUE_MAX, WARP_WAIT};
use crate::sim::{
    Accepted, Changes, Command, Instruction, Order, Recipients, Refusal, Refused, Surroundings,
    Unit, UnitState,
};

/// Steps in an hour: no order leads farther than a unit flies in that time.
const REACH_STEPS: u64 = 3_600 * 5;

/// What a command makes of one unit.
struct Planned {
    at: usize,
    unit: Unit,
    waits: Waits,
}

/// What becomes of a unit's queue.
enum Waits {
    AsBefore,
    Nothing,
    Also(Order),
}

impl SectorState {
    /// Applies `player`'s command to all units it names, or to none.
    ///
    /// # Errors
    /// The first rule that forbids it for the first unit, in the command's
    /// order, that it concerns; the state is as before.
    pub fn apply_command(
        &mut self,
        player: PlayerId,
        command: &Command,
        around: &Surroundings<'_>,
        changes: &mut Changes,
    ) -> Result<Accepted, Refused> {
        self.look_around(around);
        let planned = self.plan(player, command, around)?;
        // At least one, or `plan` had refused.
        let first = planned.first().map(|first| first.unit.id).unwrap_or_default();
        for Planned { at, unit, waits } in planned {
            if self.units[at] != unit {
                changes.changed.insert(unit.id);
                self.units[at] = unit;
                self.quiet = 0;
            }
            match waits {
                Waits::AsBefore => {}
                Waits::Nothing => drop(self.queues.remove(&unit.id)),
                Waits::Also(order) => {
                    self.queues.entry(unit.id).or_default().push_back(order);
                    self.quiet = 0;
                }
            }
        }
        self.accepted(first)
    }

    /// What the command makes of each unit, in the command's order.
    fn plan(
        &self,
        player: PlayerId,
        command: &Command,
        around: &Surroundings<'_>,
    ) -> Result<Vec<Planned>, Refused> {
        if command.queue && !can_wait(command.what) {
            return Err(Refused { rule: Refusal::CannotWait, unit: None });
        }
        let addressed = self.addressed(player, &command.to)?;
        for at in &addressed {
            let unit = &self.units[*at];
            self.check(unit, command, around).map_err(|rule| refused(unit, rule))?;
        }
        let goals = self.goals(&addressed, command.what, around)?;
        let slowest = match command.to {
            Recipients::Units(_) => None,
            Recipients::Fleet(_) => {
                addressed.iter().filter_map(|at| self.pace(*at, around)).reduce(Pace::with)
            }
        };
        let planned = addressed.iter().zip(goals).map(|(at, goal)| {
            let pace = slowest.or_else(|| self.pace(*at, around));
            self.planned(*at, command, goal, pace)
        });
        Ok(planned.collect())
    }

    /// Where in the list the units are that `player` names and may command.
    fn addressed(&self, player: PlayerId, to: &Recipients) -> Result<Vec<usize>, Refused> {
        match to {
            Recipients::Units(units) => units.iter().map(|id| self.own(player, id)).collect(),
            Recipients::Fleet(fleet) => {
                let is_of = |unit: &Unit| unit.owner == player && unit.fleet == *fleet;
                let all = self.units.iter().enumerate();
                let found: Vec<usize> =
                    all.filter(|(_, unit)| is_of(unit)).map(|(at, _)| at).collect();
                if found.is_empty() || *fleet == FleetId(0) {
                    return Err(Refused { rule: Refusal::NoSuchFleet, unit: None });
                }
                Ok(found)
            }
        }
    }

    fn own(&self, player: PlayerId, id: UnitId) -> Result<usize, Refused> {
        let refused = |rule| Refused { rule, unit: Some(id) };
        let at = self.find(id).map_err(|_| refused(Refusal::UnknownUnit))?;
        if self.units[at].owner != player {
            return Err(refused(Refusal::NotYourUnit));
        }
        Ok(at)
    }

    /// Whether `unit` takes the command.
    fn check(
        &self,
        unit: &Unit,
        command: &Command,
        around: &Surroundings<'_>,
    ) -> Result<(), Refusal> {
        if unit.state.has(UnitState::IN_TRANSIT) {
            return Err(Refusal::InTransit);
        }
        if self.sector.scale > 0 && !command.queue {
            return Err(Refusal::InWarp);
        }
        if command.queue && self.queues.get(&unit.id).map_or(0, VecDeque::len) >= QUEUE_MAX {
            return Err(Refusal::QueueFull);
        }
        let Some(target) = command.what.target() else { return Ok(()) };
        let kind = around.rules.unit_type(unit.type_id).ok_or(Refusal::UnknownType)?;
        let cruise = kind.speed.ok_or(Refusal::Immobile)?;
        let speed = match command.what {
            Instruction::Warp { .. } => kind.warp_speed,
            _ => cruise,
        };
        let (sector, position) = target.locate(around.galaxy)?;
        let (x, y) = GalaxyPosition::of(sector, position).from_origin(self.sector);
        let (dx, dy) = (x - i64::from(unit.position.x), y - i64::from(unit.position.y));
        if length_ceil(dx, dy) > u64::from(speed.steps()) * REACH_STEPS {
            return Err(Refusal::OutOfReach);
        }
        Ok(())
    }

    fn pace(&self, at: usize, around: &Surroundings<'_>) -> Option<Pace> {
        Pace::of(&self.units[at], around.rules)
    }

    fn planned(
        &self,
        at: usize,
        command: &Command,
        goal: Option<GalaxyPosition>,
        pace: Option<Pace>,
    ) -> Planned {
        let mut unit = self.units[at];
        if let Instruction::Join { fleet } = command.what {
            unit.fleet = fleet;
            return Planned { at, unit, waits: Waits::AsBefore };
        }
        let order = order(command.what, goal);
        if command.queue {
            return Planned { at, unit, waits: Waits::Also(order) };
        }
        unit.speed = pace.map_or(unit.speed, |pace| pace.speed(order));
        begin(&mut unit, order, self.sector, self.obstacles());
        Planned { at, unit, waits: Waits::Nothing }
    }

    fn accepted(&self, id: UnitId) -> Result<Accepted, Refused> {
        // It is here, or `plan` had refused.
        let unknown = Refused { rule: Refusal::UnknownUnit, unit: Some(id) };
        let unit = self.unit(id).ok_or(unknown)?;
        let course = direct(unit, self.sector);
        Ok(Accepted {
            unit: id,
            position: unit.position,
            arrival: course.arrival(unit.position),
            steps: course.remaining,
        })
    }
}

fn refused(unit: &Unit, rule: Refusal) -> Refused {
    Refused { rule, unit: Some(unit.id) }
}

/// Whether it makes sense behind other orders.
fn can_wait(what: Instruction) -> bool {
    !matches!(what, Instruction::Stop | Instruction::Join { .. })
}

fn order(what: Instruction, goal: Option<GalaxyPosition>) -> Order {
    let to = goal.unwrap_or_default();
    match what {
        Instruction::Move { .. } => Order::Move { to },
        Instruction::AttackMove { .. } => Order::AttackMove { to },
        // Where from is known when it begins.
        Instruction::Patrol { .. } => Order::Patrol { from: to, to },
        Instruction::Warp { .. } => Order::Warp { to, wait: WARP_WAIT },
        Instruction::Hold => Order::Hold,
        Instruction::Stop | Instruction::Join { .. } => Order::Idle,
    }
}

#[cfg(test)]
mod tests {
    use super::super::scenes::{
        ANNA, BEN, HERE, World, apply, bytes, go, order, place, settle, step, two_players, units,
    };
    use super::*;
    use crate::base::{Position, SectorId};
    use crate::sim::rules::sample::TURRET;
    use crate::sim::{Galaxy, Speed, Target};

    /// The rule that refuses `command` of Anna, and the unit; nothing changes.
    fn refused(sector: &SectorState, command: &Command) -> (Refusal, u64) {
        let (mut after, mut changes) = (sector.clone(), Changes::default());
        let world = World::new();
        let refused = after.apply_command(ANNA, command, &world.around(0), &mut changes);
        let refused = refused.unwrap_err();
        assert_eq!(bytes(&after), bytes(sector));
        assert_eq!(changes, Changes::default());
        (refused.rule, refused.unit.map_or(0, |id| id.0))
    }

    fn there(x: i32, y: i32) -> GalaxyPosition {
        GalaxyPosition::of(HERE, Position { x, y })
    }

    fn ordered(sector: &SectorState, id: u64) -> Order {
        sector.unit(UnitId(id)).unwrap().order
    }

    #[test]
    fn moves_all_units_named_and_tells_of_the_first() {
        let (mut sector, mut changes, world) = (two_players(), Changes::default(), World::new());
        let command = go(&[3, 1], 900_000, 100_000);
        let done = sector.apply_command(ANNA, &command, &world.around(0), &mut changes);
        let accepted = done.unwrap();
        assert_eq!(changes.changed.iter().copied().collect::<Vec<_>>(), [UnitId(1), UnitId(3)]);
        let third = sector.unit(UnitId(3)).unwrap();
        assert_eq!((accepted.unit, accepted.position), (UnitId(3), third.position));
        assert_eq!(accepted.steps, third.course.remaining);
        assert_eq!(ordered(&sector, 1), Order::Move { to: there(900_000, 100_000) });
        assert!(!sector.unit(UnitId(2)).unwrap().course.is_moving());
    }

    #[test]
    fn units_of_one_command_get_spots_of_their_own_by_ids() {
        let (mut one, mut other) = (two_players(), two_players());
        apply(&mut one, ANNA, &go(&[1, 2, 3, 4], 300_000, 300_000)).unwrap();
        apply(&mut other, ANNA, &go(&[4, 2, 1, 3], 300_000, 300_000)).unwrap();
        assert_eq!(one, other);
        settle(&mut one);
        let mut places: Vec<Position> = one.units()[..4].iter().map(|u| u.position).collect();
        places.sort_unstable_by_key(|p| (p.x, p.y));
        for (n, a) in places.iter().enumerate() {
            for b in &places[n + 1..] {
                let apart = a.x.abs_diff(b.x).max(a.y.abs_diff(b.y));
                assert!(apart > 15_000, "{places:?}");
            }
        }
    }

    #[test]
    fn stop_ends_the_order_and_hold_replaces_it() {
        let mut sector = two_players();
        apply(&mut sector, ANNA, &go(&[1, 2], 0, 0)).unwrap();
        step(&mut sector, 0);
        apply(&mut sector, ANNA, &order(&[1], Instruction::Stop)).unwrap();
        let held = apply(&mut sector, ANNA, &order(&[2], Instruction::Hold)).unwrap();
        assert_eq!((ordered(&sector, 1), ordered(&sector, 2)), (Order::Idle, Order::Hold));
        assert_eq!(held.steps, 1);
        step(&mut sector, 1);
        assert_eq!(sector.unit(UnitId(2)).unwrap().position, held.arrival);
        assert!(sector.units().iter().all(|unit| !unit.course.is_moving()));
    }

    #[test]
    fn a_command_without_effect_changes_nothing_and_is_accepted() {
        let (mut sector, mut changes, world) = (two_players(), Changes::default(), World::new());
        // The first order also gives a unit its speed.
        apply(&mut sector, ANNA, &order(&[1, 5], Instruction::Stop)).unwrap();
        let before = bytes(&sector);
        let here = sector.unit(UnitId(1)).unwrap().position;
        for command in [order(&[1, 5], Instruction::Stop), go(&[1], here.x, here.y)] {
            sector.apply_command(ANNA, &command, &world.around(0), &mut changes).unwrap();
        }
        assert_eq!(bytes(&sector), before);
        assert_eq!(changes, Changes::default());
    }

    #[test]
    fn orders_that_wait_follow_each_other() {
        let mut sector = two_players();
        let wait = |what| Command { queue: true, ..order(&[1], what) };
        let target = |x, y| place(HERE, x, y);
        apply(&mut sector, ANNA, &go(&[1], 510_000, 510_000)).unwrap();
        let then = Instruction::AttackMove { target: target(530_000, 530_000) };
        apply(&mut sector, ANNA, &wait(then)).unwrap();
        apply(&mut sector, ANNA, &wait(Instruction::Hold)).unwrap();
        assert_eq!(sector.queue(UnitId(1)).count(), 2);
        settle(&mut sector);
        let unit = sector.unit(UnitId(1)).unwrap();
        assert_eq!(unit.order, Order::Hold);
        assert!(unit.position.x.abs_diff(530_000) < 1_000);
        // A unit that stands begins at once, and an order that does not wait
        // ends those that do.
        apply(&mut sector, ANNA, &wait(Instruction::Move { target: target(0, 0) })).unwrap();
        apply(&mut sector, ANNA, &wait(Instruction::Move { target: target(9, 0) })).unwrap();
        step(&mut sector, 0);
        assert!(sector.unit(UnitId(1)).unwrap().course.is_moving());
        apply(&mut sector, ANNA, &order(&[1], Instruction::Stop)).unwrap();
        assert_eq!((ordered(&sector, 1), sector.queue(UnitId(1)).count()), (Order::Idle, 0));
    }

    #[test]
    fn the_17th_order_that_waits_is_refused_for_all() {
        let mut sector = two_players();
        let target = place(HERE, 0, 0);
        let wait =
            |ids: &[u64]| Command { queue: true, ..order(ids, Instruction::Patrol { target }) };
        for _ in 0..QUEUE_MAX {
            apply(&mut sector, ANNA, &wait(&[2])).unwrap();
        }
        assert_eq!(refused(&sector, &wait(&[1, 2])), (Refusal::QueueFull, 2));
        assert_eq!(sector.queue(UnitId(1)).count(), 0);
    }

    #[test]
    fn stopping_and_joining_cannot_wait() {
        for what in [Instruction::Stop, Instruction::Join { fleet: FleetId(1) }] {
            let command = Command { queue: true, ..order(&[1], what) };
            assert_eq!(refused(&two_players(), &command).0, Refusal::CannotWait);
        }
    }

    #[test]
    fn a_fleet_goes_as_fast_as_its_slowest_and_a_unit_as_fast_as_it_can() {
        let mut sector = two_players();
        let fleet = FleetId(9);
        let command = Command { to: Recipients::Fleet(fleet), ..go(&[1], 300_000, 300_000) };
        assert_eq!(refused(&sector, &command), (Refusal::NoSuchFleet, 0));
        apply(&mut sector, ANNA, &order(&[1, 2, 4], Instruction::Join { fleet })).unwrap();
        // Ben's fleet of the same number is another one.
        apply(&mut sector, BEN, &order(&[6], Instruction::Join { fleet })).unwrap();
        apply(&mut sector, ANNA, &command).unwrap();
        let speed = |sector: &SectorState, id| sector.unit(UnitId(id)).unwrap().speed;
        assert_eq!([1, 2, 4].map(|id| speed(&sector, id)), [Speed::MIN; 3]);
        assert!([3, 6].iter().all(|id| ordered(&sector, *id) == Order::Idle));
        apply(&mut sector, ANNA, &go(&[1], 300_000, 300_000)).unwrap();
        assert_eq!(speed(&sector, 1).steps(), 12_582);
    }

    #[test]
    fn an_order_that_waited_begins_at_the_speed_of_the_fleets_slowest_then_here() {
        let mut sector = two_players();
        let fleet = FleetId(9);
        apply(&mut sector, ANNA, &order(&[1, 2, 4], Instruction::Join { fleet })).unwrap();
        let wait = |ids: &[u64]| Command { queue: true, ..go(ids, 300_000, 300_000) };
        let to = Recipients::Fleet(fleet);
        apply(&mut sector, ANNA, &Command { to, ..wait(&[1]) }).unwrap();
        apply(&mut sector, ANNA, &wait(&[3])).unwrap();
        // The freighter leaves before the order begins; 3 is in no fleet.
        let mut without = sector.clone();
        apply(&mut without, ANNA, &order(&[4], Instruction::Join { fleet: FleetId(1) })).unwrap();
        let speeds = |mut sector: SectorState| {
            step(&mut sector, 0);
            [1, 2, 3].map(|id| sector.unit(UnitId(id)).unwrap().speed.steps())
        };
        assert_eq!(speeds(sector), [2_097, 2_097, 12_582]);
        assert_eq!(speeds(without), [12_582; 3]);
    }

    #[test]
    fn a_patrol_goes_back_and_forth_until_another_order_waits() {
        let mut sector = two_players();
        let start = sector.unit(UnitId(1)).unwrap().position;
        let target = place(HERE, 400_000, 400_000);
        apply(&mut sector, ANNA, &order(&[1], Instruction::Patrol { target })).unwrap();
        let mut turns = Vec::new();
        for at in 0..300 {
            let before = ordered(&sector, 1).target();
            step(&mut sector, at);
            if ordered(&sector, 1).target() != before {
                turns.push(sector.unit(UnitId(1)).unwrap().position);
            }
        }
        let near = |a: Position, b: Position| a.x.abs_diff(b.x).max(a.y.abs_diff(b.y)) < 1_000;
        assert!(turns.len() > 4);
        assert!(turns.iter().step_by(2).all(|p| near(*p, Position { x: 400_000, y: 400_000 })));
        assert!(turns.iter().skip(1).step_by(2).all(|p| near(*p, start)));
        let wait = Command { queue: true, ..order(&[1], Instruction::Hold) };
        apply(&mut sector, ANNA, &wait).unwrap();
        settle(&mut sector);
        assert_eq!(ordered(&sector, 1), Order::Hold);
    }

    #[test]
    fn an_attack_move_stands_while_there_is_combat() {
        let mut sector = two_players();
        let target = place(HERE, 900_000, 900_000);
        apply(&mut sector, ANNA, &order(&[1], Instruction::AttackMove { target })).unwrap();
        (0..10).for_each(|at| drop(step(&mut sector, at)));
        let at = sector.find(UnitId(1)).unwrap();
        sector.units[at].state = sector.units[at].state.set(UnitState::IN_COMBAT, true);
        (10..16).for_each(|at| drop(step(&mut sector, at)));
        let stands = sector.units[at];
        assert!(!stands.course.is_moving());
        (16..40).for_each(|at| drop(step(&mut sector, at)));
        assert_eq!(sector.units[at], stands);
        sector.units[at].state = UnitState::default();
        settle(&mut sector);
        assert!(sector.units[at].position.x > 890_000);
    }

    #[test]
    fn rejects_order_for_foreign_unit() {
        assert_eq!(refused(&two_players(), &go(&[1, 6], 0, 0)), (Refusal::NotYourUnit, 6));
        assert!(apply(&mut two_players(), BEN, &go(&[6], 0, 0)).is_ok());
    }

    #[test]
    fn rejects_order_for_unknown_unit() {
        assert_eq!(refused(&two_players(), &go(&[1, 9], 0, 0)), (Refusal::UnknownUnit, 9));
    }

    #[test]
    fn rejects_order_for_unit_in_transit() {
        let mut sector = two_players();
        sector.units[1].state = UnitState::IN_TRANSIT;
        let stop = order(&[1, 2], Instruction::Stop);
        assert_eq!(refused(&sector, &stop), (Refusal::InTransit, 2));
    }

    #[test]
    fn rejects_movement_of_what_cannot_move() {
        let sector = two_players();
        assert_eq!(sector.unit(UnitId(5)).unwrap().type_id, TURRET);
        assert_eq!(refused(&sector, &go(&[5], 0, 0)), (Refusal::Immobile, 5));
    }

    #[test]
    fn rejects_movement_of_a_type_without_rules() {
        let mut sector = two_players();
        sector.units[0].type_id = crate::sim::UnitTypeId(77);
        assert_eq!(refused(&sector, &go(&[1], 0, 0)), (Refusal::UnknownType, 1));
    }

    #[test]
    fn rejects_targets_outside_the_galaxy_and_out_of_reach() {
        let go = |sector| Command::go(units(&[1]), place(sector, 5, 5));
        for (x, y, scale) in [(-1, 5, 0), (i64::from(Galaxy::SIDE), 0, 0), (i64::MAX, 0, 9)] {
            let command = go(SectorId { x, y, scale });
            assert_eq!(refused(&two_players(), &command), (Refusal::OutsideGalaxy, 1));
        }
        // 60 m/s for an hour is 216 km.
        assert_eq!(
            refused(&two_players(), &go(SectorId::tactical(224, 5))),
            (Refusal::OutOfReach, 1)
        );
        assert!(apply(&mut two_players(), ANNA, &go(SectorId::tactical(220, 5))).is_ok());
        let target = place(SectorId::tactical(224, 5), 0, 0);
        let warp = order(&[1], Instruction::Warp { target });
        assert!(apply(&mut two_players(), ANNA, &warp).is_ok());
    }

    #[test]
    fn units_in_warp_take_only_orders_that_wait() {
        let mut sector = two_players();
        sector.sector = SectorId { x: 0, y: 0, scale: 4 };
        assert_eq!(refused(&sector, &go(&[1], 0, 0)), (Refusal::InWarp, 1));
        assert_eq!(refused(&sector, &order(&[1], Instruction::Stop)), (Refusal::InWarp, 1));
        let wait = Command { queue: true, ..go(&[1], 0, 0) };
        assert!(apply(&mut sector, ANNA, &wait).is_ok());
    }

    #[test]
    fn a_target_may_be_named_in_a_larger_sector() {
        let parent = HERE.parent().unwrap();
        // (7, 5) is the right, upper quarter of (3, 2).
        let position = crate::base::CompressedPosition { x: 3 << 30, y: 3 << 30 };
        let target = Target { sector: parent, position };
        let mut sector = two_players();
        apply(&mut sector, ANNA, &Command::go(units(&[2]), target)).unwrap();
        assert_eq!(ordered(&sector, 2), Order::Move { to: there(1 << 19, 1 << 19) });
    }
}
