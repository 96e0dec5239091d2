//! Owns the decision which sectors of an arbiter run slower than their node,
//! and which as fast again, by how busy the arbiter is. Never measures and
//! never changes a rate: the ticker says how long its thread worked, and
//! proposes what comes of it. Called at every tick.
//!
//! ```text
//!          ──(over 90 % for 3 s: the dearest a tenth or more down)──>
//!   100 %                                                            10 %
//!          <──(under 60 % for 5 s, as far as there is room: a tenth up)──
//! ```
//!
//! Invariant: under constant work it comes to rest. Sectors are made faster
//! only if the arbiter would stay under the upper bound though it cost twice
//! what its units say, or all that there is; where it costs more still, and has
//! to be slowed again, the next try waits twice as long.

use std::collections::{BTreeSet, BinaryHeap};

use super::load::{Load, WINDOW};
use crate::base::EntityKey;
use crate::entity::pace::Rate;

/// Over this share, in thousandths of a tick, sectors are slowed down.
const HOT: u64 = 900;
/// So far, by what their units say.
const ENOUGH: u64 = 800;
/// Under this one they may run faster,
const COOL: u64 = 600;
/// as long as it stays under this one.
const ROOM: u64 = 850;
/// For so many ticks it is hot: longer than one stall is seen in the load, and
/// than the last change needs to show in it.
const HOT_TICKS: u32 = WINDOW as u32 + 10;
/// For so many ticks it is cool;
const COOL_TICKS: u32 = 50;
/// where that was too soon, for twice as many each time, up to 20 minutes.
const COOL_TICKS_MAX: u32 = 12_000;

/// A sector, and what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighed {
    pub entity: EntityKey,
    /// What a step costs, in no unit; 0 when it does not step.
    pub weight: u64,
    pub rate: Rate,
}

impl Weighed {
    fn cost(&self) -> u64 {
        self.weight.saturating_mul(self.rate.tenths().into())
    }
}

/// Decides for one arbiter.
#[derive(Clone, Debug)]
pub struct Dilator {
    load: Load,
    hot: u32,
    cool: u32,
    /// Ticks since sectors were made faster, and which.
    faster: u32,
    last: Vec<EntityKey>,
    /// Those for which that was too soon: the next try waits for so many ticks.
    blamed: BTreeSet<EntityKey>,
    patience: u32,
}

impl Default for Dilator {
    fn default() -> Dilator {
        Dilator {
            load: Load::default(),
            hot: 0,
            cool: 0,
            faster: u32::MAX,
            last: Vec::new(),
            blamed: BTreeSet::new(),
            patience: COOL_TICKS,
        }
    }
}

impl Dilator {
    /// How busy the arbiter is.
    pub fn load(&self) -> Load {
        self.load
    }

    /// For one tick of the node the arbiter worked for `busy_us` microseconds.
    /// Which sectors are to run at another rate, of those of `sectors`, which
    /// are those that step or run slower.
    pub fn note_tick(
        &mut self,
        busy_us: u64,
        sectors: impl FnOnce() -> Vec<Weighed>,
    ) -> Vec<(EntityKey, Rate)> {
        self.load.note_tick(busy_us);
        let share = u64::from(self.load.share());
        self.hot = if share > HOT { self.hot + 1 } else { 0 };
        self.cool = if share < COOL { self.cool + 1 } else { 0 };
        self.faster = self.faster.saturating_add(1);
        if self.hot >= HOT_TICKS {
            self.hot = 0;
            self.blame();
            slower(share, sectors())
        } else if self.cool > 0 && self.cool.is_multiple_of(COOL_TICKS) {
            self.try_faster(share, sectors())
        } else {
            Vec::new()
        }
    }

    /// It is hot. When a sector was made faster a moment ago, that was too soon.
    fn blame(&mut self) {
        if self.faster <= 2 * HOT_TICKS {
            self.blamed.extend(self.last.drain(..));
            self.patience = (self.patience * 2).min(COOL_TICKS_MAX);
        } else {
            self.blamed.clear();
            self.patience = COOL_TICKS;
        }
    }

    fn try_faster(&mut self, share: u64, sectors: Vec<Weighed>) -> Vec<(EntityKey, Rate)> {
        let here: BTreeSet<EntityKey> = sectors.iter().map(|it| it.entity).collect();
        self.blamed.retain(|blamed| here.contains(blamed));
        let waits = |it: &Weighed| self.cool < self.patience && self.blamed.contains(&it.entity);
        let changed = faster(share, &sectors, waits);
        if !changed.is_empty() {
            (self.cool, self.faster) = (0, 0);
            self.last = changed.iter().map(|(entity, _)| *entity).collect();
        }
        changed
    }
}

