//! Owns WebSocket frames beyond what the codec does: a frame's announced length
//! is bounded before it is read, fragments become whole messages, items of the
//! queue become bytes. Pure.

use actix_http::ws::{CloseCode, CloseReason, Item as Fragment, OpCode, Parser};
use bytes::{Bytes, BytesMut};

use crate::gateway::queue::Item;

/// The longest head of a frame: two bytes, a length of eight, a mask of four.
const HEAD_MAX: usize = 14;

/// The lengths that a client's frames announce, followed through its bytes. The
/// codec looks at a length only when all of the frame is there, and until then
/// keeps whatever comes.
#[derive(Debug)]
pub struct Lengths {
    max: u64,
    head: [u8; HEAD_MAX],
    /// Bytes of `head` that are known, and bytes left of the frame behind it.
    known: usize,
    left: u64,
}

impl Lengths {
    /// Of frames that may have up to `max` bytes.
    pub fn new(max: usize) -> Lengths {
        Lengths { max: max as u64, head: [0; HEAD_MAX], known: 0, left: 0 }
    }

    /// Whether no frame that `bytes` go on with, or begin, is too long.
    pub fn admit(&mut self, mut bytes: &[u8]) -> bool {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.left > 0 {
                let skipped = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= skipped as u64;
                bytes = &bytes[skipped..];
                continue;
            }
            self.head[self.known] = byte;
            self.known += 1;
            bytes = rest;
            if self.known == self.head_bytes() {
                self.left = self.length();
                self.known = 0;
                if self.left > self.max {
                    return false;
                }
            }
        }
        true
    }

    /// How long the head is, as far as it is known.
    fn head_bytes(&self) -> usize {
        if self.known < 2 {
            return 2;
        }
        let extended = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + extended + if self.head[1] & 0x80 == 0 { 0 } else { 4 }
    }

    fn length(&self) -> u64 {
        let extended = |bytes: usize| {
            self.head[2..2 + bytes].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        match self.head[1] & 0x7f {
            126 => extended(2),
            127 => extended(8),
            short => short.into(),
        }
    }
}

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
            Item::Shared(bytes) => Parser::write_message(&mut out, bytes, message, true, false),
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
        Item::Shared(bytes) => bytes.len(),
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
    fn a_length_is_found_however_the_bytes_are_cut() {
        let masked =
            |head: &[u8], length: usize| [head, &[1, 2, 3, 4], &vec![0xff; length]].concat();
        let legal = [
            masked(b"\x81\x80", 0),
            masked(b"\x89\x83", 3),
            masked(b"\x01\xfe\x00\xc8", 200),
            masked(b"\x80\xff\0\0\0\0\0\0\x00\xc8", 200),
            b"\x81\x02{}".to_vec(),
        ]
        .concat();
        for cut in 1..legal.len() {
            let mut lengths = Lengths::new(200);
            assert!(legal.chunks(cut).all(|part| lengths.admit(part)), "{cut}");
            assert!(lengths.admit(b"\x81\xfe\0"));
            assert!(!lengths.admit(b"\xc9\0\0\0\0"), "201 bytes, behind chunks of {cut}");
        }
        assert!(!Lengths::new(200).admit(b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"));
    }

    #[test]
    fn a_write_holds_one_frame_per_message() {
        let close = Item::Close { code: 1001, reason: "bye" };
        let written = encode(vec![Item::Message(b"{}".to_vec()), Item::Ping, close], true);
        let expected = [&b"\x81\x02{}"[..], b"\x89\x00", b"\x88\x05\x03\xe9bye"].concat();
        assert_eq!(&written[..], &expected[..]);
    }
}
