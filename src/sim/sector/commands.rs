//! Owns what a command does to the units of a sector, and which rules refuse
//! it. Never checks the shape of a command (`UnitIds::new` did). Invariant: a
//! refused command changed nothing.

use super::SectorState;
use crate::base::{PlayerId, Position, UnitId};
use crate::sim::{
    Accepted, Changes, Command, Course, Order, Refusal, Refused, Rules, Target, Unit, UnitIds,
    UnitState,
};

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
        rules: &Rules,
        changes: &mut Changes,
    ) -> Result<Accepted, Refused> {
        let planned = self.plan(player, command, rules)?;
        for (at, unit) in planned {
            if self.units[at] != unit {
                changes.changed.insert(unit.id);
                self.units[at] = unit;
            }
        }
        self.accepted(command.units().first())
    }

    /// The units as they will be, with their places in the list.
    fn plan(
        &self,
        player: PlayerId,
        command: &Command,
        rules: &Rules,
    ) -> Result<Vec<(usize, Unit)>, Refused> {
        let ordered = |unit: &Unit| match *command {
            Command::Move { target, .. } => self.moved(unit, target, rules),
            Command::Stop { .. } => Ok(standing(unit, Order::Idle)),
            Command::Hold { .. } => Ok(standing(unit, Order::Hold)),
        };
        let units = self.addressed(player, command.units());
        units
            .map(|found| {
                let (at, unit) = found?;
                let refused = |rule| Refused { rule, unit: Some(unit.id) };
                Ok((at, ordered(unit).map_err(refused)?))
            })
            .collect()
    }

    /// The units that `player` names and may command.
    fn addressed(
        &self,
        player: PlayerId,
        units: &UnitIds,
    ) -> impl Iterator<Item = Result<(usize, &Unit), Refused>> {
        units.iter().map(move |id| {
            let refused = |rule| Refused { rule, unit: Some(id) };
            let at = self.find(id).map_err(|_| refused(Refusal::UnknownUnit))?;
            let unit = &self.units[at];
            if unit.owner != player {
                return Err(refused(Refusal::NotYourUnit));
            }
            if unit.state.has(UnitState::IN_TRANSIT) {
                return Err(refused(Refusal::InTransit));
            }
            Ok((at, unit))
        })
    }

    fn moved(&self, unit: &Unit, target: Target, rules: &Rules) -> Result<Unit, Refusal> {
        let kind = rules.unit_type(unit.type_id).ok_or(Refusal::UnknownType)?;
        let speed = kind.speed.ok_or(Refusal::Immobile)?;
        let target = self.place(target)?;
        let mut moved = *unit;
        moved.steer(Course::to(unit.position, target, speed));
        moved.order = if moved.course.is_moving() { Order::Move { target } } else { Order::Idle };
        Ok(moved)
    }

    /// The place in this sector that is meant.
    fn place(&self, target: Target) -> Result<Position, Refusal> {
        match target.position.locate(target.sector) {
            Some((sector, position)) if sector == self.sector => Ok(position),
            Some(_) => Err(Refusal::OutsideSector),
            None => Err(Refusal::OutsideGalaxy),
        }
    }

    fn accepted(&self, id: UnitId) -> Result<Accepted, Refused> {
        // It is here, or `plan` had refused.
        let unknown = Refused { rule: Refusal::UnknownUnit, unit: Some(id) };
        let unit = self.unit(id).ok_or(unknown)?;
        Ok(Accepted {
            unit: id,
            position: unit.position,
            arrival: unit.course.arrival(unit.position),
            steps: unit.course.remaining,
        })
    }
}

fn standing(unit: &Unit, order: Order) -> Unit {
    let mut stands = *unit;
    stands.steer(Course::STANDING);
    stands.order = order;
    stands
}

#[cfg(test)]
mod tests {
    use super::super::scenes::{
        ANNA, BEN, HERE, apply, bytes, go, place, rules, two_players, units,
    };
    use super::*;
    use crate::base::SectorId;
    use crate::sim::rules::sample::TURRET;

