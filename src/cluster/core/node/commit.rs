//! Owns what goes into the next commit: a record for each entity with inputs
//! waiting, rows, ids, parts of snapshots, all up to a size. Never sends it.
//! Invariant: an entity's records are numbered without gap, its claim first.

use super::handover::Taker;
use super::{NodeCore, NodeEffect, Owned, Phase, Waiting};
use crate::base::time::TICK_MS;
use crate::base::{EntityKey, Millis, Tick};
use crate::cluster::core::message::Committed;
use crate::cluster::core::pipeline::Slot;
use crate::entity::commit::{Append, Commit, Group, Put};
use crate::entity::input::{Claim, Dilation, Input};
use crate::entity::keys;
use crate::entity::machine::Skips;
use crate::entity::pace::{Pace, Rate};
use crate::entity::record::{RecordHeader, encode_input, encode_record};

/// The row moves at least this often, in ticks.
const ROW_TICKS: u64 = 2;

impl NodeCore {
    pub(super) fn has_work(&self, now: Millis) -> bool {
        // The row moves also while the tick does not, or this thread had no turn.
        let is_row_due = !self.settling && now.since(self.sent) >= ROW_TICKS * TICK_MS;
        self.phase != Phase::Beginning
            && (!self.order.is_empty()
                || !self.rows.is_empty()
                || !self.snapshots.is_empty()
                || self.reservation.is_some()
                || !self.stale.is_empty()
                || self.cluster_has_work()
                || !self.parking.is_empty()
                || self.attempts.suspects.has_unsaid()
                || self.has_last_signature()
                || self.says_stop
                || self.wanted > self.durable
                || is_row_due
                || self.leaving
                || self.tick.since(self.durable) >= ROW_TICKS)
    }

    pub(super) fn commit(&mut self, now: Millis) {
        self.sent = now;
        let mut commit = self.empty_commit();
        let mut slots = Vec::new();
        let stale = self.take_stale();
        let records = self.take_records(now);
        let rows = self.take_rows();
        let mut add = |(group, slot): (Group, Slot)| {
            commit.groups.push(group);
            slots.push(slot);
        };
        let cluster = self.take_cluster_groups(now);
        // Nobody would sign it any more.
        let witness = if self.leaving { None } else { self.take_witness(now) };
        let signature = self.take_signature();
        let parkings = self.take_parkings(now);
        let attempts = self.take_attempts();
        let stops = std::mem::take(&mut self.says_stop);
        let stops = stops.then(|| (Group::default(), Slot::Stopping));
        stale
            .into_iter()
            .chain(cluster)
            .chain(witness)
            .chain(signature)
            .chain(stops)
            .chain(attempts)
            .chain(parkings)
            .chain(records)
            .chain(rows)
            .for_each(&mut add);
        self.reservation.take().map(|group| (group, Slot::Ids)).into_iter().for_each(&mut add);
        self.snapshots.take(&self.limits).into_iter().for_each(&mut add);
        self.write_entries(&mut commit, &slots, now);
        commit.is_last = self.leaving && self.has_nothing_waiting();
        let commit = self.pipeline.send(commit, slots);
        self.effects.push(NodeEffect::Commit(commit));
    }

    pub(super) fn empty_commit(&self) -> Commit {
        Commit {
            node: self.node,
            incarnation: self.incarnation,
            number: self.pipeline.next_number(),
            nonce: self.nonce,
            tick: self.tick,
            audit_root: self.audit.root(),
            groups: Vec::new(),
            is_last: false,
        }
    }

