//! Owns what stands before every message: the handle of a place and a tick.
//! The message's type is told by the message itself.

use super::{ClientMessage, ServerMessage};

/// The fields that every message has beside its type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The gateway's short name for a place, from [`Subscribed`]; 0 for none.
    ///
    /// [`Subscribed`]: super::ServerMessage::Subscribed
    pub handle: u32,
    /// The place's tick mod 65,536; with handle 0 the gateway node's. What a
    /// client sends here is not read.
    pub tick: u16,
}

/// A message with its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<M> {
    pub header: Header,
    pub message: M,
}

pub type ClientFrame = Frame<ClientMessage>;
pub type ServerFrame = Frame<ServerMessage>;

impl<M> Frame<M> {
    /// `message` about the place `handle` at its full `tick`.
    pub fn new(handle: u32, tick: u64, message: M) -> Frame<M> {
        Frame { header: Header { handle, tick: low_bits(tick) }, message }
    }
}

/// What the header carries of a full tick.
pub fn low_bits(tick: u64) -> u16 {
    (tick & 0xFFFF) as u16
}

/// The full tick nearest to `near` whose low bits are `low`: right as long as
/// the two are less than 32,768 ticks (54 minutes) apart.
pub fn unwrap_tick(near: u64, low: u16) -> u64 {
    let ahead = low.wrapping_sub(low_bits(near));
    if ahead < 0x8000 {
        near.saturating_add(u64::from(ahead))
    } else {
        near.saturating_sub(u64::from(ahead.wrapping_neg()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwraps_ticks_across_the_16_bit_border() {
        assert_eq!(unwrap_tick(0x1_FFFE, 0x0003), 0x2_0003);
        assert_eq!(unwrap_tick(0x2_0003, 0xFFFE), 0x1_FFFE);
        assert_eq!(unwrap_tick(70_000, low_bits(70_000)), 70_000);
    }
}
