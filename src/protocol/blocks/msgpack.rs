//! Owns the named form of packets as MessagePack, put together from blocks that
//! were each written once. Never knows what is in a block. Called by the stage
//! and by clients. Invariant: what is read is a StateDelta or a Keyframe whose
//! fields are in range, or an error.

use super::named::{NamedBlock, NamedPacket};
use super::packet::Start;
use super::{BlockError, Packet};
use crate::protocol::binary::{Format, Head};
use crate::protocol::msgpack::MessagePack;
use crate::protocol::{Header, SERVER_MESSAGE_BYTES_MAX};

// Markers of the format.
const MAP: u8 = 0x80;
const LIST: u8 = 0x90;
const TEXT: u8 = 0xA0;
const U8: u8 = 0xCC;
const U64: u8 = 0xCF;
const LIST_16: u8 = 0xDC;

/// Appends all that stands before the blocks, of which there are `blocks`.
pub fn write_start(start: &Start, blocks: usize, out: &mut Vec<u8>) {
    out.extend(Head { kind: start.kind(), deflated: false, header: start.header }.to_bytes());
    out.push(MAP | (2 + u8::from(start.full_tick.is_some()) + u8::from(start.mask.is_some())));
    if let Some(tick) = start.full_tick {
        name("fullTick", out);
        out.push(U64);
        out.extend(tick.to_be_bytes());
    }
    name("scope", out);
    out.extend([U8, start.scope]);
    if let Some(mask) = start.mask {
        name("mask", out);
        out.push(LIST | 8);
        mask.to_le_bytes().into_iter().for_each(|row| out.extend([U8, row]));
    }
    name("blocks", out);
    // No packet has more than `BLOCKS_MAX`.
    out.push(LIST_16);
    out.extend((blocks as u16).to_be_bytes());
}

/// Appends one block; nothing stands between two, nor behind the last.
pub fn write_block(block: &NamedBlock, out: &mut Vec<u8>) {
    MessagePack.write(block, out);
}

/// A name of fewer than 32 bytes.
fn name(name: &str, out: &mut Vec<u8>) {
    out.push(TEXT | name.len() as u8);
    out.extend_from_slice(name.as_bytes());
}

/// Reads a StateDelta or a Keyframe.
///
/// # Errors
/// When it is neither, or not well formed.
pub fn read_message(bytes: &[u8]) -> Result<(Header, Packet), BlockError> {
    if bytes.len() > SERVER_MESSAGE_BYTES_MAX {
        return Err(BlockError::TooLong(SERVER_MESSAGE_BYTES_MAX));
    }
    let text = |error: crate::protocol::DecodeError| BlockError::Text(error.to_string());
    let (Head { kind, deflated, header }, payload) = Head::split(bytes).map_err(text)?;
    if deflated {
        return Err(BlockError::Value("blocks as they are"));
    }
    let named: NamedPacket = MessagePack.read(payload).map_err(text)?;
    let NamedPacket { full_tick, scope, .. } = named;
    let packet = Packet::try_from(named)?;
    if (Start { header, full_tick, scope, mask: packet.mask }).kind() != kind {
        return Err(BlockError::Value("a StateDelta, or a Keyframe with its full tick"));
    }
    Ok((header, packet))
}
