//! Owns the node's time: the wall clock without its jumps. Never reads a
//! clock; both readings are given. Invariant: it never goes back, and in one
//! run it is at most a hundredth faster or slower than the steady clock, and for a
//! while, when it was right for long, at most a tenth: a node that is silent for a
//! second of it may be declared dead.
//!
//! Remembered commands and open sessions are dropped after minutes of this
//! time, and a retry after that would be a second command: so an hour that the
//! wall clock jumps must not pass here at once. Downtime between two runs does
//! not count either: claims say so (`entity::machine`).

use crate::base::Millis;

/// How far the wall clock may be off before it is reported.
pub const JUMP_MS: u64 = 2000;

/// The node's clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    time: Millis,
    steady: Millis,
    /// Steady milliseconds not yet spent on catching up with the wall clock.
    spare: u64,
    /// The same of the last second, of which no more than a tenth is spent so.
    lately: u64,
}

impl Clock {
    pub fn new(wall: Millis, steady: Millis) -> Clock {
        Clock { time: wall, steady, spare: 0, lately: 0 }
    }

    /// The node's time when the wall clock says `wall` and the steady one
    /// `steady`; and how far the wall clock is off.
    pub fn read(&mut self, wall: Millis, steady: Millis) -> (Millis, u64) {
        let passed = steady.since(self.steady);
        self.steady = self.steady.max(steady);
        self.spare = (self.spare + passed).min(100_000);
        let expected = self.time.0 + passed;
        let off = wall.0.abs_diff(expected);
        self.lately = (self.lately + passed).min(1_000);
        let slew = off.min(self.spare / 100).min(self.lately / 10);
        self.spare -= slew * 100;
        self.lately -= slew * 10;
        self.time = Millis(if wall.0 > expected { expected + slew } else { expected - slew });
        (self.time, off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_that_the_wall_clock_jumps_does_not_pass_at_once() {
        let mut clock = Clock::new(Millis(1_000_000), Millis(0));
        let (time, off) = clock.read(Millis(1_000_000 + 3_600_000), Millis(1000));
        assert_eq!((time.0, off), (1_001_010, 3_599_000));
        let (later, _) = clock.read(Millis(0), Millis(2000));
        assert_eq!(later.0, 1_002_000);
    }

    #[test]
    fn a_second_is_never_much_less_however_long_the_clocks_agreed() {
        let mut clock = Clock::new(Millis(0), Millis(0));
        clock.read(Millis(100_000), Millis(100_000));
        // The wall clock jumps, and is looked at often.
        let read = |steady: u64| (Millis(steady + 900), Millis(steady));
        let mut times = Vec::new();
        for steady in (100_000..110_000).step_by(7) {
            let (wall, steady) = read(steady);
            times.push((steady.0, clock.read(wall, steady).0.0));
        }
        for (at, (steady, time)) in times.iter().enumerate() {
            let later = times[at..].iter().find(|later| later.0 >= steady + 1_000);
            let Some((other, later)) = later else { break };
            let (passed, shown) = (other - steady, later - time);
            assert!(shown <= passed + 210, "{shown} ms in {passed}");
        }
        let (steady, time) = times[times.len() - 1];
        assert_eq!(time, steady + 900, "it has caught up");
    }

    #[test]
    fn it_never_goes_back() {
        let mut clock = Clock::new(Millis(500), Millis(0));
        let mut last = Millis(0);
        for (wall, steady) in [(400, 10), (100, 10), (0, 11), (9999, 5), (50, 2000)] {
            let (now, _) = clock.read(Millis(wall), Millis(steady));
            assert!(now >= last, "{now:?} after {last:?}");
            last = now;
        }
    }
}
