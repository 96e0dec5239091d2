//! Owns the commands that wait for their answer: sequences, timeouts, repeats.
//! Never sends (`core` does). Invariant: each command issued is answered or
//! given up exactly once, and is never sent to another entity or under another
//! sequence than at first.

use std::collections::BTreeMap;

use crate::base::EntityKey;
use crate::protocol::command::{Addressee, Command, Order, Recipients};
use crate::protocol::server::Ack;
use crate::protocol::{Answer, Place, Point, UNANSWERED_MAX};

/// How long an answer may take before the command is sent again.
pub const ANSWER_WITHIN_MS: u64 = 3_000;
/// How often a command is sent again before it is given up.
pub const REPEATS_MAX: u32 = 3;
/// A unit that moves on is followed so often.
const CHASES_MAX: u8 = 4;
/// After `busy`: so long, doubled each time.
const BUSY_MS: u64 = 250;

/// What a player wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub recipients: Recipients,
    pub order: Order,
    /// Whether it waits behind the orders that a unit has already.
    pub queue: bool,
    /// Where the client believes the first unit to be.
    pub predicted: Option<Point>,
}

/// A command as the player gave it, with the name it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The entity it belongs to for ever.
    pub place: EntityKey,
    pub command: Command,
    /// How many commands before it said the same, each to a place that the
    /// unit had just left.
    pub chases: u8,
}

/// Why a command is given up. Whether it was carried out is not known, except
/// after an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GiveUp {
    /// Sent four times, answered never.
    NoAnswer,
    /// Sent four times, put off each time.
    PutOff(Answer),
    /// The session it belongs to cannot be resumed.
    SessionLost,
}

/// What an acknowledgement means for the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Answered for good, so long after it was first sent.
    Answered {
        command: Issued,
        waited_ms: u64,
    },
    /// Put off; `handle_time` sends it again.
    Later,
    /// The place has a new owner: these are to be sent again, in order.
    Again(Vec<Issued>),
    GaveUp {
        command: Issued,
        why: GiveUp,
    },
    /// Nothing waits under this sequence: it was answered or given up before.
    Unknown,
}

/// What time brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// To be sent again, in order.
    pub again: Vec<Issued>,
    pub given_up: Vec<Issued>,
}

#[derive(Clone, Debug)]
struct Waiting {
    issued: Issued,
    first_sent: u64,
    due: u64,
    repeats: u32,
}

/// The commands of one session.
#[derive(Clone, Debug, Default)]
pub struct CommandBook {
    /// The last sequence given; the first is 1.
    last: u32,
    waiting: BTreeMap<u32, Waiting>,
}

impl CommandBook {
    /// Names a command and keeps it until it is answered; `None` when 32 of
    /// this place are unanswered, or the session has no sequence left.
    pub fn issue(
        &mut self,
        now: u64,
        place: Place,
        Wanted { recipients, order, queue, predicted }: Wanted,
    ) -> Option<Issued> {
        if self.room_at(place.key()) == 0 {
            return None;
        }
        let sequence = self.last.checked_add(1)?;
        self.last = sequence;
        let to = Addressee::Place(place);
        let command = Command { sequence, time: now, to, predicted, recipients, queue, order };
        let issued = Issued { place: place.key(), command, chases: 0 };
        let waiting = Waiting {
            issued: issued.clone(),
            first_sent: now,
            due: now.saturating_add(ANSWER_WITHIN_MS),
            repeats: 0,
        };
        self.waiting.insert(sequence, waiting);
        Some(issued)
    }

    /// A new command like one that was answered `moved`, to where its only unit
    /// is now; `None` when it named several, when that place has no room, or
    /// when the unit was chased often enough.
    pub fn chase(&mut self, now: u64, place: Place, moved: &Issued) -> Option<Issued> {
        let Command { recipients, order, queue, .. } = moved.command.clone();
        if recipients.units().len() != 1 || moved.chases >= CHASES_MAX {
            return None;
        }
        let wanted = Wanted { recipients, order, queue, predicted: None };
        let mut issued = self.issue(now, place, wanted)?;
        issued.chases = moved.chases + 1;
        if let Some(waiting) = self.waiting.get_mut(&issued.command.sequence) {
            waiting.issued.chases = issued.chases;
        }
        Some(issued)
    }

    /// All that waits, in order of sequence.
    pub fn unanswered(&self) -> impl Iterator<Item = &Issued> {
        self.waiting.values().map(|waiting| &waiting.issued)
    }

