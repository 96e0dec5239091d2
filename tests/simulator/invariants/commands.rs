//! Invariant 12: each acknowledged command was applied exactly once, in one
//! entity, in the order of its session; one that was not acknowledged at most
//! once: no command is in the journals twice, not within one record either. The
//! same command is always answered the same. Where a connection keeps the order,
//! as all do but in unruly runs, none that its client sent until it was answered
//! was overtaken by a later one.

use std::collections::{BTreeMap, BTreeSet};

use starmesh::base::{EntityKey, PlayerId, SessionId};
use starmesh::entity::commands::{CommandAnswer, CommandResult};
use starmesh::entity::effect::{Effect, PlayerEffect};
use starmesh::entity::input::Input;
use starmesh::entity::record::Record;

use crate::scene::{Fact, Invariant, Scene};

type Name = (PlayerId, SessionId, u32);

#[derive(Default)]
pub struct Commands {
    /// What clients sent, and where to.
    sent: BTreeMap<Name, EntityKey>,
    applied: BTreeMap<Name, CommandAnswer>,
    /// The last applied, per entity and player.
    last: BTreeMap<(EntityKey, PlayerId), (SessionId, u32)>,
    /// Those whose client was told that they never are.
    given_up: BTreeSet<Name>,
    /// Sessions of two devices, of which neither knows what the other sent.
    shared: BTreeSet<(PlayerId, SessionId)>,
}

fn name(answer: &CommandAnswer) -> Name {
    (answer.player, answer.session, answer.sequence)
}

impl Invariant for Commands {
    fn name(&self) -> &'static str {
        "12 acknowledged commands are applied once, in order"
    }

    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene) -> Result<(), String> {
        match fact {
            Fact::Commanded { entity, command } => {
                let name = (command.player, command.session, command.sequence);
                // Two devices may share a session that one of them resumed:
                // what is theirs is theirs.
                if self.sent.insert(name, *entity).is_some() {
                    self.shared.insert((command.player, command.session));
                }
                Ok(())
            }
            Fact::Applied { record, effects, .. } => {
                is_once(record)?;
                effects.iter().try_for_each(|effect| match effect {
                    Effect::Player(PlayerEffect::Answered(answer)) => self.apply(answer, record),
                    _ => Ok(()),
                })
            }
            Fact::Heard(answer) => self.heard(answer, scene),
            _ => Ok(()),
        }
    }
}

impl Commands {
    /// A durable record answered a command: was it applied by this record?
    fn apply(&mut self, answer: &CommandAnswer, record: &Record) -> Result<(), String> {
        if matches!(answer.result, CommandResult::NotHere | CommandResult::SessionEnded) {
            return Ok(());
        }
        let name = name(answer);
        if let Some(first) = self.applied.get(&name) {
            return if first == answer {
                Ok(())
            } else {
                Err(format!("applied twice: {first:?} and {answer:?}"))
            };
        }
        let journalled = record.inputs.iter().any(|input| match input {
            Input::Command(c) => (c.player, c.session, c.sequence) == name,
            _ => false,
        });
        let here = (answer.record, answer.tick) == (record.header.sequence, record.header.tick);
        if !journalled || !here {
            return Err(format!("{answer:?} by record {:?}, which does not", record.header));
        }
        if self.sent.get(&name) != Some(&answer.entity) {
            return Err(format!("{answer:?}, but it was sent to {:?}", self.sent.get(&name)));
        }
        if self.given_up.contains(&name) {
            return Err(format!("{answer:?}, but its client was told that it never is"));
        }
        let last = self.last.entry((answer.entity, answer.player)).or_default();
        if *last >= (answer.session, answer.sequence) {
            return Err(format!("{answer:?} after {last:?}"));
        }
        *last = (answer.session, answer.sequence);
        self.applied.insert(name, answer.clone());
        Ok(())
    }

    fn heard(&mut self, answer: &CommandAnswer, scene: &Scene) -> Result<(), String> {
        let applied = self.applied.get(&name(answer));
        match answer.result {
            CommandResult::Done(_) | CommandResult::Refused(_) | CommandResult::Moved { .. } => {
                match applied {
                    Some(applied) if applied == answer => Ok(()),
                    other => Err(format!("heard {answer:?}, but what was applied is {other:?}")),
                }
            }
            CommandResult::NotHere
                if applied.is_none()
                    && scene.in_order
                    && !self.shared.contains(&(answer.player, answer.session)) =>
            {
                Err(format!("{answer:?} was overtaken"))
            }
            CommandResult::NotHere | CommandResult::SessionEnded => {
                // Said of an applied one it means that it is forgotten.
                if applied.is_none() {
                    self.given_up.insert(name(answer));
                }
                Ok(())
            }
        }
    }
}

/// What waits for its commit is not journalled again. (What was applied may
/// be, by an owner whose claim is not durable; it is answered from memory.)
fn is_once(record: &Record) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for input in &record.inputs {
        let Input::Command(command) = input else { continue };
        let name = (command.player, command.session, command.sequence);
        if !names.insert(name) {
            return Err(format!("{name:?} came twice in one record"));
        }
    }
    Ok(())
}
