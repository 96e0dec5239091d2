//! Owns what waits for one client's socket: encoded messages, in order, with
//! the time at which they are to be written. Never writes and reads no clock;
//! called by [`session::Connection`](super::session::Connection). Invariants:
//! what waits is within its bounds (the last message taken may pass the bound
//! on bytes); messages leave in the order in which they came; when there is no
//! room, all that waits of a place goes together, and nothing else is dropped.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::Millis;

/// The fewest milliseconds between two writes that only acknowledgements want.
pub const ACK_WRITE_MS: u64 = 20;
/// What one write holds at most, but for its last message.
const WRITE_BYTES: usize = 64 * 1024;

/// What a message is; it decides when it is written and whether it may be
/// dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Written at once, never dropped.
    Control,
    /// Written with others of the same 20 ms, never dropped.
    Ack,
    /// A keyframe or delta of the place with this handle: written in the
    /// session's slot, dropped together with the place's others.
    Update { place: u32 },
}

/// What leaves through the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An encoded message.
    Message(Vec<u8>),
    /// One that others get, too.
    Shared(Arc<[u8]>),
    /// A WebSocket ping.
    Ping,
    /// A WebSocket close frame; nothing comes after it.
    Close { code: u16, reason: &'static str },
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Item::Message(bytes) => bytes.len(),
            Item::Shared(bytes) => bytes.len(),
            Item::Ping | Item::Close { .. } => 0,
        }
    }
}

/// Bounds of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// No message is taken while this much waits.
    pub bytes_max: usize,
    pub messages_max: usize,
    /// A socket that takes nothing for so long is given up.
    pub stalled_ms: u64,
    /// Updates are written so long after they came, which spreads the writes
    /// of a tick over the sessions of a gateway.
    pub slot_ms: u64,
}

/// What had to go to make room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Places that lost messages: each needs a keyframe before anything else.
    pub places: Vec<u32>,
    pub messages: u64,
}

/// A message that may not be dropped does not fit, so it comes back: the
/// client is too slow. Nothing but updates was dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what may not be dropped does not fit")]
pub struct Overflow(pub Item);

/// Messages that wait for one socket.
#[derive(Clone, Debug)]
pub struct Queue {
    limits: QueueLimits,
    entries: VecDeque<(Class, Item)>,
    bytes: usize,
    /// When the next write is to be made; `None` while nothing waits.
    due: Option<Millis>,
    /// When the last write was made.
    written: Option<Millis>,
}

impl Queue {
    pub fn new(limits: QueueLimits) -> Queue {
        Queue { limits, entries: VecDeque::new(), bytes: 0, due: None, written: None }
    }

    /// Bytes of messages that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages that wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether what was dropped may be asked for again.
    pub fn has_room(&self) -> bool {
        self.bytes <= self.limits.bytes_max / 4 && self.len() <= self.limits.messages_max / 4
    }

    /// Whether a message of this class would be dropped now.
    pub fn drops(&self, class: Class) -> bool {
        self.is_full() && matches!(class, Class::Update { .. })
    }

    /// Takes a message; returns what had to go. An update that does not fit
    /// goes itself, with all others of its place.
    ///
    /// # Errors
    /// When it does not fit, may not be dropped, and there is nothing to drop.
    pub fn push(&mut self, class: Class, item: Item, now: Millis) -> Result<Dropped, Overflow> {
        let mut dropped = Dropped::default();
        while self.is_full() {
            let victim = match class {
                Class::Update { place } => Some(place),
                Class::Control | Class::Ack => self.oldest_place(),
            };
            let Some(victim) = victim else { return Err(Overflow(item)) };
            dropped.messages += self.drop_place(victim);
            dropped.places.push(victim);
            if matches!(class, Class::Update { .. }) {
                dropped.messages += 1;
                return Ok(dropped);
            }
        }
        self.bytes += item.bytes();
        self.entries.push_back((class, item));
        let due = self.due_of(class, now);
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
        Ok(dropped)
    }

    /// Forgets everything that waits, to say one last thing.
    pub fn clear(&mut self) {
        self.entries.clear();
        (self.bytes, self.due) = (0, None);
    }

    /// When the next write is due.
    pub fn due(&self) -> Option<Millis> {
        self.due
    }

