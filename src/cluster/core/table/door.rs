//! Owns what a table takes in: commands, proposals, messages. Never applies
//! anything. Called by the arbiter's handlers and, for what comes through the
//! core, by [`Table::handle`]. Invariant: what waits for a commit is bounded,
//! and whoever is turned away is told or comes again.
//!
//! | input | what bounds it |
//! |---|---|
//! | commands | refused when the entity's or the table's bound is reached, and behind one that was refused: its session attaches again |
//! | proposals | refused when the entity's or the table's bound is reached |
//! | messages, acknowledgements | dropped then: they come again |
//! | `Left` | one for each connection that a ledger gave a session |
//! | ids | one block for each entity that waits for it |
//! | hashes | put off then |
//! | what comes with an entity from another table | that table's bound |
//! | anything | not taken once the entity is about to hibernate: what is dropped comes again, and wakes it |
//! | time | one at a time for a timer, one for each snapshot that the core allowed |

use super::{FromTable, Release, Table, Unavailable};
use crate::base::EntityKey;
use crate::cluster::core::attaching::Ticket;
use crate::cluster::core::cell::Door;
use crate::entity::channel::{Acknowledgement, ChannelMessage, Verdict};
use crate::entity::commands::PlayerCommand;
use crate::entity::effect::PlayerEffect;
use crate::entity::input::{Input, Left};
use crate::entity::record::encode_input;

impl Table {
    /// Takes an input that is no command: for a ledger, say. That a connection
    /// is lost is taken also while time stands still or much waits: it
    /// happened, and a session that nobody is known to have left could be
    /// resumed for ever.
    ///
    /// # Errors
    /// When the entity is not here, has too much waiting, or time stands
    /// still; when the input is too long, or the node is over.
    pub fn propose(&mut self, entity: EntityKey, input: Input) -> Result<(), Unavailable> {
        let is_left = input.says_lost();
        if self.over {
            return Err(Unavailable::Busy);
        }
        if self.away && !is_left {
            return Err(Unavailable::StoreAway);
        }
        if !self.is_open(entity) {
            return Err(Unavailable::NotHere);
        }
        if self.is_full(entity) && !is_left {
            return Err(Unavailable::Busy);
        }
        let bytes = self.encode(&input)?;
        self.submit_encoded(entity, input, bytes);
        Ok(())
    }

    /// A session was given here to a connection that had gone.
    pub fn leave(&mut self, left: Left) {
        self.submit(self.world.ledger_of(left.player), Input::Left(left));
    }

    /// Takes a player's command in. The answer comes as a [`Release`], also
    /// to one that was applied before.
    ///
    /// # Errors
    /// When the entity is not here, has too much waiting, or time stands
    /// still; when the command is too long, or not the next of an attachment.
    /// Then those sent behind it under the same one are refused, too; and all
    /// when the node is over.
    pub fn admit(
        &mut self,
        entity: EntityKey,
        ticket: Ticket,
        command: PlayerCommand,
    ) -> Result<(), Unavailable> {
        if self.over {
            return Err(Unavailable::Busy);
        }
        if self.away {
            return Err(Unavailable::StoreAway);
        }
        let is_full = self.pending >= self.limits.inputs_per_table;
        let cell = self.cells.get_mut(&entity).filter(|cell| !cell.is_resting());
        let cell = cell.ok_or(Unavailable::NotHere)?;
        if cell.left().is_some() {
            // Who attaches waits until it runs where it goes.
            return Err(Unavailable::AttachAgain);
        }
        let (key, input) = (command.key(), Input::Command(command));
        let bytes = encode(&input, self.limits.input_bytes)?;
        match cell.admit_command(ticket, key, is_full, &self.limits) {
            Door::Admitted => {
                let generation = cell.generation();
                cell.push(input);
                self.pending += 1;
                self.to_core.push(FromTable::Submit { entity, generation, bytes });
            }
            Door::Answered(answer) => {
                self.hold(Release::Player(PlayerEffect::Answered(answer)));
            }
            Door::Pending => {}
            Door::Busy => return Err(Unavailable::Busy),
            Door::AttachAgain => return Err(Unavailable::AttachAgain),
        }
        Ok(())
    }

    /// What the core has for an entity: ids, or what waited for its load.
    pub(super) fn take_proposed(&mut self, entity: EntityKey, input: Input) {
        let must = input.says_lost() || matches!(input, Input::Ids { .. });
        if self.is_full(entity) && !must {
            self.counts.dropped += 1;
            return;
        }
        self.submit(entity, input);
    }

    pub(super) fn deliver(&mut self, message: ChannelMessage) {
        let key = message.channel.receiver;
        let cell = self.cells.get(&key).filter(|cell| !cell.is_closed());
        let Some(cell) = cell else { return };
        match cell.judge_message(&message) {
            Verdict::Apply if self.is_full(key) => self.counts.dropped += 1,
            Verdict::Apply => self.submit(key, Input::Message(message)),
            Verdict::Repeat(ack) => self.to_core.push(FromTable::Acknowledge(ack)),
            Verdict::Ignore => {}
        }
    }

    /// One that is dropped comes again with the message it is for.
    pub(super) fn acknowledge(&mut self, ack: Acknowledgement) {
        let key = ack.channel.sender;
        if !self.cells.get(&key).is_some_and(|cell| cell.expects_ack(&ack)) {
            return;
        }
        if self.is_full(key) {
            self.counts.dropped += 1;
            return;
        }
        self.submit(key, Input::Acknowledged(ack));
    }

    /// Whether an entity is here and not about to hibernate.
    fn is_open(&self, entity: EntityKey) -> bool {
        self.cells.get(&entity).is_some_and(|cell| !cell.is_closed())
    }

    /// Whether an entity takes no more from outside before a commit.
    pub(super) fn is_full(&self, entity: EntityKey) -> bool {
        self.pending >= self.limits.inputs_per_table
            || self.cells.get(&entity).is_some_and(|cell| cell.is_full(&self.limits))
    }

    /// Has an input made durable. One that is too long is dropped: whoever may
    /// make a long one is told before.
    pub(super) fn submit(&mut self, entity: EntityKey, input: Input) {
        match self.encode(&input) {
            Ok(bytes) => self.submit_encoded(entity, input, bytes),
            Err(_) => self.counts.dropped += 1,
        }
    }

    fn encode(&self, input: &Input) -> Result<Vec<u8>, Unavailable> {
        encode(input, self.limits.input_bytes)
    }

    fn submit_encoded(&mut self, entity: EntityKey, input: Input, bytes: Vec<u8>) {
        let cell = self.cells.get_mut(&entity).filter(|cell| !cell.is_closed());
        let Some(cell) = cell else { return };
        cell.push(input);
        self.pending += 1;
        let generation = cell.generation();
        self.to_core.push(FromTable::Submit { entity, generation, bytes });
    }
}

/// A command to a few units has so many bytes at most.
const USUAL: usize = 64;

/// The bytes of an input, if there are not too many.
fn encode(input: &Input, longest: usize) -> Result<Vec<u8>, Unavailable> {
    let mut bytes = Vec::with_capacity(USUAL);
    encode_input(input, &mut bytes);
    if bytes.len() <= longest { Ok(bytes) } else { Err(Unavailable::TooLong) }
}
