//! Owns `starmesh.msgpack.v1`: the struct of a message as a MessagePack map
//! with the names that JSON has, behind the eight bytes of all binary codecs.

mod reader;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::binary::Format;
use super::blocks::{self, BlockError, Packet};
use super::{DecodeError, Header};

/// The format of that name; it has no state.
pub struct MessagePack;

impl Format for MessagePack {
    fn write<B: Serialize>(&self, body: &B, out: &mut Vec<u8>) {
        let mut writer = rmp_serde::Serializer::new(out).with_struct_map();
        // Writing to a Vec does not fail, and no message nests deep or has a
        // `Serialize` of its own that could.
        body.serialize(&mut writer).expect("a message is MessagePack");
    }

    fn read<B: DeserializeOwned>(&self, bytes: &[u8]) -> Result<B, DecodeError> {
        let mut reader = reader::Reader::new(bytes);
        let body = B::deserialize(&mut reader)?;
        match reader.rest() {
            0 => Ok(body),
            rest => Err(DecodeError::malformed(format!("{rest} bytes follow the map"))),
        }
    }

    fn read_packet(&self, bytes: &[u8]) -> Result<(Header, Packet), BlockError> {
        blocks::msgpack::read_message(bytes)
    }
}
