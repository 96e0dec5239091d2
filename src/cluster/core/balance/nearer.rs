//! Owns how far players are from nodes, by measured round trips, and which
//! squares would be nearer to theirs elsewhere. Only by
//! [`Geographic`](super::LoadBalanceStrategy::Geographic). Invariant: a square goes only
//! where its players are clearly nearer, and both nodes stay near the mean; so
//! it is no reason to balance, and there is a last such move.

use super::domains::Piece;
use super::load::NodeLoad;
use super::plan::Why;
use super::planner::{Limit, Planner};
use super::sheet::Sheet;

/// Where nothing was measured yet.
const UNKNOWN_US: u32 = 200_000;
/// A square goes where its players are nearer by this, and by a third.
const GAIN_US: u64 = 5_000;
/// Smaller squares go only as the whole of an entry: where neighbours' players
/// come from everywhere, each sector would else get an entry of its own.
const SCALE_MIN: u8 = 3;

/// Microseconds between any two nodes of a sheet.
pub(super) struct RoundTrips {
    nodes: usize,
    between: Vec<u32>,
}

/// Players by the node of their gateway.
pub(super) type Players = Vec<(usize, u64)>;

impl RoundTrips {
    pub fn new(loads: &[NodeLoad], sheet: &Sheet) -> RoundTrips {
        let nodes = sheet.len();
        let mut trips = RoundTrips { nodes, between: vec![UNKNOWN_US; nodes * nodes] };
        (0..nodes).for_each(|node| trips.between[node * nodes + node] = 0);
        for load in loads {
            let Some(from) = sheet.index_of(load.node) else { continue };
            for (node, us) in &load.round_trips {
                let Some(to) = sheet.index_of(*node).filter(|to| *to != from) else { continue };
                // Either end may have measured it; the shorter is the nearer truth.
                for at in [from * nodes + to, to * nodes + from] {
                    trips.between[at] = trips.between[at].min(*us);
                }
            }
        }
        trips
    }

    /// The mean over `players` of how far `node` is, 0 without players.
    pub fn mean(&self, players: &[(usize, u64)], node: usize) -> u64 {
        let far = |gateway: usize| u128::from(self.between[gateway * self.nodes + node]);
        let all: u128 = players.iter().map(|(_, count)| u128::from(*count)).sum();
        let sum: u128 = players.iter().map(|(at, count)| far(*at) * u128::from(*count)).sum();
        u64::try_from(sum / all.max(1)).unwrap_or(u64::MAX)
    }
}

impl Planner<'_> {
    /// Whose players are in `piece`.
    pub(super) fn players_of(&self, piece: &Piece) -> Players {
        let mut players: Players = Vec::new();
        for index in self.domains.sectors(piece) {
            for (gateway, count) in &self.load.sectors[index].gateways {
                let Some(gateway) = self.sheet.index_of(*gateway) else { continue };
                match players.iter_mut().find(|(known, _)| *known == gateway) {
                    Some((_, sum)) => *sum += u64::from(*count),
                    None => players.push((gateway, u64::from(*count))),
                }
            }
        }
        players
    }

    /// Whether `to` is no farther from those players than `from`; always, where
    /// that does not count.
    pub(super) fn is_no_farther(&self, piece: &Piece, from: usize, to: usize) -> bool {
        let Some(trips) = &self.round_trips else { return true };
        let players = self.players_of(piece);
        trips.mean(&players, to) <= trips.mean(&players, from)
    }

    pub(super) fn bring_nearer(&mut self) {
        if self.round_trips.is_none() {
            return;
        }
        let accepting: Vec<usize> = self.sheet.accepting().collect();
        for from in accepting {
            for at in 0..self.domains.of(from).len() {
                let domain = self.domains.of(from)[at];
                while !self.is_pinned(domain)
                    && self.has_room()
                    && let Some((piece, to)) = self.nearer_in(self.domains.whole(domain), from)
                {
                    self.give(&piece, to, Why::Nearer);
                }
            }
        }
    }

    /// The first of the largest squares that is better off elsewhere.
    fn nearer_in(&self, piece: Piece, from: usize) -> Option<(Piece, usize)> {
        let is_whole = piece.region == self.domains.get(piece.domain).region;
        if piece.sums.count == 0 || (piece.region.scale < SCALE_MIN && !is_whole) {
            return None;
        }
        let limit = Limit { weight: u64::MAX, sectors: self.sectors, fresh: false };
        let mut own = Vec::new();
        if piece.sums.count <= limit.sectors {
            self.pieces_of(piece.clone(), limit, &mut own);
        }
        if own.first().is_some_and(|own| own.region == piece.region)
            && let Some(to) = self.nearer_node(&piece, from)
        {
            return Some((piece, to));
        }
        self.domains.parts(&piece).find_map(|part| self.nearer_in(part, from))
    }

    fn nearer_node(&self, piece: &Piece, from: usize) -> Option<usize> {
        let trips = self.round_trips.as_ref()?;
        let players = self.players_of(piece);
        let now = trips.mean(&players, from);
        let weight = piece.sums.weight;
        let others = self.sheet.accepting().filter(|to| *to != from);
        let (there, to) = others
            .filter(|to| self.stays_even(from, *to, weight))
            .map(|to| (trips.mean(&players, to), to))
            .min()?;
        (there + GAIN_US <= now && there.saturating_mul(3) <= now.saturating_mul(2)).then_some(to)
    }
}
