//! Owns when a thread that runs entities has been silent for too long, so that the
//! process is to end. Never looks at a thread or a clock itself, and ends nothing.
//! Called every [`LOOK_MS`] by a thread that runs no entity.
//!
//! A thread *answers* by taking a message, by working for a handler, or by going on
//! with a piece of work of an entity, which is never more than one step or one record:
//! so one that is busy answers all the time, and one in an endless loop, or that waits
//! for a lock, never does. Nobody is silent who is asked for nothing and at nothing.
//!
//! Time counts as it is looked: between two looks at most [`LOOK_MS`], however late the
//! second is. While the process is stopped, or the machine sleeps or is too busy to let
//! anybody run, the one who looks does not run either, and that is nobody's silence. The
//! store is waited for by other threads, so its absence is none.
//!
//! Invariant: nobody is found silent who answered in any of the last
//! [`SILENT_MS_MAX`] / [`LOOK_MS`] looks.

use crate::base::Millis;

/// How often it is looked, and what counts between two looks at most.
pub const LOOK_MS: u64 = 100;
/// Who does not answer for so long is stuck.
pub const SILENT_MS_MAX: u64 = 2000;

/// What is seen of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Differs from the last look when it answered.
    pub answers: u64,
    /// It was asked for something, or is at something.
    pub is_awaited: bool,
}

#[derive(Clone, Copy, Debug)]
struct Thread {
    answers: u64,
    silent_ms: u64,
}

/// The threads that are watched, always the same in the same order.
#[derive(Debug, Default)]
pub struct Watch {
    threads: Vec<Thread>,
    looked: Millis,
}

impl Watch {
    /// What is seen now.
    pub fn look(&mut self, seen: &[Seen], now: Millis) {
        let passed = now.since(self.looked).min(LOOK_MS);
        self.looked = now;
        if self.threads.len() != seen.len() {
            let new = |seen: &Seen| Thread { answers: seen.answers, silent_ms: 0 };
            self.threads = seen.iter().map(new).collect();
            return;
        }
        for (thread, seen) in self.threads.iter_mut().zip(seen) {
            let answered = thread.answers != seen.answers || !seen.is_awaited;
            thread.answers = seen.answers;
            thread.silent_ms = if answered { 0 } else { thread.silent_ms + passed };
        }
    }

    /// For how long the one has been silent that has been for longest.
    pub fn longest_ms(&self) -> u64 {
        self.threads.iter().map(|thread| thread.silent_ms).max().unwrap_or(0)
    }

    /// Who is stuck, and for how long it has been silent.
    pub fn stuck(&self) -> Option<(usize, u64)> {
        let silent = self.threads.iter().map(|thread| thread.silent_ms).enumerate();
        silent.max_by_key(|(_, ms)| *ms).filter(|(_, ms)| *ms >= SILENT_MS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seen(answers: u64, is_awaited: bool) -> Seen {
        Seen { answers, is_awaited }
    }

    /// Looks so often, each after so many ms; when somebody was found stuck.
    fn looks(watch: &mut Watch, ms: u64, count: u64, of: impl Fn(u64) -> Seen) -> Option<u64> {
        let began = watch.looked.0;
        (1..=count).find(|n| {
            watch.look(&[seen(*n, true), of(*n)], Millis(began + n * ms));
            watch.stuck().is_some()
        })
    }

    #[test]
    fn who_is_asked_and_does_not_answer_is_stuck_after_two_seconds() {
        let mut watch = Watch::default();
        assert_eq!(looks(&mut watch, LOOK_MS, 1, |_| seen(7, true)), None);
        assert_eq!(looks(&mut watch, LOOK_MS, 100, |_| seen(7, true)), Some(20));
        assert_eq!(watch.stuck(), Some((1, SILENT_MS_MAX)));
    }

    #[test]
    fn who_goes_on_or_has_nothing_to_do_is_not_stuck_however_long() {
        let mut watch = Watch::default();
        assert_eq!(looks(&mut watch, LOOK_MS, 1000, |n| seen(n / 19, true)), None);
        assert_eq!(looks(&mut watch, LOOK_MS, 1000, |_| seen(7, false)), None);
        assert_eq!(watch.longest_ms(), 0);
    }

    #[test]
    fn time_in_which_nobody_looked_is_nobodys() {
        let mut watch = Watch::default();
        // A process that is stopped for a minute after each second.
        let stopped = |n: u64| seen(n / 10, true);
        assert_eq!(looks(&mut watch, 60_000, 19, stopped), None);
        let mut watch = Watch::default();
        assert_eq!(looks(&mut watch, 3_600_000, 20, |_| seen(7, true)), None);
        assert_eq!(looks(&mut watch, 3_600_000, 2, |_| seen(7, true)), Some(1));
    }
}
