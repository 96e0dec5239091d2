//! Owns the commands that wait for their answer: sequences, timeouts, repeats.
//! Never sends (`core` does). Invariants: each command issued is answered or
//! given up exactly once, and is never sent to another entity or under another
//! sequence than at first; what is sent again to a place begins with the first
//! command that is unanswered there, and all behind it follow in order.
//!
//! Such a *round* is what tells a server that the client knows what was refused:
//! until it begins, the server refuses all that comes behind. Each copy sent is
//! answered at most once, so a command of which another copy is under way waits
//! for that one; else it asks for a round, at once or after a while, and the
//! place waits for whoever asks for the latest. Only a command that is `limited`
//! waits alone, for that may be a minute: those behind it overtake it.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::EntityKey;
use crate::protocol::command::{Addressee, Command, Order, Recipients};
use crate::protocol::server::Ack;
use crate::protocol::{Answer, Place, Point, UNANSWERED_MAX};

/// How long an answer may take before the command is sent again.
pub const ANSWER_WITHIN_MS: u64 = 3_000;
/// How often a command is sent again before it is given up.
pub const REPEATS_MAX: u32 = 3;
/// One that is put off is not given up before it was tried for so long: a node that
/// died is replaced within that, and a sector that moves runs again.
pub const PUT_OFF_MS: u64 = 12_000;
/// A unit that moves on is followed so often.
const CHASES_MAX: u8 = 4;
/// After `busy`: so long, doubled each time, and then no longer than that. Most often
/// a sector moves just then, which takes no longer than the first few.
const BUSY_MS: u64 = 50;
const BUSY_MS_MAX: u64 = 2_000;

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
    /// Sent four times at least, for [`PUT_OFF_MS`], put off each time.
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
    /// Put off; `handle_time` sends it again, and may have to at once.
    Later,
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

/// A command that waits for its answer.
#[derive(Clone, Debug)]
struct Waiting {
    issued: Issued,
    first_sent: u64,
    /// Copies sent that are not answered.
    under_way: u32,
    /// When it is sent again if none is.
    due: u64,
    /// All were answered: not now.
    refused: Option<PutOff>,
    /// Rounds that were for its sake because it was put off.
    repeats: u32,
    /// And because nobody answered.
    unheard: u32,
    /// Until then it is not given up for being put off.
    patient: u64,
}

