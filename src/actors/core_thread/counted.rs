//! Owns how what a core counts gets to metrics and to the node's status. Never counts
//! anything itself. Called by the core's thread behind each batch of events.

use std::sync::atomic::Ordering;

use super::CoreThread;
use crate::base::Millis;
use crate::cluster::core::node::NodeCounts;
use crate::telemetry::metrics;

impl CoreThread {
    pub(super) fn report(&mut self, now: Millis) {
        let counts = self.core.counts();
        let before = std::mem::replace(&mut self.counted, counts);
        self.status.time_ms.store(now.0, Ordering::Relaxed);
        if counts.tick != before.tick {
            metrics::TICK_GAP.record(self.status.stalled().as_secs_f64());
            self.status.note_tick(counts.tick);
            metrics::TICK.set(counts.tick as f64);
        }
        metrics::COMMITS.increment(counts.commits - before.commits);
        metrics::COMMITS_RESENT.increment(counts.resent - before.resent);
        metrics::TICKS_HELD.increment(counts.held - before.held);
        metrics::SECTOR_MOVES.increment(counts.moves - before.moves);
        metrics::SECTORS_HOT.set(counts.hot as f64);
        metrics::RECORDS.increment(counts.records - before.records);
        metrics::RECORD_BYTES.increment(counts.record_bytes - before.record_bytes);
        metrics::SNAPSHOTS.increment(counts.snapshots - before.snapshots);
        metrics::SECTORS_HIBERNATED_TOTAL.increment(counts.closed - before.closed);
        metrics::SECTORS_DELETED.increment(counts.deleted - before.deleted);
        if let Some(asleep) = counts.asleep.filter(|_| counts.asleep != before.asleep) {
            metrics::SECTORS_HIBERNATED.set(asleep as f64);
        }
        metrics::HANDED_OVER.increment(counts.handed_over - before.handed_over);
        metrics::LACKING.set(counts.foreign as f64);
        metrics::ADOPTED.increment(counts.adopted - before.adopted);
        metrics::DEATHS.increment(counts.deaths - before.deaths);
        metrics::UNHEEDED.increment(counts.unheeded - before.unheeded);
        metrics::GROUPS_REFUSED.increment(counts.refused - before.refused);
        metrics::GROUPS_MALFORMED.increment(counts.malformed - before.malformed);
        metrics::LOAD_DROPPED.increment(counts.dropped - before.dropped);
        self.report_audit(now, before);
        if let Ok(mut shared) = self.status.counts.lock() {
            *shared = counts;
        }
    }

    pub(super) fn report_audit(&self, now: Millis, before: NodeCounts) {
        let made = self.counted.signatures - before.signatures;
        let failed = self.counted.sign_failures - before.sign_failures;
        metrics::AUDIT_SIGNATURES.with(&["made"]).increment(made);
        metrics::AUDIT_SIGNATURES.with(&["failed"]).increment(failed);
        let unsigned_ms = self.core.unsigned_since().map_or(0, |since| now.since(since));
        metrics::AUDIT_UNSIGNED.set(unsigned_ms as f64 / 1_000.0);
    }
}
