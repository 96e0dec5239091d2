//! Owns what a player sees of a sector at one moment: cells, and the units in
//! them. Never remembers anything between two questions, as `view::stage` does
//! for those who watch. Called by [`Entity::read`](super::super::Entity::read).
//! Invariant: no unit outside the cells that the player sees is in an answer,
//! and no cloaked one of somebody else.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::UnitsQuery;
use crate::base::PlayerId;
use crate::sim::rules::Rules;
use crate::sim::{SectorState, Unit, UnitState};
use crate::view::fog::{CELLS, Cell, Mask};

/// The cells that one player's units in a sector reveal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    pub own: Mask,
    /// Of the sectors around, each with the columns and rows to it.
    pub thrown: [((i64, i64), Mask); 8],
}

impl Sight {
    /// What the units of `player` in `state` reveal.
    pub fn of(state: &SectorState, rules: &Rules, player: PlayerId) -> Sight {
        let eyes = eyes(state, rules, player);
        let around = [(-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1)];
        let thrown = around.map(|to| (to, reveal(&eyes, to)));
        Sight { own: reveal(&eyes, (0, 0)), thrown }
    }

    /// The cells that are revealed of the sector so many columns and rows away.
    pub fn to(&self, away: (i64, i64)) -> Mask {
        let thrown = self.thrown.iter().find(|(to, _)| *to == away);
        thrown.map_or(Mask::NONE, |(_, mask)| *mask)
    }
}

/// The units of a sector that the query is for, and whether there are more.
pub fn units(state: &SectorState, rules: &Rules, query: &UnitsQuery) -> (Vec<Unit>, bool) {
    let own = || reveal(&eyes(state, rules, query.player), (0, 0));
    // In warp nobody sees anybody else.
    let is_tactical = state.sector().scale == 0;
    let mask = if is_tactical { own().with(query.thrown) } else { Mask::NONE };
    let is_seen = |unit: &Unit| {
        let is_open = !unit.state.has(UnitState::CLOAKED) && mask.has(Cell::of(unit.position));
        unit.owner == query.player || is_open
    };
    let is_meant = |unit: &Unit| {
        query.type_id.is_none_or(|kind| kind == unit.type_id)
            && query.owner.is_none_or(|owner| owner == unit.owner)
    };
    // Ascending by id.
    let all = state.units();
    let from = all.partition_point(|unit| unit.id <= query.after);
    let mut found = all[from..].iter().filter(|unit| is_seen(unit) && is_meant(unit));
    let units: Vec<Unit> = found.by_ref().take(query.limit).copied().collect();
    (units, found.next().is_some())
}

/// Sensor radius and cell of the player's units, each once.
fn eyes(state: &SectorState, rules: &Rules, player: PlayerId) -> BTreeSet<(u32, Cell)> {
    let own = state.units().iter().filter(|unit| unit.owner == player);
    // A type that the rules do not know still sees its own cell.
    let sensor = |unit: &Unit| rules.unit_type(unit.type_id).map_or(0, |kind| kind.sensor);
    own.map(|unit| (sensor(unit), Cell::of(unit.position))).collect()
}