/// The dearest a tenth down, again and again, until that is enough or half of
/// the load: more only when that has shown.
fn slower(share: u64, mut sectors: Vec<Weighed>) -> Vec<(EntityKey, Rate)> {
    let before = sectors.clone();
    let all = total(&sectors).max(1);
    let target = ENOUGH.max(share / 2);
    let predicted = |now: u64| share.saturating_mul(now) / all;
    let mut now = all;
    let can = |it: &Weighed| it.weight > 0 && it.rate > Rate::SLOWEST;
    let slowed = sectors.iter().enumerate().filter(|(_, it)| can(it));
    let mut dearest: BinaryHeap<_> = slowed.map(|(n, it)| (it.cost(), it.entity, n)).collect();
    while predicted(now) > target {
        let Some((_, entity, n)) = dearest.pop() else { break };
        let it = &mut sectors[n];
        let Some(rate) = it.rate.slower() else { continue };
        it.rate = rate;
        now = now.saturating_sub(it.weight);
        if can(it) {
            dearest.push((it.cost(), entity, n));
        }
    }
    let changed = sectors.into_iter().zip(before).filter(|(after, before)| after != before);
    changed.map(|(after, _)| (after.entity, after.rate)).collect()
}

/// The slowest a tenth up each, of those that need not wait, as far as there is
/// room for it.
fn faster(
    share: u64,
    sectors: &[Weighed],
    waits: impl Fn(&Weighed) -> bool,
) -> Vec<(EntityKey, Rate)> {
    let all = total(sectors).max(1);
    let slow = sectors.iter().filter(|it| it.rate < Rate::FULL && !waits(it));
    let mut slow: Vec<&Weighed> = slow.collect();
    slow.sort_unstable_by_key(|it| (it.rate, it.weight, it.entity));
    // All of the load may be theirs, but not more.
    let most = slow.first().map_or(0, |slowest| share / u64::from(slowest.rate.tenths()));
    let mut weight = 0;
    let mut changed = Vec::new();
    for it in slow {
        weight += it.weight;
        let by_units = share.saturating_mul(weight).saturating_mul(2) / all;
        let added = if weight == 0 { 0 } else { by_units.min(most) };
        if share + added > ROOM {
            break;
        }
        changed.extend(it.rate.faster().map(|rate| (it.entity, rate)));
    }
    changed
}

