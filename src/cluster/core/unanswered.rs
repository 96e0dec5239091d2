//! Owns which commands an entity took in that are not durable yet, of each session.
//! Never holds a command: the cell does. Soft state, as what waits for a commit is.
//! Called when a command is admitted and when it is applied. Invariant: of a session
//! there are at most [`RESULTS_MAX`], each once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::attaching::Sender;
use crate::entity::commands::{CommandKey, RESULTS_MAX};

/// Sequences by session, ascending; of none that has none.
#[derive(Clone, Debug, Default)]
pub struct Unanswered(BTreeMap<Sender, Vec<u32>>);

/// What becomes of a command that is new to the entity's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    New,
    /// It is among them already.
    Known,
    /// There is no room for it.
    Full,
}

impl Unanswered {
    /// Notes a command, if the entity has room for one more.
    pub fn note(&mut self, command: CommandKey, has_room: bool) -> Noted {
        let pending = match self.0.entry((command.player, command.session)) {
            Entry::Vacant(none) if has_room => none.insert(Vec::new()),
            Entry::Vacant(_) => return Noted::Full,
            Entry::Occupied(some) => some.into_mut(),
        };
        match pending.binary_search(&command.sequence) {
            Ok(_) => Noted::Known,
            Err(_) if pending.len() >= RESULTS_MAX || !has_room => Noted::Full,
            // One below another waits behind it: only when that is durable it is
            // sure that this one is never applied.
            Err(at) => {
                pending.insert(at, command.sequence);
                Noted::New
            }
        }
    }

    /// It is durable.
    pub fn forget(&mut self, command: CommandKey) {
        if let Entry::Occupied(mut pending) = self.0.entry((command.player, command.session)) {
            pending.get_mut().retain(|sequence| *sequence != command.sequence);
            if pending.get().is_empty() {
                pending.remove();
            }
        }
    }
}
