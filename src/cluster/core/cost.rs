//! Owns what one sector costs its thread, and what goes on in it, as it is told
//! to whoever plans: smoothed over some seconds, and since when it is hot, cold
//! or here. Never reads a clock: the table is told how long things took. Part of
//! the sector's cell, so it goes along to another thread. Invariant: soft state;
//! nothing of it changes what a sector does.

use crate::base::Millis;
use crate::base::time::TICK_MS;
use crate::entity::pace::Rate;

/// Ticks in a second.
const TICKS: u64 = 10;
/// What is told is a mean in which the last second counts for one part of so
/// many; of fewer seconds it is their mean.
const SMOOTHED: u64 = 8;
/// A sector that takes more of a tick than this is hot.
const HOT_US: u64 = TICK_MS * 1_000 / 2;
/// Less than one action in this time is cold.
const MINUTE_MS: u64 = 60_000;
/// Actions are told as of so many seconds, so that less than one a second is
/// more than nothing.
pub const ACTIVITY_SECONDS: u64 = 16;

/// One sector's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Since the last second ended.
    spent_ns: u64,
    actions: u64,
    /// How many seconds are in the means.
    seconds: u64,
    /// Of a tick, at full rate.
    mean_ns: u64,
    /// Thousandths of an action a second.
    mean_actions: u64,
    acted: Millis,
    hot: Option<Millis>,
    cold: Option<Millis>,
    here: Millis,
}

impl Cost {
    /// This node's claim is durable; with `came` the sector comes from another
    /// node that lives. One that wakes, or is taken over, may go on at once.
    pub fn note_claimed(&mut self, now: Millis, came: bool) {
        let here = if came { now } else { Millis(0) };
        *self = Cost { acted: now, cold: Some(now), here, ..Cost::default() };
    }

    /// Its thread worked for it.
    pub fn spend(&mut self, ns: u64) {
        self.spent_ns = self.spent_ns.saturating_add(ns);
    }

    /// Players acted in it.
    pub fn act(&mut self, actions: u64) {
        self.actions = self.actions.saturating_add(actions);
    }

    /// A second has passed, in which it ran at `rate`; `alone` when nothing else
    /// steps on its thread.
    pub fn note_second(&mut self, now: Millis, rate: Rate, alone: bool) {
        self.seconds = (self.seconds + 1).min(SMOOTHED);
        // What it would cost if it were not slowed down.
        let ns = self.spent_ns.saturating_mul(10) / u64::from(rate.tenths()) / TICKS;
        self.mean_ns = mean(self.mean_ns, ns, self.seconds);
        let actions = self.actions.saturating_mul(1_000);
        self.mean_actions = mean(self.mean_actions, actions, self.seconds);
        let is_hot = alone && self.mean_ns / 1_000 > HOT_US;
        self.hot = is_hot.then(|| self.hot.unwrap_or(now));
        let is_minute = now.since(self.acted) >= MINUTE_MS;
        match (self.actions > 0, is_minute) {
            (true, false) => self.cold = None,
            (false, true) => self.cold = self.cold.or(Some(self.acted)),
            _ => {}
        }
        if self.actions > 0 {
            self.acted = now;
        }
        (self.spent_ns, self.actions) = (0, 0);
    }

    /// Microseconds of each tick, at full rate.
    pub fn us(&self) -> u32 {
        u32::try_from(self.mean_ns / 1_000).unwrap_or(u32::MAX)
    }

    /// Actions in [`ACTIVITY_SECONDS`].
    pub fn activity(&self) -> u32 {
        let actions = self.mean_actions.saturating_mul(ACTIVITY_SECONDS).div_ceil(1_000);
        u32::try_from(actions).unwrap_or(u32::MAX)
    }

    /// Since when it takes more than half of a tick, alone on its thread.
    pub fn hot_since(&self) -> Option<Millis> {
        self.hot
    }

    /// Since when there has been less than one action a minute.
    pub fn cold_since(&self) -> Option<Millis> {
        self.cold
    }

    /// When it came from another node; long ago when it did not.
    pub fn here_since(&self) -> Millis {
        self.here
    }
}