fn total(sectors: &[Weighed]) -> u64 {
    sectors.iter().fold(0, |all, it| all.saturating_add(it.cost()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::{SectorId, Tick};
    use crate::entity::pace::Pace;

    /// An arbiter whose sectors cost what their units cost in each step.
    struct Arbiter {
        dilator: Dilator,
        /// Weight, microseconds of a step, pace.
        sectors: BTreeMap<EntityKey, (u64, u64, Pace)>,
        /// Microseconds of everything else, each tick.
        besides: u64,
        tick: Tick,
        changes: u32,
    }

    impl Arbiter {
        fn new(sectors: &[(u64, u64)], besides: u64) -> Arbiter {
            let at = |n: usize| EntityKey::Sector(SectorId::tactical(n as i64, 0));
            let pace = Pace::new(Tick(0), Tick(0), Rate::FULL);
            let sector = |(n, (weight, us)): (usize, &(u64, u64))| (at(n), (*weight, *us, pace));
            let sectors = sectors.iter().enumerate().map(sector).collect();
            Arbiter { dilator: Dilator::default(), sectors, besides, tick: Tick(0), changes: 0 }
        }

        fn run(&mut self, ticks: u64) {
            for _ in 0..ticks {
                self.tick = self.tick.after(1);
                let tick = self.tick;
                let steps =
                    |pace: &Pace| pace.moves_at(tick) && pace.tick_at(tick).0.is_multiple_of(2);
                let stepping = self.sectors.values().filter(|(_, _, pace)| steps(pace));
                let busy = self.besides + stepping.map(|(_, us, _)| us).sum::<u64>();
                let sectors = || {
                    let weigh = |(entity, (weight, _, pace)): (&EntityKey, &(u64, u64, Pace))| {
                        Weighed { entity: *entity, weight: *weight, rate: pace.rate() }
                    };
                    self.sectors.iter().map(weigh).collect()
                };
                for (entity, rate) in self.dilator.note_tick(busy, sectors) {
                    let (_, _, pace) = self.sectors.get_mut(&entity).unwrap();
                    assert_ne!(pace.rate(), rate, "a change that changes nothing");
                    *pace = Pace::new(pace.tick_at(tick), tick, rate);
                    self.changes += 1;
                }
            }
        }

        fn tenths(&self) -> Vec<u8> {
            self.sectors.values().map(|(_, _, pace)| pace.rate().tenths()).collect()
        }

        /// Runs until nothing changes for ten minutes; how many changes came.
        fn settle(&mut self) -> u32 {
            for _ in 0..100 {
                let before = self.changes;
                self.run(6_000);
                if self.changes == before {
                    return self.changes;
                }
            }
            panic!("it goes up and down: {:?}", self.tenths());
        }
    }

    #[test]
    fn what_fits_is_left_alone() {
        // 88 % of a tick.
        let mut arbiter = Arbiter::new(&[(100, 80_000), (100, 80_000)], 8_000);
        assert_eq!((arbiter.settle(), arbiter.tenths()), (0, vec![10, 10]));
    }

    #[test]
    fn one_that_costs_too_much_is_slowed_until_it_fits_and_stays_so() {
        for times in 1..=12 {
            let mut arbiter = Arbiter::new(&[(1_000, times * 200_000)], 0);
            arbiter.settle();
            let share = u64::from(arbiter.dilator.load().share());
            let [tenths] = arbiter.tenths()[..] else { panic!("one sector") };
            assert!(share <= HOT || tenths == 1, "{times} times: {share} at {tenths} tenths");
            let faster = share * (u64::from(tenths) + 1) / u64::from(tenths);
            assert!(tenths == 10 || faster > COOL, "{times} times: {share} at {tenths}");
        }
    }

    #[test]
    fn the_dear_are_slowed_and_the_cheap_are_not() {
        let mut arbiter = Arbiter::new(&[(10, 2_000), (2_000, 400_000), (10, 2_000)], 1_000);
        arbiter.settle();
        let tenths = arbiter.tenths();
        assert_eq!((tenths[0], tenths[2]), (10, 10));
        assert!((3..=4).contains(&tenths[1]), "{tenths:?}");
    }

    #[test]
    fn no_constant_load_makes_it_go_up_and_down() {
        // Where units say half of the cost, or all.
        for seed in 0..300_u64 {
            let draw = |n: u64, below: u64| {
                let mixed = (seed * 31 + n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                (mixed >> 33) % below
            };
            let sectors: Vec<(u64, u64)> = (0..1 + draw(0, 6))
                .map(|n| (1 + draw(10 + n, 500), 500 + draw(20 + n, 500)))
                .map(|(weight, each)| (weight, weight * each))
                .collect();
            let mut arbiter = Arbiter::new(&sectors, draw(1, 60_000));
            arbiter.settle();
        }
    }

    #[test]
    fn where_units_say_nothing_of_the_cost_it_tries_ever_more_seldom() {
        let mut arbiter = Arbiter::new(&[(1, 1_150_000), (1_000, 1_000)], 0);
        arbiter.run(36_000);
        let hour = arbiter.changes;
        arbiter.run(36_000);
        assert!(arbiter.changes - hour <= 8, "{} changes in an hour", arbiter.changes - hour);
    }

    #[test]
    fn it_is_as_fast_again_when_the_load_has_gone() {
        let mut arbiter = Arbiter::new(&[(1_000, 900_000), (1_000, 900_000)], 0);
        arbiter.run(600);
        assert!(arbiter.tenths().iter().all(|tenths| *tenths < 5), "{:?}", arbiter.tenths());
        for (weight, us, _) in arbiter.sectors.values_mut() {
            (*weight, *us) = (10, 5_000);
        }
        arbiter.run(2_000);
        assert_eq!(arbiter.tenths(), [10, 10]);
    }

    #[test]
    fn one_stall_slows_nothing_down() {
        let mut arbiter = Arbiter::new(&[(100, 100_000)], 0);
        arbiter.run(100);
        arbiter.besides = 60_000_000;
        arbiter.run(1);
        arbiter.besides = 0;
        arbiter.run(1000);
        assert_eq!(arbiter.changes, 0);
    }
}
