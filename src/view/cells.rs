//! Owns what a client knows of one sector: the mask, and for each cell of it
//! the units and the tick of its last block. Never asks for anything (`client`
//! does). Called by the client library with every packet. Invariant: the units
//! of every cell that is held are those that the server has there at the
//! view's tick, bit for bit.

mod state;

use state::{CellView, State};

use super::applied::{Applied, DIFFERENCES_MAX, Difference};
use super::fog::{Cell, Mask};
use super::motion::{self, steps_between};
use crate::base::UnitId;
use crate::protocol::UnitRecord;
use crate::protocol::blocks::{Block, CELL_COUNT, Content, Packet, Seen};
use crate::protocol::frame::unwrap_tick;

/// A sector as a client sees it.
#[derive(Clone, Debug, Default)]
pub struct CellsView {
    /// `None` until the first keyframe, and after a gap in the masks.
    state: Option<State>,
}

impl CellsView {
    /// The tick of the last packet applied, `None` while there is no state.
    pub fn tick(&self) -> Option<u64> {
        self.state.as_ref().map(|state| state.tick)
    }

    /// How often the mask or the cloaked units were told, mod 256.
    pub fn scope(&self) -> Option<u8> {
        self.state.as_ref().map(|state| state.scope)
    }

    /// The cells that the player sees.
    pub fn mask(&self) -> Mask {
        self.state.as_ref().map_or(Mask::NONE, |state| state.mask)
    }

    /// The cells of the mask whose units are not known until a keyframe.
    pub fn missing(&self) -> Mask {
        self.state.as_ref().map_or(Mask::NONE, |state| Mask(state.mask.0 & !state.held.0))
    }

    /// The units at [`tick`](Self::tick), cell by cell, in order of ids in
    /// each; then those that are cloaked.
    pub fn units(&self) -> impl Iterator<Item = &UnitRecord> {
        let state = self.state.iter();
        state.flat_map(State::all).map(|seen| &seen.unit)
    }

    /// The units of the cell of this number, 8 y + x, by id; `None` when they
    /// are not known.
    pub fn cell(&self, cell: u8) -> Option<impl Iterator<Item = &UnitRecord>> {
        let cell = usize::from(cell);
        let state = self.state.as_ref().filter(|state| state.held.has_index(cell))?;
        Some(state.cells[cell].units.iter().map(|seen| &seen.unit))
    }

    /// The cloaked units that the player sees, by id.
    pub fn cloaked(&self) -> impl Iterator<Item = &UnitRecord> {
        self.state.iter().flat_map(|state| &state.cloaked).map(|seen| &seen.unit)
    }

    /// The unit with this id at [`tick`](Self::tick).
    pub fn unit(&self, id: UnitId) -> Option<&UnitRecord> {
        let state = self.state.as_ref()?;
        let lists = state.cells.iter().map(|cell| &cell.units).chain([&state.cloaked]);
        let mut found = lists.filter_map(|units| find(units, id).map(|at| &units[at].unit));
        found.next()
    }

    /// Where `id` is at a tick that no message has told of yet: for drawing.
    pub fn predict(&self, id: UnitId, tick: u64) -> Option<UnitRecord> {
        let mut unit = *self.unit(id)?;
        motion::advance(&mut unit, steps_between(self.tick()?, tick));
        Some(unit)
    }

    /// Takes a packet with these low bits of the place's tick. With
    /// [`Applied::Gap`] a keyframe must be asked for: what is
    /// [`missing`](Self::missing), or everything, is unknown until then.
    pub fn handle(&mut self, low: u16, packet: &Packet) -> Applied {
        match packet.full_tick {
            Some(tick) => self.handle_keyframe(tick, packet),
            None => self.handle_delta(low, packet),
        }
    }

