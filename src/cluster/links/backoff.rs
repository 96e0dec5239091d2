//! Owns how long to wait before a peer is dialled again. Pure: the same seed,
//! peer and attempt give the same wait.

use std::time::Duration;

use crate::base::NodeId;
use crate::base::draw::draw;

/// Waits that double, each shortened by a random part of up to its half, so
/// that nodes that lost each other do not dial in step.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    seed: u64,
    peer: NodeId,
    /// Failures since the last success.
    failures: u32,
    /// Waits so far, so that no two draw the same.
    waits: u64,
}

impl Backoff {
    pub fn new(first: Duration, most: Duration, seed: u64, peer: NodeId) -> Backoff {
        Backoff { first, most, seed, peer, failures: 0, waits: 0 }
    }

    /// The wait after one more failure.
    pub fn handle_failure(&mut self) -> Duration {
        let doubled = self.first.saturating_mul(1 << self.failures.min(20));
        let wait = doubled.min(self.most);
        self.failures += 1;
        self.waits += 1;
        let numbers = [u64::from(self.peer.0), self.waits];
        let half = wait.as_nanos() as u64 / 2;
        let random = draw(self.seed, "starmesh links redial", &numbers) % (half + 1);
        wait - Duration::from_nanos(random)
    }

    pub fn handle_success(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(seed: u64) -> Vec<Duration> {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut backoff = Backoff::new(first, most, seed, NodeId(7));
        (0..40).map(|_| backoff.handle_failure()).collect()
    }

    #[test]
    fn doubles_up_to_the_longest_and_never_falls_below_the_half() {
        for seed in 0..20 {
            for (n, wait) in waits(seed).into_iter().enumerate() {
                let full = Duration::from_millis(100 << n.min(20)).min(Duration::from_secs(5));
                assert!(wait <= full && wait >= full / 2, "seed {seed}, wait {n}: {wait:?}");
            }
        }
    }

    #[test]
    fn is_the_same_for_a_seed_and_differs_between_seeds() {
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }

    #[test]
    fn begins_anew_after_a_success() {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut backoff = Backoff::new(first, most, 1, NodeId(7));
        for _ in 0..10 {
            backoff.handle_failure();
        }
        backoff.handle_success();
        assert!(backoff.handle_failure() <= first);
    }
}