/// How a command was put off.
#[derive(Clone, Copy, Debug)]
struct PutOff {
    until: u64,
    /// It waits alone.
    alone: bool,
    /// The round is for its sake, not only for one before it.
    counts: bool,
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
            under_way: 1,
            due: now.saturating_add(ANSWER_WITHIN_MS),
            refused: None,
            repeats: 0,
            unheard: 0,
            patient: now.saturating_add(PUT_OFF_MS),
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
        let Some(place) = self.waiting.get(&ack.sequence).map(|waiting| waiting.issued.place)
        else {
            return Settled::Unknown;
        };
        let Some(error) = ack.error.as_ref().filter(|error| error.may_retry()) else {
            return self.settle(now, ack.sequence);
        };
        let is_first = self.first_at(place) == Some(ack.sequence);
        let Some(waiting) = self.waiting.get_mut(&ack.sequence) else { return Settled::Unknown };
        waiting.under_way = waiting.under_way.saturating_sub(1);
        if waiting.under_way > 0 {
            return Settled::Later;
        }
        let put_off = waiting.put_off(now, error, is_first);
        if matches!(error, Answer::StoreAway {}) {
            waiting.patient = now.saturating_add(PUT_OFF_MS);
        }
        if put_off.counts && waiting.repeats >= REPEATS_MAX && now >= waiting.patient {
            return self.give_up(ack.sequence, GiveUp::PutOff(error.clone()));
        }
        waiting.refused = Some(put_off);
        Settled::Later
    }

    /// The first command of a place that does not wait alone: for its sake the
    /// others are refused.
    fn first_at(&self, place: EntityKey) -> Option<u32> {
        let first = self.waiting.values().find(|waiting| waiting.is_of(place) && !waiting.alone());
        first.map(|waiting| waiting.issued.command.sequence)
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

    /// Sends again what was refused or waited too long, with all that is
    /// unanswered of its place, and gives up what was sent too often.
    pub fn handle_time(&mut self, now: u64) -> Due {
        let mut due = Due::default();
        for place in self.places() {
            if self.round_due(place).is_some_and(|at| at <= now) {
                self.begin_round(place, now, &mut due);
            }
        }
        due
    }

    /// When [`handle_time`](Self::handle_time) has something to do.
    pub fn next_due(&self) -> Option<u64> {
        self.places().into_iter().filter_map(|place| self.round_due(place)).min()
    }

    fn places(&self) -> BTreeSet<EntityKey> {
        self.unanswered().map(|issued| issued.place).collect()
    }

    /// When everything of a place is sent again: as late as the latest that was
    /// put off wants it, or when the first was not answered for too long.
    fn round_due(&self, place: EntityKey) -> Option<u64> {
        let here = || self.waiting.values().filter(|waiting| waiting.is_of(place));
        let together = || here().filter(|waiting| !waiting.alone());
        let put_off = |waiting: &Waiting| waiting.refused.map(|refused| refused.until);
        let held = together().filter_map(put_off).max();
        let next = held.or_else(|| together().map(|waiting| waiting.due).min());
        let alone = here().filter(|waiting| waiting.alone()).filter_map(put_off);
        let alone = alone.map(|until| until.max(held.unwrap_or(0))).min();
        [next, alone].into_iter().flatten().min()
    }

    /// All of a place but those that wait alone for longer.
    fn begin_round(&mut self, place: EntityKey, now: u64, due: &mut Due) {
        self.waiting.retain(|_, waiting| {
            let stays = waiting.refused.is_some_and(|refused| refused.alone && refused.until > now);
            if !waiting.is_of(place) || stays {
                return true;
            }
            let is_unheard = waiting.refused.is_none() && waiting.due <= now;
            if is_unheard && waiting.unheard >= REPEATS_MAX {
                due.given_up.push(waiting.issued.clone());
                return false;
            }
            waiting.unheard += u32::from(is_unheard);
            waiting.repeats += u32::from(waiting.refused.is_some_and(|refused| refused.counts));
            due.again.push(waiting.send(now));
            true
        });
    }

    /// The session goes on, on a new connection: all that waits is sent again,
    /// as if for the first time.
    pub fn handle_resumed(&mut self, now: u64) -> Vec<Issued> {
        let waiting = self.waiting.values_mut();
        waiting
            .map(|waiting| {
                (waiting.repeats, waiting.unheard, waiting.under_way) = (0, 0, 0);
                waiting.patient = now.saturating_add(PUT_OFF_MS);
                waiting.send(now)
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
        let until = now.saturating_add(ANSWER_WITHIN_MS);
        for waiting in self.waiting.values_mut() {
            waiting.due = until;
            waiting.patient = now.saturating_add(PUT_OFF_MS);
            if let Some(refused) = &mut waiting.refused {
                refused.until = until;
            }
        }
    }
}

impl Waiting {
    fn is_of(&self, place: EntityKey) -> bool {
        self.issued.place == place
    }

    /// Whether those behind it do not wait for it.
    fn alone(&self) -> bool {
        self.refused.is_some_and(|refused| refused.alone)
    }

    /// What an answer that is none means; `is_first` of its place.
    fn put_off(&self, now: u64, error: &Answer, is_first: bool) -> PutOff {
        let (after_ms, alone, counts) = match error {
            Answer::Limited { after_ms } => (u64::from(*after_ms), true, true),
            Answer::Busy {} => (busy_ms(self.repeats), false, true),
            // Time stands still for all: this is no failed attempt.
            Answer::StoreAway {} => (ANSWER_WITHIN_MS, false, false),
            // The first time at once.
            _ if is_first && self.repeats > 0 => (busy_ms(self.repeats - 1), false, true),
            _ => (0, false, is_first),
        };
        PutOff { until: now.saturating_add(after_ms), alone, counts }
    }

    fn send(&mut self, now: u64) -> Issued {
        self.under_way += 1;
        self.refused = None;
        self.due = now.saturating_add(ANSWER_WITHIN_MS);
        self.issued.clone()
    }
}

/// How long to wait after so many rounds in vain.
fn busy_ms(rounds: u32) -> u64 {
    (BUSY_MS << rounds.min(8)).min(BUSY_MS_MAX)
}

#[cfg(test)]
mod tests;
