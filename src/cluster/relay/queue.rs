//! Owns the datagrams of one way of a flow that are on their way, by when they
//! are due. Never sends them. Invariant: never more than its bounds; what does not
//! fit is refused. Of two due at one time the one that came first is first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Datagrams that wait for their time.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: BinaryHeap<Reverse<(Duration, u64, Vec<u8>)>>,
    bytes: usize,
    admitted: u64,
    packets_max: usize,
    bytes_max: usize,
}

impl Queue {
    pub fn new(packets_max: usize, bytes_max: usize) -> Queue {
        Queue { waiting: BinaryHeap::new(), bytes: 0, admitted: 0, packets_max, bytes_max }
    }

    /// `false`, and nothing is kept, when it is full.
    #[must_use]
    pub fn admit(&mut self, due: Duration, bytes: Vec<u8>) -> bool {
        let fits = self.bytes.saturating_add(bytes.len()) <= self.bytes_max;
        if !fits || self.waiting.len() >= self.packets_max {
            return false;
        }
        self.bytes += bytes.len();
        self.admitted += 1;
        self.waiting.push(Reverse((due, self.admitted, bytes)));
        true
    }

    /// When the next one is due.
    pub fn next_due(&self) -> Option<Duration> {
        self.waiting.peek().map(|Reverse((due, ..))| *due)
    }

    /// The next one that is due at `now`.
    pub fn take_due(&mut self, now: Duration) -> Option<Vec<u8>> {
        self.next_due().filter(|due| *due <= now)?;
        let Reverse((.., bytes)) = self.waiting.pop()?;
        self.bytes -= bytes.len();
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn gives_what_is_due_in_the_order_of_its_time_then_of_its_coming() {
        let mut queue = Queue::new(10, 100);
        for (due, byte) in [(3, 1), (1, 2), (1, 3), (2, 4)] {
            assert!(queue.admit(due * MS, vec![byte]));
        }
        assert_eq!(queue.take_due(Duration::ZERO), None);
        let mut taken = Vec::new();
        while let Some(bytes) = queue.take_due(2 * MS) {
            taken.extend(bytes);
        }
        assert_eq!((taken, queue.next_due()), (vec![2, 3, 4], Some(3 * MS)));
    }

    #[test]
    fn refuses_what_does_not_fit_and_takes_it_when_it_does() {
        let mut queue = Queue::new(2, 100);
        assert!(queue.admit(MS, vec![0; 60]));
        assert!(!queue.admit(MS, vec![0; 41]), "too many bytes");
        assert!(queue.admit(MS, vec![0; 40]));
        assert!(!queue.admit(MS, Vec::new()), "too many");
        assert!(queue.take_due(MS).is_some() && queue.admit(MS, vec![0; 60]));
    }
}
