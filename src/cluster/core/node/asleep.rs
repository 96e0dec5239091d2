//! Owns hibernation as far as the core decides it: lets a quiet entity go in
//! one group, wakes what something comes for and whose timer is due, counts
//! who sleeps. Never looks at an entity's state: its table says that it is
//! quiet, its record what is kept.
//!
//! The group that lets go: a record with `Close`; `owned/` goes; `summary/` and
//! `due/` come, or, of an entity as the seed gives it, its whole journal goes.
//! What comes for it meanwhile waits here, and has it loaded as soon as that
//! is durable. The group of the claim with which it wakes deletes both keys.
//!
//! Invariant: an entity has a `summary/` key if and only if it has records and
//! the last is a `Close`; a `due/` key is of such an entity, at its timer.

use super::routes::Route;
use super::{NodeCore, NodeEffect, Owned, Phase};
use crate::base::time::TICK_MS;
use crate::base::{EntityKey, Millis, Tick};
use crate::cluster::core::message::{Committed, Rest, ToTable};
use crate::entity::Entity;
use crate::entity::commit::Put;
use crate::entity::keys;

/// Timers of hibernating entities are looked for so often, and at once again
/// when there were as many as a page holds.
const DUE_PERIOD_MS: u64 = 1000;

/// Where the reading of timers is.
#[derive(Debug, Default)]
pub(super) struct DueScan {
    asked: bool,
    at: Millis,
    after: Option<Vec<u8>>,
}

impl NodeCore {
    /// A table says that an entity has been quiet for long enough.
    pub(super) fn handle_quiet(&mut self, entity: EntityKey, generation: u64, rest: Rest) {
        if !self.runs(entity, generation) {
            return;
        }
        self.closing.insert(entity, rest);
        self.dilating.remove(&entity);
        self.waiting(entity);
    }

    /// The keys that change with the `Close` of `entity`.
    pub(super) fn close_puts(&mut self, entity: EntityKey, rest: Rest) -> Vec<Put> {
        // What is left of a snapshot would bring back what is deleted here.
        self.snapshots.forget(entity);
        let mut puts = vec![Put { key: keys::owned(self.node, entity), value: None }];
        if rest.is_seed {
            puts.push(Put { key: keys::head(entity), value: None });
            return puts;
        }
        self.census.note_sent(entity, false);
        if let Some(due) = rest.due {
            puts.push(Put { key: keys::due(due, entity), value: Some(Vec::new()) });
        }
        puts.push(Put {
            key: keys::summary(entity),
            value: Some(rest.summary.unwrap_or_default()),
        });
        puts
    }

    /// It is durable that the entity of `record` hibernates.
    pub(super) fn handle_closed(&mut self, record: &Committed, is_kept: bool) {
        self.counts.records += 1;
        self.counts.record_bytes += record.bytes;
        self.counts.closed += 1;
        self.counts.deleted += u64::from(!is_kept);
        if is_kept {
            self.census.note_durable(record.entity, true);
        }
        if self.runs(record.entity, record.generation) {
            self.disown(record.entity);
        }
    }

    /// Somebody wants to see or command `entity`: it is woken if it has a
    /// record, and else it is said that it has none.
    pub(super) fn handle_wake(&mut self, entity: EntityKey) {
        if self.is_leaving(entity) || self.claiming.contains(&entity) {
            // Who asks is told where it is when it is there.
            self.sought.insert(entity);
            return;
        }
        if self.owned.contains_key(&entity) && !self.closing.contains_key(&entity) {
            self.tell(entity, ToTable::Awake(entity));
            return;
        }
        match self.route(entity) {
            Route::Here => {}
            Route::There(node) => {
                return self.effects.push(NodeEffect::Elsewhere(entity, node));
            }
            // Whoever asks asks again.
            Route::Nowhere => return,
        }
        if Entity::genesis(entity, &self.world).is_none() {
            // No such place: loading it would say that it is damaged.
            self.effects.push(NodeEffect::Dormant(entity));
            return;
        }
        if self.is_offered(entity) {
            return;
        }
        let is_held = self.closing.contains_key(&entity);
        // Where there is no room whoever asked asks again.
        let _ = self.loading.want_seen(entity, is_held, &self.limits);
    }

    /// Notes what is deleted with the claim of an entity that was loaded.
    pub(super) fn note_slept(&mut self, entity: &Entity) {
        let key = entity.key();
        let mut deleted = NodeCore::sleep_keys(entity, self.loading.due(key));
        let before = entity.head().claim.map(|open| open.claim.node).or(entity.head().handed);
        deleted.extend(before.filter(|node| *node != self.node).map(|it| keys::owned(it, key)));
        // Not by themselves, for they may come again.
        deleted.iter().for_each(|key| self.stale.keep(key));
        if !deleted.is_empty() {
            self.with_claim.insert(key, deleted);
        }
    }

