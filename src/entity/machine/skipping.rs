//! Owns what becomes of an input that breaks its entity: which may be set aside,
//! what is done instead of it, and where an entity was when it panicked. Never
//! catches a panic (the shells do) and never decides that something is set aside
//! (who loads the entity does).
//!
//! The input is in the journal before anybody can know. So a later record names it
//! (`Input::Skip`), and whoever replays reads the records to their end before it
//! applies the first: no state ever held the input, so that there is nothing to undo
//! and no hash that differs.
//!
//! Set aside may be what is answered or comes again in another form. What carries
//! what nobody else has (units, answers, ids), or is the journal's own, may not: then
//! the entity is parked, and nothing is lost.
//!
//! Invariant: a request that is set aside has its one answer, a command its result,
//! and a retry of it the same.

use std::collections::BTreeSet;
use std::fmt;

use super::{Doing, Entity};
use crate::base::Tick;
use crate::entity::World;
use crate::entity::channel::Verdict;
use crate::entity::commands::{Admission, CommandResult};
use crate::entity::effect::{Effect, PlayerEffect};
use crate::entity::input::{Input, InputPlace};
use crate::entity::message::{Answer, Body, Notice};
use crate::entity::record::Record;
use crate::sim::{Refusal, Refused};

/// Inputs of one entity that are set aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skips(BTreeSet<InputPlace>);

impl Skips {
    /// Those that `records` name.
    pub fn named_in<'r>(records: impl Iterator<Item = &'r Record>) -> Skips {
        let inputs = records.flat_map(|record| &record.inputs);
        let places = inputs.filter_map(|input| match input {
            Input::Skip(place) => Some(*place),
            _ => None,
        });
        Skips(places.collect())
    }

    pub fn insert(&mut self, place: InputPlace) {
        self.0.insert(place);
    }

    pub fn has(&self, place: InputPlace) -> bool {
        self.0.contains(&place)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, ascending.
    pub fn iter(&self) -> impl Iterator<Item = InputPlace> + '_ {
        self.0.iter().copied()
    }

    /// These and `others`.
    #[must_use]
    pub fn with(mut self, others: &Skips) -> Skips {
        self.0.extend(others.iter());
        self
    }
}

/// Where an entity was when it panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broke {
    Input(InputPlace),
    /// In the step to that tick.
    Step(Tick),
    /// In what the passing of time ends at that record.
    Time {
        sequence: u64,
    },
    /// In writing its state down, or the like.
    Other(Tick),
}

impl fmt::Display for Broke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broke::Input(InputPlace { sequence, index }) => {
                write!(f, "input {index} of record {sequence} panics")
            }
            Broke::Step(tick) => write!(f, "its step to tick {} panics", tick.0),
            Broke::Time { sequence } => write!(f, "what ends at record {sequence} panics"),
            Broke::Other(tick) => write!(f, "reading its state at tick {} panics", tick.0),
        }
    }
}

impl Input {
    /// Whether the entity may go on without it.
    pub fn may_be_skipped(&self) -> bool {
        match self {
            Input::Command(_) | Input::Connect(_) | Input::Left(_) | Input::Gateway(_) => true,
            Input::Message(message) => match &message.body {
                Body::Request { .. }
                | Body::Notice(Notice::Presence { .. } | Notice::Power { .. }) => true,
                Body::Answer { .. } | Body::Notice(Notice::Units { .. }) | Body::Close => false,
            },
            Input::Claim(_)
            | Input::Close
            | Input::Ids { .. }
            | Input::Acknowledged(_)
            | Input::Hash { .. }
            | Input::Time
            | Input::Dilate(_)
            | Input::HandOver { .. }
            | Input::Adopt { .. }
            | Input::Skip(_)
            | Input::Park { .. } => false,
        }
    }
}

impl Entity {
    /// Where it was when it panicked; of no meaning for one that did not.
    pub fn broke(&self) -> Broke {
        let sequence = self.head.sequence;
        match self.doing {
            Doing::Input(index) => Broke::Input(InputPlace { sequence, index }),
            Doing::Step => Broke::Step(self.head.tick),
            Doing::Expiring => Broke::Time { sequence },
            Doing::Nothing => Broke::Other(self.head.tick),
        }
    }

    /// What is done instead of an input that is set aside.
    pub(super) fn skip(&mut self, input: &Input, world: &World, effects: &mut Vec<Effect>) {
        match input {
            Input::Command(command) => {
                let answer = match self.judge_command(command.key()) {
                    Admission::Answer(answer) => answer,
                    Admission::Apply => {
                        let refused = Refused { rule: Refusal::SetAside, unit: None };
                        self.note_result(command, CommandResult::Refused(refused))
                    }
                };
                effects.push(Effect::Player(PlayerEffect::Answered(answer)));
            }
            Input::Message(message) if self.head.inbox.judge_message(message) == Verdict::Apply => {
                self.note_received(message, effects);
                if let Body::Request { id, .. } = &message.body {
                    let refusal = Answer::Refused(Refusal::SetAside.to_string());
                    let from = message.channel.sender;
                    self.with_kind(world, effects, |_, ctx| ctx.answer(from, *id, refusal));
                }
            }
            // Whoever waits for an answer to one of these asks again.
            _ => {}
        }
    }
}
