//! Owns a session's commands until they are answered: to which entities it is
//! attached, what waits for that, what is unanswered, what is to come again.
//! Never sends; the session does. Invariants: an entity is sent a command only
//! while attached; at most so many of one entity are unanswered; each copy of a
//! command is answered at most once; of what one client sends in order of
//! sequence nothing overtakes what was refused and is to come again.
//!
//! A refusal ends the attachment. What was sent under it and is not answered is
//! refused with it: it may have got through, and then the next copy is answered
//! from memory, or it never will, and then nothing behind it has either
//! ([`attaching`](crate::cluster::core::attaching)). From there on the entity is
//! *shut*: what goes on where the client was is from before it knew, and refused
//! at once. A client that knows begins again with the first command that is
//! unanswered; that step back opens the entity.
//!
//! ```text
//!   from the client   4  5  6   |  7  8   4  5  6  7  8   9
//!                               |  └────┘ └───────────────┘
//!      the entity refuses 5 ────┘  refused  attached, sent
//! ```

use std::collections::BTreeMap;

use crate::base::{EntityKey, Millis, NodeId};
use crate::cluster::core::attaching::{Attached, Attachment, Ticket};
use crate::entity::commands::PlayerCommand;

/// Entities of which a session has commands unanswered.
const ENTITIES_MAX: usize = 64;
/// Entities of which it remembers something.
const ROWS_MAX: usize = 1024;
/// After so long a command that was sent on is no longer counted: its client has
/// given it up long before.
const FORGET_MS: u64 = 60_000;

/// What is to be done with a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Send it now.
    Send(PlayerCommand),
    /// It waits: ask for the last sequence applied.
    Attach,
    /// It waits for what was asked before.
    Waits,
    /// Too many are unanswered; it was not taken.
    Busy,
    /// One before it was refused, which the client did not know; not taken.
    AttachAgain,
    /// There is no room to remember that it was refused: on another connection
    /// the client begins in order.
    Full,
}

/// Copies of one command that may be unanswered: the client library sends one
/// more in each of three rounds. Further ones are answered at once.
const COPIES_MAX: u32 = 8;

/// A command that is refused, and how many copies of it were not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    pub sequence: u32,
    pub copies: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Way {
    #[default]
    Detached,
    Asked,
    /// The next command goes to that node and has this ticket.
    Attached(NodeId, Ticket),
}

#[derive(Clone, Copy, Debug)]
struct Unanswered {
    since: Millis,
    copies: u32,
}

#[derive(Clone, Debug, Default)]
struct Row {
    way: Way,
    unanswered: BTreeMap<u32, Unanswered>,
    /// Of those, the ones that wait for the attachment.
    waiting: BTreeMap<u32, PlayerCommand>,
    /// The highest sequence that was counted against the player's limits.
    counted: u32,
    /// The sequence that came last, whatever became of it.
    last: u32,
    /// Something is to come again.
    shut: bool,
}

/// The commands of one session, by entity.
#[derive(Clone, Debug, Default)]
pub struct CommandTable {
    rows: BTreeMap<EntityKey, Row>,
}

impl CommandTable {
    /// Takes a command that came at `now`.
    pub fn take(
        &mut self,
        entity: EntityKey,
        command: PlayerCommand,
        now: Millis,
        unanswered_max: usize,
    ) -> Taken {
        if !self.make_room(entity) {
            return Taken::Full;
        }
        let is_crowded = self.is_crowded(entity);
        let row = self.rows.entry(entity).or_default();
        row.forget(now);
        let sequence = command.sequence;
        if !row.pass(sequence) {
            return Taken::AttachAgain;
        }
        let is_more = !row.unanswered.contains_key(&sequence);
        if is_more && (is_crowded || row.unanswered.len() >= unanswered_max) {
            row.shut = true;
            return Taken::Busy;
        }
        let unanswered =
            row.unanswered.entry(sequence).or_insert(Unanswered { since: now, copies: 0 });
        if unanswered.copies >= COPIES_MAX {
            return Taken::Busy;
        }
        unanswered.copies += 1;
        match row.way {
            Way::Attached(..) => return Taken::Send(command),
            Way::Detached | Way::Asked => row.waiting.insert(sequence, command),
        };
        match std::mem::replace(&mut row.way, Way::Asked) {
            Way::Detached => Taken::Attach,
            Way::Asked | Way::Attached(..) => Taken::Waits,
        }
    }

    /// Notes that the entity has applied all up to `last`; what waited, in order.
    pub fn note_attached(&mut self, entity: EntityKey, attached: Attached) -> Vec<PlayerCommand> {
        let Some(row) = self.rows.get_mut(&entity) else { return Vec::new() };
        row.way = Way::Attached(attached.at, Ticket::first(attached.attachment));
        row.counted = row.counted.max(attached.last);
        std::mem::take(&mut row.waiting).into_values().collect()
    }

