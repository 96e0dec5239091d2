//! Owns the bit-packed form of whole records: each is compared with the one
//! before it, so that what a fleet has in common is said once. Never knows
//! which block they are for. Called by `columns`, and for blocks that are
//! nothing but records. Invariant: ids that are read rise.

use super::{
    COUNT, OWNER, SPEED, read_course, read_optional, read_owner, read_speed, write_course,
    write_optional,
};
use crate::base::{PlayerId, UnitId};
use crate::protocol::blocks::bits::{BitReader, BitWriter};
use crate::protocol::blocks::{BlockError, CELL_BITS, Seen, UNITS_MAX};
use crate::protocol::{Course, EXACT_BELOW, Point, UnitRecord};

const ID_GAP: u32 = 4;
const HOPS: u32 = 2;
/// Bits of an id: below 2^53.
const ID_BITS: u32 = 53;
/// The least that a record takes.
const RECORD_BITS_MIN: usize = 56;

/// Appends whole records, by id, as a block's body.
pub fn write_units(cell: u8, units: &[Seen], out: &mut Vec<u8>) {
    let mut bits = BitWriter::new(out);
    write_records(cell, units, &mut bits);
    bits.finish();
}

/// # Errors
/// When the bytes are no such body.
pub fn read_units(cell: u8, bytes: &[u8]) -> Result<Vec<Seen>, BlockError> {
    let mut bits = BitReader::new(bytes);
    let units = read_records(cell, &mut bits)?;
    bits.finish()?;
    Ok(units)
}

/// What a record's fields are compared with: the one before it.
#[derive(Clone, Copy, Default)]
struct Before {
    id: u64,
    type_id: u16,
    owner: PlayerId,
    hops: u32,
    health: u16,
    state: u8,
    speed: u32,
}

impl Before {
    const FIRST: Before = Before {
        id: 0,
        type_id: 0,
        owner: PlayerId(0),
        hops: 0,
        health: u16::MAX,
        state: 0,
        speed: 0,
    };

    fn of(seen: &Seen) -> Before {
        let UnitRecord { id, type_id, owner, hops, health, state, .. } = seen.unit;
        Before { id: id.0, type_id, owner, hops, health, state, speed: seen.speed }
    }
}

pub fn write_records(cell: u8, units: &[Seen], bits: &mut BitWriter<'_>) {
    bits.golomb(units.len() as u64, COUNT);
    let mut before = Before::FIRST;
    for (place, seen) in units.iter().enumerate() {
        let unit = &seen.unit;
        if place == 0 {
            bits.write(unit.id.0, ID_BITS);
        } else {
            bits.golomb(unit.id.0 - before.id - 1, ID_GAP);
        }
        write_unless(unit.type_id, before.type_id, bits, |v, bits| bits.write(v.into(), 16));
        write_unless(unit.owner, before.owner, bits, |v, bits| bits.golomb(v.0, OWNER));
        write_unless(unit.hops, before.hops, bits, |v, bits| bits.golomb(v.into(), HOPS));
        write_position(cell, unit.position, bits);
        bits.flag(unit.course != Course::default());
        if unit.course != Course::default() {
            write_course(unit.course, bits);
        }
        write_unless(Some(unit.heading), direction(unit.course), bits, |_, bits| {
            bits.write(unit.heading.into(), 16);
        });
        write_unless(unit.health, before.health, bits, |v, bits| bits.write(v.into(), 16));
        write_unless(unit.state, before.state, bits, |v, bits| bits.write(v.into(), 8));
        write_unless(seen.speed, before.speed, bits, |v, bits| bits.golomb(v.into(), SPEED));
        before = Before::of(seen);
    }
}