    /// A cell of which `packet`, the next one, has a block though it is not in
    /// the mask, or whose block has a unit that is elsewhere. No server sends
    /// one.
    pub fn stray(&self, packet: &Packet) -> Option<u8> {
        let mask = packet.mask.map_or(self.mask(), Mask);
        let is_stray = |block: &&Block| {
            let cloaked = matches!(block.content, Content::Cloaked(_));
            let at_home = || block.records().all(|seen| cell_of(&seen.unit) == block.cell);
            !cloaked && (!mask.has_index(block.cell.into()) || !at_home())
        };
        packet.blocks.iter().find(is_stray).map(|block| block.cell)
    }

    /// Begins anew; compares with what was rebuilt, where it was.
    fn handle_keyframe(&mut self, tick: u64, packet: &Packet) -> Applied {
        if self.tick().is_some_and(|newer| newer > tick) {
            return Applied::Stale;
        }
        let mut told = State {
            tick,
            scope: packet.scope,
            mask: Mask::NONE,
            held: Mask::NONE,
            cells: vec![CellView::default(); CELL_COUNT],
            cloaked: Vec::new(),
        };
        told.uncover(Mask(packet.mask.unwrap_or(0)));
        let complete = told.take_wholes(&packet.blocks);
        let before = self.state.replace(told);
        if !complete {
            return Applied::Gap;
        }
        let differences = before.map_or(Vec::new(), |before| self.differences(&before, tick));
        if differences.is_empty() {
            return Applied::At(tick);
        }
        Applied::Desync { tick, differences }
    }

    fn handle_delta(&mut self, low: u16, packet: &Packet) -> Applied {
        let Some(state) = &mut self.state else { return Applied::Gap };
        let tick = unwrap_tick(state.tick, low);
        if tick <= state.tick {
            return Applied::Stale;
        }
        let tells_scope = packet.mask.is_some()
            || packet.blocks.iter().any(|block| matches!(block.content, Content::Cloaked(_)));
        if packet.scope != state.scope.wrapping_add(u8::from(tells_scope)) {
            self.state = None;
            return Applied::Gap;
        }
        state.scope = packet.scope;
        state.apply(tick, packet);
        if state.held == state.mask { Applied::At(tick) } else { Applied::Gap }
    }

    /// Where what was rebuilt is not what the keyframe of `tick` says. Only a
    /// view of the same tick can be compared: between two there may have been
    /// packets that never came.
    fn differences(&self, rebuilt: &State, tick: u64) -> Vec<Difference> {
        let told = self.state.as_ref().filter(|_| rebuilt.tick == tick);
        let Some(told) = told.filter(|told| told.scope == rebuilt.scope) else { return Vec::new() };
        let both = Mask(told.held.0 & rebuilt.held.0);
        let mut found = Vec::new();
        for cell in (0..CELL_COUNT).filter(|cell| both.has_index(*cell)) {
            compare(&rebuilt.cells[cell].units, &told.cells[cell].units, &mut found);
        }
        compare(&rebuilt.cloaked, &told.cloaked, &mut found);
        found.truncate(DIFFERENCES_MAX);
        found
    }
}

impl Mask {
    /// Whether the cell of this number, 8 y + x, is in it.
    pub fn has_index(self, index: usize) -> bool {
        index < CELL_COUNT && self.0 >> index & 1 == 1
    }
}

/// The number of the cell that a position is in.
pub fn cell_of(unit: &UnitRecord) -> u8 {
    // Clamped to the sector, so it is there, and below 64.
    Cell::of(unit.position.into()).index().unwrap_or(0) as u8
}

fn find(units: &[Seen], id: UnitId) -> Option<usize> {
    units.binary_search_by_key(&id, Seen::id).ok()
}

/// Adds what differs between two lists of units, each by id.
fn compare(rebuilt: &[Seen], told: &[Seen], found: &mut Vec<Difference>) {
    let ids: std::collections::BTreeSet<UnitId> =
        rebuilt.iter().chain(told).map(Seen::id).collect();
    let of = |units: &[Seen], id| find(units, id).map(|at| units[at].unit);
    found.extend(ids.into_iter().filter_map(|unit| {
        let (rebuilt, keyframe) = (of(rebuilt, unit), of(told, unit));
        (rebuilt != keyframe).then_some(Difference { unit, rebuilt, keyframe })
    }));
}
