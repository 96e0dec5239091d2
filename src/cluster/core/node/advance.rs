//! Owns what goes on by itself: the next tick, the next commit, loads and snapshots
//! that may begin, and when to look again. Never takes an event apart. Called by
//! [`NodeCore`] behind the events that came together. Invariants: the tick moves only
//! when no commit is under way, by one, and not while a table is too far behind; with
//! a commit under way nothing else is begun that would need one.

use super::{NodeCore, NodeEffect, Phase};
use crate::base::time::TICK_MS;
use crate::base::{EntityKey, Millis};
use crate::cluster::core::message::ToTable;
use crate::cluster::core::pipeline::Slot;

impl NodeCore {
    /// Whatever can go on now goes on.
    pub(super) fn advance(&mut self, now: Millis) {
        if self.phase == Phase::Over {
            return;
        }
        if let Some(commit) = self.pipeline.resend(now) {
            self.effects.push(NodeEffect::Commit(commit));
        }
        if self.pipeline.is_idle() {
            match self.phase {
                Phase::Beginning => self.begin(now),
                _ => self.advance_tick(now),
            }
        }
        if self.pipeline.is_idle() && self.has_work(now) {
            self.commit(now);
        }
        self.read_cluster(now);
        self.read_due(now);
        self.read_parked(now);
        self.read_attempts(now);
        self.pass_suspects();
        self.begin_loads();
        self.load_offered(now);
        self.begin_snapshots();
        self.sign(now);
        self.note_ready();
        self.effects.push(NodeEffect::WakeAt(self.wake_at(now)));
    }

    /// Of an entity that runs here: what does not has no table to make one.
    pub(super) fn want_snapshot(&mut self, entity: EntityKey) {
        if self.owned.contains_key(&entity) {
            self.snapshots.want(entity);
        }
    }

    pub(super) fn begin_snapshots(&mut self) {
        while !self.settling
            && let Some(entity) = self.snapshots.begin_next(&self.limits)
        {
            self.tell(entity, ToTable::Snapshot(entity));
        }
    }

    /// When there is something to do if nothing happens. With a commit under
    /// way that is only its end, and with a table behind only its word, however
    /// late the tick is.
    pub(super) fn wake_at(&self, now: Millis) -> Millis {
        match self.pipeline.resend_at() {
            Some(at) => at,
            None if self.pipeline.is_idle() && !self.held && !self.settling => {
                self.look_at().map_or(self.next_tick, |at| at.min(self.next_tick))
            }
            None => Millis(now.0 + TICK_MS),
        }
    }

    pub(super) fn begin(&mut self, now: Millis) {
        self.next_tick = Millis(now.0 + TICK_MS);
        self.sent = now;
        let mut commit = self.empty_commit();
        commit.groups.push(self.began());
        let slots = vec![Slot::Began];
        self.write_entries(&mut commit, &slots, now);
        let commit = self.pipeline.send(commit, slots);
        self.effects.push(NodeEffect::Commit(commit));
    }

    /// The tick moves when it is due, no commit is under way and no table is
    /// too far behind; a late one is not made up for.
    pub(super) fn advance_tick(&mut self, now: Millis) {
        if now < self.next_tick || self.settling {
            return;
        }
        let is_held = self.tick.since(self.stepped) >= self.limits.ticks_behind;
        let was_held = std::mem::replace(&mut self.held, is_held);
        if is_held {
            self.counts.held += u64::from(!was_held);
            return;
        }
        if self.durable >= self.tick {
            self.loading.retry();
        }
        self.tick = self.tick.after(1);
        let on_time = Millis(self.next_tick.0 + TICK_MS);
        self.next_tick = if on_time > now { on_time } else { Millis(now.0 + TICK_MS) };
        let tick = self.tick;
        self.effects.push(NodeEffect::ToTables(ToTable::Tick { tick, now }));
    }

    pub(super) fn note_ready(&mut self) {
        let is_loaded = self.loading.is_empty() && !self.attempts.suspects.has_waiting();
        let recovered = self.phase == Phase::Recovering && self.scanned && is_loaded;
        if recovered && self.claiming.is_empty() {
            self.phase = Phase::Running;
            self.note_all_claimed();
            self.effects.push(NodeEffect::Ready);
            self.effects.push(NodeEffect::ReadAsleep { after: None });
        }
    }
}