    /// The rule that refuses `command` of Anna, and the unit; nothing changes.
    fn refused(sector: &SectorState, command: &Command) -> (Refusal, u64) {
        let (mut after, mut changes) = (sector.clone(), Changes::default());
        let refused = after.apply_command(ANNA, command, &rules(), &mut changes).unwrap_err();
        assert_eq!(bytes(&after), bytes(sector));
        assert_eq!(changes, Changes::default());
        (refused.rule, refused.unit.unwrap().0)
    }

    #[test]
    fn moves_all_units_named_and_tells_of_the_first() {
        let (mut sector, mut changes) = (two_players(), Changes::default());
        let command = go(&[3, 1], 900_000, 100_000);
        let accepted = sector.apply_command(ANNA, &command, &rules(), &mut changes).unwrap();
        assert_eq!(changes.changed.iter().copied().collect::<Vec<_>>(), [UnitId(1), UnitId(3)]);
        let third = sector.unit(UnitId(3)).unwrap();
        assert_eq!((accepted.unit, accepted.position), (UnitId(3), third.position));
        assert_eq!(accepted.steps, third.course.remaining);
        let target = Position { x: 900_000, y: 100_000 };
        assert_eq!(third.order, Order::Move { target });
        assert!(!sector.unit(UnitId(2)).unwrap().course.is_moving());
    }

    #[test]
    fn stop_ends_the_order_and_hold_replaces_it() {
        let mut sector = two_players();
        apply(&mut sector, ANNA, &go(&[1, 2], 0, 0)).unwrap();
        sector.step(&mut Changes::default());
        apply(&mut sector, ANNA, &Command::Stop { units: units(&[1]) }).unwrap();
        let held = apply(&mut sector, ANNA, &Command::Hold { units: units(&[2]) }).unwrap();
        let order = |id| sector.unit(UnitId(id)).unwrap().order;
        assert_eq!((order(1), order(2)), (Order::Idle, Order::Hold));
        assert_eq!((held.arrival, held.steps), (held.position, 0));
        assert!(!sector.is_moving());
    }

    #[test]
    fn a_command_without_effect_changes_nothing_and_is_accepted() {
        let (mut sector, mut changes) = (two_players(), Changes::default());
        let here = sector.unit(UnitId(1)).unwrap().position;
        for command in [Command::Stop { units: units(&[1, 5]) }, go(&[1], here.x, here.y)] {
            sector.apply_command(ANNA, &command, &rules(), &mut changes).unwrap();
        }
        assert_eq!(bytes(&sector), bytes(&two_players()));
        assert_eq!(changes, Changes::default());
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
        let stop = Command::Stop { units: units(&[1, 2]) };
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
    fn rejects_target_outside_the_units_sector() {
        let next = SectorId { x: HERE.x + 1, ..HERE };
        let command = Command::Move { units: units(&[1]), target: place(next, 5, 5) };
        assert_eq!(refused(&two_players(), &command), (Refusal::OutsideSector, 1));
        let nowhere = SectorId { x: i64::MAX, y: 0, scale: 9 };
        let command = Command::Move { units: units(&[1]), target: place(nowhere, 5, 5) };
        assert_eq!(refused(&two_players(), &command), (Refusal::OutsideGalaxy, 1));
    }

    #[test]
    fn a_target_may_be_named_in_a_larger_sector() {
        let parent = HERE.parent().unwrap();
        // (7, -3) is the right, upper quarter of (3, -2).
        let position = crate::base::CompressedPosition { x: 3 << 30, y: 3 << 30 };
        let target = Target { sector: parent, position };
        let command = Command::Move { units: units(&[1]), target };
        let mut sector = two_players();
        apply(&mut sector, ANNA, &command).unwrap();
        let middle = Position { x: 1 << 19, y: 1 << 19 };
        // It stood there already.
        assert_eq!(sector.unit(UnitId(1)).unwrap().position, middle);
    }
}
