//! Owns what the client's state machine wants done and what it has to tell:
//! two closed lists. Never does anything itself.

use super::commands::{GiveUp, Issued};
use super::predict::Correction;
use crate::base::{EntityKey, PlayerId, SessionId};
use crate::protocol::server::{Ack, Error, Notice, PresenceEntry};
use crate::protocol::{Answer, ClientFrame};
use crate::view::Difference;

/// One thing for the shell to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Open a connection, then say `handle_opened` or `handle_closed`.
    Open,
    Send(ClientFrame),
    /// Close the connection; nothing more is said of it.
    Close,
    /// For whoever uses the library.
    Tell(Event),
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The session is open. What was unanswered goes on when it was resumed,
    /// and was given up when not.
    Connected {
        session: SessionId,
        player: PlayerId,
        resumed: bool,
        fingerprint: String,
        presence: Vec<PresenceEntry>,
    },
    /// The connection is gone; another is opened after so long.
    Disconnected {
        reason: String,
        retry_in_ms: u64,
    },
    /// The end: no further connection is opened.
    Ended {
        reason: String,
        answer: Option<Answer>,
    },
    /// The one answer to a command.
    Answered {
        command: Issued,
        ack: Ack,
        waited_ms: u64,
    },
    /// The command answered last was for a unit that has moved on: this new one
    /// says the same where it is now.
    Chased {
        command: Issued,
    },
    /// A command's outcome is not known, and nothing more is tried.
    GaveUp {
        command: Issued,
        why: GiveUp,
    },
    /// A place is watched; its first keyframe comes next.
    Subscribed {
        place: EntityKey,
    },
    Unsubscribed {
        place: EntityKey,
    },
    /// A place's view is at this tick now.
    Updated {
        place: EntityKey,
        tick: u64,
        keyframe: bool,
    },
    /// Units of the player's orders were predicted elsewhere, or just where they
    /// are; both places are at this tick. Told right behind the answer or the
    /// update that is the cause. Whoever draws predicted units may lead them
    /// from the one place to the other.
    Corrected {
        place: EntityKey,
        tick: u64,
        corrections: Vec<Correction>,
    },
    /// A packet has units of a cell that it does not say the player sees, or
    /// that are not in the cell it says. A fault at the server.
    Stray {
        place: EntityKey,
        cell: u8,
    },
    /// What is known of a large sector has changed.
    Aggregated {
        place: EntityKey,
    },
    /// A place makes so many per cent of its ticks from here on. After a
    /// keyframe it makes all of them until this says something else.
    Dilated {
        place: EntityKey,
        percent: u8,
    },
    /// A message of the place is missing; a keyframe has been asked for.
    Gap {
        place: EntityKey,
    },
    /// A keyframe differs from what its predecessors said. A fault, here or
    /// at the server; the view is the keyframe's now.
    Desync {
        place: EntityKey,
        tick: u64,
        differences: Vec<Difference>,
    },
    Presence {
        changed: Vec<PresenceEntry>,
    },
    Notice(Notice),
    /// The answer to something else than a command.
    Refused(Error),
    /// From a Ping to its Pong.
    RoundTrip {
        ms: u64,
    },
}
