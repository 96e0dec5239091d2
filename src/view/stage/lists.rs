//! Owns the units of a sector in the lists of their cells, and what happened
//! to each list in the last step. Never encodes and never knows who watches.
//! Called by the stage. Invariant: every unit is in one list: of the cell its
//! position is in, or, when only its own group may see it, of its group.

use std::collections::BTreeMap;

use super::eyes::Eyes;
use super::{GroupId, StepDelta};
use crate::base::UnitId;
use crate::protocol::blocks::{CELL_COUNT, Change, Departure, Direction, Seen};
use crate::sim::UnitState;
use crate::view::cells::cell_of;
use crate::view::motion::{self, Mover};

/// All units of a sector.
#[derive(Debug)]
pub struct Lists {
    /// Units of a sector above scale 0, which are in warp, are seen by their
    /// own group only, as cloaked ones are.
    hidden: bool,
    cells: Vec<CellList>,
    /// By id, of groups that have any.
    cloaked: BTreeMap<GroupId, Vec<Seen>>,
    /// Groups whose list of cloaked units is not what a client predicts.
    cloaked_news: Vec<GroupId>,
    places: BTreeMap<UnitId, Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Cell(u8),
    Cloaked(GroupId),
}

/// The units of one cell.
#[derive(Debug, Default)]
pub struct CellList {
    /// By id.
    pub units: Vec<Seen>,
    pub log: CellLog,
    /// The tick of the last step that had something to tell, before this one.
    pub told: u64,
}

/// What happened to a cell in one step. Places are those of the list before it.
#[derive(Debug, Default)]
pub struct CellLog {
    pub changes: Vec<Changed>,
    pub departures: Vec<Departed>,
    pub appeared: Vec<Seen>,
    /// With the direction of the cell they came from.
    pub arrivals: Vec<(Direction, Seen)>,
}

/// A unit that is not in the list any more.
#[derive(Clone, Copy, Debug)]
pub struct Departed {
    pub at: u32,
    pub id: UnitId,
    pub departure: Departure,
}

/// A change of course, health or the like, before the step's movement.
#[derive(Clone, Copy, Debug)]
pub struct Changed {
    pub at: u32,
    pub before: Seen,
    pub change: Change,
}

impl CellLog {
    /// Whether there is a block to send.
    pub fn is_news(&self) -> bool {
        !(self.changes.is_empty()
            && self.departures.is_empty()
            && self.appeared.is_empty()
            && self.arrivals.is_empty())
    }

    fn clear(&mut self) {
        self.changes.clear();
        self.departures.clear();
        self.appeared.clear();
        self.arrivals.clear();
    }
}

