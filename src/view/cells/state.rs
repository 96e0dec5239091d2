//! Owns what a packet does to a view: in which order changes, movement,
//! departures, arrivals and keyframes are taken, and which cells are not known
//! any more when something is missing. Called by `CellsView`.

use super::find;
use crate::protocol::blocks::named::{Departed, UnitDelta};
use crate::protocol::blocks::{
    Block, CELL_COUNT, Change, Content, Departure, Happened, Packet, Seen, Update,
};
use crate::view::fog::Mask;
use crate::view::motion::{self, steps_between};

/// All that is known of a sector at one tick.
#[derive(Clone, Debug)]
pub struct State {
    /// Of the last packet applied; all units are as they are at it.
    pub tick: u64,
    pub scope: u8,
    pub mask: Mask,
    /// The cells of the mask whose units are known: all but those whose blocks
    /// had a gap.
    pub held: Mask,
    /// One for each of the sector; empty unless held.
    pub cells: Vec<CellView>,
    /// By id.
    pub cloaked: Vec<Seen>,
}

#[derive(Clone, Debug, Default)]
pub struct CellView {
    /// Of its last block.
    pub told: u64,
    /// By id.
    pub units: Vec<Seen>,
}

/// A unit on its way from one cell to another within a packet.
struct Moved {
    to: usize,
    seen: Seen,
}

impl State {
    pub fn all(&self) -> impl Iterator<Item = &Seen> {
        self.cells.iter().flat_map(|cell| &cell.units).chain(&self.cloaked)
    }

    pub fn advance(&mut self, steps: u64) {
        let cells = self.cells.iter_mut().flat_map(|cell| &mut cell.units);
        cells.chain(&mut self.cloaked).for_each(|seen| motion::advance(&mut seen.unit, steps));
    }

    /// Changes, movement, what is named after the movement, departures, then
    /// all that is told as a whole.
    pub fn apply(&mut self, tick: u64, packet: &Packet) {
        let steps = steps_between(self.tick, tick);
        self.advance(steps.saturating_sub(1));
        let mask = packet.mask.map_or(self.mask, Mask);
        // Cells that left the mask are told nothing of any more.
        self.cover(Mask(self.held.0 & !mask.0));
        self.mask = Mask(self.mask.0 & mask.0);
        let updates = self.admit_updates(tick, &packet.blocks);
        for (cell, update) in &updates {
            self.apply_changes(*cell, update);
        }
        self.advance(steps.min(1));
        let mut moved = Vec::new();
        for (cell, update) in &updates {
            self.apply_departures(*cell, update, &mut moved);
        }
        for Moved { to, seen } in moved {
            if self.held.has_index(to) {
                put(&mut self.cells[to].units, seen);
            }
        }
        for (cell, update) in updates.into_iter().filter(|(cell, _)| self.held.has_index(*cell)) {
            update.appeared.iter().for_each(|seen| put(&mut self.cells[cell].units, *seen));
        }
        self.tick = tick;
        self.take_arrivals(&packet.blocks);
        self.uncover(mask);
        self.take_wholes(&packet.blocks);
    }

