//! Owns "applied once": per player the newest session's last commands and
//! their results. Never decides what a command does. Part of an entity's
//! journalled state; called when a command is admitted and when it is applied.
//!
//! Invariant: of one session a sequence is applied at most once and never
//! after a higher one; a command of a lower session is never applied.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::base::{EntityKey, Millis, PlayerId, SessionId, Tick, UnitId};
use crate::sim::orders::{Accepted, Command, Refused};

/// Results kept per session, and commands that may wait unanswered.
pub const RESULTS_MAX: usize = 32;
/// A row is dropped this long after the last command in it.
pub const FORGET_MS: u64 = 10 * 60 * 1000;

/// A player's command on its way to the entity it belongs to for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayerCommand {
    pub player: PlayerId,
    pub session: SessionId,
    /// From 1, rising within the session.
    pub sequence: u32,
    pub command: Command,
}

/// What tells one command from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandKey {
    pub player: PlayerId,
    pub session: SessionId,
    pub sequence: u32,
}

impl PlayerCommand {
    pub fn key(&self) -> CommandKey {
        let PlayerCommand { player, session, sequence, .. } = *self;
        CommandKey { player, session, sequence }
    }
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandResult {
    /// Done.
    Done(Accepted),
    /// A rule of the game refuses it; nothing changed.
    Refused(Refused),
    /// Not applied and never will be here: applied too long ago to tell, or
    /// overtaken by a later command, or the units are gone.
    NotHere,
    /// A newer session of the player has taken over.
    SessionEnded,
    /// The unit is on its way to `place`, or there; nothing changed.
    Moved { unit: UnitId, place: EntityKey },
}

/// A command's answer on its way to the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandAnswer {
    pub entity: EntityKey,
    pub player: PlayerId,
    pub session: SessionId,
    pub sequence: u32,
    pub result: CommandResult,
    /// The entity's tick after which it was applied; its effect shows from the next.
    pub tick: Tick,
    /// The entity's sequence: the record that holds the command.
    pub record: u64,
}

/// The commands an entity remembers, by player.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRows {
    rows: BTreeMap<PlayerId, Row>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    session: SessionId,
    last: u32,
    last_at: Millis,
    results: VecDeque<Remembered>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    sequence: u32,
    result: CommandResult,
    tick: Tick,
    record: u64,
}

/// What is to be done with a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is new: apply it.
    Apply,
    /// It is answered from what is remembered.
    Answer(CommandAnswer),
}

impl CommandRows {
    /// Whether a command is new here; else its answer.
    pub fn judge(&self, entity: EntityKey, command: CommandKey) -> Admission {
        let Some(row) = self.rows.get(&command.player) else { return Admission::Apply };
        let (result, tick, record) = if command.session < row.session {
            (CommandResult::SessionEnded, Tick(0), 0)
        } else if command.session > row.session || command.sequence > row.last {
            return Admission::Apply;
        } else {
            match row.results.iter().find(|r| r.sequence == command.sequence) {
                Some(r) => (r.result.clone(), r.tick, r.record),
                None => (CommandResult::NotHere, Tick(0), 0),
            }
        };
        let CommandKey { player, session, sequence } = command;
        Admission::Answer(CommandAnswer { entity, player, session, sequence, result, tick, record })
    }

    /// Remembers the answer of a command that [`judge`](Self::judge) let through.
    pub fn note_applied(&mut self, answer: &CommandAnswer, now: Millis) {
        let fresh = || Row {
            session: answer.session,
            last: 0,
            last_at: now,
            results: VecDeque::with_capacity(1),
        };
        let row = self.rows.entry(answer.player).or_insert_with(fresh);
        if row.session < answer.session {
            *row = fresh();
        }
        row.last = answer.sequence;
        row.last_at = now;
        if row.results.len() == RESULTS_MAX {
            row.results.pop_front();
        }
        row.results.push_back(Remembered {
            sequence: answer.sequence,
            result: answer.result.clone(),
            tick: answer.tick,
            record: answer.record,
        });
    }

    /// The last sequence applied for a session: 0 for none, `None` when a
    /// newer session has written here.
    pub fn last_applied(&self, player: PlayerId, session: SessionId) -> Option<u32> {
        match self.rows.get(&player) {
            Some(row) if row.session > session => None,
            Some(row) if row.session == session => Some(row.last),
            _ => Some(0),
        }
    }

    /// A new owner took over: what is remembered is as fresh as now.
    pub fn note_claimed(&mut self, now: Millis) {
        self.rows.values_mut().for_each(|row| row.last_at = row.last_at.max(now));
    }

    /// It woke after a sleep during which for so many ms nobody could have sent
    /// it anything: those do not count.
    pub fn note_woken(&mut self, away_ms: u64, now: Millis) {
        for row in self.rows.values_mut() {
            row.last_at = Millis(row.last_at.0.saturating_add(away_ms)).min(now).max(row.last_at);
        }
    }

    /// Drops rows whose last command is long past.
    pub fn expire(&mut self, now: Millis) {
        self.rows.retain(|_, row| now.since(row.last_at) < FORGET_MS);
    }

    /// When [`expire`](Self::expire) next has something to do.
    pub fn next_due(&self) -> Option<Millis> {
        self.rows.values().map(|row| Millis(row.last_at.0 + FORGET_MS)).min()
    }
}
