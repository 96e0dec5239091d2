//! Owns what the binary codecs share: the eight bytes before every message,
//! the limits, and when a payload is deflated. Never knows how a message's
//! struct becomes bytes: a [`Format`] does. Invariant: nothing longer than the
//! limits is read, be it as it came or inflated.
//!
//! ```text
//! 0        1        2        3        4        5        6        7
//! type (u16)        handle (u32)                        tick (u16)
//! ```
//!
//! All little endian. The type's low byte is the message's number, bit 15 says
//! that what follows is deflated, the other bits are 0.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::blocks::{BlockError, Packet};
use super::body::{self, BodyReader, BodyWriter};
use super::{
    CLIENT_MESSAGE_BYTES_MAX, ClientFrame, Codec, DecodeError, Header, MessageType,
    SERVER_MESSAGE_BYTES_MAX, ServerFrame,
};
use crate::base::deflate::{self, InflateError};

/// What stands before every message.
pub const HEAD_BYTES: usize = 8;
/// A payload is deflated when it is longer, and shorter afterwards.
pub const DEFLATE_OVER_BYTES: usize = 512;
/// Of the type.
const DEFLATED: u16 = 1 << 15;

/// How a binary codec writes and reads the struct of a message.
pub trait Format: Send + Sync {
    /// Appends the struct to `out`.
    fn write<B: Serialize>(&self, body: &B, out: &mut Vec<u8>);

    /// Reads the struct from all of `bytes`.
    fn read<B: DeserializeOwned>(&self, bytes: &[u8]) -> Result<B, DecodeError>;

    /// Reads a packet, head and all.
    fn read_packet(&self, bytes: &[u8]) -> Result<(Header, Packet), BlockError>;
}

/// The codec of a format.
pub struct Binary<F>(pub F);

/// The first eight bytes, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub kind: MessageType,
    pub deflated: bool,
    pub header: Header,
}

impl Head {
    /// The bytes of it.
    pub fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let flag = if self.deflated { DEFLATED } else { 0 };
        let kind = (u16::from(self.kind.number()) | flag).to_le_bytes();
        let [h0, h1, h2, h3] = self.header.handle.to_le_bytes();
        let tick = self.header.tick.to_le_bytes();
        [kind[0], kind[1], h0, h1, h2, h3, tick[0], tick[1]]
    }

    /// Reads the head and returns it with what follows it.
    ///
    /// # Errors
    /// When there are fewer bytes, or they name no message.
    pub fn split(bytes: &[u8]) -> Result<(Head, &[u8]), DecodeError> {
        let Some((&[k0, k1, h0, h1, h2, h3, t0, t1], rest)) = bytes.split_first_chunk() else {
            return Err(DecodeError::malformed("a message begins with 8 bytes"));
        };
        let word = u16::from_le_bytes([k0, k1]);
        let number = u8::try_from(word & !DEFLATED).ok();
        let kind = number
            .and_then(MessageType::from_number)
            .ok_or_else(|| DecodeError::field("type", "the number of a message"))?;
        let handle = u32::from_le_bytes([h0, h1, h2, h3]);
        let tick = u16::from_le_bytes([t0, t1]);
        let deflated = word & DEFLATED != 0;
        Ok((Head { kind, deflated, header: Header { handle, tick } }, rest))
    }
}

impl<F: Format> Codec for Binary<F> {
    fn encode_server(&self, frame: &ServerFrame, out: &mut Vec<u8>) {
        body::write_server(&frame.message, Writer { format: &self.0, header: frame.header, out });
    }

    fn decode_client(&self, bytes: &[u8]) -> Result<ClientFrame, DecodeError> {
        let max = CLIENT_MESSAGE_BYTES_MAX;
        let (head, payload) = open(bytes, max)?;
        let reader = Reader { format: &self.0, head, payload, max };
        body::read_client(head.kind, head.header, reader)
    }

    fn client_kind(&self, bytes: &[u8]) -> Option<MessageType> {
        Head::split(bytes).ok().map(|(head, _)| head.kind)
    }

    fn encode_client(&self, frame: &ClientFrame, out: &mut Vec<u8>) {
        body::write_client(&frame.message, Writer { format: &self.0, header: frame.header, out });
    }

    fn decode_server(&self, bytes: &[u8]) -> Result<ServerFrame, DecodeError> {
        let max = SERVER_MESSAGE_BYTES_MAX;
        let (head, payload) = open(bytes, max)?;
        let reader = Reader { format: &self.0, head, payload, max };
        body::read_server(head.kind, head.header, reader)
    }

    fn server_kind(&self, bytes: &[u8]) -> Option<MessageType> {
        Head::split(bytes).ok().map(|(head, _)| head.kind)
    }

    fn decode_packet(&self, bytes: &[u8]) -> Result<(Header, Packet), DecodeError> {
        self.0.read_packet(bytes).map_err(DecodeError::block)
    }
}

fn open(bytes: &[u8], max: usize) -> Result<(Head, &[u8]), DecodeError> {
    if bytes.len() > max {
        return Err(DecodeError::TooLong { bytes: bytes.len(), max });
    }
    Head::split(bytes)
}

struct Writer<'a, F> {
    format: &'a F,
    header: Header,
    out: &'a mut Vec<u8>,
}

impl<F: Format> BodyWriter for Writer<'_, F> {
    fn write<B: Serialize>(self, kind: MessageType, body: &B) {
        let start = self.out.len();
        let mut head = Head { kind, deflated: false, header: self.header };
        self.out.extend_from_slice(&head.to_bytes());
        self.format.write(body, self.out);
        let payload = start + HEAD_BYTES;
        if self.out.len() - payload > DEFLATE_OVER_BYTES && deflate::shrink(self.out, payload) {
            head.deflated = true;
            self.out[start..payload].copy_from_slice(&head.to_bytes());
        }
    }
}

struct Reader<'a, F> {
    format: &'a F,
    head: Head,
    payload: &'a [u8],
    max: usize,
}

impl<F: Format> BodyReader for Reader<'_, F> {
    fn read<B: DeserializeOwned>(self) -> Result<B, DecodeError> {
        if !self.head.deflated {
            return self.format.read(self.payload);
        }
        let inflated = deflate::inflate(self.payload, self.max - HEAD_BYTES);
        self.format.read(&inflated.map_err(|error| match error {
            // What the head takes counts, too.
            InflateError::TooLong { .. } => DecodeError::InflatesTooLong { max: self.max },
            error => DecodeError::malformed(error.to_string()),
        })?)
    }
}
