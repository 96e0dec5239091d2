//! Owns the bytes of one step in one form: each cell's blocks, made when they
//! are first wanted and then shared, and the packets put together from them.
//! Never decides what anybody sees. Called by the stage. Invariant: a block's
//! bytes do not depend on who it is for.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::GroupId;
use super::lists::{CellList, CellLog, Lists};
use super::watch::Watch;
use crate::protocol::blocks::columns::{UpdateBody, write_units};
use crate::protocol::blocks::named::{Departed, NamedBlock, NamedContent, NamedUpdate, UnitDelta};
use crate::protocol::blocks::packet::{Kind, Start, deflate, write_block, write_start};
use crate::protocol::blocks::{CELL_COUNT, Departure, Direction, Seen, json, msgpack};
use crate::protocol::frame::low_bits;
use crate::protocol::{CodecKind, Header};
use crate::view::fog::Mask;
use crate::view::motion;

/// How blocks are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    #[default]
    Columns,
    MessagePack,
    Json,
}

impl Form {
    pub const COUNT: usize = 3;
    const ALL: [Form; Form::COUNT] = [Form::Columns, Form::MessagePack, Form::Json];

    pub fn of(codec: CodecKind) -> Form {
        match codec {
            CodecKind::Postcard => Form::Columns,
            CodecKind::MessagePack => Form::MessagePack,
            CodecKind::Json => Form::Json,
        }
    }
}

/// A block that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Update(u8),
    Keyframe(u8),
    Arrivals(u8, Direction),
    Cloaked(GroupId),
}

/// The blocks of one step in one form.
#[derive(Debug, Default)]
pub struct Encoder {
    form: Form,
    /// All blocks made so far, heads included.
    bytes: Vec<u8>,
    made: BTreeMap<Key, Range<usize>>,
    /// For the body of the block that is being made.
    body: Vec<u8>,
    /// For the packet that is being put together.
    packet: Vec<u8>,
}

impl Encoder {
    /// One for each form.
    pub fn all() -> [Encoder; Form::COUNT] {
        Form::ALL.map(|form| Encoder { form, ..Encoder::default() })
    }

    /// A new step begins.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.made.clear();
    }

    /// What a group is told of the step to `tick`.
    pub fn packet(
        &mut self,
        lists: &Lists,
        group: GroupId,
        watch: &Watch,
        tick: u64,
        handle: u32,
    ) -> Arc<[u8]> {
        let held = watch.held();
        let mut keys = Vec::new();
        for cell in cells(held) {
            let log = &lists.cell(cell).log;
            if log.is_news() {
                keys.push(Key::Update(cell as u8));
                keys.extend(arrivals(cell as u8, log, held));
            }
        }
        keys.extend(keyframes(lists, watch.uncovered()));
        if lists.has_cloaked_news(group) {
            keys.push(Key::Cloaked(group));
        }
        let mask = (watch.mask != watch.before).then_some(watch.mask.0);
        let header = Header { handle, tick: low_bits(tick) };
        let start = Start { header, full_tick: None, scope: watch.scope, mask };
        self.assemble(lists, &start, &keys, tick)
    }

    /// All that a group sees.
    pub fn keyframe(
        &mut self,
        lists: &Lists,
        group: GroupId,
        watch: &Watch,
        tick: u64,
        handle: u32,
    ) -> Arc<[u8]> {
        let mut keys: Vec<Key> = keyframes(lists, watch.mask).collect();
        if !lists.cloaked(group).is_empty() {
            keys.push(Key::Cloaked(group));
        }
        let header = Header { handle, tick: low_bits(tick) };
        let start =
            Start { header, full_tick: Some(tick), scope: watch.scope, mask: Some(watch.mask.0) };
        self.assemble(lists, &start, &keys, tick)
    }

    fn assemble(&mut self, lists: &Lists, start: &Start, keys: &[Key], tick: u64) -> Arc<[u8]> {
        for key in keys {
            self.make(*key, lists, tick);
        }
        self.packet.clear();
        match self.form {
            Form::Columns => write_start(start, &mut self.packet),
            Form::MessagePack => msgpack::write_start(start, keys.len(), &mut self.packet),
            Form::Json => json::write_start(start, &mut self.packet),
        }
        for (place, key) in keys.iter().enumerate() {
            if place > 0 && self.form == Form::Json {
                self.packet.push(b',');
            }
            self.packet.extend_from_slice(&self.bytes[self.made[key].clone()]);
        }
        if self.form == Form::Json {
            json::write_end(&mut self.packet);
        }
        self.packet.as_slice().into()
    }

    /// Makes a block unless it is made.
    fn make(&mut self, key: Key, lists: &Lists, tick: u64) {
        if self.made.contains_key(&key) {
            return;
        }
        let begin = self.bytes.len();
        match self.form {
            Form::Columns => self.make_columns(key, lists, tick),
            Form::MessagePack => msgpack::write_block(&named(key, lists, tick), &mut self.bytes),
            Form::Json => json::write_block(&named(key, lists, tick), &mut self.bytes),
        }
        self.made.insert(key, begin..self.bytes.len());
    }

    fn make_columns(&mut self, key: Key, lists: &Lists, tick: u64) {
        self.body.clear();
        let (cell, kind) = match key {
            Key::Update(cell) => {
                let list = lists.cell(cell.into());
                columns_update(&list.log).write(cell, &mut self.body);
                (cell, Kind::Update { base: base(list, tick) })
            }
            Key::Keyframe(cell) => {
                write_units(cell, &lists.cell(cell.into()).units, &mut self.body);
                if let Some(deflated) = deflate(&self.body) {
                    return write_block(cell, Kind::DeflatedKeyframe, &deflated, &mut self.bytes);
                }
                (cell, Kind::Keyframe)
            }
            Key::Arrivals(cell, from) => {
                write_units(cell, &arrived(lists, cell, from), &mut self.body);
                (cell, Kind::Arrivals(from))
            }
            Key::Cloaked(group) => {
                write_units(0, lists.cloaked(group), &mut self.body);
                (0, Kind::Cloaked)
            }
        };
        write_block(cell, kind, &self.body, &mut self.bytes);
    }
}

