//! Owns what the units of each group reveal: cells of their own sector, and of
//! the eight around it. Never knows who watches. Called by the lists whenever a
//! unit comes into a cell or goes from it. Invariant: a group's masks are those
//! of its units' cells and sensors, and nothing else.

use std::collections::BTreeMap;

use super::{GroupId, Thrown};
use crate::protocol::blocks::{Direction, Seen};
use crate::sim::{Rules, UnitTypeId};
use crate::view::fog::{CELLS, Cell, Mask, Sight};

/// What all groups see from one sector.
#[derive(Debug)]
pub struct Eyes {
    /// Metres that each unit type sees; without entry only its own cell.
    sensors: BTreeMap<u16, u32>,
    groups: BTreeMap<GroupId, Group>,
}

/// What one group sees; its masks are good unless `moved`.
#[derive(Debug, Default)]
struct Group {
    /// By sensor radius and cell.
    eyes: BTreeMap<(u32, u8), Eye>,
    sees: Sees,
    moved: bool,
}

/// Units of the same sensor in the same cell.
#[derive(Debug)]
struct Eye {
    units: u32,
    sees: Sees,
}

/// Masks of a sector and of its neighbours, in the order of directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sees {
    own: Mask,
    thrown: [Mask; 8],
}

impl Eyes {
    /// Without units, under these rules.
    pub fn new(rules: &Rules) -> Eyes {
        let sensors = rules.types().iter().map(|kind| (kind.id.0, kind.sensor)).collect();
        Eyes { sensors, groups: BTreeMap::new() }
    }

    /// A unit is in `cell` now.
    pub fn add(&mut self, seen: &Seen, cell: u8) {
        let sensor = self.sensor(seen);
        let group = self.groups.entry(GroupId::of(seen.unit.owner)).or_default();
        let eye = group.eyes.entry((sensor, cell)).or_insert_with(|| {
            group.moved = true;
            Eye { units: 0, sees: Sees::from(sensor, cell) }
        });
        eye.units += 1;
    }

    /// A unit is not in `cell` any more.
    pub fn remove(&mut self, seen: &Seen, cell: u8) {
        let key = (self.sensor(seen), cell);
        let Some(group) = self.groups.get_mut(&GroupId::of(seen.unit.owner)) else { return };
        let Some(eye) = group.eyes.get_mut(&key) else { return };
        eye.units -= 1;
        if eye.units == 0 {
            group.eyes.remove(&key);
            group.moved = true;
        }
    }

    /// Computes the masks of all groups whose units moved between cells;
    /// whether there were any.
    pub fn settle(&mut self) -> bool {
        let moved = self.groups.values().any(|group| group.moved);
        self.groups.retain(|_, group| !group.eyes.is_empty());
        for group in self.groups.values_mut().filter(|group| group.moved) {
            group.sees = group.eyes.values().fold(Sees::default(), |all, eye| all.with(&eye.sees));
            group.moved = false;
        }
        moved
    }

    /// What the group's units in this sector reveal of it.
    pub fn own(&self, group: GroupId) -> Mask {
        self.groups.get(&group).map_or(Mask::NONE, |group| group.sees.own)
    }

    /// What all groups reveal of the neighbour there.
    pub fn thrown(&self, to: Direction) -> Thrown {
        let mut thrown = Thrown::default();
        for (id, group) in &self.groups {
            thrown.add(*id, group.sees.thrown[usize::from(to.number())]);
        }
        thrown
    }

    fn sensor(&self, seen: &Seen) -> u32 {
        let UnitTypeId(kind) = UnitTypeId(seen.unit.type_id);
        self.sensors.get(&kind).copied().unwrap_or(0)
    }
}

impl Sees {
    fn from(sensor: u32, cell: u8) -> Sees {
        let sight = Sight::new(sensor);
        let (x, y) = (i32::from(cell & 7), i32::from(cell >> 3));
        // The neighbour counts cells from its own origin.
        let thrown = Direction::ALL.map(|direction| {
            let (dx, dy) = direction.offset();
            sight.from(Cell { x: x - dx * CELLS, y: y - dy * CELLS })
        });
        Sees { own: sight.from(Cell { x, y }), thrown }
    }

    fn with(mut self, other: &Sees) -> Sees {
        self.own = self.own.with(other.own);
        for (mask, more) in self.thrown.iter_mut().zip(other.thrown) {
            *mask = mask.with(more);
        }
        self
    }
}
