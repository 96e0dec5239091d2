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