/// Keyframe blocks of the cells of a mask that have units; the others need none.
fn keyframes(lists: &Lists, mask: Mask) -> impl Iterator<Item = Key> {
    let full = cells(mask).filter(|cell| !lists.cell(*cell).units.is_empty());
    full.map(|cell| Key::Keyframe(cell as u8))
}

/// Arrivals blocks from cells that are not `held`: whoever holds those has the
/// units already.
fn arrivals(cell: u8, log: &CellLog, held: Mask) -> impl Iterator<Item = Key> {
    let strange = move |from: &Direction| {
        from.from_cell(cell).is_none_or(|origin| !held.has_index(origin.into()))
    };
    let came =
        Direction::ALL.into_iter().filter(|from| log.arrivals.iter().any(|it| it.0 == *from));
    came.filter(strange).map(move |from| Key::Arrivals(cell, from))
}

fn arrived(lists: &Lists, cell: u8, from: Direction) -> Vec<Seen> {
    let arrivals = lists.cell(cell.into()).log.arrivals.iter();
    arrivals.filter(|it| it.0 == from).map(|it| it.1).collect()
}

/// How many ticks before this one the cell's previous block was.
fn base(list: &CellList, tick: u64) -> u32 {
    // 2^32 ticks are 13 years; then a client asks for a keyframe.
    u32::try_from(tick.saturating_sub(list.told)).unwrap_or(u32::MAX)
}

fn columns_update(log: &CellLog) -> UpdateBody {
    UpdateBody {
        changes: log.changes.iter().map(|changed| (changed.at, changed.change)).collect(),
        departures: log.departures.iter().map(|it| (it.at, it.departure)).collect(),
        appeared: log.appeared.clone(),
    }
}

fn named(key: Key, lists: &Lists, tick: u64) -> NamedBlock {
    let (cell, content) = match key {
        Key::Update(cell) => {
            let update = named_update(cell, lists.cell(cell.into()), tick);
            (cell, NamedContent::Update(update))
        }
        Key::Keyframe(cell) => (cell, NamedContent::keyframe(&lists.cell(cell.into()).units)),
        Key::Arrivals(cell, from) => {
            (cell, NamedContent::arrivals(from, &arrived(lists, cell, from)))
        }
        Key::Cloaked(group) => (0, NamedContent::cloaked(lists.cloaked(group))),
    };
    NamedBlock { cell, content }
}

fn named_update(cell: u8, list: &CellList, tick: u64) -> NamedUpdate {
    let changed = list.log.changes.iter().filter_map(|changed| {
        let (mut predicted, mut actual) = (changed.before, changed.before);
        motion::apply(&changed.change, &mut actual);
        motion::advance(&mut predicted.unit, 1);
        motion::advance(&mut actual.unit, 1);
        UnitDelta::between(&predicted.unit, &actual.unit)
    });
    let departed = list.log.departures.iter().map(|departed| Departed {
        unit_id: departed.id,
        cell: match departed.departure {
            Departure::To(direction) => direction.from_cell(cell),
            Departure::Gone => None,
        },
    });
    NamedUpdate {
        base: base(list, tick),
        changed: changed.collect(),
        departed: departed.collect(),
        appeared: list.log.appeared.iter().map(|seen| seen.unit).collect(),
    }
}

/// The cells of a mask, by number.
fn cells(mask: Mask) -> impl Iterator<Item = usize> {
    (0..CELL_COUNT).filter(move |cell| mask.has_index(*cell))
}
