//! Owns what one watching group is shown: its mask, which cells it was shown
//! before, and whether a step has anything to tell it. Never looks at units.
//! Called by the stage at every step. Invariant: a cell stays in the mask for
//! at least five steps.

use crate::protocol::blocks::CELL_COUNT;
use crate::view::fog::Mask;
use crate::view::motion::TICKS_PER_STEP;

/// Ticks for which a cell that came into a mask stays in it.
pub const STAY_TICKS: u64 = 5 * TICKS_PER_STEP;
/// After so many ticks of silence there is a packet even if it is empty.
pub const BEAT_TICKS: u64 = 10;

/// One group's view of a sector.
#[derive(Clone, Debug)]
pub struct Watch {
    pub mask: Mask,
    /// Of the step before.
    pub before: Mask,
    /// When each cell of the mask came into it.
    since: [u64; CELL_COUNT],
    /// How often mask or cloaked units were told, mod 256.
    pub scope: u8,
    /// Of the last packet, or of the beginning.
    told: u64,
    /// Something is to be told with the next step.
    asked: bool,
    /// Whether there is a packet of this step.
    pub news: bool,
}

impl Watch {
    /// Begins to watch what `sees` says.
    pub fn new(sees: Mask, tick: u64) -> Watch {
        Watch {
            mask: sees,
            before: sees,
            since: [tick; CELL_COUNT],
            scope: 0,
            told: tick,
            asked: false,
            news: false,
        }
    }

    /// A step to `tick`: the group `sees` this now. `cloaked` says whether its
    /// cloaked units are told anew, `changed` whether a cell of a mask has news.
    pub fn step(&mut self, tick: u64, sees: Mask, cloaked: bool, changed: impl Fn(Mask) -> bool) {
        self.before = self.mask;
        let came = sees.0 & !self.before.0;
        for (cell, since) in self.since.iter_mut().enumerate() {
            if came >> cell & 1 == 1 {
                *since = tick;
            }
        }
        let young = |cell: &usize| tick.saturating_sub(self.since[*cell]) < STAY_TICKS;
        let stays = (0..CELL_COUNT).filter(young).fold(0, |stays, cell| stays | 1 << cell);
        self.mask = sees.with(Mask(self.before.0 & stays));
        let tells_scope = self.mask != self.before || cloaked;
        self.scope = self.scope.wrapping_add(u8::from(tells_scope));
        let is_quiet = tick.saturating_sub(self.told) >= BEAT_TICKS;
        let beat = std::mem::take(&mut self.asked) || is_quiet;
        self.news = tells_scope || changed(self.held()) || beat;
        if self.news {
            self.told = tick;
        }
    }

    /// Tells something with the next step, whatever happens.
    pub fn beat(&mut self) {
        self.asked = true;
    }

    /// The cells whose units its clients have, and go on having.
    pub fn held(&self) -> Mask {
        Mask(self.before.0 & self.mask.0)
    }

    /// The cells that its clients have not seen before this step.
    pub fn uncovered(&self) -> Mask {
        Mask(self.mask.0 & !self.before.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cell_comes_at_once_and_stays_for_five_steps(sights in prop::collection::vec(any::<u64>(), 1..60)) {
            let mut watch = Watch::new(Mask::NONE, 0);
            let mut shown = Vec::new();
            for (step, sees) in sights.iter().enumerate() {
                // Sparse, so that cells come and go.
                let sees = Mask(sees & sees.rotate_left(7) & sees.rotate_left(31));
                watch.step(2 * (step as u64 + 1), sees, false, |_| false);
                prop_assert_eq!(watch.mask.0 & sees.0, sees.0);
                shown.push((sees.0, watch.mask.0));
            }
            for cell in 0..64 {
                let mut run = 0;
                for (sees, mask) in &shown {
                    if mask >> cell & 1 == 1 {
                        run += 1;
                        // No longer than it must.
                        prop_assert!(sees >> cell & 1 == 1 || run <= 5);
                    } else {
                        prop_assert!(run == 0 || run >= 5);
                        run = 0;
                    }
                }
            }
        }
    }

    #[test]
    fn says_something_once_a_second_and_nothing_between() {
        let mut watch = Watch::new(Mask::ALL, 100);
        let news: Vec<bool> = (51..71)
            .map(|step| {
                watch.step(2 * step, Mask::ALL, false, |_| false);
                watch.news
            })
            .collect();
        let beats: Vec<usize> = (0..20).filter(|at| news[*at]).collect();
        assert_eq!(beats, [4, 9, 14, 19]);
    }
}
