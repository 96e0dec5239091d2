//! Owns what the ledgers of players were last told of a sector, and whom they
//! are to be told of next. Never counts units itself. Called by the sector's
//! entity. Invariant: a ledger hears at once of a player's first unit and of
//! the last one's leaving, of other changes at most every [`TELL_TICKS`], and
//! in the end of every count as it is.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::base::{PlayerId, Tick};
use crate::entity::message::Counts;

/// Between two tellings of a player's counts, in ticks of the sector's: 5 s.
pub const TELL_TICKS: u64 = 50;

/// What ledgers were told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presences {
    /// By player; without those who have nothing here.
    told: BTreeMap<PlayerId, Told>,
    /// Players whose units may differ from what was told.
    stale: BTreeSet<PlayerId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    counts: Counts,
    at: Tick,
}

impl Presences {
    /// Players that have units here, as far as their ledgers were told.
    pub fn count(&self) -> usize {
        self.told.len()
    }

    /// Whether everything is told.
    pub fn is_settled(&self) -> bool {
        self.stale.is_empty()
    }

    /// Notes that units of `player` came, went or became others.
    pub fn note_changed(&mut self, player: PlayerId) {
        self.stale.insert(player);
    }

    /// Players that may have to be told of at `tick`. `has_units` says whether
    /// a player has any here.
    pub fn due(&self, tick: Tick, has_units: impl Fn(PlayerId) -> bool) -> Vec<PlayerId> {
        let is_due = |player: &PlayerId| match self.told.get(player) {
            None => true,
            Some(told) => tick.since(told.at) >= TELL_TICKS || !has_units(*player),
        };
        self.stale.iter().copied().filter(is_due).collect()
    }

    /// Notes that `player`'s ledger is told `counts` now; returns whether it
    /// does not know them yet, so that it must be told indeed.
    pub fn tell(&mut self, player: PlayerId, counts: &Counts, tick: Tick) -> bool {
        self.stale.remove(&player);
        let known = self.told.get(&player).map(|told| &told.counts);
        if known.map_or(counts.is_empty(), |known| known == counts) {
            return false;
        }
        if counts.is_empty() {
            self.told.remove(&player);
        } else {
            self.told.insert(player, Told { counts: counts.clone(), at: tick });
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::UnitTypeId;

    const ANNA: PlayerId = PlayerId(1);

    fn counts(count: u32) -> Counts {
        vec![(UnitTypeId(1), count)]
    }

    #[test]
    fn the_first_and_the_last_unit_are_due_at_once_others_after_five_seconds() {
        let mut presences = Presences::default();
        presences.note_changed(ANNA);
        assert_eq!(presences.due(Tick(10), |_| true), [ANNA]);
        assert!(presences.tell(ANNA, &counts(2), Tick(10)) && presences.is_settled());
        presences.note_changed(ANNA);
        assert_eq!(presences.due(Tick(10 + TELL_TICKS - 1), |_| true), []);
        assert_eq!(presences.due(Tick(10 + TELL_TICKS), |_| true), [ANNA]);
        assert_eq!(presences.due(Tick(11), |_| false), [ANNA]);
        assert!(presences.tell(ANNA, &Vec::new(), Tick(11)));
        assert_eq!(presences, Presences::default());
    }

    #[test]
    fn what_a_ledger_knows_is_not_told_again() {
        let mut presences = Presences::default();
        presences.note_changed(ANNA);
        assert!(!presences.tell(ANNA, &Vec::new(), Tick(1)));
        presences.tell(ANNA, &counts(1), Tick(1));
        presences.note_changed(ANNA);
        assert!(!presences.tell(ANNA, &counts(1), Tick(99)) && presences.is_settled());
    }
}
