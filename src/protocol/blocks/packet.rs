//! Owns the binary form of a packet: header, mask, and the heads of blocks,
//! around bodies that `columns` makes. Never looks into a body it copies.
//! Called by the stage, which puts shared bodies together, and by clients.
//! Invariant: at most [`BLOCKS_MAX`] blocks, and no more units and inflated
//! bytes than a message may have, are ever made of one message.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use super::columns::{UpdateBody, read_units};
use super::{
    Block, BlockError, CELL_COUNT, Content, Direction, Happened, INFLATED_MAX, Packet, Seen,
    UNITS_MAX, Update,
};
use crate::protocol::{Header, MessageType, SERVER_MESSAGE_BYTES_MAX};

/// An update, a keyframe and arrivals from all sides for each cell, and the
/// cloaked units.
pub const BLOCKS_MAX: usize = CELL_COUNT * 10 + 1;
/// Keyframe blocks of more bytes are deflated, if that makes them smaller.
pub const DEFLATE_OVER: usize = 512;
/// Bytes of the header of a binary message.
pub const HEADER_BYTES: usize = 8;
/// The base that needs no byte: the step before.
const BASE_USUAL: u32 = 2;
/// The two high bits of a block's first byte.
const FORM_UPDATE: u8 = 0;
const FORM_UPDATE_BASE: u8 = 1;
const FORM_KEYFRAME: u8 = 2;
const FORM_OTHER: u8 = 3;
/// The second byte of the last form: arrivals have their direction.
const CLOAKED: u8 = 8;
const DEFLATED: u8 = 9;

/// What kind of body follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Update { base: u32 },
    Keyframe,
    DeflatedKeyframe,
    Arrivals(Direction),
    Cloaked,
}

/// What stands before the blocks of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    pub header: Header,
    /// With it the message is a Keyframe, else a StateDelta.
    pub full_tick: Option<u64>,
    pub scope: u8,
    pub mask: Option<u64>,
}

impl Start {
    /// The message's type.
    pub fn kind(&self) -> MessageType {
        if self.full_tick.is_some() { MessageType::Keyframe } else { MessageType::StateDelta }
    }
}

/// Appends the header and what stands before the blocks.
pub fn write_start(start: &Start, out: &mut Vec<u8>) {
    out.extend(u16::from(start.kind().number()).to_le_bytes());
    out.extend(start.header.handle.to_le_bytes());
    out.extend(start.header.tick.to_le_bytes());
    if let Some(tick) = start.full_tick {
        out.extend(tick.to_le_bytes());
    }
    out.push(start.scope);
    out.push(u8::from(start.mask.is_some()));
    if let Some(mask) = start.mask {
        out.extend(mask.to_le_bytes());
    }
}

/// Appends one block.
pub fn write_block(cell: u8, kind: Kind, body: &[u8], out: &mut Vec<u8>) {
    match kind {
        Kind::Update { base: BASE_USUAL } => out.push(FORM_UPDATE << 6 | cell),
        Kind::Update { base } => {
            out.push(FORM_UPDATE_BASE << 6 | cell);
            write_number(base, out);
        }
        Kind::Keyframe => out.push(FORM_KEYFRAME << 6 | cell),
        Kind::DeflatedKeyframe => out.extend([FORM_OTHER << 6 | cell, DEFLATED]),
        Kind::Arrivals(from) => out.extend([FORM_OTHER << 6 | cell, from.number()]),
        Kind::Cloaked => out.extend([FORM_OTHER << 6, CLOAKED]),
    }
    // A body of 2^32 bytes would be no message.
    write_number(u32::try_from(body.len()).unwrap_or(u32::MAX), out);
    out.extend_from_slice(body);
}

