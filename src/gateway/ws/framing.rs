//! Owns WebSocket frames beyond what the codec does: fragments become whole
//! messages, items of the queue become bytes. Pure.

use actix_http::ws::{CloseCode, CloseReason, Item as Fragment, OpCode, Parser};
use bytes::{Bytes, BytesMut};

use crate::gateway::queue::Item;

/// A message made of fragments.
#[derive(Debug, Default)]
pub struct Assembly {
    buffer: Vec<u8>,
    text: bool,
}

/// What became of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub enum Assembled {
    More,
    Whole {
        text: bool,
        bytes: Vec<u8>,
    },
    /// The message is longer than it may be.
    TooLong,
}

impl Assembly {
    /// Adds a fragment; the codec sees to it that they come in order.
    pub fn add(&mut self, fragment: Fragment, max: usize) -> Assembled {
        let (bytes, last) = match fragment {
            Fragment::FirstText(bytes) => (self.begin(true, bytes), false),
            Fragment::FirstBinary(bytes) => (self.begin(false, bytes), false),
            Fragment::Continue(bytes) => (bytes, false),
            Fragment::Last(bytes) => (bytes, true),
        };
        if self.buffer.len() + bytes.len() > max {
            return Assembled::TooLong;
        }
        self.buffer.extend_from_slice(&bytes);
        match last {
            true => Assembled::Whole { text: self.text, bytes: std::mem::take(&mut self.buffer) },
            false => Assembled::More,
        }
    }

    fn begin(&mut self, text: bool, bytes: Bytes) -> Bytes {
        self.buffer.clear();
        self.text = text;
        bytes
    }
}

/// The frames of one write, each message its own.
pub fn encode(items: Vec<Item>, text: bool) -> Bytes {
    let size: usize = items.iter().map(|item| size_of(item) + FRAME_HEAD_MAX).sum();
    let mut out = BytesMut::with_capacity(size);
    let message = if text { OpCode::Text } else { OpCode::Binary };
    for item in items {
        match item {
            Item::Message(bytes) => Parser::write_message(&mut out, bytes, message, true, false),
            Item::Ping => Parser::write_message(&mut out, [], OpCode::Ping, true, false),
            Item::Close { code, reason } => {
                let reason = CloseReason::from((CloseCode::from(code), reason));
                Parser::write_close(&mut out, Some(reason), false);
            }
        }
    }
    out.freeze()
}

const FRAME_HEAD_MAX: usize = 10;

fn size_of(item: &Item) -> usize {
    match item {
        Item::Message(bytes) => bytes.len(),
        Item::Ping => 0,
        Item::Close { reason, .. } => 2 + reason.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_become_a_whole_message_of_bounded_size() {
        let mut assembly = Assembly::default();
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        assert_eq!(assembly.add(Fragment::FirstText(bytes("ab")), 6), Assembled::More);
        assert_eq!(assembly.add(Fragment::Continue(bytes("cd")), 6), Assembled::More);
        let whole = Assembled::Whole { text: true, bytes: b"abcdef".to_vec() };
        assert_eq!(assembly.add(Fragment::Last(bytes("ef")), 6), whole);
        assert_eq!(assembly.add(Fragment::FirstBinary(bytes("abc")), 6), Assembled::More);
        assert_eq!(assembly.add(Fragment::Last(bytes("defg")), 6), Assembled::TooLong);
    }

    #[test]
    fn a_write_holds_one_frame_per_message() {
        let close = Item::Close { code: 1001, reason: "bye" };
        let written = encode(vec![Item::Message(b"{}".to_vec()), Item::Ping, close], true);
        let expected = [&b"\x81\x02{}"[..], b"\x89\x00", b"\x88\x05\x03\xe9bye"].concat();
        assert_eq!(&written[..], &expected[..]);
    }
}
