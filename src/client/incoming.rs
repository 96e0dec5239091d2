//! Owns the order in which what came in is read: acknowledgements before
//! updates, so that a client that falls behind learns first what became of its
//! commands. Never reorders the updates of a place. Bounded: when it is full
//! the shell stops reading the socket, and the server's own queue decides what
//! to drop.

use std::collections::VecDeque;

use crate::protocol::{ServerFrame, ServerMessage};

/// Frames kept before the socket is left alone.
pub const INCOMING_MAX: usize = 1_024;

/// Frames that came in and were not read yet.
#[derive(Debug, Default)]
pub struct Incoming {
    /// What opens or ends; then answers; then updates.
    lanes: [VecDeque<ServerFrame>; 3],
}

impl Incoming {
    /// Takes a frame; gives it back when there is no room.
    ///
    /// # Errors
    /// With the frame, when [`INCOMING_MAX`] wait.
    pub fn admit(&mut self, frame: ServerFrame) -> Result<(), Box<ServerFrame>> {
        if !self.has_room() {
            return Err(Box::new(frame));
        }
        self.lanes[lane(&frame.message)].push_back(frame);
        Ok(())
    }

    /// Whether another frame can be admitted.
    pub fn has_room(&self) -> bool {
        self.lanes.iter().map(VecDeque::len).sum::<usize>() < INCOMING_MAX
    }

    /// The frame to read next.
    pub fn pop(&mut self) -> Option<ServerFrame> {
        self.lanes.iter_mut().find_map(VecDeque::pop_front)
    }

    /// Forgets everything: the connection it came by is gone.
    pub fn clear(&mut self) {
        self.lanes.iter_mut().for_each(VecDeque::clear);
    }
}

fn lane(message: &ServerMessage) -> usize {
    match message {
        ServerMessage::Connected(_)
        | ServerMessage::Error(_)
        | ServerMessage::Notification(_)
        | ServerMessage::Pong(_) => 0,
        ServerMessage::Ack(_) => 1,
        // In one lane with what they begin and end.
        ServerMessage::StateDelta(_)
        | ServerMessage::Keyframe(_)
        | ServerMessage::Subscribed(_)
        | ServerMessage::Unsubscribed(_)
        | ServerMessage::Presence(_) => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Answer;
    use crate::protocol::server::{Ack, Keyframe};

    fn keyframe(handle: u32, tick: u64) -> ServerFrame {
        let body = Keyframe { full_tick: tick, units: Vec::new() };
        ServerFrame::new(handle, tick, ServerMessage::Keyframe(body))
    }

    #[test]
    fn answers_overtake_updates_and_updates_keep_their_order() {
        let mut incoming = Incoming::default();
        let ack = ServerMessage::Ack(Ack::failed(1, 0, Answer::Busy {}));
        for frame in [keyframe(1, 1), keyframe(1, 2), ServerFrame::new(0, 0, ack.clone())] {
            assert_eq!(incoming.admit(frame), Ok(()));
        }
        assert_eq!(incoming.pop().map(|frame| frame.message), Some(ack));
        assert_eq!(incoming.pop(), Some(keyframe(1, 1)));
        assert_eq!(incoming.pop(), Some(keyframe(1, 2)));
        assert_eq!(incoming.pop(), None);
    }

    #[test]
    fn gives_back_what_has_no_room() {
        let mut incoming = Incoming::default();
        while incoming.has_room() {
            assert_eq!(incoming.admit(keyframe(1, 1)), Ok(()));
        }
        assert_eq!(incoming.admit(keyframe(1, 2)), Err(Box::new(keyframe(1, 2))));
    }
}
