//! Owns which rules a galaxy may go on by: those that know every type of unit
//! there can be in it. Never compares numbers that units do not depend on. Called
//! when a node starts with rules that the galaxy has not had. Invariant: an entity
//! that adopts rules that may follow has no unit they cannot move or see by. Back on
//! a node of earlier rules, while nodes are restarted one by one, units of a new type
//! stand still there, blind, until they come to a newer node.

use super::{Rules, UnitType, UnitTypeId};

/// Why a galaxy cannot go on by other rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("unit type {id}, `{name}`, is missing, and there may be such units")]
    Missing { id: UnitTypeId, name: String },
    #[error("unit type {id} is `{now}`, and was `{before}`: a number is never used again")]
    Renamed { id: UnitTypeId, before: String, now: String },
    #[error("unit type {id}, `{name}`, {now}, and {before} before: there may be such units")]
    Mobility { id: UnitTypeId, name: String, before: &'static str, now: &'static str },
}

impl Rules {
    /// Whether what was made by `earlier` rules can go on by these.
    ///
    /// # Errors
    /// The first type of unit for which that is not so.
    pub fn may_follow(&self, earlier: &Rules) -> Result<(), Unfit> {
        earlier.types().iter().try_for_each(|before| self.keeps(before))
    }

    fn keeps(&self, before: &UnitType) -> Result<(), Unfit> {
        let UnitType { id, .. } = *before;
        let name = before.name.clone();
        let Some(now) = self.unit_type(id) else { return Err(Unfit::Missing { id, name }) };
        if now.name != name {
            return Err(Unfit::Renamed { id, before: name, now: now.name.clone() });
        }
        let (before, now) = (mobility(before), mobility(now));
        if before == now { Ok(()) } else { Err(Unfit::Mobility { id, name, before, now }) }
    }
}

fn mobility(kind: &UnitType) -> &'static str {
    if kind.speed.is_some() { "moves" } else { "cannot move" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::rules::sample::{self, FIGHTER, TURRET};

    fn with(change: impl Fn(&mut Vec<UnitType>)) -> Rules {
        let rules = sample::rules().unwrap();
        let mut types = rules.types().to_vec();
        change(&mut types);
        Rules::new(types, rules.multipliers().to_vec(), rules.start().to_vec()).unwrap()
    }

    #[test]
    fn other_numbers_and_new_types_may_follow_and_not_the_way_back() {
        let sample = sample::rules().unwrap();
        assert_eq!(sample::later_rules().unwrap().may_follow(&sample), Ok(()));
        let more = with(|types| {
            let cruiser =
                UnitType { id: UnitTypeId(9), name: "Cruiser".into(), ..types[0].clone() };
            types.push(cruiser);
        });
        assert_eq!(more.may_follow(&sample), Ok(()));
        let name = "Cruiser".to_string();
        assert_eq!(sample.may_follow(&more), Err(Unfit::Missing { id: UnitTypeId(9), name }));
    }

    #[test]
    fn a_type_is_never_another_nor_moves_if_it_did_not() {
        let sample = sample::rules().unwrap();
        let renamed = with(|types| types[0].name = "Bomber".into());
        let (before, now) = ("Fighter".to_string(), "Bomber".to_string());
        let unfit = Unfit::Renamed { id: FIGHTER, before, now };
        assert_eq!(renamed.may_follow(&sample), Err(unfit));
        let flying = with(|types| types[2].speed = types[0].speed);
        let said = flying.may_follow(&sample).unwrap_err().to_string();
        assert!(said.contains("moves") && said.contains("cannot move"), "{said}");
        assert!(said.contains(&TURRET.to_string()), "{said}");
    }
}
