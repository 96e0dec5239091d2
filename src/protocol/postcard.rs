//! Owns `starmesh.postcard.v1`: the struct of a message by position, as the
//! postcard format says, behind the eight bytes of all binary codecs.

mod reader;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::binary::Format;
use super::blocks::{self, BlockError, Packet};
use super::{DecodeError, Header};

/// The format of that name; it has no state.
pub struct Postcard;

impl Format for Postcard {
    fn write<B: Serialize>(&self, body: &B, out: &mut Vec<u8>) {
        // Appending to a Vec does not fail, and no message has a sequence of
        // unknown length or a `Serialize` of its own that could.
        *out = ::postcard::to_extend(body, std::mem::take(out)).expect("a message has a size");
    }

    fn read<B: DeserializeOwned>(&self, bytes: &[u8]) -> Result<B, DecodeError> {
        let mut reader = reader::Reader::new(bytes);
        let body = B::deserialize(&mut reader)?;
        match reader.rest() {
            0 => Ok(body),
            rest => Err(DecodeError::malformed(format!("{rest} bytes follow the last field"))),
        }
    }

    fn read_packet(&self, bytes: &[u8]) -> Result<(Header, Packet), BlockError> {
        blocks::packet::read_message(bytes)
    }
}
