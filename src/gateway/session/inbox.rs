//! Owns what waits for a session from inside the node. Never decides what it
//! means. Filled by the threads of entities, drained by the session's thread.
//! Invariant: what waits is bounded; when it is full, the updates of a place
//! are lost together and said to be, and when something that may not be lost
//! does not fit, that is said too.

use std::collections::{BTreeSet, VecDeque};

use crate::base::EntityKey;

/// Messages that may wait.
pub const MESSAGES_MAX: usize = 1024;
/// Messages that may wait beyond it, if they may not be lost.
const RESERVE: usize = 256;

/// Messages on their way to one session.
#[derive(Clone, Debug)]
pub struct Inbox<M> {
    messages: VecDeque<(Option<EntityKey>, M)>,
    lost: BTreeSet<EntityKey>,
    overflowed: bool,
}

/// All that waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained<M> {
    /// In their order.
    pub messages: Vec<M>,
    /// Places of which updates were lost, after all in `messages`.
    pub lost: BTreeSet<EntityKey>,
    /// Something that may not be lost did not fit.
    pub overflowed: bool,
}

impl<M> Default for Inbox<M> {
    fn default() -> Self {
        Inbox { messages: VecDeque::new(), lost: BTreeSet::new(), overflowed: false }
    }
}

impl<M> Inbox<M> {
    /// Takes a message; an update of `place` may be lost.
    pub fn push(&mut self, place: Option<EntityKey>, message: M) {
        if let Some(entity) = place {
            if self.messages.len() >= MESSAGES_MAX {
                self.messages.retain(|(of, _)| *of != Some(entity));
                self.lost.insert(entity);
            }
            // One after the loss is of no use: the client has not what it builds on.
            if self.lost.contains(&entity) {
                return;
            }
        } else if self.messages.len() >= MESSAGES_MAX + RESERVE {
            self.overflowed = true;
            return;
        }
        self.messages.push_back((place, message));
    }

    /// Whether there is nothing to drain.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.lost.is_empty() && !self.overflowed
    }

    /// Takes all out.
    pub fn drain(&mut self) -> Drained<M> {
        let messages = std::mem::take(&mut self.messages).into_iter().map(|(_, m)| m).collect();
        let lost = std::mem::take(&mut self.lost);
        Drained { messages, lost, overflowed: std::mem::take(&mut self.overflowed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SectorId;

    fn place(x: i64) -> EntityKey {
        EntityKey::Sector(SectorId::tactical(x, 0))
    }

    #[test]
    fn loses_updates_of_one_place_together_and_says_so() {
        let mut inbox = Inbox::default();
        inbox.push(None, 0);
        inbox.push(Some(place(1)), 1);
        (2..MESSAGES_MAX).for_each(|n| inbox.push(Some(place(2)), n));
        inbox.push(Some(place(1)), 9_999);
        inbox.push(Some(place(1)), 9_999);
        let drained = inbox.drain();
        assert_eq!(drained.lost, [place(1)].into());
        assert_eq!(drained.messages.len(), MESSAGES_MAX - 1);
        assert!(!drained.messages.contains(&1) && !drained.messages.contains(&9_999));
        assert!(inbox.is_empty());
        inbox.push(Some(place(1)), 5);
        assert_eq!(inbox.drain().messages, [5]);
    }

    #[test]
    fn says_when_what_may_not_be_lost_does_not_fit() {
        let mut inbox = Inbox::default();
        (0..MESSAGES_MAX + RESERVE + 1).for_each(|n| inbox.push(None, n));
        let drained = inbox.drain();
        assert!(drained.overflowed);
        assert_eq!(drained.messages.len(), MESSAGES_MAX + RESERVE);
    }
}
