//! Owns what follows from the store's answer to a commit: records go to the
//! tables, rows and ids to who wants them; a refused row ends everything.
//! Invariant: tables hear of a durable tick before its records.

use super::handover::Part;
use super::{NodeCore, NodeEffect, Phase};
use crate::base::{EntityKey, Millis};
use crate::cluster::core::message::{Committed, ToTable};
use crate::cluster::core::pipeline::{Settled, Slot};
use crate::entity::commit::{Commit, CommitAnswer, CommitError};

impl NodeCore {
    pub(super) fn handle_commit_done(
        &mut self,
        result: Result<CommitAnswer, CommitError>,
        now: Millis,
    ) {
        match self.pipeline.settle(result, now) {
            Some(Settled::Durable { commit, slots, answer }) => {
                self.note_away(false);
                self.note_logged(&commit, &answer, now);
                self.cluster.iter_mut().for_each(|cluster| cluster.members.note_returned(now));
                self.compare_clocks(self.sent, answer.store_time, now);
                self.handle_durable(&commit, slots, &answer, now);
                if commit.is_last {
                    self.end();
                }
            }
            Some(Settled::Unknown) => {
                self.counts.resent += 1;
                self.note_away(true);
            }
            Some(Settled::Deposed(error)) => {
                self.end();
                self.effects.push(NodeEffect::StepDown(error));
            }
            None => {}
        }
    }

    fn note_away(&mut self, away: bool) {
        self.away = away;
        self.note_closed();
    }

    /// Tells tables and sessions when commands are not taken any more, or are
    /// again.
    pub(super) fn note_closed(&mut self) {
        let closed = self.away || self.full;
        if self.closed != closed {
            self.closed = closed;
            self.effects.push(NodeEffect::ToTables(ToTable::Away(closed)));
            self.effects.push(NodeEffect::StoreAway(closed));
        }
    }

    fn handle_durable(
        &mut self,
        commit: &Commit,
        slots: Vec<Slot>,
        answer: &CommitAnswer,
        now: Millis,
    ) {
        if self.phase == Phase::Beginning {
            self.phase = Phase::Recovering;
            if self.cluster.is_none() {
                self.effects.push(NodeEffect::ScanOwned);
            }
            return;
        }
        self.counts.commits += 1;
        let (mut records, mut adopted, mut handed) = (Vec::new(), Vec::new(), Vec::new());
        for (index, slot) in slots.into_iter().enumerate() {
            // A commit never has so many groups that an index would not fit.
            let accepted = !answer.refused.contains(&(index as u32));
            match slot {
                Slot::Record(record) if accepted => records.push(record),
                Slot::Close { record, is_kept } if accepted => self.handle_closed(&record, is_kept),
                Slot::HandOver { record, to } if accepted => handed.push((record, to)),
                Slot::Park { entity, .. } => self.note_parked(entity, accepted),
                Slot::Attempt(attempt) => self.note_attempt(attempt),
                Slot::Deaths(dead) => self.note_declared(dead, accepted),
                Slot::Signature(statement) => self.note_signature(&statement),
                Slot::Directory => self.note_directory_settled(),
                Slot::Record(record)
                | Slot::Close { record, .. }
                | Slot::HandOver { record, .. } => {
                    self.handle_refused(&record);
                }
                Slot::Rows(id) => {
                    let version = accepted.then_some(answer.version);
                    self.effects.push(NodeEffect::RowsDone { id, version });
                }
                Slot::Ids => {
                    if self.ids.settle(accepted) {
                        self.effects.push(NodeEffect::ReadNextId);
                    }
                    self.grant_ids();
                }
                Slot::Chunks | Slot::Stale | Slot::Began | Slot::Witness | Slot::Stopping => {}
                Slot::Snapshot { entity, sequence, bytes } => {
                    if self.adopts(entity, sequence) {
                        // Refused is as good: then another node has written it.
                        adopted.push(entity);
                    } else if self.retires(entity, sequence) {
                        self.note_retired(entity, now);
                    } else {
                        let bytes = accepted.then_some(bytes);
                        self.handle_snapshot_ended(entity, sequence, bytes);
                    }
                }
            }
        }
        let sought = self.note_records(&records, now);
        self.watch_suspects(&records);
        self.durable = commit.tick;
        self.effects.push(NodeEffect::ToTables(ToTable::Durable(commit.tick)));
        // Behind that: what they showed up to their last record may be seen.
        handed.into_iter().for_each(|(record, to)| self.handle_handed(&record, to, now));
        self.tell_records(records);
        sought.into_iter().for_each(|entity| self.tell(entity, ToTable::Awake(entity)));
        self.send_waiting();
        self.cast_waiting();
        adopted.into_iter().for_each(|entity| self.go_on_adopting(entity, now));
    }

    /// Another node has the entity, whatever was thought here.
    fn handle_refused(&mut self, record: &Committed) {
        self.counts.refused += 1;
        if self.runs(record.entity, record.generation) {
            if self.cluster.is_some() && record.claim.is_some() {
                // The last owner wrote one more record, or another was first. Before it
                // is disowned, or who waits for it would have it loaded at once.
                self.loading.want_later(record.entity);
            }
            self.disown(record.entity);
        }
    }

    /// A snapshot of an entity here is durable, with so many bytes, or was refused.
    fn handle_snapshot_ended(&mut self, entity: EntityKey, sequence: u64, bytes: Option<u64>) {
        self.snapshots.end(entity);
        self.counts.snapshots += u64::from(bytes.is_some());
        self.counts.refused += u64::from(bytes.is_none());
        let ended = match bytes {
            Some(bytes) => ToTable::SnapshotDone { entity, sequence, bytes },
            None => ToTable::SnapshotRefused { entity, sequence },
        };
        self.tell(entity, ended);
    }

    /// Those of which somebody waits for the claim.
    fn note_records(&mut self, records: &[Committed], now: Millis) -> Vec<EntityKey> {
        self.counts.records += records.len() as u64;
        self.counts.record_bytes += records.iter().map(|record| record.bytes).sum::<u64>();
        let mut sought = Vec::new();
        for record in records.iter().filter(|record| record.claim.is_some()) {
            self.claiming.remove(&record.entity);
            self.counts.adopted += u64::from(record.adopts.is_some());
            if let Some(skips) = self.setting_aside.remove(&record.entity) {
                self.counts.set_aside += skips.len() as u64;
                let effect = NodeEffect::SetAside(record.entity, skips.iter().collect());
                self.effects.push(effect);
            }
            self.note_part(record.entity, Part::Claim, now);
            self.note_claim_settled(record.entity);
            sought.extend(self.sought.take(&record.entity));
            if record.woke {
                self.census.note_durable(record.entity, false);
            }
        }
        sought
    }
}
