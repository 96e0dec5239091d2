//! Owns exactly-once delivery between entities: the sender's outbox, the
//! receiver's inbox. Never moves a byte itself; messages come and go as
//! inputs and effects, and whatever carries them may lose, repeat and reorder.
//!
//! A channel is named by sender, receiver and the sender's sequence when it
//! was opened, counted on from life to life ([`Head::opening`]). Its messages are numbered 1, 2, 3 without gaps; the receiver
//! applies only the one after the last. An older one is acknowledged again, a
//! newer one ignored, for it comes again. Acknowledgements are cumulative.
//!
//! ```text
//!   sender:   open ──(idle 10 min: Close)──> closing ──(acknowledged)──> closed ──(20 min)──> forgotten
//!   receiver: open ──(Close applied)──> closed ──(10 min)──> forgotten
//! ```
//!
//! Invariant: per channel the applied numbers are 1…m in order.
//!
//! [`Head::opening`]: super::context::Head::opening

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::message::Body;
use crate::base::{EntityKey, Millis};

/// Messages that may wait in one channel.
pub const WAITING_MAX: usize = 64;
/// The longest encoded message in bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// After this long with nothing in flight a sender closes its channel.
pub const IDLE_CLOSE_MS: u64 = 10 * 60 * 1000;
/// A receiver forgets a closed channel after this.
pub const RECEIVER_FORGETS_MS: u64 = 10 * 60 * 1000;
/// A sender forgets a closed channel after this.
pub const SENDER_FORGETS_MS: u64 = 20 * 60 * 1000;

/// The name of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChannelId {
    pub sender: EntityKey,
    pub receiver: EntityKey,
    /// The sender's sequence when it opened the channel, as
    /// [`Head::opening`](super::context::Head::opening) counts it.
    pub opened: u64,
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelMessage {
    pub channel: ChannelId,
    /// From 1.
    pub number: u64,
    pub body: Body,
}

/// Says that all messages of a channel up to a number are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    pub channel: ChannelId,
    pub upto: u64,
}

/// Why a message was not put into a channel. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Try when it has room.
    #[error("{WAITING_MAX} messages wait for {0}")]
    Full(EntityKey),
    #[error(transparent)]
    TooLong(#[from] TooLong),
}

/// A message is too long to be sent, ever. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of {0} bytes, at most {MESSAGE_BYTES_MAX}")]
pub struct TooLong(pub usize);

impl Body {
    /// Whether a channel takes it.
    ///
    /// # Errors
    /// When it is longer than [`MESSAGE_BYTES_MAX`].
    pub fn check_length(&self) -> Result<(), TooLong> {
        let bytes = super::encoded_length(self);
        if bytes <= MESSAGE_BYTES_MAX { Ok(()) } else { Err(TooLong(bytes)) }
    }
}

/// All channels an entity sends on; part of its journalled state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outbox {
    channels: BTreeMap<EntityKey, Outgoing>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Outgoing {
    opened: u64,
    last_number: u64,
    waiting: VecDeque<(u64, Body)>,
    /// When something was last sent or acknowledged.
    active: Millis,
    /// Whether the last message is `Close`.
    closing: bool,
}

impl Outgoing {
    fn is_closed(&self) -> bool {
        self.closing && self.waiting.is_empty()
    }

    fn id(&self, sender: EntityKey, receiver: EntityKey) -> ChannelId {
        ChannelId { sender, receiver, opened: self.opened }
    }
}

