//! Owns what the core does with entities that break whoever runs them. One that
//! panicked is thrown away and loaded again; the loader finds out what panics. An
//! input is set aside by the record of the next claim. Whatever else it is, the entity
//! is parked: kept, run by nobody, reported, until an operator has it resumed. Never
//! catches a panic itself: tables and loaders do.
//!
//! ```text
//!   runs ──(panics: Broke)──> thrown away ──> loaded ─┬─ an input ──> Claim, Skip: runs
//!     ^                                               ├─ all else ──> Claim, Park ──> parked
//!     │                                               └─ nothing, the third in a row ───┘ │
//!     └────(the row is gone: loaded, claimed)───────────(resumed by an operator)──────────┘
//! ```
//!
//! The group that parks: a record with a claim, which says that this node may, and
//! `Park`, which ends it; `parked/` comes, `owned/` goes, and what was kept of its
//! sleep. So a restart, a successor or a timer finds nothing to claim, and who loads
//! it for a message sees the record. What is for it meanwhile waits with its senders.
//!
//! Invariants: what is parked is claimed by nobody while its row is there; a node that
//! could not load an entity because it is parked looks again until it is not.

use super::handover::Handed;
use super::{NodeCore, NodeEffect, Phase};
use crate::base::{EntityKey, Millis, Tick};
use crate::cluster::core::loading::{LoadError, Loaded, Wreck};
use crate::cluster::core::pipeline::Slot;
use crate::cluster::core::suspects::GOOD_TICKS;
use crate::entity::commit::{Append, Group, Put};
use crate::entity::input::{Claim, Input};
use crate::entity::keys;
use crate::entity::parked::Parked;
use crate::entity::record::{RecordHeader, encode_input, encode_record};

/// An entity is parked when it panicked so often in a row without progress.
const BROKEN_MAX: u32 = 3;
/// Whether what is parked was resumed is looked at so often.
const LOOK_MS: u64 = 1000;

/// Panics in a row without progress: none got five good steps beyond the one before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panics {
    times: u32,
    /// The entity's tick at the last one.
    at: Tick,
}

/// When it is looked whether something was resumed.
#[derive(Debug, Default)]
pub(super) struct ParkedLook {
    asked: bool,
    at: Millis,
    /// What the shells were last told is parked, wherever it belongs.
    told: Vec<EntityKey>,
}

impl NodeCore {
    /// A table caught a panic of the entity's and threw its state away.
    /// How long ago it was loaded says nothing: only what it got done does.
    pub(super) fn handle_broke(&mut self, entity: EntityKey, generation: u64, at: Tick) {
        if !self.runs(entity, generation) {
            return;
        }
        let before = self.broken.get(&entity);
        let in_a_row = before.filter(|before| at.since(before.at) < GOOD_TICKS);
        let times = in_a_row.map_or(0, |before| before.times) + 1;
        self.broken.insert(entity, Panics { times, at });
        // As for what was dropped: it is loaded behind a commit at this tick. Before
        // it is disowned, or who waits for it would have it loaded at once.
        self.wanted = self.wanted.max(self.tick);
        self.loading.want_later(entity);
        self.disown(entity);
    }

    /// What was loaded, unless it broke too often: nobody knows by what.
    pub(super) fn unless_condemned(&mut self, loaded: Loaded) -> Option<Loaded> {
        let head = loaded.entity.head();
        let entity = loaded.entity.key();
        if !loaded.set_aside.is_empty() {
            // It is known what it was.
            self.broken.remove(&entity);
        }
        let times = self.broken.get(&entity).map_or(0, |panics| panics.times);
        if times < BROKEN_MAX {
            return Some(loaded);
        }
        self.parking.insert(
            entity,
            Wreck {
                entity,
                sequence: head.sequence,
                time: head.time,
                tick: head.tick,
                until: head.tick,
                logic: loaded.adoption.map_or(self.world.logic(), |adoption| adoption.from),
                sleeps: head.slept.is_some(),
                why: format!(
                    "it panics while it runs, {times} times in a row without five good steps"
                ),
            },
        );
        None
    }

    /// A loader found that it breaks whoever runs it.
    pub(super) fn handle_wreck(&mut self, wreck: Wreck) {
        self.parking.insert(wreck.entity, wreck);
    }

