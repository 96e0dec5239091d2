//! Owns what goes into the next commit: a record for each entity with inputs
//! waiting, rows, ids, parts of snapshots, all up to a size. Never sends it.
//! Invariant: an entity's records are numbered without gap, its claim first.

use super::{NodeCore, NodeEffect, Phase, Waiting};
use crate::base::{EntityKey, Millis};
use crate::cluster::core::message::Committed;
use crate::cluster::core::pipeline::Slot;
use crate::entity::commit::{Append, Commit, Group, Put};
use crate::entity::input::{Claim, Input};
use crate::entity::keys;
use crate::entity::record::{RecordHeader, encode_input, encode_record};

/// The row moves at least this often, in ticks.
const ROW_TICKS: u64 = 2;

impl NodeCore {
    pub(super) fn has_work(&self) -> bool {
        self.phase != Phase::Beginning
            && (!self.order.is_empty()
                || !self.rows.is_empty()
                || !self.snapshots.is_empty()
                || self.reservation.is_some()
                || !self.stale.is_empty()
                || self.wanted > self.durable
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
        stale.into_iter().chain(records).chain(rows).for_each(&mut add);
        self.reservation.take().map(|group| (group, Slot::Ids)).into_iter().for_each(&mut add);
        self.snapshots.take(self.world.logic(), &self.limits).into_iter().for_each(&mut add);
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
            audit_root: [0; 32],
            groups: Vec::new(),
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
        let owned = self.owned.get_mut(&entity)?;
        let node_tick = self.tick;
        let claim = owned.anchor.is_none().then_some(Claim {
            node: self.node,
            incarnation: self.incarnation,
            node_tick,
        });
        if claim.is_some() {
            owned.lead = owned.time.since(now);
        }
        let (tick, at) = *owned.anchor.get_or_insert((owned.loaded, node_tick));
        owned.sequence += 1;
        owned.time = owned.time.max(Millis(now.0.saturating_add(owned.lead)));
        let header = RecordHeader {
            sequence: owned.sequence,
            tick: tick.after(node_tick.since(at)),
            time: owned.time,
        };
        let (generation, lead) = (owned.generation, owned.lead);
        let mut inputs = Vec::new();
        let mut puts = Vec::new();
        if let Some(claim) = claim {
            encode_input(&Input::Claim(claim), &mut inputs);
            let key = keys::owned(self.node, entity);
            puts.push(Put { key, value: Some(Vec::new()) });
        }
        let mut taken = 0;
        while inputs.len() < self.limits.record_bytes
            && let Some(input) = waiting.pop_front()
        {
            inputs.extend_from_slice(&input);
            taken += 1;
        }
        let count = taken + u32::from(claim.is_some());
        let bytes = encode_record(&header, self.world.logic(), count, &inputs);
        let committed = Committed {
            entity,
            generation,
            header,
            claim,
            lead,
            inputs: taken,
            bytes: bytes.len() as u64,
        };
        let append = Some(Append { entity, sequence: header.sequence, bytes });
        Some((Group { checks: Vec::new(), puts, append }, Slot::Record(committed)))
    }
}