    /// What an entity that was loaded had as it slept, to be deleted with the
    /// claim; `due` is the timer that had it woken.
    fn sleep_keys(entity: &Entity, due: Option<Millis>) -> Vec<Vec<u8>> {
        let (key, head) = (entity.key(), entity.head());
        let mut deleted = Vec::new();
        if head.slept.is_some() {
            deleted.push(keys::summary(key));
            deleted.extend(entity.next_due().map(|due| keys::due(due, key)));
        }
        let found = due.map(|due| keys::due(due, key));
        deleted.extend(found.filter(|found| !deleted.contains(found)));
        deleted
    }

    /// The tick of the record with which `entity` is claimed now. While it
    /// hibernates its tick goes on as if it had not; where nobody here knows the
    /// ticks of the node that had it, by its clock. A new one begins at the
    /// node's, so that it never goes back, were it here before and deleted;
    /// every second one a tick later, so that they step in turns.
    pub(super) fn tick_at_claim(&self, entity: EntityKey, owned: &Owned, time: Millis) -> Tick {
        if owned.sequence == 0 {
            let number = entity.to_bytes().last().copied().unwrap_or_default();
            // Another node's ticks may be far ahead: then the clock says more.
            let clock = self.cluster.as_ref().map_or(Tick(0), |_| Tick(time.0 / TICK_MS));
            return self.tick.max(clock).after(u64::from(number & 1));
        }
        let at = match owned.slept {
            None => owned.loaded,
            Some(open) if open.claim.node == self.node => open.tick_at(self.tick),
            Some(_) => owned.loaded.after(time.since(owned.time) / TICK_MS),
        };
        at.max(owned.loaded)
    }

    /// Has timers of hibernating entities read when it is time to.
    pub(super) fn read_due(&mut self, now: Millis) {
        let may_load = self.phase == Phase::Running && self.may_claim && !self.settling;
        let has_room = self.loading.waits() < self.limits.waiting_for_loads;
        if may_load && has_room && !self.due_scan.asked && now >= self.due_scan.at {
            self.due_scan.asked = true;
            let (after, limit) = (self.due_scan.after.clone(), self.limits.due_page);
            self.effects.push(NodeEffect::ReadDue { after, limit });
        }
    }

    /// Timers in order: those that are due have their entities loaded.
    pub(super) fn handle_due(&mut self, timers: Vec<(Millis, EntityKey)>, now: Millis) {
        self.due_scan.asked = false;
        let page = timers.len();
        let due: Vec<_> = timers.into_iter().take_while(|(at, _)| *at <= now).collect();
        let is_full = !due.is_empty() && due.len() == page && page == self.limits.due_page;
        let last = due.last().map(|(at, entity)| keys::due(*at, *entity));
        // A key that stays, because its entity cannot be loaded, holds up nobody.
        self.due_scan.after = last.filter(|_| is_full);
        self.due_scan.at = if is_full { now } else { Millis(now.0 + DUE_PERIOD_MS) };
        for (at, entity) in due {
            // Whoever runs, or is on its way, sees to its timer itself.
            if !self.owned.contains_key(&entity) && self.is_ours(entity) {
                self.loading.want_due(entity, at);
            }
        }
    }

    /// An entity keeps the oldest part of an overlong journal alive: a new
    /// snapshot frees that. One that hibernates is woken for it while few others
    /// wait to be loaded; else it is named again.
    pub(super) fn unpin(&mut self, entity: EntityKey) {
        if self.owned.contains_key(&entity) {
            self.want_snapshot(entity);
        } else if self.loading.waits() < self.limits.loads && self.is_ours(entity) {
            self.loading.want_pinned(entity);
        }
    }

    /// Has them counted anew when the directory gave some to others.
    pub(super) fn recount_asleep(&mut self, now: Millis) {
        if self.phase == Phase::Running && !self.settling && self.census.begin(now) {
            self.effects.push(NodeEffect::ReadAsleep { after: None });
        }
    }

    /// A page of the keys of those that hibernate.
    pub(super) fn handle_asleep(&mut self, page: &[EntityKey], after: Option<Vec<u8>>) {
        let ours: Vec<EntityKey> = page.iter().copied().filter(|key| self.is_ours(*key)).collect();
        self.census.add(ours.into_iter());
        match after {
            Some(after) => self.effects.push(NodeEffect::ReadAsleep { after: Some(after) }),
            None => self.census.end(),
        }
    }
}
