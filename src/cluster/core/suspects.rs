//! Owns which entities are known to have ended processes, and what that means for who
//! claims them next. Never reads a store, ends nothing and parks nothing: it says what
//! may be loaded. Called by [`NodeCore`](super::node).
//!
//! **Evidence counts, not coincidence.** A process that was killed, or whose machine is
//! gone, says nothing of what it ran, and nothing is held against any of that, however
//! often it happens. Only a process that ends *of itself* names the one entity whose code
//! ran in the thread that was at fault: its watchdog found that thread silent, or that
//! thread aborted. It names it on its disk, so that it is known when it starts again; and
//! if it still can, as the watchdog can, in the store, so that others know before they
//! take over what it had. Each such end is an [`Attempt`].
//!
//! ```text
//!   no attempt   claimed like all others
//!   one          claimed like all others, and watched
//!   two          claimed alone: no other suspect is loaded until it has passed
//!   three        not run any more: parked
//!
//!   watched ──(five good steps beyond the tick of the attempt)──> passed: no attempt
//! ```
//!
//! So one entity's code ends three processes at most, as long as those that ended are
//! started again or could still say so. What is handed over or hibernates before it has
//! passed is watched where it is claimed next.
//!
//! Where evidence is missing, because a machine that aborted does not come back, the
//! next node claims and may end as well; each end names the entity on another disk.
//!
//! Invariants: one suspect with two attempts is on its way at a time; an entity without
//! an attempt is never kept waiting by what is here, but for the read that says so.

use std::collections::{BTreeMap, VecDeque};

use crate::base::{EntityKey, Incarnation, NodeId, Tick};
use crate::entity::attempt::{Attempt, How};

/// With so many attempts an entity is claimed alone.
const ALONE: usize = 2;
/// With so many it is parked.
pub const ATTEMPTS_MAX: usize = 3;
/// Five steps of a sector at full rate.
pub const GOOD_TICKS: u64 = 10;

/// What may become of an entity that is to be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Load it.
    Load,
    /// Another suspect has its turn.
    Wait,
    /// It ended so many processes, the last one so: park it.
    Condemned(usize, How),
}

type Attempts = BTreeMap<(NodeId, Incarnation), Attempt>;

/// What is known of suspects.
#[derive(Debug, Default)]
pub struct Suspects {
    known: BTreeMap<EntityKey, Attempts>,
    /// Found by this process, which no read may hide that began before they were stored.
    found: Vec<Attempt>,
    /// Of those: stored.
    stored: Vec<Attempt>,
    /// Of those: not handed to a commit yet.
    unsaid: Vec<Attempt>,
    /// Claimed here: until which tick of its own each is watched.
    watched: BTreeMap<EntityKey, Tick>,
    /// The one that has its turn, and those that wait for theirs.
    turn: Option<EntityKey>,
    waiting: VecDeque<EntityKey>,
}

impl Suspects {
    /// This process found that one ended so.
    pub fn find(&mut self, attempt: Attempt) {
        self.note(attempt);
        self.found.push(attempt);
        self.unsaid.push(attempt);
    }

    /// It is in the store.
    pub fn note_stored(&mut self, attempt: Attempt) {
        self.stored.push(attempt);
    }

    /// The store is read from now on: what is in it is known by that.
    pub fn begin_read(&mut self) {
        let stored = std::mem::take(&mut self.stored);
        self.found.retain(|attempt| !stored.contains(attempt));
    }

    /// All that the store has, as it was read just now.
    pub fn note_read(&mut self, read: Vec<Attempt>) {
        self.known.clear();
        let found = std::mem::take(&mut self.found);
        found.iter().chain(&read).for_each(|attempt| self.note(*attempt));
        self.found = found;
    }

    fn note(&mut self, attempt: Attempt) {
        self.known.entry(attempt.entity).or_default().insert(attempt.process(), attempt);
    }

