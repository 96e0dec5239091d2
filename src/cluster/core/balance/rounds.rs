//! Owns when the node that plans makes a plan: every so often, and not while the
//! last one is being carried out. Never makes one. Called about once a second.
//!
//! ```text
//!   directory changed ──(all told that nothing is on its way, for 2 s)──> due
//!                     └─(30 s: something cannot go)────────────────────>
//! ```
//!
//! Invariant: what was moved was told by the node that has it now before the next
//! plan weighs it, unless that takes too long.

use crate::base::Millis;

/// Two words of every node.
const SETTLED_MS: u64 = 2_000;
/// An entity that cannot be loaded does not go; the others wait no longer.
const PATIENCE_MS: u64 = 30_000;

/// When the next plan is due.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    every_ms: u64,
    next: Millis,
    /// The directory's version as it was last seen, and since when.
    version: Option<u64>,
    changed: Millis,
    /// Since when nothing is on its way.
    settled: Option<Millis>,
}

impl Rounds {
    pub fn new(every_ms: u64) -> Rounds {
        let (next, changed) = (Millis(0), Millis(0));
        Rounds { every_ms, next, version: None, changed, settled: None }
    }

    /// Whether a plan is to be made now of the directory of that `version`;
    /// `settled` when nothing is on its way.
    pub fn is_due(&mut self, version: u64, settled: bool, now: Millis) -> bool {
        if self.version != Some(version) {
            (self.version, self.changed, self.settled) = (Some(version), now, None);
        }
        self.settled = settled.then(|| self.settled.unwrap_or(now));
        let rests = self.settled.is_some_and(|at| now.since(at) >= SETTLED_MS);
        let is_late = now.since(self.changed) >= PATIENCE_MS;
        let is_due = now >= self.next && (rests || is_late);
        if is_due {
            self.next = Millis(now.0.saturating_add(self.every_ms));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds in which a plan is due, of so many.
    fn due(rounds: &mut Rounds, from: u64, to: u64, version: u64, settled: bool) -> Vec<u64> {
        let mut is_due = |second: &u64| rounds.is_due(version, settled, Millis(second * 1_000));
        (from..to).filter(|second| is_due(second)).collect()
    }

    #[test]
    fn a_plan_is_due_every_so_often() {
        let mut rounds = Rounds::new(5_000);
        assert_eq!(due(&mut rounds, 100, 120, 3, true), [102, 107, 112, 117]);
    }

    #[test]
    fn none_is_due_while_the_last_one_is_carried_out() {
        let mut rounds = Rounds::new(5_000);
        due(&mut rounds, 100, 103, 3, true);
        assert_eq!(due(&mut rounds, 103, 115, 4, false), [] as [u64; 0]);
        assert_eq!(due(&mut rounds, 115, 122, 4, true), [117]);
        // Another change comes, of whomever.
        assert_eq!(due(&mut rounds, 122, 130, 5, true), [124, 129]);
    }

    #[test]
    fn what_cannot_go_holds_up_the_others_for_half_a_minute() {
        let mut rounds = Rounds::new(5_000);
        assert_eq!(due(&mut rounds, 100, 141, 3, false), [130, 135, 140]);
    }
}
