//! Owns what brings nodes back to the mean: a hot sector goes to the quietest
//! node, one that has too much gives, one that has too little takes. Invariant:
//! no move makes the two nodes concerned more different than they were.

use std::cmp::Reverse;

use super::domains::Piece;
use super::plan::Why;
use super::planner::{Limit, Planner};
use super::sheet::State;
use crate::base::SectorId;

/// How many sectors a plan moves because they are hot.
const HOT_MAX: usize = 4;
/// How many of the nodes that have most are asked for what another lacks.
const ASKED: usize = 4;

impl Planner<'_> {
    /// Hot sectors leave nodes that have more than the mean.
    pub(super) fn isolate(&mut self) {
        let is_hot = |since| self.load.now.since(since) >= self.settings.hot_ms;
        let sectors = self.load.sectors.iter();
        let mut hot: Vec<_> =
            sectors.filter(|sector| sector.hot_since.is_some_and(is_hot)).collect();
        hot.sort_by_key(|sector| (Reverse(self.settings.strategy.weigh(sector)), sector.sector));
        let mut moved = 0;
        for sector in hot {
            if moved == HOT_MAX || !self.has_room() {
                return;
            }
            let Some((piece, from)) = self.alone(sector.sector) else { continue };
            if let Some(to) = self.better_for(&piece, from) {
                self.give(&piece, to, Why::Hot);
                moved += 1;
            }
        }
    }

    /// The square that is exactly `sector`, of an accepting node with more.
    fn alone(&self, sector: SectorId) -> Option<(Piece, usize)> {
        let (region, node) = self.directory.region_of(sector)?;
        let has_more = |from: &usize| {
            self.sheet.state(*from) == State::Accepts && self.sheet.room(*from, 1000) == 0
        };
        let from = self.sheet.index_of(node).filter(has_more)?;
        let domain = self.domains.find(region).filter(|domain| !self.is_pinned(*domain))?;
        let mut piece = self.domains.whole(domain);
        while piece.region != sector {
            let part = self.domains.parts(&piece).find(|part| part.region.contains(sector))?;
            piece = part;
        }
        let has_others = self.sheet.load(from) > piece.sums.weight + self.gap();
        let alone = Limit { weight: u64::MAX, sectors: 1, fresh: false };
        (has_others && self.may_give(&piece, alone)).then_some((piece, from))
    }

    fn gap(&self) -> u64 {
        self.settings.strategy.gap_min()
    }

    fn may_give(&self, piece: &Piece, limit: Limit) -> bool {
        let mut found = Vec::new();
        self.pieces_of(piece.clone(), limit, &mut found);
        found.first().is_some_and(|found| found.region == piece.region)
    }

    /// The quietest node, if that is clearly better for `piece`.
    fn better_for(&self, piece: &Piece, from: usize) -> Option<usize> {
        let to = self.sheet.quietest(Some(from), piece.sums.weight)?;
        self.sheet.improves(from, to, piece.sums.weight, self.settings.gain).then_some(to)
    }

    /// Those that have too much give until they are near the mean.
    pub(super) fn relieve(&mut self) {
        let too_much = |node: &usize| {
            let (load, mean) = (self.sheet.load(*node), self.sheet.at(*node, 1000));
            load > self.sheet.at(*node, 1000 + self.settings.high) && load - mean >= self.gap()
        };
        let mut nodes: Vec<usize> = self.sheet.accepting().filter(too_much).collect();
        nodes.sort_by_key(|node| Reverse(self.sheet.load(*node) - self.sheet.at(*node, 1000)));
        for node in nodes {
            while self.has_room()
                && self.sheet.load(node) > self.sheet.at(node, 1000 + self.settings.low)
            {
                let Some((piece, to)) = self.relief(node) else { break };
                self.give(&piece, to, Why::Load);
            }
        }
    }

    /// What `node` should give next: what fits between its excess and another's
    /// room, or one sector that is larger and still better off elsewhere.
    fn relief(&self, node: usize) -> Option<(Piece, usize)> {
        let room = |node| self.sheet.room(node, 1000);
        let most = self.sheet.accepting().map(room).max()?;
        let excess = self.sheet.load(node).saturating_sub(self.sheet.at(node, 1000));
        let limit = Limit { weight: excess.min(most), sectors: self.sectors, fresh: false };
        let pieces = self.heaviest(node, limit);
        self.best(&pieces, Some(node), room).or_else(|| self.single(node))
    }

    fn single(&self, node: usize) -> Option<(Piece, usize)> {
        let single = Limit { weight: u64::MAX, sectors: 1, fresh: false };
        let pieces = self.heaviest(node, single).into_iter();
        let mut moves = pieces.filter_map(|piece| {
            let to = self.better_for(&piece, node)?;
            Some((piece, to))
        });
        moves.next()
    }

    /// Those that have too little take from those that have most.
    pub(super) fn fill(&mut self) {
        let too_little = |node: &usize| {
            let (load, mean) = (self.sheet.load(*node), self.sheet.at(*node, 1000));
            load < self.sheet.at(*node, 1000 - self.settings.high) && mean - load >= self.gap()
        };
        let mut nodes: Vec<usize> = self.sheet.accepting().filter(too_little).collect();
        nodes.sort_by_key(|node| Reverse(self.sheet.room(*node, 1000)));
        for node in nodes {
            while self.has_room()
                && self.sheet.load(node) < self.sheet.at(node, 1000 - self.settings.low)
            {
                let Some(piece) = self.spare_for(node) else { break };
                self.give(&piece, node, Why::Load);
            }
        }
    }

    /// What those with most could spare for `node` without lacking it themselves.
    fn spare_for(&self, node: usize) -> Option<Piece> {
        let spare = |from: usize| {
            self.sheet.load(from).saturating_sub(self.sheet.at(from, 1000 - self.settings.low))
        };
        let others = self.sheet.accepting().filter(|other| *other != node);
        let mut others: Vec<usize> = others.filter(|other| spare(*other) > 0).collect();
        others.sort_by_key(|other| Reverse(spare(*other)));
        let room = |to| if to == node { self.sheet.room(node, 1000) } else { 0 };
        others.into_iter().take(ASKED).find_map(|from| {
            let weight = spare(from).min(room(node));
            let limit = Limit { weight, sectors: self.sectors, fresh: false };
            let pieces = self.heaviest(from, limit);
            self.best(&pieces, Some(from), room).map(|(piece, _)| piece)
        })
    }
}