    /// Whether something is to be stored.
    pub fn has_unsaid(&self) -> bool {
        !self.unsaid.is_empty()
    }

    /// What is to be stored, once.
    pub fn take_unsaid(&mut self) -> Vec<Attempt> {
        std::mem::take(&mut self.unsaid)
    }

    /// An entity is to be loaded.
    pub fn judge(&mut self, entity: EntityKey) -> Verdict {
        let Some(attempts) = self.known.get(&entity) else { return Verdict::Load };
        let last = attempts.values().next_back().map(|attempt| attempt.how);
        match (attempts.len(), last) {
            (count @ ATTEMPTS_MAX.., Some(how)) => Verdict::Condemned(count, how),
            (ALONE.., _) if self.turn.is_some_and(|turn| turn != entity) => {
                if !self.waiting.contains(&entity) {
                    self.waiting.push_back(entity);
                }
                Verdict::Wait
            }
            (ALONE.., _) => {
                self.turn = Some(entity);
                Verdict::Load
            }
            _ => Verdict::Load,
        }
    }

    /// Who has its turn.
    pub fn turn(&self) -> Option<EntityKey> {
        self.turn
    }

    /// Its turn is over: who comes next, if anybody waits.
    pub fn end_turn(&mut self) -> Option<EntityKey> {
        self.turn = None;
        self.waiting.pop_front()
    }

    /// Whether somebody waits for its turn.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// It is claimed here, at that tick of its own.
    pub fn note_claimed(&mut self, entity: EntityKey, at: Tick) {
        let Some(attempts) = self.known.get(&entity) else { return };
        let ended = attempts.values().map(|attempt| attempt.tick).max().unwrap_or_default();
        self.watched.insert(entity, ended.max(at).after(GOOD_TICKS));
    }

    pub fn is_watched(&self, entity: EntityKey) -> bool {
        self.watched.contains_key(&entity)
    }

    /// Whether anybody is watched.
    pub fn is_watching(&self) -> bool {
        !self.watched.is_empty()
    }

    /// Forgets those of the watched that have passed, by the tick that each has here;
    /// one that has none is not here any more. Gives the keys that are to be deleted.
    pub fn pass(&mut self, tick_of: impl Fn(EntityKey) -> Option<Tick>) -> Vec<Vec<u8>> {
        let mut passed = Vec::new();
        self.watched.retain(|entity, until| match tick_of(*entity) {
            Some(tick) if tick < *until => true,
            Some(_) => {
                passed.push(*entity);
                false
            }
            None => false,
        });
        passed.into_iter().flat_map(|entity| self.forget(entity)).collect()
    }