/// A mean of so many seconds, with one more.
fn mean(mean: u64, last: u64, seconds: u64) -> u64 {
    let seconds = seconds.max(1);
    (u128::from(mean) * u128::from(seconds - 1) + u128::from(last))
        .checked_div(u128::from(seconds))
        .and_then(|mean| u64::try_from(mean).ok())
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds in each of which it costs `us` of a tick and has so many actions.
    fn run(cost: &mut Cost, from: u64, seconds: u64, us: u64, actions: u64) {
        for second in from..from + seconds {
            cost.spend(us * 1_000 * TICKS);
            cost.act(actions);
            cost.note_second(Millis(second * 1_000), Rate::FULL, true);
        }
    }

    #[test]
    fn is_told_at_once_and_follows_what_changes_within_some_seconds() {
        let mut cost = Cost::default();
        run(&mut cost, 0, 1, 800, 0);
        assert_eq!(cost.us(), 800, "the first second is all there is");
        run(&mut cost, 1, 20, 800, 0);
        assert_eq!(cost.us(), 800);
        run(&mut cost, 21, 1, 8_000, 0);
        assert_eq!(cost.us(), 1_700, "one second says little");
        run(&mut cost, 22, 40, 8_000, 0);
        assert!((7_900..=8_000).contains(&cost.us()), "{}", cost.us());
    }

    #[test]
    fn what_is_slowed_down_costs_what_it_would_at_full_rate() {
        let mut cost = Cost::default();
        cost.spend(10 * 20_000_000);
        let tenths = 2_u8;
        cost.note_second(Millis(0), Rate::try_from(tenths).unwrap(), true);
        assert_eq!(cost.us(), 100_000);
    }

    #[test]
    fn is_hot_from_half_a_tick_on_and_only_alone_on_a_thread() {
        let mut cost = Cost::default();
        run(&mut cost, 1, 10, 40_000, 0);
        assert_eq!(cost.hot_since(), None);
        run(&mut cost, 11, 30, 60_000, 0);
        let since = cost.hot_since().expect("it is hot");
        assert!((Millis(11_000)..Millis(30_000)).contains(&since), "{since:?}");
        run(&mut cost, 41, 30, 60_000, 0);
        assert_eq!(cost.hot_since(), Some(since), "it still is");
        cost.spend(600_000_000);
        cost.note_second(Millis(71_000), Rate::FULL, false);
        assert_eq!(cost.hot_since(), None, "its thread has other work");
    }

    #[test]
    fn is_cold_with_less_than_one_action_a_minute() {
        let mut cost = Cost::default();
        cost.note_claimed(Millis(0), false);
        assert_eq!(cost.cold_since(), Some(Millis(0)));
        run(&mut cost, 5, 1, 0, 1);
        assert_eq!(cost.cold_since(), None, "somebody acted");
        run(&mut cost, 6, 58, 0, 0);
        assert_eq!(cost.cold_since(), None);
        run(&mut cost, 64, 2, 0, 0);
        assert_eq!(cost.cold_since(), Some(Millis(5_000)));
        run(&mut cost, 66, 1, 0, 1);
        assert_eq!(cost.cold_since(), Some(Millis(5_000)), "one action in more than a minute");
        run(&mut cost, 80, 1, 0, 1);
        assert_eq!(cost.cold_since(), None, "two in one");
    }

    #[test]
    fn less_than_an_action_a_second_is_more_than_none() {
        let mut cost = Cost::default();
        for second in 0..40 {
            run(&mut cost, second, 1, 0, u64::from(second % 4 == 0));
        }
        assert!((2..=6).contains(&cost.activity()), "{}", cost.activity());
        run(&mut cost, 40, 200, 0, 0);
        assert!(cost.activity() <= 1);
    }

    #[test]
    fn only_what_comes_from_a_living_node_has_just_come() {
        let mut cost = Cost::default();
        cost.note_claimed(Millis(7), true);
        run(&mut cost, 1, 3, 100, 0);
        assert_eq!(cost.here_since(), Millis(7));
        cost.note_claimed(Millis(9_000), false);
        assert_eq!((cost.here_since(), cost.us()), (Millis(0), 0));
    }
}