    /// One record for each entity that has inputs waiting, up to a size.
    fn take_records(&mut self, now: Millis) -> Vec<(Group, Slot)> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        let entities = self.order.len().min(self.limits.records_per_commit);
        for _ in 0..entities {
            if bytes >= self.limits.commit_bytes {
                break;
            }
            let Some(entity) = self.order.pop_front() else { break };
            let Some(mut waiting) = self.waiting.remove(&entity) else { continue };
            let group = self.record(entity, &mut waiting, now);
            if !waiting.is_empty() {
                self.waiting.insert(entity, waiting);
                self.order.push_back(entity);
            }
            let Some(group) = group else { continue };
            bytes += group.0.append.as_ref().map_or(0, |append| append.bytes.len());
            taken.push(group);
        }
        taken
    }

    fn take_rows(&mut self) -> Vec<(Group, Slot)> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        while bytes < self.limits.rows_bytes
            && taken.len() < self.limits.rows_per_commit
            && let Some((id, group)) = self.rows.pop_front()
        {
            bytes += group.weight();
            taken.push((group, Slot::Rows(id)));
        }
        taken
    }

    fn record(
        &mut self,
        entity: EntityKey,
        waiting: &mut Waiting,
        now: Millis,
    ) -> Option<(Group, Slot)> {
        let (header, claim) = self.next_header(entity, now)?;
        let dilation = self.dilate(entity, header.tick);
        let Owned { generation, lead, slept, adopts, .. } = *self.owned.get(&entity)?;
        let adopts = adopts.filter(|_| claim.is_some());
        let woke = claim.is_some() && slept.is_some();
        let closing = self.closing.get(&entity).cloned();
        let (mut inputs, mut puts) = (Vec::new(), Vec::new());
        let first = [adopts.map(|from| Input::Adopt { from }), claim.map(Input::Claim)];
        let then = [dilation.map(Input::Dilate), closing.is_some().then_some(Input::Close)];
        let set_aside = self.setting_aside.get(&entity).filter(|_| claim.is_some());
        let skips = set_aside.into_iter().flat_map(Skips::iter).map(Input::Skip);
        let first = first.into_iter().flatten().chain(skips);
        let ours: Vec<Input> = first.chain(then.into_iter().flatten()).collect();
        ours.iter().for_each(|input| encode_input(input, &mut inputs));
        if claim.is_some() {
            puts = self.claim_puts(entity, woke);
        }
        let mut taken = 0;
        while inputs.len() < self.limits.record_bytes
            && let Some(input) = waiting.pop_front()
        {
            inputs.extend_from_slice(&input);
            taken += 1;
        }
        let taker = self.taker(entity).filter(|_| waiting.is_empty());
        if let Some(Taker { to, tick, hash }) = taker {
            encode_input(&Input::HandOver { to }, &mut inputs);
            encode_input(&Input::Hash { tick, hash }, &mut inputs);
        }
        let ends = if taker.is_some() { 2 } else { 0 };
        // A few.
        let count = taken + ends + u32::try_from(ours.len()).unwrap_or(u32::MAX);
        let bytes = encode_record(&header, self.world.logic(), count, &inputs);
        let record = Committed {
            entity,
            generation,
            header,
            adopts,
            claim,
            dilation,
            woke,
            lead,
            inputs: taken,
            bytes: bytes.len() as u64,
        };
        let append = Some(Append { entity, sequence: header.sequence, bytes });
        let slot = match (closing, taker) {
            (None, None) => Slot::Record(record),
            (None, Some(Taker { to, .. })) => {
                puts = self.hand_over_puts(entity, to);
                Slot::HandOver { record, to }
            }
            (Some(rest), _) => {
                let is_kept = !rest.is_seed;
                puts = self.close_puts(entity, rest);
                Slot::Close { record, is_kept }
            }
        };
        Some((Group { checks: Vec::new(), puts, append }, slot))
    }

    /// The header of the next record of `entity`, and the claim that comes
    /// first in it, if it is the first here.
    fn next_header(
        &mut self,
        entity: EntityKey,
        now: Millis,
    ) -> Option<(RecordHeader, Option<Claim>)> {
        let mut owned = *self.owned.get(&entity)?;
        let (node, incarnation, node_tick) = (self.node, self.incarnation, self.tick);
        let is_first = owned.pace.is_none();
        if is_first {
            owned.lead = owned.time.since(now);
        }
        let time = owned.time.max(Millis(now.0.saturating_add(owned.lead)));
        let began = || Pace::new(self.tick_at_claim(entity, &owned, time), node_tick, Rate::FULL);
        let pace = owned.pace.unwrap_or_else(began);
        owned.pace = Some(pace);
        owned.sequence += 1;
        owned.time = time;
        self.owned.insert(entity, owned);
        let (sequence, tick) = (owned.sequence, pace.tick_at(node_tick));
        let claim = is_first.then_some(Claim { node, incarnation, node_tick });
        Some((RecordHeader { sequence, tick, time }, claim))
    }

    /// The dilation in the record of this tick, if the entity is to have one.
    fn dilate(&mut self, entity: EntityKey, tick: Tick) -> Option<Dilation> {
        let rate = self.dilating.remove(&entity)?;
        let node_tick = self.tick;
        self.owned.get_mut(&entity)?.pace = Some(Pace::new(tick, node_tick, rate));
        Some(Dilation { rate, node_tick })
    }

    /// The keys that change with the claim of `entity`.
    fn claim_puts(&mut self, entity: EntityKey, woke: bool) -> Vec<Put> {
        if woke {
            self.census.note_sent(entity, true);
        }
        let owned = Put { key: keys::owned(self.node, entity), value: Some(Vec::new()) };
        let deleted = self.with_claim.remove(&entity).unwrap_or_default();
        let deleted = deleted.into_iter().map(|key| Put { key, value: None });
        std::iter::once(owned).chain(deleted).collect()
    }
}