    /// Of all that is held against it.
    pub fn keys(&self, entity: EntityKey) -> impl Iterator<Item = Vec<u8>> + use<'_> {
        self.known.get(&entity).into_iter().flat_map(BTreeMap::values).map(Attempt::key)
    }

    /// Nothing is held against it any more. Gives the keys that are to be deleted.
    pub fn forget(&mut self, entity: EntityKey) -> Vec<Vec<u8>> {
        self.watched.remove(&entity);
        self.found.retain(|attempt| attempt.entity != entity);
        self.unsaid.retain(|attempt| attempt.entity != entity);
        let attempts = self.known.remove(&entity).unwrap_or_default();
        attempts.values().map(Attempt::key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: EntityKey = EntityKey::Ledger(1);
    const TWO: EntityKey = EntityKey::Ledger(2);

    fn attempt(entity: EntityKey, incarnation: u64, tick: u64) -> Attempt {
        let (node, incarnation) = (NodeId(1), Incarnation(incarnation));
        Attempt { entity, node, incarnation, tick: Tick(tick), how: How::Aborted }
    }

    fn suspects(attempts: &[Attempt]) -> Suspects {
        let mut suspects = Suspects::default();
        suspects.note_read(attempts.to_vec());
        suspects
    }

    #[test]
    fn one_attempt_costs_nothing_with_two_each_has_its_turn_with_three_it_is_parked() {
        let one = |n: u64| attempt(ONE, n, 50);
        let two = |n: u64| attempt(TWO, n, 50);
        assert_eq!(suspects(&[]).judge(ONE), Verdict::Load);
        let mut once = suspects(&[one(1), two(2)]);
        assert_eq!([ONE, TWO].map(|it| once.judge(it)), [Verdict::Load; 2]);
        let mut twice = suspects(&[one(1), one(2), two(3), two(4)]);
        let expected = [Verdict::Load, Verdict::Wait, Verdict::Wait, Verdict::Load];
        assert_eq!([ONE, TWO, TWO, ONE].map(|it| twice.judge(it)), expected);
        assert_eq!((twice.end_turn(), twice.has_waiting()), (Some(TWO), false));
        assert_eq!([TWO, ONE].map(|it| twice.judge(it)), [Verdict::Load, Verdict::Wait]);
        let mut thrice = suspects(&[one(1), one(2), one(3), two(4)]);
        let condemned = Verdict::Condemned(3, How::Aborted);
        assert_eq!([ONE, TWO].map(|it| thrice.judge(it)), [condemned, Verdict::Load]);
    }

    #[test]
    fn passed_is_only_what_got_beyond_the_tick_at_which_it_ended_a_process() {
        let mut suspects = suspects(&[attempt(ONE, 1, 50), attempt(ONE, 2, 70)]);
        suspects.note_claimed(ONE, Tick(40));
        suspects.note_claimed(TWO, Tick(40));
        assert!(suspects.pass(|_| Some(Tick(79))).is_empty(), "as far as before, and no further");
        assert!(suspects.is_watching());
        let keys = suspects.pass(|_| Some(Tick(80)));
        assert_eq!(keys, [attempt(ONE, 1, 0).key(), attempt(ONE, 2, 0).key()]);
        assert!(!suspects.is_watching());
        assert_eq!(suspects.judge(ONE), Verdict::Load);
        assert_eq!(suspects.turn(), None);
    }

    #[test]
    fn what_left_before_it_passed_is_suspected_where_it_comes_to_next() {
        let mut suspects = suspects(&[attempt(ONE, 1, 50), attempt(ONE, 2, 50)]);
        suspects.note_claimed(ONE, Tick(60));
        assert!(suspects.pass(|_| None).is_empty());
        assert!(!suspects.is_watching());
        assert_eq!((suspects.judge(ONE), suspects.turn()), (Verdict::Load, Some(ONE)));
    }

    #[test]
    fn what_was_found_here_is_stored_once_and_hidden_by_no_read() {
        let mut suspects = suspects(&[attempt(ONE, 1, 50)]);
        suspects.find(attempt(ONE, 2, 50));
        assert_eq!(suspects.take_unsaid(), [attempt(ONE, 2, 50)]);
        assert!(!suspects.has_unsaid());
        suspects.begin_read();
        suspects.note_stored(attempt(ONE, 2, 50));
        suspects.note_read(vec![attempt(ONE, 1, 50), attempt(ONE, 3, 50)]);
        assert_eq!(suspects.judge(ONE), Verdict::Condemned(3, How::Aborted));
        assert_eq!(suspects.forget(ONE).len(), 3);
        suspects.note_read(Vec::new());
        assert_eq!(suspects.judge(ONE), Verdict::Load);
    }

    #[test]
    fn what_was_found_here_and_cleared_elsewhere_is_forgotten_with_the_next_read() {
        let mut suspects = Suspects::default();
        (1..=2).for_each(|n| suspects.find(attempt(ONE, n, 50)));
        (1..=2).for_each(|n| suspects.note_stored(attempt(ONE, n, 50)));
        suspects.begin_read();
        suspects.note_read(Vec::new());
        assert_eq!((suspects.judge(ONE), suspects.turn()), (Verdict::Load, None));
    }
}
