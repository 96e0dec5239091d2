//! Owns how strong the players of a ledger are, and what the board was told of
//! it. Never counts units itself: sectors tell. Called by the ledger. Invariant:
//! in the end the board was told every player's power as it is; of one player
//! at most every [`TELL_TICKS`].
//!
//! Bounds: a telling is at most [`MESSAGES_MAX`] messages, as far as the
//! channel has room; who has no place in them is told of in the next, with what
//! is true then.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::base::{PlayerId, Tick};
use crate::entity::message::{Counts, Standing};
use crate::sim::Rules;

/// Between two tellings, in ticks of the ledger's: 5 s.
pub const TELL_TICKS: u64 = 50;
/// Players in one message: 40 KiB of the 64 that one may have.
pub const STANDINGS_MAX: usize = 2048;
/// Messages of one telling: 16,384 players.
pub const MESSAGES_MAX: usize = 8;

/// What each resource counts in an army's power.
const ENERGY_WEIGHT: u64 = 1;
const MINERALS_WEIGHT: u64 = 1;
const RARE_WEIGHT: u64 = 5;

/// What the board was told, and of whom it is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Powers {
    /// Without those of power 0.
    told: BTreeMap<PlayerId, u64>,
    /// Whose power may differ from what was told.
    stale: BTreeSet<PlayerId>,
    /// When the board was last told.
    at: Tick,
    /// Of whom, at last; the next telling goes on behind, so that everybody has
    /// a turn.
    last: PlayerId,
}

/// What the units cost that are counted.
pub fn power<'a>(counts: impl Iterator<Item = &'a Counts>, rules: &Rules) -> u64 {
    let units = counts.flatten();
    units.fold(0, |sum: u64, &(type_id, count)| {
        // A type that the rules do not know has no cost.
        let cost = rules.unit_type(type_id).map_or(0, |kind| {
            u64::from(kind.cost.energy) * ENERGY_WEIGHT
                + u64::from(kind.cost.minerals) * MINERALS_WEIGHT
                + u64::from(kind.cost.rare) * RARE_WEIGHT
        });
        sum.saturating_add(cost.saturating_mul(count.into()))
    })
}

impl Powers {
    /// Whether everything is told.
    pub fn is_settled(&self) -> bool {
        self.stale.is_empty()
    }

    /// The units of `player` are others than before.
    pub fn note_changed(&mut self, player: PlayerId) {
        self.stale.insert(player);
    }

    /// Whether the board is to be told now.
    pub fn is_due(&self, tick: Tick) -> bool {
        !self.is_settled() && tick.since(self.at) >= TELL_TICKS
    }

    /// A telling begins.
    pub fn note_told(&mut self, tick: Tick) {
        self.at = tick;
    }

    /// What the next message says, which is on its way when this returns. None
    /// when there is nothing to say, whatever is asked.
    pub fn next_standings(&mut self, power_of: impl Fn(PlayerId) -> u64) -> Vec<Standing> {
        let mut standings = Vec::new();
        while standings.len() < STANDINGS_MAX {
            let behind = self.stale.range(PlayerId(self.last.0.saturating_add(1))..).next();
            let Some(player) = behind.or(self.stale.first()).copied() else { break };
            self.stale.remove(&player);
            self.last = player;
            let power = power_of(player);
            let before = match power {
                0 => self.told.remove(&player),
                _ => self.told.insert(player, power),
            };
            if before.unwrap_or(0) != power {
                standings.push(Standing { player, power });
            }
        }
        standings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::UnitTypeId;
    use crate::sim::rules::sample::{FIGHTER, rules};

    fn standings(powers: &mut Powers, power: u64) -> Vec<u64> {
        powers.next_standings(|_| power).iter().map(|standing| standing.player.0).collect()
    }

    #[test]
    fn power_is_what_units_cost_with_rare_elements_five_times() {
        let rules = rules().unwrap();
        let cost = rules.unit_type(FIGHTER).unwrap().cost;
        let one = u64::from(cost.energy) + u64::from(cost.minerals) + 5 * u64::from(cost.rare);
        assert!(one > 0);
        let counts = [vec![(FIGHTER, 3)], vec![(FIGHTER, 2), (UnitTypeId(999), 7)]];
        assert_eq!(power(counts.iter(), &rules), 5 * one);
        let most = vec![(FIGHTER, u32::MAX); 10];
        assert_eq!(power([most].iter(), &rules), 10 * u64::from(u32::MAX) * one);
    }

    #[test]
    fn tells_what_changed_once_and_at_most_every_five_seconds() {
        let mut powers = Powers::default();
        powers.note_changed(PlayerId(7));
        assert!(!powers.is_due(Tick(TELL_TICKS - 1)) && powers.is_due(Tick(TELL_TICKS)));
        powers.note_told(Tick(TELL_TICKS));
        assert_eq!(standings(&mut powers, 5), [7]);
        powers.note_changed(PlayerId(7));
        assert!(!powers.is_due(Tick(2 * TELL_TICKS - 1)) && powers.is_due(Tick(2 * TELL_TICKS)));
        assert_eq!(standings(&mut powers, 5), [0; 0]);
        powers.note_changed(PlayerId(7));
        assert_eq!(standings(&mut powers, 0), [7]);
        powers.note_changed(PlayerId(7));
        assert_eq!(standings(&mut powers, 0), [0; 0]);
        assert!(powers.is_settled() && powers.told.is_empty());
    }

    #[test]
    fn everybody_has_a_turn_however_many_change_again() {
        let mut powers = Powers::default();
        let all: Vec<u64> = (1..=2 * STANDINGS_MAX as u64 + 5).collect();
        let change = |powers: &mut Powers| {
            all.iter().for_each(|player| powers.note_changed(PlayerId(*player)));
        };
        let mut turns = Vec::new();
        for power in 1..=3 {
            change(&mut powers);
            turns.extend(standings(&mut powers, power));
        }
        assert_eq!(turns[..all.len()], all);
        assert_eq!(turns.len(), 3 * STANDINGS_MAX);
    }

    #[test]
    fn a_message_is_far_below_the_longest() {
        let standing = Standing { player: PlayerId(u64::MAX), power: u64::MAX };
        let bytes = postcard::to_stdvec(&vec![standing; STANDINGS_MAX]).unwrap().len();
        assert!(bytes < 42_000, "{bytes}");
    }
}
