//! Owns the measuring of a thread of entities: the clock of the time for which it
//! worked, and what of that was for sectors. Never decides anything by it. Made by
//! the ticker, read by whoever tells the node's load. Invariant: time in which the
//! thread waits for a processor is nobody's cost, so that a busy machine does not
//! look like costly sectors.

use std::sync::{Mutex, PoisonError};

use rustix::time::{ClockId, clock_gettime};

use crate::cluster::core::table::TableCosts;

/// What is not for sectors is a mean in which the last second counts for one part
/// of so many.
const SMOOTHED: u64 = 8;

/// Nanoseconds for which the calling thread has worked since it began.
pub fn thread_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// What a thread was last measured to do.
#[derive(Debug, Default)]
pub struct Measured(Mutex<(TableCosts, u32)>);

impl Measured {
    /// What its sectors cost, and microseconds of each tick for all else.
    pub fn read(&self) -> (TableCosts, u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn put(&self, costs: TableCosts, other_us: u32) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (costs, other_us);
    }
}

/// Of one thread: what it does besides sectors.
#[derive(Clone, Copy, Debug, Default)]
pub struct OtherWork {
    worked_ns: u64,
    charged_ns: u64,
    mean_us: u64,
}

impl OtherWork {
    /// In the last `ticks` it worked until its clock said `worked_ns`, of which
    /// `charged_ns` in all were for sectors. Microseconds of each tick.
    pub fn note(&mut self, worked_ns: u64, charged_ns: u64, ticks: u64) -> u32 {
        let worked = worked_ns.saturating_sub(self.worked_ns);
        let other = worked.saturating_sub(charged_ns.saturating_sub(self.charged_ns));
        let last = other / 1_000 / ticks.max(1);
        let is_first = self.worked_ns == 0;
        let mean = (self.mean_us * (SMOOTHED - 1) + last) / SMOOTHED;
        // What it did before it had anything to do is no tick's.
        self.mean_us = if is_first { 0 } else { mean };
        (self.worked_ns, self.charged_ns) = (worked_ns, charged_ns);
        u32::try_from(self.mean_us).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_for_sectors_is_told_by_the_tick() {
        let (mut other, mut told) = (OtherWork::default(), 0);
        // 5 ms of each second, and 20 ms for sectors.
        for second in 1..=100 {
            told = other.note(1 + second * 25_000_000, second * 20_000_000, 10);
        }
        assert!((480..=500).contains(&told), "{told}");
    }

    #[test]
    fn the_clock_counts_work_of_this_thread_only() {
        let before = thread_ns();
        let mut work = before;
        let mut turns = 0_u64;
        // It moves with what this loop does, however long others run.
        while work < before + 2_000_000 {
            turns = std::hint::black_box(turns + 1);
            work = thread_ns();
        }
        assert!(turns > 0);
        let other = std::thread::spawn(thread_ns).join().unwrap();
        assert!(other < thread_ns(), "a new thread has worked for nothing yet");
    }
}
