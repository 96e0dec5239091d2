//! Owns what the core does about entities that ended processes: they are read before
//! anything is loaded and again when a node died, stored when this process found them,
//! and loaded, kept waiting or parked as [`Suspects`] says. Never ends a process (the
//! shell's watchdog does). Invariant: nothing is loaded while it is not known what is
//! suspected.

use super::{NodeCore, NodeEffect, Phase};
use crate::base::{EntityKey, Millis, Tick};
use crate::cluster::core::loading::Asker;
use crate::cluster::core::message::Committed;
use crate::cluster::core::pipeline::Slot;
use crate::cluster::core::suspects::{Suspects, Verdict};
use crate::entity::attempt::{Attempt, How};
use crate::entity::commit::Group;

/// A read that the store did not answer is asked for again after so long.
const AGAIN_MS: u64 = 100;

/// What is suspected, and whether that is known.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    pub suspects: Suspects,
    is_known: bool,
    asked: bool,
    at: Millis,
}

impl NodeCore {
    /// The same, where earlier processes on this machine ended so.
    #[must_use]
    pub fn after(mut self, attempts: Vec<Attempt>) -> NodeCore {
        attempts.into_iter().for_each(|attempt| self.attempts.suspects.find(attempt));
        self
    }

    /// This process is about to end because of an entity: whoever claims that next is to
    /// know. Answered by [`NodeEffect::Blamed`] when that is durable.
    pub(super) fn handle_blame(&mut self, attempt: Attempt) {
        self.attempts.suspects.find(attempt);
    }

    /// Somebody died, and may have said why.
    pub(super) fn look_for_attempts(&mut self) {
        self.attempts.is_known = false;
    }

    /// Has what is suspected read when it has to be known.
    pub(super) fn read_attempts(&mut self, now: Millis) {
        let attempts = &mut self.attempts;
        let is_wanted = self.phase != Phase::Beginning && !attempts.is_known && !attempts.asked;
        if is_wanted && now >= attempts.at {
            (attempts.asked, attempts.at) = (true, Millis(now.0 + AGAIN_MS));
            attempts.suspects.begin_read();
            self.effects.push(NodeEffect::ReadAttempts);
        }
    }

    /// All that the store has; `None` when it did not answer.
    pub(super) fn handle_attempts(&mut self, read: Option<Vec<Attempt>>) {
        self.attempts.asked = false;
        if let Some(read) = read {
            self.attempts.is_known = true;
            self.attempts.suspects.note_read(read);
        }
    }

    pub(super) fn knows_suspects(&self) -> bool {
        self.attempts.is_known
    }

    /// Whether an entity whose turn it is to be loaded is loaded now.
    pub(super) fn may_load(&mut self, entity: EntityKey, asker: Asker) -> bool {
        match self.attempts.suspects.judge(entity) {
            Verdict::Load => return true,
            Verdict::Wait => self.loading.set_back(entity),
            Verdict::Condemned(count, how) => {
                let ended = match how {
                    How::Silent => "did not come back",
                    How::Aborted => "aborted",
                };
                let why = format!("it ended {count} processes; in the last one its code {ended}");
                self.effects.push(NodeEffect::Condemn(entity, asker, why));
            }
        }
        false
    }

    /// What this process found is durable.
    pub(super) fn note_attempt(&mut self, attempt: Attempt) {
        self.attempts.suspects.note_stored(attempt);
        self.effects.push(NodeEffect::Blamed(attempt));
    }

    /// Groups that store what this process found.
    pub(super) fn take_attempts(&mut self) -> Vec<(Group, Slot)> {
        let group = |attempt: Attempt| {
            let group = Group { puts: vec![attempt.put()], ..Group::default() };
            (group, Slot::Attempt(attempt))
        };
        self.attempts.suspects.take_unsaid().into_iter().map(group).collect()
    }

    /// Those of the claims that are durable now whose entities are watched.
    pub(super) fn watch_suspects(&mut self, claims: &[Committed]) {
        for record in claims.iter().filter(|record| record.claim.is_some()) {
            self.attempts.suspects.note_claimed(record.entity, record.header.tick);
        }
    }

    /// Who has passed is suspected no more, and the next one has its turn when the one
    /// before has passed, or is not here or on its way any more.
    pub(super) fn pass_suspects(&mut self) {
        let suspects = &mut self.attempts.suspects;
        if suspects.is_watching() {
            let (owned, stepped) = (&self.owned, self.stepped);
            let tick_of = |entity: EntityKey| -> Option<Tick> {
                owned.get(&entity)?.pace.map(|pace| pace.tick_at(stepped))
            };
            for key in suspects.pass(tick_of) {
                self.stale.delete(key, None);
            }
        }
        let Some(turn) = self.attempts.suspects.turn() else { return };
        let is_watched = self.attempts.suspects.is_watched(turn);
        let is_claiming = self.claiming.contains(&turn);
        let is_here = self.owned.contains_key(&turn) && is_watched;
        let is_on_its_way = self.loading.is_wanted(turn) || is_claiming;
        let is_its_turn = is_here || is_on_its_way;
        if !is_its_turn && let Some(next) = self.attempts.suspects.end_turn() {
            self.loading.let_go(next);
        }
    }
}
