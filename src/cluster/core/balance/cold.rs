//! Owns how the directory becomes small again: cold entries go back to the node
//! of the entry above, and those that say the same as the one above go. Never
//! makes a node give what it would take back: both stay near the mean. Invariant:
//! an entry goes only where no sector that is awake changes its node by it.

use super::plan::Why;
use super::planner::Planner;
use super::sheet::State;
use crate::base::SectorId;

impl Planner<'_> {
    /// Entries under which sectors are awake and cold, and that the node of the
    /// entry above has room for.
    pub(super) fn return_cold(&mut self) {
        if self.has_untold() {
            return;
        }
        for domain in 0..self.domains.count() {
            if !self.has_room() {
                return;
            }
            let piece = self.domains.whole(domain);
            let sums = piece.sums;
            let is_cold = sums.count > 0 && sums.warm == 0 && sums.fresh == 0;
            if !is_cold
                || self.is_kept(piece.region)
                || self.is_pinned(domain)
                || sums.count > self.sectors
                || self.domains.get(domain).touched
            {
                continue;
            }
            let Some(above) = self.above(piece.region) else { continue };
            let (from, to) = (self.domains.get(domain).node, self.domains.get(above).node);
            let (Some(from), Some(to)) = (from, to) else { continue };
            let is_nearer = self.is_no_farther(&piece, from, to);
            if from != to && is_nearer && self.stays_even(from, to, sums.weight) {
                self.give(&piece, to, Why::Cold);
            }
        }
    }

    /// Whether both nodes stay near the mean when `weight` goes from one to the
    /// other.
    pub(super) fn stays_even(&self, from: usize, to: usize, weight: u64) -> bool {
        let left = self.sheet.load(from).saturating_sub(weight);
        self.sheet.state(from) == State::Accepts
            && left >= self.sheet.at(from, 1000 - self.settings.low)
            && weight <= self.sheet.room(to, 1000 + self.settings.low)
    }

    /// Whether some sectors that are awake are not known one by one: an entry in
    /// which nothing seems to be may have them.
    fn has_untold(&self) -> bool {
        self.load.nodes.iter().any(|node| node.rest.count > 0)
    }

    fn is_kept(&self, region: SectorId) -> bool {
        region.scale >= self.settings.kept_scale
    }

    /// The domain of the next entry above `region`.
    fn above(&self, region: SectorId) -> Option<usize> {
        let (above, _) = self.directory.region_of(region.parent()?)?;
        self.domains.find(above)
    }

    /// Entries that go: nothing is awake under them, or the one above names the
    /// same node.
    pub(super) fn merge(&mut self) {
        if self.has_untold() {
            return;
        }
        for domain in 0..self.domains.count() {
            if self.plan.merged.len() == self.settings.merges_max {
                return;
            }
            let entry = self.domains.get(domain);
            if self.is_kept(entry.region) || self.is_pinned(domain) {
                continue;
            }
            let Some(above) = self.above(entry.region) else { continue };
            let upper = self.domains.get(above);
            let is_idle = self.domains.whole(domain).sums.count == 0;
            let stands = upper.node.is_some_and(|node| self.sheet.state(node) == State::Accepts);
            // What this plan gives away, or cuts, is not what the entries say.
            let changes = entry.touched || entry.relied_on || upper.touched;
            if stands && !changes && (entry.node == upper.node || is_idle) {
                let region = entry.region;
                self.plan.merged.push(region);
                // What was under the entry now counts on the one above: that
                // one stays, until the next plan.
                self.domains.rely_on(above);
            }
        }
    }
}
