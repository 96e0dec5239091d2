//! Owns the named form of packets as JSON text, put together from blocks that
//! were each written once. Never knows what is in a block. Called by the stage
//! and by clients. Invariant: what is read is a StateDelta or a Keyframe whose
//! fields are in range, or an error.

use serde::{Deserialize, Serialize};

use super::named::{NamedBlock, NamedPacket};
use super::packet::Start;
use super::{BlockError, Packet};
use crate::protocol::{Header, SERVER_MESSAGE_BYTES_MAX};

/// What stands before the blocks.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    r#type: &'static str,
    handle: u32,
    tick: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    full_tick: Option<u64>,
    scope: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    mask: Option<[u8; 8]>,
}

/// Appends all that stands before the blocks.
pub fn write_start(start: &Start, out: &mut Vec<u8>) {
    let Start { header: Header { handle, tick }, full_tick, scope, mask } = *start;
    let mask = mask.map(u64::to_le_bytes);
    write(&Head { r#type: start.kind().name(), handle, tick, full_tick, scope, mask }, out);
    // The object goes on.
    out.pop();
    out.extend_from_slice(br#","blocks":["#);
}

/// Appends one block; between two stands a comma.
pub fn write_block(block: &NamedBlock, out: &mut Vec<u8>) {
    write(block, out);
}

/// Appends what stands behind the blocks.
pub fn write_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"]}");
}

fn write(value: &impl Serialize, out: &mut Vec<u8>) {
    // Writing to a Vec does not fail, and all keys are strings.
    serde_json::to_writer(out, value).expect("a block is JSON");
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Message {
    r#type: String,
    #[serde(default)]
    handle: u32,
    #[serde(default)]
    tick: u16,
    #[serde(default)]
    full_tick: Option<u64>,
    scope: u8,
    #[serde(default)]
    mask: Option<[u8; 8]>,
    blocks: Vec<NamedBlock>,
}

/// Reads a StateDelta or a Keyframe.
///
/// # Errors
/// When it is neither, or not well formed.
pub fn read_message(bytes: &[u8]) -> Result<(Header, Packet), BlockError> {
    if bytes.len() > SERVER_MESSAGE_BYTES_MAX {
        return Err(BlockError::TooLong(SERVER_MESSAGE_BYTES_MAX));
    }
    let message: Message =
        serde_json::from_slice(bytes).map_err(|error| BlockError::Text(error.to_string()))?;
    let Message { r#type, handle, tick, full_tick, scope, mask, blocks } = message;
    let packet = Packet::try_from(NamedPacket { full_tick, scope, mask, blocks })?;
    let header = Header { handle, tick };
    let start = Start { header, full_tick, scope, mask: packet.mask };
    if start.kind().name() != r#type {
        return Err(BlockError::Value("a StateDelta, or a Keyframe with its full tick"));
    }
    Ok((header, packet))
}
