//! Owns a session together with the queue of what it says: encodes, queues,
//! and tells the session what the queue could not hold. Never does I/O.
//! Called by the shell.

use std::cell::RefCell;

use super::{Effect, Now, Session};
use crate::base::Millis;
use crate::gateway::queue::{Class, Item, Overflow, Queue};
use crate::protocol::{Codec, ServerFrame};

/// What a thread keeps of the buffer that its messages are encoded into.
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    /// Encoded into one buffer and copied out of it, a message costs one
    /// allocation of its size.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One connection: its session, and what waits for its socket.
pub struct Connection {
    session: Session,
    queue: Queue,
    codec: &'static dyn Codec,
    /// Updates dropped since they were last asked for.
    dropped: u64,
}

impl Connection {
    pub fn new(session: Session, queue: Queue) -> Connection {
        let codec = session.codec.codec();
        Connection { session, queue, codec, dropped: 0 }
    }

    /// Lets something happen to the session; what the shell has to do then.
    pub fn handle(&mut self, now: Now, event: impl FnOnce(&mut Session)) -> Vec<Effect> {
        event(&mut self.session);
        let mut effects = Vec::new();
        while let Some(effect) = self.session.next_effect() {
            match effect {
                Effect::Send { class, frame } => {
                    let message = self.encode(class, &frame);
                    self.push(class, message, now);
                }
                Effect::Forward { class, bytes } => self.push(class, Item::Shared(bytes), now),
                Effect::Ping => self.push(Class::Control, Item::Ping, now),
                Effect::Close { code, reason } => {
                    self.push(Class::Control, Item::Close { code, reason }, now);
                }
                other => effects.push(other),
            }
        }
        effects
    }

    /// Time passed. To be called at [`next_due`](Self::next_due).
    pub fn handle_clock(&mut self, now: Now) -> Vec<Effect> {
        let stalled = self.queue.stalled_at().is_some_and(|at| at <= now.at);
        let has_room = self.queue.has_room();
        self.handle(now, |session| {
            if stalled {
                session.handle_too_slow(now);
            }
            session.handle_clock(now);
            if has_room {
                session.handle_room(now);
            }
        })
    }

    /// When [`handle_clock`](Self::handle_clock) next has something to do.
    pub fn next_due(&self) -> Option<Millis> {
        let stalled = (!self.session.is_closing()).then(|| self.queue.stalled_at()).flatten();
        let room = self.queue.has_room().then(|| self.session.room_due()).flatten();
        [self.session.next_due(), stalled, room].into_iter().flatten().min()
    }

    /// When the next write is due, if the socket has room.
    pub fn write_due(&self) -> Option<Millis> {
        self.queue.due()
    }

    /// One write for a socket that has room, and what the shell has to do then.
    pub fn take_write(&mut self, now: Now) -> (Vec<Item>, Vec<Effect>) {
        let write = self.queue.take_write(now.at);
        if write.is_empty() || !self.queue.has_room() {
            return (write, Vec::new());
        }
        let effects = self.handle(now, |session| session.handle_room(now));
        (write, effects)
    }

    /// Updates dropped since the last call.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What the queue will not take is not worth encoding.
    fn encode(&self, class: Class, frame: &ServerFrame) -> Item {
        if self.queue.drops(class) {
            return Item::Message(Vec::new());
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            self.codec.encode_server(frame, scratch);
            let bytes = scratch.as_slice().to_vec();
            scratch.shrink_to(SCRATCH_BYTES);
            Item::Message(bytes)
        })
    }

    fn push(&mut self, class: Class, item: Item, now: Now) {
        match self.queue.push(class, item, now.at) {
            Ok(dropped) => {
                self.dropped += dropped.messages;
                dropped.places.iter().for_each(|place| self.session.handle_dropped(*place));
            }
            // What waited is lost, and the connection with it. For saying so
            // there is room now.
            Err(Overflow(item)) => {
                self.queue.clear();
                let _ = self.queue.push(class, item, now.at);
                self.session.handle_too_slow(now);
            }
        }
    }
}
