//! Owns where the entries of dead and draining nodes go: whole where a node has
//! room, in squares where none has. Invariant: every entry of a dead node goes,
//! also one where nothing is awake, as far as the plan has room.

use super::domains::Piece;
use super::plan::Why;
use super::planner::{Limit, Planner, keep_heaviest};
use super::sheet::State;

impl Planner<'_> {
    pub(super) fn evacuate(&mut self) {
        if self.sheet.accepting().next().is_none() {
            return;
        }
        for (state, why) in [(State::Dead, Why::Dead), (State::Leaves, Why::Draining)] {
            for domain in 0..self.domains.count() {
                let node = self.domains.get(domain).node;
                if node.map_or(State::Dead, |node| self.sheet.state(node)) == state {
                    self.evacuate_domain(domain, why);
                }
            }
        }
    }

    fn evacuate_domain(&mut self, domain: usize, why: Why) {
        while self.may_evacuate(why) {
            let whole = self.domains.whole(domain);
            let Some((piece, to)) = self.part_to_go(&whole, why) else { return };
            let is_last = piece.region == whole.region;
            self.give(&piece, to, why);
            if is_last {
                return;
            }
        }
    }

    fn may_evacuate(&self, why: Why) -> bool {
        if why == Why::Dead { self.orphans > 0 } else { self.has_room() }
    }

    /// The whole where that fits somewhere, else its best part; a sector that
    /// fits nowhere goes to the quietest node.
    fn part_to_go(&self, whole: &Piece, why: Why) -> Option<(Piece, usize)> {
        let sectors = if why == Why::Dead { usize::MAX } else { self.sectors };
        let room = |node| self.sheet.room(node, 1000 + self.settings.low);
        let from = self.domains.get(whole.domain).node;
        if whole.sums.count <= sectors
            && let Some(found) = self.best(std::slice::from_ref(whole), from, room)
        {
            return Some(found);
        }
        let weight = self.sheet.accepting().map(room).max().unwrap_or(0);
        let mut pieces = Vec::new();
        self.pieces(whole.domain, Limit { weight, sectors, fresh: true }, &mut pieces);
        pieces.retain(|piece| piece.region != whole.region);
        keep_heaviest(&mut pieces);
        self.best(&pieces, from, room).or_else(|| self.smallest_to_go(whole, sectors))
    }

    /// What is left when nothing fits: one sector, or the entry with nothing in
    /// it but itself.
    fn smallest_to_go(&self, whole: &Piece, sectors: usize) -> Option<(Piece, usize)> {
        let mut piece = whole.clone();
        while piece.sums.count > 1 || piece.sums.count > sectors {
            let part = self.domains.parts(&piece).max_by_key(|part| part.sums.weight);
            let Some(part) = part else { break };
            piece = part;
        }
        let to = self.sheet.quietest(self.domains.get(whole.domain).node, piece.sums.weight)?;
        (piece.sums.count <= sectors).then_some((piece, to))
    }
}