    /// Groups that park what is to be.
    pub(super) fn take_parkings(&mut self, now: Millis) -> Vec<(Group, Slot)> {
        // No commit is under way, so each is taken once; and they are no more than may
        // be loaded at a time.
        let asleep = self.parking.values().filter(|wreck| wreck.sleeps);
        asleep.for_each(|wreck| self.census.note_sent(wreck.entity, true));
        self.parking.values().map(|wreck| self.parking_group(wreck, now)).collect()
    }

    fn parking_group(&self, wreck: &Wreck, now: Millis) -> (Group, Slot) {
        let entity = wreck.entity;
        let (node, incarnation, node_tick) = (self.node, self.incarnation, self.tick);
        let (sequence, tick, time) = (wreck.sequence + 1, wreck.tick, wreck.time.max(now));
        let header = RecordHeader { sequence, tick, time };
        let claim = Input::Claim(Claim { node, incarnation, node_tick });
        let mut inputs = Vec::new();
        for input in [claim, Input::Park { until: wreck.until }] {
            encode_input(&input, &mut inputs);
        }
        let bytes = encode_record(&header, wreck.logic, 2, &inputs);
        let parked = Parked { node, time, sequence, tick, why: wreck.why.clone() };
        let gone = |key| Put { key, value: None };
        let mut puts = vec![parked.put(entity), gone(keys::owned(node, entity))];
        puts.extend(wreck.sleeps.then(|| gone(keys::summary(entity))));
        puts.extend(self.attempts.suspects.keys(entity).map(gone));
        let append = Some(Append { entity, sequence, bytes });
        (Group { checks: Vec::new(), puts, append }, Slot::Park { entity, sequence })
    }

    /// A record that parks an entity is durable, or another node was first.
    pub(super) fn note_parked(&mut self, entity: EntityKey, accepted: bool) {
        let Some(wreck) = self.parking.remove(&entity) else { return };
        self.broken.remove(&entity);
        if !accepted {
            self.counts.refused += 1;
            return self.loading.postpone(entity);
        }
        self.counts.records += 1;
        self.counts.parked += 1;
        self.attempts.suspects.forget(entity);
        if wreck.sleeps {
            self.census.note_durable(entity, false);
        }
        self.handle_unloadable(entity, LoadError::Broken(Box::new(wreck)));
    }

    /// An entity cannot be loaded: it stays as it is.
    pub(super) fn handle_unloadable(&mut self, entity: EntityKey, error: LoadError) {
        if let LoadError::Parked(_) = &error {
            self.delete_found(entity);
        }
        match &error {
            LoadError::Parked(_) | LoadError::Broken(_) => self.loading.park(entity),
            _ => self.loading.fail(entity),
        }
        self.note_claim_settled(entity);
        self.effects.push(NodeEffect::Unloadable(entity, error));
    }

    /// Has the rows of what is parked read when it is time to: in a cluster always, for
    /// somebody may ask here for what others parked.
    pub(super) fn read_parked(&mut self, now: Millis) {
        let may_load = self.phase != Phase::Beginning && !self.settling;
        let is_wanted = self.cluster.is_some() || self.loading.has_parked();
        if may_load && is_wanted && !self.parked.asked && now >= self.parked.at {
            (self.parked.asked, self.parked.at) = (true, Millis(now.0 + LOOK_MS));
            self.effects.push(NodeEffect::ReadParked);
        }
    }

    /// All that is parked; `None` when it could not be read.
    pub(super) fn handle_parked(&mut self, still: Option<Vec<EntityKey>>) {
        self.parked.asked = false;
        let Some(still) = still else { return };
        for entity in self.loading.parked() {
            if still.binary_search(&entity).is_err() {
                self.let_run(entity);
                if self.is_ours(entity) {
                    self.loading.want_left(entity);
                }
            }
        }
        if self.cluster.is_some() && self.parked.told != still {
            self.parked.told.clone_from(&still);
            self.effects.push(NodeEffect::ParkedAnywhere(still));
        }
    }

    /// An operator had it resumed by this node: whoever it belongs to is to claim it.
    pub(super) fn handle_resumed(&mut self, entity: EntityKey) {
        self.let_run(entity);
        if self.owned.contains_key(&entity) {
            return;
        }
        if self.is_ours(entity) {
            self.loading.want_left(entity);
        } else if let Some(cluster) = &mut self.cluster {
            cluster.handed.insert(entity, Handed::UNTOLD);
        }
    }

    /// An entity that was parked may be claimed, as far as is known.
    pub(super) fn let_run(&mut self, entity: EntityKey) {
        if self.loading.unpark(entity) {
            self.effects.push(NodeEffect::Resumed(entity));
        }
    }
}
