//! Owns the bit-packed form of what is inside a block: updates here, whole
//! records in `records`. Never knows which packet it is in. Called by `packet`, by the
//! stage and by tests. Invariant: a body read is the body written; any other
//! bytes are an error. `docs/protocol.md` has the layout, with an example.

mod records;

pub use records::{read_units, write_units};

use super::bits::{BitReader, BitWriter};
use super::{BlockError, Change, CourseChange, Departure, Direction, Seen, UNITS_MAX, Waypoint};
use crate::base::PlayerId;
use crate::protocol::{Course, EXACT_BELOW};
use records::{read_records, write_records};

/// Orders of the exponential Golomb codes, about the logarithm of what is usual.
const COUNT: u32 = 1;
const GAP: u32 = 2;
const HEALTH: u32 = 8;
const OWNER: u32 = 8;
const STEPS: u32 = 7;
const SPEED: u32 = 14;
/// The least that an item of each list takes.
const CHANGE_BITS_MIN: usize = 11;
const DEPARTURE_BITS_MIN: usize = 6;

/// The body of an update block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdateBody {
    /// By rising index.
    pub changes: Vec<(u32, Change)>,
    /// By rising index.
    pub departures: Vec<(u32, Departure)>,
    /// By id.
    pub appeared: Vec<Seen>,
}

impl UpdateBody {
    /// Appends the body for `cell`; nothing when nothing happened.
    pub fn write(&self, cell: u8, out: &mut Vec<u8>) {
        if *self == UpdateBody::default() {
            return;
        }
        let mut bits = BitWriter::new(out);
        bits.golomb(self.changes.len() as u64, COUNT);
        let mut next = 0;
        for (index, change) in &self.changes {
            bits.golomb(u64::from(index - next), GAP);
            write_change(change, &mut bits);
            next = index + 1;
        }
        bits.flag(!self.departures.is_empty());
        write_departures(&self.departures, &mut bits);
        bits.flag(!self.appeared.is_empty());
        if !self.appeared.is_empty() {
            write_records(cell, &self.appeared, &mut bits);
        }
        bits.finish();
    }

    /// # Errors
    /// When the bytes are no such body.
    pub fn read(cell: u8, bytes: &[u8]) -> Result<UpdateBody, BlockError> {
        let mut body = UpdateBody::default();
        if bytes.is_empty() {
            return Ok(body);
        }
        let mut bits = BitReader::new(bytes);
        let mut next = 0;
        for _ in 0..bits.count(COUNT, CHANGE_BITS_MIN)? {
            let index = read_index(&mut next, &mut bits)?;
            body.changes.push((index, read_change(&mut bits)?));
        }
        if bits.flag()? {
            body.departures = read_departures(&mut bits)?;
        }
        if bits.flag()? {
            body.appeared = read_records(cell, &mut bits)?;
        }
        bits.finish()?;
        Ok(body)
    }
}

fn read_index(next: &mut u32, bits: &mut BitReader<'_>) -> Result<u32, BlockError> {
    let gap = u32::try_from(bits.golomb(GAP)?).ok();
    let index = gap.and_then(|gap| next.checked_add(gap)).filter(|at| *at < UNITS_MAX as u32);
    let index = index.ok_or(BlockError::Value("an index of a unit"))?;
    *next = index + 1;
    Ok(index)
}

fn write_change(change: &Change, bits: &mut BitWriter<'_>) {
    if let Change {
        course: Some(CourseChange::To(waypoint)),
        speed: None,
        health: None,
        state: None,
        owner: None,
        heading: None,
    } = change
    {
        bits.flag(false);
        return write_waypoint(*waypoint, bits);
    }
    bits.flag(true);
    match change.course {
        None => bits.write(0, 2),
        Some(CourseChange::Stand) => bits.write(1, 2),
        Some(CourseChange::To(waypoint)) => {
            bits.write(2, 2);
            write_waypoint(waypoint, bits);
        }
        Some(CourseChange::Exact(course)) => {
            bits.write(3, 2);
            write_course(course, bits);
        }
    }
    write_optional(change.speed, bits, |speed, bits| bits.golomb(speed.into(), SPEED));
    write_optional(change.health, bits, |delta, bits| bits.signed(delta.into(), HEALTH));
    write_optional(change.state, bits, |state, bits| bits.write(state.into(), 8));
    write_optional(change.owner, bits, |owner, bits| bits.golomb(owner.0, OWNER));
    write_optional(change.heading, bits, |heading, bits| bits.write(heading.into(), 16));
}