/// What eyes reveal of the sector `away` from theirs.
fn reveal(eyes: &BTreeSet<(u32, Cell)>, away: (i64, i64)) -> Mask {
    // -1 to 1: the neighbour counts cells from its own origin.
    let cells = |columns: i64| i32::try_from(columns).unwrap_or(0) * CELLS;
    let (dx, dy) = (cells(away.0), cells(away.1));
    eyes.iter().fold(Mask::NONE, |mask, (sensor, cell)| {
        let cell = Cell { x: cell.x - dx, y: cell.y - dy };
        mask.with(crate::view::fog::Sight::new(*sensor).from(cell))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Position, SectorId, UnitId};
    use crate::sim::rules::sample::{FIGHTER, rules};
    use crate::sim::{Changes, UnitTypeId};
    use crate::view::fog;

    const ANNA: PlayerId = PlayerId(1);
    const BEN: PlayerId = PlayerId(2);

    /// A unit in the middle of cell (x, y).
    fn unit(id: u64, owner: PlayerId, (x, y): (i32, i32)) -> Unit {
        let middle = |cell: i32| (cell << 17) + (1 << 16);
        Unit::new(UnitId(id), FIGHTER, owner, Position { x: middle(x), y: middle(y) })
    }

    fn sector(scale: u8, units: &[Unit]) -> SectorState {
        let mut state = SectorState::new(SectorId { x: 5, y: 5, scale });
        units.iter().for_each(|unit| state.insert(*unit, &mut Changes::default()));
        state
    }

    fn query(player: PlayerId) -> UnitsQuery {
        let (type_id, owner, after) = (None, None, UnitId(0));
        UnitsQuery { player, thrown: Mask::NONE, type_id, owner, after, limit: 100 }
    }

    fn ids(state: &SectorState, query: UnitsQuery) -> Vec<u64> {
        units(state, &rules().unwrap(), &query).0.iter().map(|unit| unit.id.0).collect()
    }

    #[test]
    fn sees_its_own_units_and_others_where_they_see() {
        let near = unit(2, BEN, (2, 1));
        let state = sector(0, &[unit(1, ANNA, (1, 1)), near, unit(3, BEN, (7, 7))]);
        assert_eq!(ids(&state, query(ANNA)), [1, 2]);
        assert_eq!(ids(&state, query(PlayerId(9))), [0; 0]);
        let corner = Mask(1 << 63);
        assert_eq!(ids(&state, UnitsQuery { thrown: corner, ..query(PlayerId(9)) }), [3]);
        let owner = Some(BEN);
        assert_eq!(ids(&state, UnitsQuery { owner, ..query(ANNA) }), [2]);
        let type_id = Some(UnitTypeId(999));
        assert_eq!(ids(&state, UnitsQuery { type_id, ..query(ANNA) }), [0; 0]);
    }

    #[test]
    fn what_is_cloaked_or_in_warp_only_its_owner_sees() {
        let mut cloaked = unit(2, BEN, (1, 1));
        cloaked.state = UnitState::CLOAKED;
        let state = sector(0, &[unit(1, ANNA, (1, 1)), cloaked]);
        assert_eq!(ids(&state, query(ANNA)), [1]);
        assert_eq!(ids(&state, query(BEN)), [1, 2]);
        let warp = sector(4, &[unit(1, ANNA, (1, 1)), unit(2, BEN, (1, 1))]);
        assert_eq!(ids(&warp, UnitsQuery { thrown: Mask::ALL, ..query(ANNA) }), [1]);
    }

    #[test]
    fn goes_on_after_an_id_and_says_whether_there_are_more() {
        let all: Vec<Unit> = (1..=5).map(|id| unit(id, ANNA, (0, 0))).collect();
        let state = sector(0, &all);
        let page = |after, limit| {
            let query = UnitsQuery { after: UnitId(after), limit, ..query(ANNA) };
            let (found, more) = units(&state, &rules().unwrap(), &query);
            (found.iter().map(|unit| unit.id.0).collect::<Vec<_>>(), more)
        };
        assert_eq!(page(0, 2), (vec![1, 2], true));
        assert_eq!(page(2, 3), (vec![3, 4, 5], false));
        assert_eq!(page(5, 3), (vec![], false));
    }

    #[test]
    fn units_at_a_border_reveal_what_is_beyond_it() {
        let state = sector(0, &[unit(1, ANNA, (0, 4)), unit(2, BEN, (7, 7))]);
        let sight = Sight::of(&state, &rules().unwrap(), ANNA);
        let beyond = fog::Sight::new(300).from(Cell { x: CELLS, y: 4 });
        assert_eq!(sight.to((-1, 0)), beyond);
        assert_ne!(beyond, Mask::NONE);
        assert_eq!([sight.to((1, 0)), sight.to((0, 1))], [Mask::NONE; 2]);
        assert_eq!(sight.own, fog::Sight::new(300).from(Cell { x: 0, y: 4 }));
    }
}