/// The deflated form of a keyframe's body, if it is large and gets smaller.
/// Its bytes may differ between targets: they are never hashed.
pub fn deflate(body: &[u8]) -> Option<Vec<u8>> {
    if body.len() <= DEFLATE_OVER {
        return None;
    }
    let mut encoder = DeflateEncoder::new(Vec::with_capacity(body.len()), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok().filter(|deflated| deflated.len() < body.len())
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn write_number(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads a whole binary message: header, and StateDelta or Keyframe.
///
/// # Errors
/// When it is neither, or not well formed.
pub fn read_message(bytes: &[u8]) -> Result<(Header, Packet), BlockError> {
    if bytes.len() > SERVER_MESSAGE_BYTES_MAX {
        return Err(BlockError::TooLong(SERVER_MESSAGE_BYTES_MAX));
    }
    let mut input = Input { bytes, inflated: 0, units: 0 };
    let kind = u16::from_le_bytes(input.array()?);
    let handle = u32::from_le_bytes(input.array()?);
    let tick = u16::from_le_bytes(input.array()?);
    let full_tick = match u8::try_from(kind).ok().and_then(MessageType::from_number) {
        Some(MessageType::StateDelta) => None,
        Some(MessageType::Keyframe) => Some(u64::from_le_bytes(input.array()?)),
        _ => return Err(BlockError::Value("a StateDelta or a Keyframe")),
    };
    let [scope, flags] = input.array()?;
    let mask = match flags {
        0 => None,
        1 => Some(u64::from_le_bytes(input.array()?)),
        _ => return Err(BlockError::Value("flags 0 or 1")),
    };
    let mut blocks = Vec::new();
    while !input.bytes.is_empty() {
        if blocks.len() == BLOCKS_MAX {
            return Err(BlockError::TooLong(BLOCKS_MAX));
        }
        blocks.push(input.block()?);
    }
    Ok((Header { handle, tick }, Packet { full_tick, scope, mask, blocks }))
}

/// What is left of a message, and what was made of it.
struct Input<'a> {
    bytes: &'a [u8],
    inflated: usize,
    units: usize,
}

impl<'a> Input<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], BlockError> {
        let (array, rest) = self.bytes.split_first_chunk().ok_or(BlockError::Short)?;
        self.bytes = rest;
        Ok(*array)
    }

    fn number(&mut self) -> Result<u32, BlockError> {
        let mut value = 0_u64;
        for place in 0..5 {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7F) << (7 * place);
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| BlockError::Value("a number below 2^32"));
            }
        }
        Err(BlockError::Value("a number below 2^32"))
    }

    fn block(&mut self) -> Result<Block, BlockError> {
        let [first] = self.array()?;
        let cell = first & 0x3F;
        let kind = self.kind(first >> 6)?;
        if kind == Kind::Cloaked && cell != 0 {
            return Err(BlockError::Value("no cell for cloaked units"));
        }
        let length = self.number()? as usize;
        let (body, rest) = self.bytes.split_at_checked(length).ok_or(BlockError::Short)?;
        self.bytes = rest;
        let content = match kind {
            Kind::Update { base } => Content::Update(self.update(cell, base, body)?),
            Kind::Keyframe => Content::Keyframe(self.records(cell, body)?),
            Kind::DeflatedKeyframe => Content::Keyframe(self.deflated(cell, body)?),
            Kind::Arrivals(from) => Content::Arrivals(from, self.records(cell, body)?),
            Kind::Cloaked => Content::Cloaked(self.records(cell, body)?),
        };
        Ok(Block { cell, content })
    }

    fn kind(&mut self, form: u8) -> Result<Kind, BlockError> {
        match form {
            FORM_UPDATE => return Ok(Kind::Update { base: BASE_USUAL }),
            FORM_UPDATE_BASE => return Ok(Kind::Update { base: self.number()? }),
            FORM_KEYFRAME => return Ok(Kind::Keyframe),
            _ => {}
        }
        let [number] = self.array()?;
        match Direction::new(number) {
            Some(from) => Ok(Kind::Arrivals(from)),
            None if number == CLOAKED => Ok(Kind::Cloaked),
            None if number == DEFLATED => Ok(Kind::DeflatedKeyframe),
            None => Err(BlockError::Value("a kind of block")),
        }
    }

    fn update(&mut self, cell: u8, base: u32, body: &[u8]) -> Result<Update, BlockError> {
        let UpdateBody { changes, departures, appeared } = UpdateBody::read(cell, body)?;
        self.count(changes.len() + departures.len() + appeared.len())?;
        Ok(Update { base, happened: Happened::Columns { changes, departures }, appeared })
    }

    fn records(&mut self, cell: u8, body: &[u8]) -> Result<Vec<Seen>, BlockError> {
        let units = read_units(cell, body)?;
        self.count(units.len())?;
        Ok(units)
    }

    fn deflated(&mut self, cell: u8, body: &[u8]) -> Result<Vec<Seen>, BlockError> {
        let left = INFLATED_MAX - self.inflated;
        let mut inflated = Vec::new();
        // One byte more than allowed tells that there is too much.
        let mut decoder = DeflateDecoder::new(body).take(left as u64 + 1);
        decoder.read_to_end(&mut inflated).map_err(|_| BlockError::Deflate)?;
        if inflated.len() > left {
            return Err(BlockError::TooLong(INFLATED_MAX));
        }
        self.inflated += inflated.len();
        self.records(cell, &inflated)
    }

    /// So many more things about units.
    fn count(&mut self, units: usize) -> Result<(), BlockError> {
        self.units += units;
        if self.units > UNITS_MAX { Err(BlockError::TooLong(UNITS_MAX)) } else { Ok(()) }
    }
}