    /// Of the update blocks those whose cell is held and whose base was told.
    fn admit_updates<'p>(&mut self, tick: u64, blocks: &'p [Block]) -> Vec<(usize, &'p Update)> {
        let (mut admitted, mut lost) = (Vec::new(), Vec::new());
        for block in blocks {
            let Content::Update(update) = &block.content else { continue };
            let index = usize::from(block.cell);
            let Some(cell) = self.cells.get_mut(index) else { continue };
            let held = self.held.has_index(index);
            if held && cell.told >= tick {
                continue;
            }
            if held && tick.saturating_sub(update.base.into()) <= cell.told {
                cell.told = tick;
                admitted.push((index, update));
            } else {
                lost.push((index, update));
            }
        }
        lost.into_iter().for_each(|(index, update)| self.lose(index, update));
        admitted
    }

    /// An update cannot be applied: its cell is not known any more, and neither
    /// are those that units of it went to.
    fn lose(&mut self, index: usize, update: &Update) {
        let neighbour = |departure: &Departure| match departure {
            Departure::To(direction) => direction.from_cell(index as u8),
            Departure::Gone => None,
        };
        let targets: Vec<u8> = match &update.happened {
            Happened::Columns { departures, .. } => {
                departures.iter().filter_map(|(_, departure)| neighbour(departure)).collect()
            }
            Happened::Named { departures, .. } => {
                departures.iter().filter_map(|departed| departed.cell).collect()
            }
        };
        let lost = targets.into_iter().fold(1 << index, |lost, target| lost | 1 << target);
        self.cover(Mask(lost));
    }

    fn apply_changes(&mut self, index: usize, update: &Update) {
        let Happened::Columns { changes, .. } = &update.happened else { return };
        let units = &mut self.cells[index].units;
        let known = |(at, change): &(u32, Change)| {
            let seen = units.get_mut(*at as usize);
            seen.map(|seen| motion::apply(change, seen)).is_some()
        };
        // Where what is told does not fit what is here.
        if self.held.has_index(index) && !changes.iter().all(known) {
            self.lose(index, update);
        }
    }

    /// Takes out who departed, after the movement; named changes come first.
    fn apply_departures(&mut self, index: usize, update: &Update, moved: &mut Vec<Moved>) {
        let known = match &update.happened {
            _ if !self.held.has_index(index) => false,
            Happened::Columns { departures, .. } => self.depart(index, departures, moved),
            Happened::Named { changes, departures } => {
                self.change_named(index, changes) && self.depart_named(index, departures, moved)
            }
        };
        if !known {
            self.lose(index, update);
        }
    }

    fn depart(
        &mut self,
        from: usize,
        departures: &[(u32, Departure)],
        moved: &mut Vec<Moved>,
    ) -> bool {
        let units = &mut self.cells[from].units;
        // By rising place: from the last, so that places stay right.
        for (at, departure) in departures.iter().rev() {
            let at = *at as usize;
            if at >= units.len() {
                return false;
            }
            let seen = units.remove(at);
            if let Departure::To(direction) = departure {
                let Some(to) = direction.from_cell(from as u8) else { return false };
                moved.push(Moved { to: to.into(), seen });
            }
        }
        true
    }

    fn change_named(&mut self, index: usize, changes: &[UnitDelta]) -> bool {
        let units = &mut self.cells[index].units;
        changes.iter().all(|delta| {
            let at = find(units, delta.unit_id);
            at.map(|at| delta.apply(&mut units[at].unit)).is_some()
        })
    }

    fn depart_named(
        &mut self,
        from: usize,
        departures: &[Departed],
        moved: &mut Vec<Moved>,
    ) -> bool {
        let units = &mut self.cells[from].units;
        departures.iter().all(|departed| {
            let Some(at) = find(units, departed.unit_id) else { return false };
            let seen = units.remove(at);
            moved.extend(departed.cell.map(|to| Moved { to: to.into(), seen }));
            true
        })
    }

    /// Arrivals count only with the update of their cell, which has the base.
    fn take_arrivals(&mut self, blocks: &[Block]) {
        for block in blocks {
            let Content::Arrivals(_, units) = &block.content else { continue };
            let index = usize::from(block.cell);
            if !self.held.has_index(index) {
                continue;
            }
            if self.cells[index].told == self.tick {
                units.iter().for_each(|seen| put(&mut self.cells[index].units, *seen));
            } else {
                self.cover(Mask(1 << index));
            }
        }
    }

    /// Sets the mask; its new cells are empty until their keyframes are taken.
    pub fn uncover(&mut self, mask: Mask) {
        let new = Mask(mask.0 & !self.mask.0);
        for cell in (0..CELL_COUNT).filter(|cell| new.has_index(*cell)) {
            self.cells[cell] = CellView { told: self.tick, units: Vec::new() };
        }
        self.mask = mask;
        self.held = self.held.with(new);
    }

    /// Forgets the units of these cells.
    fn cover(&mut self, cells: Mask) {
        for cell in (0..CELL_COUNT).filter(|cell| cells.has_index(*cell)) {
            self.cells[cell] = CellView::default();
        }
        self.held = Mask(self.held.0 & !cells.0);
    }

    /// Takes what sets a list; whether all of it was of the mask.
    pub fn take_wholes(&mut self, blocks: &[Block]) -> bool {
        let mut fits = true;
        for block in blocks {
            match &block.content {
                Content::Keyframe(units) if self.mask.has_index(block.cell.into()) => {
                    let index = usize::from(block.cell);
                    self.cells[index] = CellView { told: self.tick, units: units.clone() };
                    self.held = self.held.with(Mask(1 << index));
                }
                Content::Keyframe(_) => fits = false,
                Content::Cloaked(units) => self.cloaked.clone_from(units),
                Content::Update(_) | Content::Arrivals(..) => {}
            }
        }
        fits
    }
}

fn put(units: &mut Vec<Seen>, seen: Seen) {
    match units.binary_search_by_key(&seen.id(), Seen::id) {
        Ok(at) => units[at] = seen,
        Err(at) => units.insert(at, seen),
    }
}