    /// When the first of what waits was sent.
    pub fn waits_since(&self) -> Option<u64> {
        self.waiting.values().map(|waiting| waiting.first_sent).min()
    }

    /// How many more commands `place` may have unanswered.
    pub fn room_at(&self, place: EntityKey) -> usize {
        let waiting = self.unanswered().filter(|issued| issued.place == place).count();
        UNANSWERED_MAX.saturating_sub(waiting)
    }

    /// Takes an answer.
    pub fn handle_ack(&mut self, now: u64, ack: &Ack) -> Settled {
        let Some(waiting) = self.waiting.get_mut(&ack.sequence) else { return Settled::Unknown };
        let Some(error) = ack.error.as_ref().filter(|error| error.may_retry()) else {
            return self.settle(now, ack.sequence);
        };
        if matches!(error, Answer::StoreAway {}) {
            // Time stands still for all: this is no failed attempt.
            waiting.due = now.saturating_add(ANSWER_WITHIN_MS);
            return Settled::Later;
        }
        if waiting.repeats >= REPEATS_MAX {
            let why = GiveUp::PutOff(error.clone());
            return self.give_up(ack.sequence, why);
        }
        waiting.due = match error {
            Answer::Limited { after_ms } => now.saturating_add(u64::from(*after_ms)),
            Answer::Busy {} => now.saturating_add(BUSY_MS << waiting.repeats),
            _ => return self.attach_again(now, ack.sequence),
        };
        Settled::Later
    }

    fn settle(&mut self, now: u64, sequence: u32) -> Settled {
        match self.waiting.remove(&sequence) {
            Some(Waiting { issued: command, first_sent, .. }) => {
                Settled::Answered { command, waited_ms: now.saturating_sub(first_sent) }
            }
            None => Settled::Unknown,
        }
    }

    fn give_up(&mut self, sequence: u32, why: GiveUp) -> Settled {
        match self.waiting.remove(&sequence) {
            Some(Waiting { issued: command, .. }) => Settled::GaveUp { command, why },
            None => Settled::Unknown,
        }
    }

    /// Everything that waits for the place of `sequence`, to be sent anew.
    fn attach_again(&mut self, now: u64, sequence: u32) -> Settled {
        let Some(place) = self.waiting.get(&sequence).map(|waiting| waiting.issued.place) else {
            return Settled::Unknown;
        };
        let again = self.waiting.values_mut().filter(|waiting| waiting.issued.place == place);
        Settled::Again(again.map(|waiting| waiting.repeat(now)).collect())
    }

    /// Sends again what waited too long and gives up what was sent too often.
    pub fn handle_time(&mut self, now: u64) -> Due {
        let mut due = Due::default();
        self.waiting.retain(|_, waiting| {
            if waiting.due > now {
                return true;
            }
            if waiting.repeats >= REPEATS_MAX {
                due.given_up.push(waiting.issued.clone());
                return false;
            }
            due.again.push(waiting.repeat(now));
            true
        });
        due
    }

    /// When [`handle_time`](Self::handle_time) has something to do.
    pub fn next_due(&self) -> Option<u64> {
        self.waiting.values().map(|waiting| waiting.due).min()
    }

    /// The session goes on, on a new connection: all that waits is sent again,
    /// as if for the first time.
    pub fn handle_resumed(&mut self, now: u64) -> Vec<Issued> {
        let waiting = self.waiting.values_mut();
        waiting
            .map(|waiting| {
                waiting.repeats = 0;
                waiting.due = now.saturating_add(ANSWER_WITHIN_MS);
                waiting.issued.clone()
            })
            .collect()
    }

    /// Another session begins: sequences begin at 1, what waited is lost.
    pub fn handle_session_lost(&mut self) -> Vec<Issued> {
        self.last = 0;
        std::mem::take(&mut self.waiting).into_values().map(|waiting| waiting.issued).collect()
    }

    /// Nobody answers while time stands still: all deadlines begin anew.
    pub fn handle_standstill(&mut self, now: u64) {
        for waiting in self.waiting.values_mut() {
            waiting.due = now.saturating_add(ANSWER_WITHIN_MS);
        }
    }
}

impl Waiting {
    fn repeat(&mut self, now: u64) -> Issued {
        self.repeats += 1;
        self.due = now.saturating_add(ANSWER_WITHIN_MS);
        self.issued.clone()
    }
}