impl Outbox {
    /// Puts `body` into the channel from `sender` to `receiver`, opening one
    /// if there is none, and returns the message to carry.
    ///
    /// # Errors
    /// When the channel is full or being closed, or the message too long;
    /// nothing was put.
    pub fn send(
        &mut self,
        sender: EntityKey,
        receiver: EntityKey,
        opening: u64,
        now: Millis,
        body: Body,
    ) -> Result<ChannelMessage, SendError> {
        body.check_length()?;
        if !self.has_room(receiver) {
            return Err(SendError::Full(receiver));
        }
        let fresh = || Outgoing {
            opened: opening,
            last_number: 0,
            waiting: VecDeque::new(),
            active: now,
            closing: false,
        };
        let channel = self.channels.entry(receiver).or_insert_with(fresh);
        if channel.is_closed() {
            *channel = fresh();
        }
        channel.last_number += 1;
        channel.active = now;
        channel.closing = body == Body::Close;
        channel.waiting.push_back((channel.last_number, body.clone()));
        let id = channel.id(sender, receiver);
        Ok(ChannelMessage { channel: id, number: channel.last_number, body })
    }

    /// Whether [`send`](Self::send) to `receiver` would succeed.
    pub fn has_room(&self, receiver: EntityKey) -> bool {
        self.channels.get(&receiver).is_none_or(|channel| {
            channel.is_closed() || (!channel.closing && channel.waiting.len() < WAITING_MAX)
        })
    }

    /// Drops what `acknowledgement` says is applied; one of another channel
    /// changes nothing. Returns whether it changed anything.
    pub fn handle_acknowledgement(&mut self, ack: Acknowledgement, now: Millis) -> bool {
        let Some(channel) = self.channels.get_mut(&ack.channel.receiver) else { return false };
        if channel.opened != ack.channel.opened {
            return false;
        }
        let before = channel.waiting.len();
        while channel.waiting.front().is_some_and(|(number, _)| *number <= ack.upto) {
            channel.waiting.pop_front();
        }
        if channel.waiting.len() < before {
            channel.active = now;
        }
        channel.waiting.len() < before
    }

    /// Whether an acknowledgement would change anything.
    pub fn expects(&self, ack: &Acknowledgement) -> bool {
        self.channels.get(&ack.channel.receiver).is_some_and(|channel| {
            channel.opened == ack.channel.opened
                && channel.waiting.front().is_some_and(|(number, _)| *number <= ack.upto)
        })
    }

    /// Every message that is not acknowledged, to be carried again.
    pub fn waiting(&self, sender: EntityKey) -> impl Iterator<Item = ChannelMessage> + '_ {
        self.channels.iter().flat_map(move |(receiver, channel)| {
            let id = channel.id(sender, *receiver);
            channel.waiting.iter().map(move |(number, body)| ChannelMessage {
                channel: id,
                number: *number,
                body: body.clone(),
            })
        })
    }

    /// What is in them, by receiver and in order.
    pub fn bodies(&self) -> impl Iterator<Item = (EntityKey, &Body)> {
        self.channels.iter().flat_map(|(receiver, channel)| {
            channel.waiting.iter().map(move |(_, body)| (*receiver, body))
        })
    }

    /// How many messages wait in the fullest channel.
    pub fn fullest(&self) -> usize {
        self.channels.values().map(|channel| channel.waiting.len()).max().unwrap_or(0)
    }

    /// Whether no message waits anywhere.
    pub fn is_settled(&self) -> bool {
        self.channels.values().all(|channel| channel.waiting.is_empty())
    }

    /// Forgets channels long closed and returns the receivers whose channels
    /// were idle for so long that they are to be closed now.
    pub fn expire(&mut self, now: Millis) -> Vec<EntityKey> {
        self.channels.retain(|_, channel| {
            !channel.is_closed() || now.since(channel.active) < SENDER_FORGETS_MS
        });
        let idle = |channel: &Outgoing| {
            !channel.closing
                && channel.waiting.is_empty()
                && now.since(channel.active) >= IDLE_CLOSE_MS
        };
        self.channels.iter().filter(|(_, c)| idle(c)).map(|(receiver, _)| *receiver).collect()
    }

    /// When [`expire`](Self::expire) next has something to do.
    pub fn next_due(&self) -> Option<Millis> {
        let due = |channel: &Outgoing| match (channel.is_closed(), channel.waiting.is_empty()) {
            (true, _) => Some(Millis(channel.active.0 + SENDER_FORGETS_MS)),
            (false, true) => Some(Millis(channel.active.0 + IDLE_CLOSE_MS)),
            (false, false) => None,
        };
        self.channels.values().filter_map(due).min()
    }
}

