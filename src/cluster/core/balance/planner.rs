//! Owns a plan while it is made, and what all its steps need: which pieces a node
//! could give, and who should have one. Never changes the directory. Invariant:
//! each move is in the sheet, in the domains and in the plan.

use super::domains::{Domains, Piece};
use super::load::ClusterLoad;
use super::nearer::RoundTrips;
use super::plan::{Move, Plan, Why};
use super::settings::{LoadBalanceStrategy, Settings};
use super::sheet::{Sheet, State};
use crate::base::SectorId;
use crate::cluster::core::directory::Directory;

/// Of the pieces that a node could give, so many are looked at closely.
const LOOKED_AT: usize = 32;

pub(super) struct Planner<'a> {
    pub directory: &'a Directory,
    pub load: &'a ClusterLoad,
    pub settings: &'a Settings,
    pub sheet: Sheet,
    pub domains: Domains,
    pub round_trips: Option<RoundTrips>,
    pub plan: Plan,
    /// What may still move.
    pub moves: usize,
    pub sectors: usize,
    pub orphans: usize,
    entries: usize,
}

/// What a piece may be at most, and whether one may come from what is fresh.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    pub weight: u64,
    pub sectors: usize,
    pub fresh: bool,
}

impl Limit {
    fn holds(self, piece: &Piece) -> bool {
        let Limit { weight, sectors, fresh } = self;
        let sums = piece.sums;
        sums.weight <= weight && sums.count <= sectors && (fresh || sums.fresh == 0)
    }
}

impl<'a> Planner<'a> {
    pub fn new(directory: &'a Directory, load: &'a ClusterLoad, settings: &'a Settings) -> Self {
        let mut sheet = Sheet::new(&load.nodes, settings.strategy);
        let domains = Domains::new(directory, load, settings, &mut sheet);
        let geographic = settings.strategy == LoadBalanceStrategy::Geographic;
        let round_trips = geographic.then(|| RoundTrips::new(&load.nodes, &sheet));
        Planner {
            directory,
            load,
            settings,
            sheet,
            domains,
            round_trips,
            plan: Plan { seen: directory.version(), ..Plan::default() },
            moves: settings.moves_max,
            sectors: settings.sectors_max,
            orphans: settings.orphans_max,
            entries: directory.count(),
        }
    }

    pub fn finish(mut self) -> Plan {
        if !self.settings.heeds_pins {
            let Plan { moves, merged, .. } = &self.plan;
            let changes = |region: &SectorId| {
                merged.contains(region) || moves.iter().any(|it| it.region == *region)
            };
            let left = self.directory.pins().filter(|(region, _)| !changes(region));
            self.plan.unpinned = left.take(self.settings.merges_max).collect();
        }
        self.plan
    }

    /// Whether another live move fits into the plan.
    pub fn has_room(&self) -> bool {
        self.moves > 0 && self.sectors > 0
    }

    /// Whether an operator gave the domain's entry to its node: only what must go
    /// leaves it.
    pub fn is_pinned(&self, domain: usize) -> bool {
        self.settings.heeds_pins && self.directory.is_pinned(self.domains.get(domain).region)
    }

    /// The largest squares of a domain within `limit`; none lies in another.
    pub fn pieces(&self, domain: usize, limit: Limit, found: &mut Vec<Piece>) {
        let whole = self.domains.whole(domain);
        if whole.sums.count > 0 {
            self.pieces_of(whole, limit, found);
        }
    }

    pub fn pieces_of(&self, piece: Piece, limit: Limit, found: &mut Vec<Piece>) {
        if limit.holds(&piece) && self.may_cut(&piece) {
            return found.push(piece);
        }
        for part in self.domains.parts(&piece) {
            self.pieces_of(part, limit, found);
        }
    }

    /// A part of a domain needs an entry of its own.
    fn may_cut(&self, piece: &Piece) -> bool {
        let is_whole = piece.region == self.domains.get(piece.domain).region;
        is_whole || self.entries < self.settings.entries_max
    }

    /// Of all pieces that `node` could give within `limit`, those that weigh most.
    pub fn heaviest(&self, node: usize, limit: Limit) -> Vec<Piece> {
        let mut found = Vec::new();
        for domain in self.domains.of(node) {
            if !self.is_pinned(*domain) {
                self.pieces(*domain, limit, &mut found);
            }
        }
        keep_heaviest(&mut found);
        found
    }

    /// Of `pieces` the one that is best given away, and to whom, of those for
    /// which `room` has room: heavy, beside what that node has, near to players.
    pub fn best(
        &self,
        pieces: &[Piece],
        from: Option<usize>,
        room: impl Fn(usize) -> u64,
    ) -> Option<(Piece, usize)> {
        let roomiest = self.sheet.accepting().filter(|node| Some(*node) != from);
        let roomiest = roomiest.max_by_key(|node| (room(*node), std::cmp::Reverse(*node)))?;
        let mut best: Option<(u128, &Piece, usize)> = None;
        for piece in pieces {
            let beside = self.beside(piece.region);
            let mut nodes = vec![roomiest];
            match self.round_trips {
                Some(_) => nodes.extend(self.sheet.accepting()),
                None => nodes.extend(&beside),
            }
            let weight = piece.sums.weight;
            let fits = |node: &usize| {
                Some(*node) != from
                    && self.sheet.state(*node) == State::Accepts
                    && room(*node) >= weight
            };
            let delays = self.round_trips.as_ref().map(|_| self.players_of(piece));
            for node in nodes.into_iter().filter(fits) {
                let touching = beside.iter().filter(|beside| **beside == node).count();
                let mut score = u128::from(weight + 1) * (8 + touching as u128) * 1000;
                if let (Some(trips), Some(players)) = (&self.round_trips, &delays) {
                    score = score * 20_000 / (20_000 + u128::from(trips.mean(players, node)));
                }
                if best.is_none_or(|(most, ..)| score > most) {
                    best = Some((score, piece, node));
                }
            }
        }
        best.map(|(_, piece, node)| (piece.clone(), node))
    }

    /// The nodes of the eight squares around `region`.
    fn beside(&self, region: SectorId) -> Vec<usize> {
        let around = (-1..=1).flat_map(|dx| (-1..=1).map(move |dy| (dx, dy)));
        let around = around.filter(|at| *at != (0, 0));
        let node = |(dx, dy)| {
            let (_, node) = self.directory.region_of(region.neighbour(dx, dy)?)?;
            self.sheet.index_of(node)
        };
        around.filter_map(node).collect()
    }

    /// `piece` goes to `to`. The caller has seen to it that there is room.
    pub fn give(&mut self, piece: &Piece, to: usize, why: Why) {
        let domain = self.domains.get(piece.domain);
        let (from, named, whole) = (domain.node, domain.named, domain.region == piece.region);
        let (sectors, weight) = (piece.sums.count, piece.sums.weight);
        self.sheet.shift(from, to, weight);
        self.domains.cut(piece);
        self.entries += usize::from(!whole);
        if why == Why::Dead {
            self.orphans = self.orphans.saturating_sub(1);
        } else {
            self.moves = self.moves.saturating_sub(1);
            self.sectors = self.sectors.saturating_sub(sectors);
        }
        let (region, to) = (piece.region, self.sheet.id(to));
        self.plan.moves.push(Move { region, from: named, to, sectors, weight, why });
    }
}

/// Those that are looked at closely; the order of regions decides between equals.
pub(super) fn keep_heaviest(pieces: &mut Vec<Piece>) {
    pieces.sort_by(|a, b| (b.sums.weight, a.region).cmp(&(a.sums.weight, b.region)));
    pieces.truncate(LOOKED_AT);
}
