//! Owns what the node's core shows of itself to other threads: its tick and
//! clock, whether it takes players, what it counts. Never decides anything.
//! Written by the core's thread, read by gateways at any time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::base::{Millis, Tick};
use crate::cluster::core::node::NodeCounts;

/// What others may read of the core at any time.
pub struct CoreStatus {
    began: Instant,
    /// When the tick last moved, in milliseconds since `began`.
    ticked_ms: AtomicU64,
    pub tick: AtomicU64,
    pub time_ms: AtomicU64,
    pub ready: AtomicBool,
    /// Its links to other nodes were up once, or waited for long enough.
    pub linked: AtomicBool,
    /// The store answers and the disk has room.
    pub taking_commands: AtomicBool,
    /// Its clock and the store's agree.
    pub may_claim: AtomicBool,
    /// The node stops: it takes nothing new.
    pub stopping: AtomicBool,
    pub disk_full: AtomicBool,
    /// Which entity this process ends for is in the store.
    pub blamed: AtomicBool,
    pub counts: std::sync::Mutex<NodeCounts>,
}

impl Default for CoreStatus {
    fn default() -> CoreStatus {
        CoreStatus {
            began: Instant::now(),
            ticked_ms: AtomicU64::new(0),
            tick: AtomicU64::new(0),
            time_ms: AtomicU64::new(0),
            ready: AtomicBool::new(false),
            linked: AtomicBool::new(false),
            taking_commands: AtomicBool::new(true),
            may_claim: AtomicBool::new(true),
            stopping: AtomicBool::new(false),
            disk_full: AtomicBool::new(false),
            blamed: AtomicBool::new(false),
            counts: std::sync::Mutex::default(),
        }
    }
}

impl CoreStatus {
    /// How long the tick has stood still.
    pub fn stalled(&self) -> Duration {
        let ticked = Duration::from_millis(self.ticked_ms.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(ticked)
    }

    /// The tick has moved.
    pub fn note_tick(&self, tick: u64) {
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.ticked_ms.store(elapsed, Ordering::Relaxed);
        self.tick.store(tick, Ordering::Relaxed);
    }

    /// The node's tick and clock.
    pub fn time(&self) -> (Tick, Millis) {
        (Tick(self.tick.load(Ordering::Relaxed)), Millis(self.time_ms.load(Ordering::Relaxed)))
    }
}