fn read_change(bits: &mut BitReader<'_>) -> Result<Change, BlockError> {
    if !bits.flag()? {
        let course = Some(CourseChange::To(read_waypoint(bits)?));
        return Ok(Change { course, ..Change::default() });
    }
    let course = match bits.read(2)? {
        0 => None,
        1 => Some(CourseChange::Stand),
        2 => Some(CourseChange::To(read_waypoint(bits)?)),
        _ => Some(CourseChange::Exact(read_course(bits)?)),
    };
    Ok(Change {
        course,
        speed: read_optional(bits, read_speed)?,
        health: read_optional(bits, |bits| {
            let delta = i32::try_from(bits.signed(HEALTH)?).ok();
            let delta = delta.filter(|delta| delta.unsigned_abs() <= u32::from(u16::MAX));
            delta.ok_or(BlockError::Value("a change of health"))
        })?,
        state: read_optional(bits, |bits| Ok(bits.read(8)? as u8))?,
        owner: read_optional(bits, read_owner)?,
        heading: read_optional(bits, |bits| Ok(bits.read(16)? as u16))?,
    })
}

fn write_departures(departures: &[(u32, Departure)], bits: &mut BitWriter<'_>) {
    let Some(more) = departures.len().checked_sub(1) else { return };
    bits.golomb(more as u64, 0);
    let mut next = 0;
    for (index, departure) in departures {
        bits.golomb(u64::from(index - next), GAP);
        next = index + 1;
        match departure {
            // A zero and two bits for the cells beside; a one and three bits
            // for those at the corners and for none.
            Departure::To(direction) if direction.number() < 4 => {
                bits.write(u64::from(direction.number()) << 1, 3);
            }
            Departure::To(direction) => bits.write(u64::from(direction.number() - 4) << 1 | 1, 4),
            Departure::Gone => bits.write(4 << 1 | 1, 4),
        }
    }
}

fn read_departures(bits: &mut BitReader<'_>) -> Result<Vec<(u32, Departure)>, BlockError> {
    let (mut found, mut next) = (Vec::new(), 0);
    for _ in 0..=bits.count(0, DEPARTURE_BITS_MIN)? {
        let index = read_index(&mut next, bits)?;
        let number = if bits.flag()? { 4 + bits.read(3)? as u8 } else { bits.read(2)? as u8 };
        let departure = match Direction::new(number) {
            Some(direction) => Departure::To(direction),
            None if number == 8 => Departure::Gone,
            None => return Err(BlockError::Value("a direction")),
        };
        found.push((index, departure));
    }
    Ok(found)
}

fn write_waypoint(waypoint: Waypoint, bits: &mut BitWriter<'_>) {
    bits.write(waypoint.x.into(), 12);
    bits.write(waypoint.y.into(), 12);
}

fn read_waypoint(bits: &mut BitReader<'_>) -> Result<Waypoint, BlockError> {
    Ok(Waypoint { x: bits.read(12)? as u16, y: bits.read(12)? as u16 })
}

/// The width that both components need, then they, then the steps.
fn write_course(course: Course, bits: &mut BitWriter<'_>) {
    let width = |v: i32| 33 - (v ^ (v >> 31)).leading_zeros();
    let width = width(course.vx).max(width(course.vy));
    bits.write(u64::from(width - 1), 5);
    bits.write(course.vx as u64, width);
    bits.write(course.vy as u64, width);
    bits.golomb(course.steps.into(), STEPS);
}

fn read_course(bits: &mut BitReader<'_>) -> Result<Course, BlockError> {
    let width = bits.read(5)? as u32 + 1;
    // The highest of the bits is the sign.
    let mut component = || Ok(((bits.read(width)? << (64 - width)) as i64 >> (64 - width)) as i32);
    let (vx, vy) = (component()?, component()?);
    let steps = u16::try_from(bits.golomb(STEPS)?).ok();
    let steps = steps.ok_or(BlockError::Value("steps below 2^16"))?;
    Ok(Course { vx, vy, steps })
}

fn read_owner(bits: &mut BitReader<'_>) -> Result<PlayerId, BlockError> {
    let owner = bits.golomb(OWNER)?;
    if owner < EXACT_BELOW {
        Ok(PlayerId(owner))
    } else {
        Err(BlockError::Value("a number below 2^53"))
    }
}

fn read_speed(bits: &mut BitReader<'_>) -> Result<u32, BlockError> {
    u32::try_from(bits.golomb(SPEED)?).map_err(|_| BlockError::Value("a speed below 2^32"))
}

fn write_optional<V>(
    value: Option<V>,
    bits: &mut BitWriter<'_>,
    write: impl Fn(V, &mut BitWriter<'_>),
) {
    bits.flag(value.is_some());
    if let Some(value) = value {
        write(value, bits);
    }
}

fn read_optional<'a, V>(
    bits: &mut BitReader<'a>,
    read: impl Fn(&mut BitReader<'a>) -> Result<V, BlockError>,
) -> Result<Option<V>, BlockError> {
    if bits.flag()? { read(bits).map(Some) } else { Ok(None) }
}
