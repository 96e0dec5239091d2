//! Owns what this gateway's connections are to be spoken for at their ledgers,
//! for all its threads: the words owed, and which ledgers and nodes changed
//! since. Never sends. Filled by whoever notices, drained by the gateway's
//! tending. Invariant: nothing here waits; the lock is held for a look.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::owed::{Word, Words};
use super::peers::node_of;
use crate::base::{EntityKey, Millis, NodeId, PlayerId};

/// What happened since the last turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Ledgers that came to run anew, somewhere.
    pub started: BTreeSet<EntityKey>,
    /// Nodes to which something may have been lost, or from there.
    pub unsure: BTreeSet<NodeId>,
    /// Nodes whose links came up.
    pub up: BTreeSet<NodeId>,
    /// Connections from the first number on, before the second, that are lost:
    /// of each node one range.
    pub lost: BTreeMap<NodeId, (u64, u64)>,
}

/// Everything that is owed.
pub struct Calls {
    inner: Mutex<(Words, News)>,
    began: Instant,
}

impl Default for Calls {
    fn default() -> Calls {
        Calls { inner: Mutex::default(), began: Instant::now() }
    }
}

impl Calls {
    /// Owes a word; `said` is whether it was said just now.
    pub fn owe(&self, word: Word, said: bool) {
        let now = self.now();
        self.lock().0.owe(word, said, now);
    }

    pub fn note_answered(&self, connection: u64) {
        self.lock().0.note_answered(connection);
    }

    pub fn note_given(&self, player: PlayerId, connection: u64) {
        self.lock().0.note_given(player, connection);
    }

    pub fn note_closed(&self, connection: u64) {
        self.lock().0.note_closed(connection);
    }

    pub fn note_started(&self, ledger: EntityKey) {
        self.lock().1.started.insert(ledger);
    }

    pub fn note_unsure(&self, node: NodeId) {
        self.lock().1.unsure.insert(node);
    }

    pub fn note_up(&self, node: NodeId) {
        self.lock().1.up.insert(node);
    }

    pub fn note_lost(&self, first: u64, end: u64) {
        let mut inner = self.lock();
        let lost = inner.1.lost.entry(node_of(first)).or_insert((first, end));
        *lost = (lost.0.min(first), lost.1.max(end));
    }

    /// What happened since this was asked last.
    pub fn take_news(&self) -> News {
        std::mem::take(&mut self.lock().1)
    }

    pub fn say_again(&self, is_meant: impl Fn(PlayerId) -> bool) {
        let now = self.now();
        self.lock().0.say_again(now, is_meant);
    }

    /// What is to be said now, at most so many words.
    pub fn take_due(&self, most: usize) -> Vec<Word> {
        let now = self.now();
        self.lock().0.take_due(now, most)
    }

    pub fn note_unsaid(&self, word: &Word) {
        let now = self.now();
        self.lock().0.note_unsaid(word, now);
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn lock(&self) -> MutexGuard<'_, (Words, News)> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::peers::CONNECTION_BITS;

    #[test]
    fn however_often_a_node_begins_anew_one_range_of_it_is_lost() {
        let calls = Calls::default();
        let of = |node: u64| node << CONNECTION_BITS;
        (1..1_000).for_each(|n| calls.note_lost(of(2), of(2) + n));
        calls.note_lost(of(3), of(3) + 5);
        let lost = calls.take_news().lost;
        let expected = [(NodeId(2), (of(2), of(2) + 999)), (NodeId(3), (of(3), of(3) + 5))];
        assert_eq!(lost, BTreeMap::from(expected));
    }
}