    /// When the socket is given up if it takes nothing until then.
    pub fn stalled_at(&self) -> Option<Millis> {
        self.due.map(|due| Millis(due.0.saturating_add(self.limits.stalled_ms)))
    }

    /// One write: what waits, in order, if its time has come and the socket
    /// has room. The rest, if it is too much for one, is due at once.
    pub fn take_write(&mut self, now: Millis) -> Vec<Item> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let mut write = Vec::new();
        let mut size = 0;
        while size < WRITE_BYTES
            && let Some((_, item)) = self.entries.pop_front()
        {
            size += item.bytes();
            write.push(item);
        }
        self.bytes -= size;
        self.written = Some(now);
        self.due = (!self.entries.is_empty()).then_some(now);
        write
    }

    fn is_full(&self) -> bool {
        self.bytes >= self.limits.bytes_max || self.len() >= self.limits.messages_max
    }

    fn due_of(&self, class: Class, now: Millis) -> Millis {
        let after = |at: Millis, ms: u64| Millis(at.0.saturating_add(ms));
        match class {
            Class::Control => now,
            Class::Ack => self.written.map_or(now, |at| after(at, ACK_WRITE_MS).max(now)),
            Class::Update { .. } => after(now, self.limits.slot_ms),
        }
    }

    fn oldest_place(&self) -> Option<u32> {
        self.entries.iter().find_map(|(class, _)| match class {
            Class::Update { place } => Some(*place),
            Class::Control | Class::Ack => None,
        })
    }

    /// Drops every update of `place`; how many they were.
    fn drop_place(&mut self, place: u32) -> u64 {
        let before = self.entries.len();
        let mut freed = 0;
        self.entries.retain(|(class, item)| {
            let goes = *class == Class::Update { place };
            freed += if goes { item.bytes() } else { 0 };
            !goes
        });
        self.bytes -= freed;
        if self.entries.is_empty() {
            self.due = None;
        }
        (before - self.entries.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: QueueLimits =
        QueueLimits { bytes_max: 1000, messages_max: 10, stalled_ms: 15_000, slot_ms: 30 };
    const UPDATE: Class = Class::Update { place: 7 };

    fn message(bytes: usize) -> Item {
        Item::Message(vec![0; bytes])
    }

    #[test]
    fn control_is_written_at_once_and_updates_in_their_slot() {
        let mut queue = Queue::new(LIMITS);
        queue.push(UPDATE, message(1), Millis(100)).unwrap();
        assert_eq!(queue.due(), Some(Millis(130)));
        assert_eq!(queue.take_write(Millis(129)), []);
        queue.push(Class::Control, Item::Ping, Millis(110)).unwrap();
        assert_eq!(queue.take_write(Millis(110)), [message(1), Item::Ping], "order holds");
        assert_eq!(queue.due(), None);
    }

    #[test]
    fn acknowledgements_share_a_write_every_20_ms() {
        let mut queue = Queue::new(LIMITS);
        queue.push(Class::Ack, message(1), Millis(100)).unwrap();
        assert_eq!(queue.take_write(Millis(100)).len(), 1);
        queue.push(Class::Ack, message(1), Millis(105)).unwrap();
        queue.push(Class::Ack, message(1), Millis(112)).unwrap();
        assert_eq!(queue.due(), Some(Millis(120)));
        assert_eq!(queue.take_write(Millis(120)).len(), 2);
        queue.push(Class::Ack, message(1), Millis(500)).unwrap();
        assert_eq!(queue.due(), Some(Millis(500)));
    }

    #[test]
    fn an_update_without_room_takes_its_place_with_it_and_no_other() {
        let mut queue = Queue::new(LIMITS);
        queue.push(UPDATE, message(300), Millis(0)).unwrap();
        queue.push(Class::Update { place: 8 }, message(400), Millis(0)).unwrap();
        queue.push(Class::Ack, message(400), Millis(0)).unwrap();
        let dropped = queue.push(UPDATE, message(10), Millis(0)).unwrap();
        assert_eq!(dropped, Dropped { places: vec![7], messages: 2 });
        assert_eq!(queue.take_write(Millis(30)), [message(400), message(400)]);
    }

    #[test]
    fn an_acknowledgement_takes_the_room_of_updates_then_ends_the_connection() {
        let mut queue = Queue::new(LIMITS);
        queue.push(UPDATE, message(500), Millis(0)).unwrap();
        queue.push(Class::Ack, message(600), Millis(0)).unwrap();
        let dropped = queue.push(Class::Ack, message(500), Millis(0)).unwrap();
        assert_eq!(dropped, Dropped { places: vec![7], messages: 1 });
        assert_eq!(queue.push(Class::Control, message(1), Millis(0)), Err(Overflow(message(1))));
        queue.clear();
        queue.push(Class::Control, message(1), Millis(0)).unwrap();
    }

    #[test]
    fn a_socket_that_takes_nothing_is_stalled_from_the_write_it_did_not_take() {
        let mut queue = Queue::new(LIMITS);
        assert_eq!(queue.stalled_at(), None);
        queue.push(Class::Control, message(1), Millis(1_000)).unwrap();
        queue.push(Class::Control, message(1), Millis(9_000)).unwrap();
        assert_eq!(queue.stalled_at(), Some(Millis(16_000)));
        queue.take_write(Millis(9_500));
        assert_eq!(queue.stalled_at(), None);
    }

    #[test]
    fn a_long_queue_leaves_in_several_writes() {
        let mut queue = Queue::new(QueueLimits { bytes_max: usize::MAX, ..LIMITS });
        for _ in 0..3 {
            queue.push(Class::Control, message(40_000), Millis(5)).unwrap();
        }
        assert_eq!(queue.take_write(Millis(5)).len(), 2);
        assert_eq!(queue.due(), Some(Millis(5)));
        assert_eq!(queue.take_write(Millis(5)).len(), 1);
    }

    fn class() -> impl Strategy<Value = Class> {
        prop_oneof![
            Just(Class::Control),
            Just(Class::Ack),
            (1u32..4).prop_map(|place| Class::Update { place }),
        ]
    }

    /// A message that says which it is.
    fn numbered(n: usize, bytes: usize) -> Item {
        let mut message = n.to_le_bytes().to_vec();
        message.resize(8 + bytes, 0);
        Item::Message(message)
    }

    fn number(item: &Item) -> usize {
        let Item::Message(bytes) = item else { panic!("only messages were pushed") };
        usize::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
    }

    proptest! {
        /// Against a list of all that was pushed: bounds hold, what leaves is
        /// in order, what is missing was reported, and after a drop nothing of
        /// the place that came before it leaves any more.
        #[test]
        fn keeps_bounds_and_order(
            pushes in prop::collection::vec((class(), 0usize..300, 0u64..40, any::<bool>()), 1..200),
        ) {
            let mut queue = Queue::new(LIMITS);
            let mut waiting: Vec<(usize, Class)> = Vec::new();
            let mut now = 0;
            for (n, (class, bytes, pause, reads)) in pushes.into_iter().enumerate() {
                now += pause;
                let Ok(dropped) = queue.push(class, numbered(n, bytes), Millis(now)) else {
                    let is_update = |class: &Class| matches!(class, Class::Update { .. });
                    prop_assert!(!is_update(&class));
                    waiting.retain(|(_, class)| !is_update(class));
                    continue;
                };
                waiting.push((n, class));
                let lost = |c: &Class| matches!(c, Class::Update { place } if dropped.places.contains(place));
                let before = waiting.len();
                waiting.retain(|(_, class)| !lost(class));
                prop_assert_eq!((before - waiting.len()) as u64, dropped.messages);
                prop_assert!(queue.len() <= LIMITS.messages_max);
                prop_assert!(queue.bytes() < LIMITS.bytes_max + 308);
                prop_assert_eq!(queue.due().is_some(), !queue.is_empty());
                if reads {
                    for item in queue.take_write(Millis(now)) {
                        prop_assert_eq!(number(&item), waiting.remove(0).0);
                    }
                }
            }
            let left: Vec<usize> = queue.take_write(Millis(u64::MAX)).iter().map(number).collect();
            prop_assert_eq!(left, waiting.iter().map(|(n, _)| *n).collect::<Vec<_>>());
            prop_assert_eq!(queue.bytes(), 0);
        }
    }
}