pub fn read_records(cell: u8, bits: &mut BitReader<'_>) -> Result<Vec<Seen>, BlockError> {
    let count = bits.count(COUNT, RECORD_BITS_MIN)?;
    if count > UNITS_MAX {
        return Err(BlockError::TooLong(UNITS_MAX));
    }
    let mut units = Vec::with_capacity(count);
    let mut before = Before::FIRST;
    for place in 0..count {
        let id = if place == 0 {
            bits.read(ID_BITS)?
        } else {
            // Both are below 2^60.
            before.id + 1 + bits.golomb(ID_GAP)?
        };
        if !(1..EXACT_BELOW).contains(&id) {
            return Err(BlockError::Value("an id from 1, below 2^53"));
        }
        let seen = read_record(UnitId(id), cell, &before, bits)?;
        before = Before::of(&seen);
        units.push(seen);
    }
    Ok(units)
}

fn read_record(
    id: UnitId,
    cell: u8,
    before: &Before,
    bits: &mut BitReader<'_>,
) -> Result<Seen, BlockError> {
    let type_id = read_unless(before.type_id, bits, |bits| Ok(bits.read(16)? as u16))?;
    let owner = read_unless(before.owner, bits, read_owner)?;
    let hops = read_unless(before.hops, bits, |bits| {
        u32::try_from(bits.golomb(HOPS)?).map_err(|_| BlockError::Value("a hop count below 2^32"))
    })?;
    let position = read_position(cell, bits)?;
    let course = if bits.flag()? { read_course(bits)? } else { Course::default() };
    let heading = match (bits.flag()?, direction(course)) {
        (false, Some(heading)) => heading,
        (false, None) => return Err(BlockError::Value("a heading")),
        (true, _) => bits.read(16)? as u16,
    };
    let health = read_unless(before.health, bits, |bits| Ok(bits.read(16)? as u16))?;
    let state = read_unless(before.state, bits, |bits| Ok(bits.read(8)? as u8))?;
    let speed = read_unless(before.speed, bits, read_speed)?;
    let unit = UnitRecord { id, type_id, owner, hops, position, course, heading, health, state };
    Ok(Seen { unit, speed })
}

/// The heading that a course gives.
fn direction(course: Course) -> Option<u16> {
    crate::base::fixed::heading(course.vx, course.vy)
}

/// Within the cell 17 bits an axis, else all 32.
fn write_position(cell: u8, position: Point, bits: &mut BitWriter<'_>) {
    let origin = origin(cell);
    let [x, y] = [position.x.wrapping_sub(origin.x), position.y.wrapping_sub(origin.y)];
    let inside = |v: i32| (0..1 << CELL_BITS).contains(&v);
    let (inside, width) = if inside(x) && inside(y) { (true, CELL_BITS) } else { (false, 32) };
    bits.flag(!inside);
    bits.write(x as u64, width);
    bits.write(y as u64, width);
}

fn read_position(cell: u8, bits: &mut BitReader<'_>) -> Result<Point, BlockError> {
    let origin = origin(cell);
    let width = if bits.flag()? { 32 } else { CELL_BITS };
    let (x, y) = (bits.read(width)? as i32, bits.read(width)? as i32);
    Ok(Point { x: origin.x.wrapping_add(x), y: origin.y.wrapping_add(y) })
}

/// The grid steps of a cell's origin from its sector's.
fn origin(cell: u8) -> Point {
    Point { x: i32::from(cell & 7) << CELL_BITS, y: i32::from(cell >> 3) << CELL_BITS }
}

/// A zero when `value` is as `expected`, else a one and the value.
fn write_unless<V: PartialEq>(
    value: V,
    expected: V,
    bits: &mut BitWriter<'_>,
    write: impl Fn(V, &mut BitWriter<'_>),
) {
    write_optional((value != expected).then_some(value), bits, write);
}

fn read_unless<'a, V>(
    expected: V,
    bits: &mut BitReader<'a>,
    read: impl Fn(&mut BitReader<'a>) -> Result<V, BlockError>,
) -> Result<V, BlockError> {
    Ok(read_optional(bits, read)?.unwrap_or(expected))
}