    /// The ticket of the command that is sent to `entity` next, and to which
    /// node; each is given once. `None` when the session is not attached.
    pub fn take_ticket(&mut self, entity: EntityKey) -> Option<(NodeId, Ticket)> {
        let Way::Attached(at, next) = &mut self.rows.get_mut(&entity)?.way else { return None };
        let ticket = *next;
        *next = ticket.next();
        Some((*at, ticket))
    }

    /// The attachment was refused; what waited for it, which comes again if it
    /// `may_retry`.
    pub fn note_refused(&mut self, entity: EntityKey, may_retry: bool) -> Vec<Refused> {
        let Some(row) = self.rows.get_mut(&entity) else { return Vec::new() };
        row.way = Way::Detached;
        row.refuse(may_retry)
    }

    /// The entity did not take a command that was sent under `attachment`, which
    /// ends: all that is not answered, in order. Nothing when the attachment had
    /// ended before, for all of it was refused then.
    pub fn note_rejected(
        &mut self,
        entity: EntityKey,
        attachment: Attachment,
        (sequence, may_retry): (u32, bool),
    ) -> Vec<Refused> {
        let Some(row) = self.rows.get_mut(&entity) else { return Vec::new() };
        match row.way {
            Way::Attached(_, next) if next.attachment == attachment => row.way = Way::Detached,
            _ => return Vec::new(),
        }
        let others = row.unanswered.keys().any(|other| *other != sequence);
        row.refuse(may_retry || others)
    }

    /// The entity is no longer where it was attached; what is unanswered. What
    /// waits for an attachment was sent nowhere, and waits on.
    pub fn note_gone(&mut self, entity: EntityKey) -> Vec<Refused> {
        let row = self.rows.get_mut(&entity).filter(|row| row.way != Way::Asked);
        let Some(row) = row else { return Vec::new() };
        row.way = Way::Detached;
        row.refuse(true)
    }

    /// Whether a command counts against the player's limits: it is no repeat.
    pub fn counts(&self, entity: EntityKey, sequence: u32) -> bool {
        self.rows.get(&entity).is_none_or(|row| sequence > row.counted)
    }

    /// Notes that it was counted.
    pub fn note_counted(&mut self, entity: EntityKey, sequence: u32) {
        if let Some(row) = self.rows.get_mut(&entity) {
            row.counted = row.counted.max(sequence);
        }
    }

    /// A command is answered for good, however many copies of it there are; when
    /// it came.
    pub fn note_answered(&mut self, entity: EntityKey, sequence: u32) -> Option<Millis> {
        let row = self.rows.get_mut(&entity)?;
        row.waiting.remove(&sequence);
        row.unanswered.remove(&sequence).map(|unanswered| unanswered.since)
    }

    /// A command is put off that was not sent on: how many copies.
    pub fn note_put_off(&mut self, entity: EntityKey, sequence: u32) -> u32 {
        let row = self.rows.get_mut(&entity);
        row.and_then(|row| row.unanswered.remove(&sequence)).map_or(1, |all| all.copies)
    }

    /// Whether one more entity with something unanswered is too many.
    fn is_crowded(&self, entity: EntityKey) -> bool {
        if self.rows.len() < ENTITIES_MAX || self.rows.get(&entity).is_some_and(Row::is_busy) {
            return false;
        }
        self.rows.values().filter(|row| row.is_busy()).count() >= ENTITIES_MAX
    }

    /// Room to remember something of `entity`, by forgetting another one.
    fn make_room(&mut self, entity: EntityKey) -> bool {
        if self.rows.len() < ROWS_MAX || self.rows.contains_key(&entity) {
            return true;
        }
        let is_idle = |row: &Row| !row.is_busy() && !row.shut;
        let victim = self.rows.iter().find(|(_, row)| is_idle(row)).map(|(key, _)| *key);
        victim.is_some_and(|victim| self.rows.remove(&victim).is_some())
    }
}

impl Row {
    fn is_busy(&self) -> bool {
        !self.unanswered.is_empty() || self.way == Way::Asked
    }

    fn forget(&mut self, now: Millis) {
        let waiting = &self.waiting;
        self.unanswered.retain(|sequence, unanswered| {
            waiting.contains_key(sequence) || now.since(unanswered.since) < FORGET_MS
        });
    }

    /// Whether a command that comes now may go on: nothing is to come again, or
    /// the client begins to.
    fn pass(&mut self, sequence: u32) -> bool {
        let before = std::mem::replace(&mut self.last, sequence);
        if sequence <= before {
            self.shut = false;
        }
        !self.shut
    }

    fn refuse(&mut self, comes_again: bool) -> Vec<Refused> {
        self.waiting.clear();
        let unanswered = std::mem::take(&mut self.unanswered);
        self.shut |= comes_again && !unanswered.is_empty();
        let refused = |(sequence, Unanswered { copies, .. })| Refused { sequence, copies };
        unanswered.into_iter().map(refused).collect()
    }
}

#[cfg(test)]
mod tests;