/// All channels an entity receives on; part of its journalled state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inbox {
    channels: BTreeMap<EntityKey, Incoming>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Incoming {
    opened: u64,
    applied: u64,
    closed: Option<Millis>,
}

/// What a receiver does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next: apply it.
    Apply,
    /// It was applied: acknowledge again.
    Repeat(Acknowledgement),
    /// One before it is missing, or its channel is of the past: it comes
    /// again, or is not wanted.
    Ignore,
}

impl Inbox {
    /// What to do with message `number` of `channel`, seen from here;
    /// `is_close` when it is the channel's last.
    pub fn judge(&self, channel: ChannelId, number: u64, is_close: bool) -> Verdict {
        let known = self.channels.get(&channel.sender);
        let applied = match known {
            Some(known) if known.opened == channel.opened => known.applied,
            Some(known) if known.opened > channel.opened => return Verdict::Ignore,
            // A sender closes only what is acknowledged, so an unknown channel
            // that is being closed was closed here and is forgotten.
            _ if is_close => return Verdict::Repeat(Acknowledgement { channel, upto: number }),
            _ => 0,
        };
        match number {
            n if n == applied + 1 => Verdict::Apply,
            n if n <= applied && n > 0 => {
                Verdict::Repeat(Acknowledgement { channel, upto: applied })
            }
            _ => Verdict::Ignore,
        }
    }

    /// [`judge`](Self::judge) for a whole message.
    pub fn judge_message(&self, message: &ChannelMessage) -> Verdict {
        self.judge(message.channel, message.number, message.body == Body::Close)
    }

    /// Notes message `number` of `channel` as applied; it must be the next.
    pub fn note_applied(
        &mut self,
        channel: ChannelId,
        number: u64,
        is_close: bool,
        now: Millis,
    ) -> Acknowledgement {
        debug_assert_eq!(self.judge(channel, number, is_close), Verdict::Apply);
        let closed = is_close.then_some(now);
        let incoming = Incoming { opened: channel.opened, applied: number, closed };
        self.channels.insert(channel.sender, incoming);
        Acknowledgement { channel, upto: number }
    }

    /// The number of the last message applied from `sender`, with its channel's opening.
    pub fn applied(&self, sender: EntityKey) -> Option<(u64, u64)> {
        self.channels.get(&sender).map(|incoming| (incoming.opened, incoming.applied))
    }

    /// Forgets channels long closed.
    pub fn expire(&mut self, now: Millis) {
        self.channels.retain(|_, incoming| {
            incoming.closed.is_none_or(|closed| now.since(closed) < RECEIVER_FORGETS_MS)
        });
    }

    /// When [`expire`](Self::expire) next has something to do.
    pub fn next_due(&self) -> Option<Millis> {
        self.channels
            .values()
            .filter_map(|incoming| incoming.closed.map(|at| Millis(at.0 + RECEIVER_FORGETS_MS)))
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::message::Answer;

    #[test]
    fn a_message_that_is_too_long_is_refused_and_takes_no_number() {
        let (sender, receiver) = (EntityKey::Ledger(1), EntityKey::Ledger(2));
        let mut outbox = Outbox::default();
        let mut send = |letters: usize| {
            let answer = Answer::Refused("a".repeat(letters));
            outbox.send(sender, receiver, 1, Millis(1), Body::Answer { id: 1, answer })
        };
        // Variant, id and variant take a byte each, the length three.
        let longest = MESSAGE_BYTES_MAX - 6;
        let too_long = SendError::TooLong(TooLong(MESSAGE_BYTES_MAX + 1));
        assert_eq!(send(longest + 1), Err(too_long));
        assert_eq!(send(longest).unwrap().number, 1);
        assert_eq!(outbox.fullest(), 1);
    }
}
