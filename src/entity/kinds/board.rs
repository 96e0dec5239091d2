//! Owns a ranking board: the players in the order of a number that their
//! ledgers tell. Never computes the number and never asks for it. Called
//! through [`Kind`](super::Kind). Invariants: a player is on it once, with what
//! its ledger told last; at most [`PLAYERS_MAX`] are on it, the best.
//!
//! One whom a full board had no place for comes on it when its ledger next
//! tells of it, and then stands before somebody, or not at all. So a place is
//! exact as long as there are no more players than places.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::base::{Millis, PlayerId};
use crate::entity::message::{Notice, Standing};

/// The board of power, the only one there is.
pub const POWER: u64 = 0;
/// Players on a board: 2.5 MB of state at most, 8 MB of memory.
pub const PLAYERS_MAX: usize = 1 << 17;

/// A ranking board.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Board {
    stored: Stored,
    /// Follows from what is stored.
    order: BTreeSet<(Reverse<u64>, PlayerId)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    players: BTreeMap<PlayerId, Told>,
    /// The newest time of what was told.
    heard: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    power: u64,
    as_of: Millis,
}

/// One player's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// From 1; of the same power, the lower id is before.
    pub rank: u64,
    pub player: PlayerId,
    pub power: u64,
    /// The ledger's time when it told.
    pub as_of: Millis,
}

impl Board {
    /// How many players are on it.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// When a ledger last told anything.
    pub fn heard(&self) -> Millis {
        self.stored.heard
    }

    /// The power that `player` is on the board with.
    pub fn power(&self, player: PlayerId) -> Option<u64> {
        self.stored.players.get(&player).map(|told| told.power)
    }

    /// The best `limit` players.
    pub fn top(&self, limit: usize) -> Vec<Place> {
        self.places(0, limit)
    }

    /// `limit` places with that of `player` in the middle, or those at an end
    /// of the board; none when it is not on it. Looks at all before it.
    pub fn around(&self, player: PlayerId, limit: usize) -> Vec<Place> {
        let Some(power) = self.power(player) else { return Vec::new() };
        let before = self.order.range(..(Reverse(power), player)).count();
        let last = self.len().saturating_sub(limit);
        self.places(before.saturating_sub(limit / 2).min(last), limit)
    }

    fn places(&self, first: usize, limit: usize) -> Vec<Place> {
        let order = self.order.iter().skip(first).take(limit);
        let place = |(rank, (Reverse(power), player)): (u64, &(Reverse<u64>, PlayerId))| {
            let as_of = self.stored.players.get(player).map(|told| told.as_of);
            Place { rank, player: *player, power: *power, as_of: as_of.unwrap_or_default() }
        };
        (first as u64 + 1..).zip(order).map(place).collect()
    }

    pub(super) fn notified(&mut self, notice: &Notice) {
        let Notice::Power { standings, as_of } = notice else { return };
        for standing in standings {
            self.place(*standing, *as_of);
        }
        self.stored.heard = self.stored.heard.max(*as_of);
    }

    fn place(&mut self, Standing { player, power }: Standing, as_of: Millis) {
        if let Some(before) = self.stored.players.remove(&player) {
            self.order.remove(&(Reverse(before.power), player));
        }
        if power == 0 {
            return;
        }
        self.stored.players.insert(player, Told { power, as_of });
        self.order.insert((Reverse(power), player));
        if self.order.len() > PLAYERS_MAX
            && let Some((_, last)) = self.order.pop_last()
        {
            self.stored.players.remove(&last);
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        crate::entity::append(&self.stored, out);
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Board, String> {
        let stored: Stored = postcard::from_bytes(bytes).map_err(|e| e.to_string())?;
        let order = stored.players.iter().map(|(player, told)| (Reverse(told.power), *player));
        Ok(Board { order: order.collect(), stored })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tell(board: &mut Board, as_of: u64, standings: &[(u64, u64)]) {
        let standing = |&(player, power): &(u64, u64)| Standing { player: PlayerId(player), power };
        let standings = standings.iter().map(standing).collect();
        board.notified(&Notice::Power { standings, as_of: Millis(as_of) });
    }

    fn shown(places: &[Place]) -> Vec<(u64, u64, u64)> {
        places.iter().map(|place| (place.rank, place.player.0, place.power)).collect()
    }

    #[test]
    fn the_strongest_are_first_and_of_the_same_power_the_lower_id() {
        let mut board = Board::default();
        tell(&mut board, 5, &[(1, 10), (2, 30), (3, 30), (4, 20)]);
        assert_eq!(shown(&board.top(3)), [(1, 2, 30), (2, 3, 30), (3, 4, 20)]);
        tell(&mut board, 9, &[(1, 40), (2, 0)]);
        assert_eq!(shown(&board.top(9)), [(1, 1, 40), (2, 3, 30), (3, 4, 20)]);
        assert_eq!((board.heard(), board.top(2)[1].as_of), (Millis(9), Millis(5)));
        assert_eq!(board.power(PlayerId(2)), None);
    }

    #[test]
    fn around_a_player_are_those_before_and_behind_it() {
        let mut board = Board::default();
        let all: Vec<(u64, u64)> = (1..=10).map(|player| (player, 100 - player)).collect();
        tell(&mut board, 1, &all);
        let ranks = |player, limit| {
            let around = board.around(PlayerId(player), limit);
            around.iter().map(|place| place.rank).collect::<Vec<_>>()
        };
        assert_eq!(ranks(5, 3), [4, 5, 6]);
        assert_eq!(ranks(1, 3), [1, 2, 3]);
        assert_eq!(ranks(10, 3), [8, 9, 10]);
        assert_eq!(ranks(5, 1), [5]);
        assert_eq!(ranks(5, 99).len(), 10);
        assert_eq!(ranks(77, 3), [0; 0]);
    }

    #[test]
    fn a_full_board_keeps_the_best() {
        let mut board = Board::default();
        let all: Vec<(u64, u64)> = (1..=PLAYERS_MAX as u64).map(|n| (n, n)).collect();
        tell(&mut board, 1, &all);
        tell(&mut board, 2, &[(1 << 40, 1)]);
        assert_eq!((board.len(), board.power(PlayerId(1 << 40))), (PLAYERS_MAX, None));
        tell(&mut board, 3, &[(1 << 40, 2)]);
        tell(&mut board, 4, &[(1 << 41, u64::MAX)]);
        assert_eq!(board.power(PlayerId(1)), None);
        assert_eq!((board.len(), board.top(1)[0].player), (PLAYERS_MAX, PlayerId(1 << 41)));
        let mut bytes = Vec::new();
        board.write(&mut bytes);
        assert!(bytes.len() < 2_500_000, "{}", bytes.len());
        assert_eq!(Board::read(&bytes), Ok(board));
    }
}
