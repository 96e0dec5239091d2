//! Owns a rolling window: at most so much within so long. Pure: the time is an
//! argument. Time is cut into slots of a sixtieth of the window, and what
//! happened in a slot counts until the slot has left the window entirely: so a
//! window may refuse up to a sixtieth too long, and never admits too much.

use std::collections::VecDeque;

use crate::base::Millis;

const SLOTS: u64 = 60;

/// What was not admitted, and when it would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Ask again after this many milliseconds.
    After { ms: u64 },
    /// More at once than the window ever admits.
    Never { limit: u64 },
}

/// At most `limit` within `span_ms`, rolling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    limit: u64,
    slot_ms: u64,
    /// Slot and how much happened in it, ascending; at most one more than
    /// [`SLOTS`] entries.
    used: VecDeque<(u64, u64)>,
    sum: u64,
}

impl Window {
    /// `span_ms` is raised to a multiple of 60.
    pub fn new(limit: u64, span_ms: u64) -> Window {
        Window { limit, slot_ms: span_ms.div_ceil(SLOTS).max(1), used: VecDeque::new(), sum: 0 }
    }

    /// Admits `n` at `now`, or admits and remembers nothing. A clock that goes
    /// backwards is taken to stand.
    ///
    /// # Errors
    /// When more than the limit would fall in the window.
    pub fn admit(&mut self, n: u64, now: Millis) -> Result<(), Refusal> {
        if n > self.limit {
            return Err(Refusal::Never { limit: self.limit });
        }
        let newest = self.used.back().map_or(0, |&(slot, _)| slot);
        let slot = (now.0 / self.slot_ms).max(newest);
        self.forget_before(slot);
        if self.sum.saturating_add(n) > self.limit {
            return Err(Refusal::After { ms: self.wait_for(n, slot, now) });
        }
        self.record(n, slot);
        Ok(())
    }

    /// True when nothing that still counts at `now` is remembered.
    pub fn is_idle(&self, now: Millis) -> bool {
        let slot = now.0 / self.slot_ms;
        self.used.back().is_none_or(|&(last, _)| last.saturating_add(SLOTS) < slot)
    }

    fn record(&mut self, n: u64, slot: u64) {
        self.sum = self.sum.saturating_add(n);
        match self.used.back_mut() {
            Some((last, used)) if *last == slot => *used = used.saturating_add(n),
            _ => self.used.push_back((slot, n)),
        }
    }

    /// Drops slots that ended at least one window before `slot` began.
    fn forget_before(&mut self, slot: u64) {
        while let Some(&(first, used)) = self.used.front() {
            if first.saturating_add(SLOTS) >= slot {
                return;
            }
            self.sum = self.sum.saturating_sub(used);
            self.used.pop_front();
        }
    }

    /// Milliseconds until enough of the oldest slots have left.
    fn wait_for(&self, n: u64, slot: u64, now: Millis) -> u64 {
        let mut left = self.sum;
        let freed = self.used.iter().find(|&&(_, used)| {
            left = left.saturating_sub(used);
            left.saturating_add(n) <= self.limit
        });
        let first_free = freed.map_or(slot, |&(first, _)| first).saturating_add(SLOTS + 1);
        first_free.saturating_mul(self.slot_ms).saturating_sub(now.0).max(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn admits_up_to_the_limit_then_says_when() {
        let mut window = Window::new(3, 60_000);
        for ms in [0, 10_000, 20_000] {
            window.admit(1, Millis(ms)).unwrap();
        }
        assert_eq!(window.admit(1, Millis(30_000)), Err(Refusal::After { ms: 31_000 }));
        assert_eq!(window.admit(2, Millis(30_000)), Err(Refusal::After { ms: 41_000 }));
        assert_eq!(window.admit(4, Millis(30_000)), Err(Refusal::Never { limit: 3 }));
        window.admit(1, Millis(61_000)).unwrap();
    }

    #[test]
    fn a_clock_that_goes_back_admits_nothing_extra() {
        let mut window = Window::new(2, 60_000);
        window.admit(2, Millis(1_000_000)).unwrap();
        assert!(window.admit(1, Millis(0)).is_err());
        assert!(window.admit(1, Millis(1_059_000)).is_err());
        window.admit(1, Millis(1_062_000)).unwrap();
    }

    proptest! {
        /// Against a list of everything admitted: never too much in any
        /// window, and what is refused would be admitted when it said.
        #[test]
        fn holds_in_every_window(
            limit in 1u64..20,
            asks in prop::collection::vec((1u64..6, 0u64..9_000), 1..200),
        ) {
            let mut window = Window::new(limit, 60_000);
            let mut admitted: Vec<(u64, u64)> = Vec::new();
            let mut now = 0;
            for (n, pause) in asks {
                now += pause;
                match window.admit(n, Millis(now)) {
                    Ok(()) => admitted.push((now, n)),
                    Err(Refusal::Never { .. }) => prop_assert!(n > limit),
                    Err(Refusal::After { ms }) => {
                        prop_assert!(ms <= 61_000);
                        prop_assert!(window.clone().admit(n, Millis(now + ms)).is_ok());
                        prop_assert!(window.clone().admit(n, Millis(now + ms - 1)).is_err());
                    }
                }
                let within: u64 =
                    admitted.iter().filter(|(at, _)| at + 60_000 > now).map(|(_, n)| n).sum();
                prop_assert!(within <= limit);
                prop_assert!(window.used.len() as u64 <= SLOTS + 1);
            }
        }
    }
}
