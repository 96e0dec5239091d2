//! Owns the order in which what came in is read: acknowledgements before
//! updates, so that a client that falls behind learns first what became of its
//! commands. Never reorders the updates of a place. Bounded: when it is full
//! the shell stops reading the socket, and the server's own queue decides what
//! to drop.

use std::collections::VecDeque;

use crate::protocol::{Received, ServerMessage};

/// Frames kept before the socket is left alone.
pub const INCOMING_MAX: usize = 1_024;

/// Frames that came in and were not read yet.
#[derive(Debug, Default)]
pub struct Incoming {
    /// What opens or ends; then answers; then updates.
    lanes: [VecDeque<Received>; 3],
}

impl Incoming {
    /// Takes a frame; gives it back when there is no room.
    ///
    /// # Errors
    /// With the frame, when [`INCOMING_MAX`] wait.
    pub fn admit(&mut self, received: Received) -> Result<(), Box<Received>> {
        if !self.has_room() {
            return Err(Box::new(received));
        }
        self.lanes[lane(&received)].push_back(received);
        Ok(())
    }

    /// Whether another frame can be admitted.
    pub fn has_room(&self) -> bool {
        self.lanes.iter().map(VecDeque::len).sum::<usize>() < INCOMING_MAX
    }

    /// The frame to read next.
    pub fn pop(&mut self) -> Option<Received> {
        self.lanes.iter_mut().find_map(VecDeque::pop_front)
    }

    /// Forgets everything: the connection it came by is gone.
    pub fn clear(&mut self) {
        self.lanes.iter_mut().for_each(VecDeque::clear);
    }
}

fn lane(received: &Received) -> usize {
    let Received::Message(frame) = received else { return 2 };
    match frame.message {
        ServerMessage::Connected(_)
        | ServerMessage::Error(_)
        | ServerMessage::Notification(_)
        | ServerMessage::Pong(_) => 0,
        ServerMessage::Ack(_) => 1,
        // In one lane with the packets that they begin and end.
        ServerMessage::Subscribed(_)
        | ServerMessage::Unsubscribed(_)
        | ServerMessage::Aggregate(_)
        | ServerMessage::TimeDilation(_)
        | ServerMessage::Presence(_) => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::blocks::Packet;
    use crate::protocol::server::Ack;
    use crate::protocol::{Answer, Header, ServerFrame};

    fn packet(tick: u16) -> Received {
        let packet = Packet { full_tick: None, scope: 0, mask: None, blocks: Vec::new() };
        Received::Packet(Header { handle: 1, tick }, packet)
    }

    #[test]
    fn answers_overtake_updates_and_updates_keep_their_order() {
        let mut incoming = Incoming::default();
        let ack = ServerMessage::Ack(Ack::failed(1, 0, Answer::Busy {}));
        let ack = Received::Message(ServerFrame::new(0, 0, ack));
        for received in [packet(1), packet(2), ack.clone()] {
            assert_eq!(incoming.admit(received), Ok(()));
        }
        assert_eq!(incoming.pop(), Some(ack));
        assert_eq!(incoming.pop(), Some(packet(1)));
        assert_eq!(incoming.pop(), Some(packet(2)));
        assert_eq!(incoming.pop(), None);
    }

    #[test]
    fn gives_back_what_has_no_room() {
        let mut incoming = Incoming::default();
        while incoming.has_room() {
            assert_eq!(incoming.admit(packet(1)), Ok(()));
        }
        assert_eq!(incoming.admit(packet(2)), Err(Box::new(packet(2))));
    }
}
