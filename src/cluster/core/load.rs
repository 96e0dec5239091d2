//! Owns how busy an arbiter is: the share of a tick for which its thread works
//! for its table, smoothed over about a second. Never reads a clock: whoever
//! measures says how long. Called by the ticker at every tick; read by whoever
//! decides what runs slower, or elsewhere. Invariant: under constant work it
//! comes to exactly that share, and stays there.

use crate::base::time::TICK_MS;

/// Ticks over which it is smoothed: a second.
const SMOOTH_TICKS: i64 = 10;
/// The whole of a tick.
pub const WHOLE: u32 = 1000;
/// A longer tick counts as so many whole ones: one long stall is not
/// remembered for minutes.
const LONGEST: i64 = 20 * WHOLE as i64;
/// Parts of a thousandth that are kept, so that smoothing comes to an end.
const PARTS: i64 = 1 << 16;

/// How busy an arbiter is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Thousandths of a tick, times [`PARTS`].
    parts: i64,
}

impl Load {
    /// From one tick of the node to the next it worked for `busy_us`
    /// microseconds.
    pub fn note_tick(&mut self, busy_us: u64) {
        let busy = i64::try_from(busy_us / TICK_MS).unwrap_or(i64::MAX).min(LONGEST);
        let away = busy * PARTS - self.parts;
        // What is left over is less than a thousandth: then it is there.
        self.parts += if away.abs() < PARTS / 2 { away } else { away / SMOOTH_TICKS };
    }

    /// Thousandths of a tick that it works in each; more than [`WHOLE`] when
    /// it cannot keep up.
    pub fn share(&self) -> u32 {
        u32::try_from((self.parts + PARTS / 2) / PARTS).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(ticks: usize, busy_us: u64) -> u32 {
        let mut load = Load::default();
        (0..ticks).for_each(|_| load.note_tick(busy_us));
        load.share()
    }

    #[test]
    fn comes_to_the_share_of_the_tick_that_is_worked_in() {
        for busy_us in [0, 300, 50_000, 99_999, 100_000, 730_000] {
            assert_eq!(u64::from(after(200, busy_us)), busy_us / TICK_MS);
        }
    }

    #[test]
    fn takes_about_a_second_for_most_of_the_way() {
        let half = after(6, 80_000);
        assert!((350..450).contains(&half), "{half}");
        assert!(after(1, 80_000) < 100 && after(30, 80_000) > 750);
    }

    #[test]
    fn forgets_one_long_stall_within_seconds() {
        let mut load = Load::default();
        load.note_tick(3_600_000_000);
        assert!(load.share() > WHOLE);
        (0..30).for_each(|_| load.note_tick(0));
        assert!(load.share() < WHOLE / 10);
        (0..100).for_each(|_| load.note_tick(0));
        assert_eq!(load, Load::default());
    }
}
