//! Owns how busy an arbiter is: the share of a tick for which its thread works
//! for its table, over the last two seconds. Never reads a clock: whoever
//! measures says how long. Called by the ticker at every tick; read by whoever
//! decides what runs slower, or elsewhere. Invariant: it is the mean over as
//! many ticks as hold a whole number of steps of every sector, whatever its
//! rate, so that under constant work it is constant.

use crate::base::time::TICK_MS;

/// Ticks that it is the mean of: in 20 a sector at n tenths makes n steps.
pub const WINDOW: usize = 20;
/// The whole of a tick.
pub const WHOLE: u32 = 1000;

/// How busy an arbiter is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Thousandths of each of the last ticks, in a ring.
    ticks: [u32; WINDOW],
    next: usize,
}

impl Load {
    /// From one tick of the node to the next it worked for `busy_us`
    /// microseconds.
    pub fn note_tick(&mut self, busy_us: u64) {
        self.ticks[self.next] = u32::try_from(busy_us / TICK_MS).unwrap_or(u32::MAX);
        self.next = (self.next + 1) % WINDOW;
    }

    /// Thousandths of a tick that it works in each; more than [`WHOLE`] when
    /// it cannot keep up.
    pub fn share(&self) -> u32 {
        let all: u64 = self.ticks.iter().copied().map(u64::from).sum();
        u32::try_from(all / WINDOW as u64).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(ticks: usize, busy_us: impl Fn(usize) -> u64) -> u32 {
        let mut load = Load::default();
        (0..ticks).for_each(|tick| load.note_tick(busy_us(tick)));
        load.share()
    }

    #[test]
    fn is_the_share_of_the_tick_that_is_worked_in() {
        for busy_us in [0, 300, 50_000, 99_900, 100_000, 730_000] {
            assert_eq!(u64::from(after(WINDOW, |_| busy_us)), busy_us / TICK_MS);
        }
        assert_eq!(after(WINDOW / 2, |_| 80_000), 400);
    }

    #[test]
    fn is_constant_however_seldom_a_sector_steps() {
        for every in [2, 4, 10, 20] {
            let steps = |tick: usize| if tick.is_multiple_of(every) { 60_000 } else { 0 };
            let mean = 600 / u32::try_from(every).unwrap();
            for more in 0..WINDOW {
                assert_eq!(after(WINDOW + more, steps), mean);
            }
        }
    }

    #[test]
    fn forgets_one_long_stall_after_two_seconds() {
        let stall = |tick: usize| if tick == 5 { u64::MAX } else { 0 };
        assert!(after(WINDOW + 5, stall) > WHOLE);
        assert_eq!(after(WINDOW + 6, stall), 0);
    }
}