impl Lists {
    /// Without units, at `tick`; `hidden` above scale 0.
    pub fn new(tick: u64, hidden: bool) -> Lists {
        let cell = || CellList { told: tick, ..CellList::default() };
        Lists {
            hidden,
            cells: (0..CELL_COUNT).map(|_| cell()).collect(),
            cloaked: BTreeMap::new(),
            cloaked_news: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    pub fn cell(&self, cell: usize) -> &CellList {
        &self.cells[cell]
    }

    /// The cloaked units of a group.
    pub fn cloaked(&self, group: GroupId) -> &[Seen] {
        self.cloaked.get(&group).map_or(&[], Vec::as_slice)
    }

    /// Whether a client of `group` has to be told its cloaked units anew.
    pub fn has_cloaked_news(&self, group: GroupId) -> bool {
        self.cloaked_news.contains(&group)
    }

    pub fn all(&self) -> impl Iterator<Item = &Seen> {
        self.cells.iter().flat_map(|cell| &cell.units).chain(self.cloaked.values().flatten())
    }

    /// The units a stage begins with; nothing is told of them by a step.
    pub fn fill(&mut self, units: impl Iterator<Item = Seen>, eyes: &mut Eyes) {
        units.for_each(|seen| self.put(seen, eyes));
        self.sort();
        self.forget(None);
    }

    /// Changes, then movement, then who left, crossed or came.
    pub fn step(&mut self, delta: &StepDelta, before: u64, eyes: &mut Eyes) {
        self.forget(Some(before));
        let mut fresh = Vec::new();
        for mover in &delta.changed {
            self.change(mover, &mut fresh, eyes);
        }
        for mover in &delta.appeared {
            self.take_out(mover.seen.id(), eyes);
            fresh.push(mover.seen);
        }
        for id in &delta.left {
            self.take_out(*id, eyes);
            fresh.retain(|seen| seen.id() != *id);
        }
        let mut crossed = Vec::new();
        for cell in 0..CELL_COUNT {
            self.step_cell(cell as u8, &mut crossed, &mut fresh, eyes);
        }
        self.step_cloaked(eyes);
        for (to, from, seen) in crossed {
            eyes.add(&seen, to);
            self.places.insert(seen.id(), Place::Cell(to));
            self.cells[usize::from(to)].units.push(seen);
            self.cells[usize::from(to)].log.arrivals.push((from, seen));
        }
        for mut seen in fresh {
            motion::advance(&mut seen.unit, 1);
            self.put(seen, eyes);
        }
        self.sort();
    }

    /// Empties the logs; what a cell had in them was told at tick `before`.
    fn forget(&mut self, before: Option<u64>) {
        for cell in &mut self.cells {
            if let Some(before) = before.filter(|_| cell.log.is_news()) {
                cell.told = before;
            }
            cell.log.clear();
        }
        self.cloaked_news.clear();
    }

    fn change(&mut self, mover: &Mover, fresh: &mut Vec<Seen>, eyes: &mut Eyes) {
        let id = mover.seen.id();
        let Some(Place::Cell(cell)) = self.places.get(&id).copied() else {
            // Cloaked or unknown: told as a whole.
            self.take_out(id, eyes);
            return fresh.push(mover.seen);
        };
        let list = &mut self.cells[usize::from(cell)];
        // `places` is right, see the invariant.
        let Some(at) = find(&list.units, id) else { return };
        let before = list.units[at];
        let change = motion::difference(&before, mover);
        match change {
            Some(change) if !self.is_hidden(&mover.seen) => {
                if change.owner.is_some() {
                    eyes.remove(&before, cell);
                    eyes.add(&mover.seen, cell);
                }
                let list = &mut self.cells[usize::from(cell)];
                // What the change makes of it, see `difference`.
                list.units[at] = mover.seen;
                if change != Change::default() {
                    list.log.changes.push(Changed { at: at as u32, before, change });
                }
            }
            _ => {
                self.take_out(id, eyes);
                fresh.push(mover.seen);
            }
        }
    }

    /// Takes a unit out: from a cell's list with the step's movement.
    fn take_out(&mut self, id: UnitId, eyes: &mut Eyes) {
        match self.places.remove(&id) {
            Some(Place::Cell(cell)) => {
                let list = &mut self.cells[usize::from(cell)];
                if let Some(at) = find(&list.units, id) {
                    eyes.remove(&list.units[at], cell);
                    let departure = Departure::Gone;
                    list.log.departures.push(Departed { at: at as u32, id, departure });
                }
            }
            Some(Place::Cloaked(group)) => {
                let units = self.cloaked.entry(group).or_default();
                if let Some(at) = find(units, id) {
                    let seen = units.remove(at);
                    eyes.remove(&seen, cell_of(&seen.unit));
                }
                if units.is_empty() {
                    self.cloaked.remove(&group);
                }
                self.tell_cloaked(group);
            }
            None => {}
        }
    }

    /// Moves the units of a cell and takes out who is not in it any more.
    fn step_cell(
        &mut self,
        cell: u8,
        crossed: &mut Vec<(u8, Direction, Seen)>,
        fresh: &mut Vec<Seen>,
        eyes: &mut Eyes,
    ) {
        let CellList { units, log, .. } = &mut self.cells[usize::from(cell)];
        log.changes.sort_unstable_by_key(|changed| changed.at);
        log.departures.sort_unstable_by_key(|departed| departed.at);
        let taken_out = log.departures.len();
        let mut next = 0;
        for (at, seen) in units.iter_mut().enumerate() {
            if next < taken_out && log.departures[next].at as usize == at {
                next += 1;
                continue;
            }
            if seen.unit.course.steps == 0 {
                continue;
            }
            let before = *seen;
            motion::advance(&mut seen.unit, 1);
            let to = cell_of(&seen.unit);
            if to == cell {
                continue;
            }
            eyes.remove(&before, cell);
            let departure = match direction(cell, to) {
                Some(direction) => {
                    crossed.push((to, direction.opposite(), *seen));
                    Departure::To(direction)
                }
                // So fast that it is in none of the neighbours: told anew.
                None => {
                    self.places.remove(&seen.id());
                    fresh.push(before);
                    Departure::Gone
                }
            };
            log.departures.push(Departed { at: at as u32, id: seen.id(), departure });
        }
        log.departures.sort_unstable_by_key(|departed| departed.at);
        if log.departures.is_empty() {
            return;
        }
        let mut departures = log.departures.iter().peekable();
        let mut at = 0;
        units.retain(|_| {
            let stays = departures.next_if(|departed| departed.at == at).is_none();
            at += 1;
            stays
        });
    }

    fn step_cloaked(&mut self, eyes: &mut Eyes) {
        for seen in self.cloaked.values_mut().flatten() {
            let before = *seen;
            motion::advance(&mut seen.unit, 1);
            let (from, to) = (cell_of(&before.unit), cell_of(&seen.unit));
            if from != to {
                eyes.remove(&before, from);
                eyes.add(seen, to);
            }
        }
    }

    /// Puts a unit where it belongs, behind those in order.
    fn put(&mut self, seen: Seen, eyes: &mut Eyes) {
        let cell = cell_of(&seen.unit);
        eyes.add(&seen, cell);
        if self.is_hidden(&seen) {
            let group = GroupId::of(seen.unit.owner);
            self.places.insert(seen.id(), Place::Cloaked(group));
            self.cloaked.entry(group).or_default().push(seen);
            return self.tell_cloaked(group);
        }
        self.places.insert(seen.id(), Place::Cell(cell));
        let list = &mut self.cells[usize::from(cell)];
        list.units.push(seen);
        list.log.appeared.push(seen);
    }

    /// Restores the order of ids; lists are nearly in order, which is cheap.
    fn sort(&mut self) {
        for cell in &mut self.cells {
            if !cell.log.appeared.is_empty() || !cell.log.arrivals.is_empty() {
                cell.units.sort_by_key(Seen::id);
                cell.log.appeared.sort_unstable_by_key(Seen::id);
                cell.log.arrivals.sort_unstable_by_key(|(from, seen)| (*from, seen.id()));
            }
        }
        for group in &self.cloaked_news {
            if let Some(units) = self.cloaked.get_mut(group) {
                units.sort_by_key(Seen::id);
            }
        }
    }

    fn is_hidden(&self, seen: &Seen) -> bool {
        self.hidden || UnitState(seen.unit.state).has(UnitState::CLOAKED)
    }

    fn tell_cloaked(&mut self, group: GroupId) {
        if !self.cloaked_news.contains(&group) {
            self.cloaked_news.push(group);
        }
    }
}

fn find(units: &[Seen], id: UnitId) -> Option<usize> {
    units.binary_search_by_key(&id, Seen::id).ok()
}

/// The direction from one cell to one beside it.
fn direction(from: u8, to: u8) -> Option<Direction> {
    let axis = |v: u8| (i32::from(v & 7), i32::from(v >> 3));
    let ((fx, fy), (tx, ty)) = (axis(from), axis(to));
    Direction::of_offset((tx - fx, ty - fy))
}
