//! Owns what a relay counts. Never decides anything. Invariant: per way, datagrams
//! received + duplicated = delivered + lost + cut + full + waiting, and bytes of
//! streams delivered ≤ received.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a relay has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub up: WayCounters,
    pub down: WayCounters,
    pub flows_opened: u64,
    pub flows_closed: u64,
    /// Beyond the bound, or to a target that cannot be reached.
    pub flows_refused: u64,
}

/// What one way has done: datagrams, or for streams what was read at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WayCounters {
    pub received: u64,
    pub received_bytes: u64,
    pub delivered: u64,
    pub delivered_bytes: u64,
    /// Of a stream: late, as after a retransmission.
    pub lost: u64,
    pub duplicated: u64,
    /// Held back while what came later went on.
    pub reordered: u64,
    /// Dropped because the way was cut.
    pub cut: u64,
    /// Dropped because a queue was full, or the system took no more.
    pub full: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counting {
    pub up: Ways,
    pub down: Ways,
    pub flows_opened: AtomicU64,
    pub flows_closed: AtomicU64,
    pub flows_refused: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct Ways {
    pub received: AtomicU64,
    pub received_bytes: AtomicU64,
    pub delivered: AtomicU64,
    pub delivered_bytes: AtomicU64,
    pub lost: AtomicU64,
    pub duplicated: AtomicU64,
    pub reordered: AtomicU64,
    pub cut: AtomicU64,
    pub full: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Ways {
    pub fn note_received(&self, bytes: usize) {
        count(&self.received);
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn note_delivered(&self, bytes: usize) {
        count(&self.delivered);
        self.delivered_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn snapshot(&self) -> WayCounters {
        WayCounters {
            received: read(&self.received),
            received_bytes: read(&self.received_bytes),
            delivered: read(&self.delivered),
            delivered_bytes: read(&self.delivered_bytes),
            lost: read(&self.lost),
            duplicated: read(&self.duplicated),
            reordered: read(&self.reordered),
            cut: read(&self.cut),
            full: read(&self.full),
        }
    }
}

impl Counting {
    pub fn snapshot(&self) -> Counters {
        Counters {
            up: self.up.snapshot(),
            down: self.down.snapshot(),
            flows_opened: read(&self.flows_opened),
            flows_closed: read(&self.flows_closed),
            flows_refused: read(&self.flows_refused),
        }
    }
}
