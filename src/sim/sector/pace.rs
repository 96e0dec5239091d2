//! Owns how fast a unit goes about an order: alone as its type can, in a fleet
//! as the slowest of it can that are in the sector. Never changes a unit.
//! Called when an order begins.

use std::collections::BTreeMap;

use crate::base::{FleetId, PlayerId};
use crate::sim::{Order, Rules, Speed, Unit};

/// What units can do, by themselves or together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    cruise: Speed,
    warp: Speed,
}

impl Pace {
    /// That of `unit` alone; `None` if it cannot move.
    pub(super) fn of(unit: &Unit, rules: &Rules) -> Option<Pace> {
        let kind = rules.unit_type(unit.type_id)?;
        Some(Pace { cruise: kind.speed?, warp: kind.warp_speed })
    }

    /// That of the slower of both, in each respect.
    pub(super) fn with(self, other: Pace) -> Pace {
        Pace { cruise: self.cruise.min(other.cruise), warp: self.warp.min(other.warp) }
    }

    /// The speed at which `order` is carried out.
    pub(super) fn speed(self, order: Order) -> Speed {
        if matches!(order, Order::Warp { .. }) { self.warp } else { self.cruise }
    }
}

/// What the fleets of one sector can do in one step.
pub(super) struct Fleets {
    paces: BTreeMap<(PlayerId, FleetId), Pace>,
}

impl Fleets {
    pub(super) fn of(units: &[Unit], rules: &Rules) -> Fleets {
        let mut paces: BTreeMap<_, Pace> = BTreeMap::new();
        for unit in units.iter().filter(|unit| unit.fleet != FleetId(0)) {
            let Some(pace) = Pace::of(unit, rules) else { continue };
            let slowest = paces.entry((unit.owner, unit.fleet)).or_insert(pace);
            *slowest = slowest.with(pace);
        }
        Fleets { paces }
    }

    /// That of `unit` with its fleet; `None` if it cannot move.
    pub(super) fn pace(&self, unit: &Unit, rules: &Rules) -> Option<Pace> {
        let fleet = self.paces.get(&(unit.owner, unit.fleet)).copied();
        Pace::of(unit, rules).map(|alone| fleet.unwrap_or(alone))
    }
}
