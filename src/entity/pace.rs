//! Owns how an entity's tick follows from its node's: at a rate, from a point
//! on. Never reads a clock; a claim or a dilation in the journal begins it.
//! Called by the entity, by the core that names ticks of records, and by
//! recovery. Invariants: all of them go by this one function; it never goes
//! back, and by at most one tick for a tick of the node's.

use serde::{Deserialize, Serialize};

use crate::base::Tick;

/// How many tenths of its node's ticks an entity makes. A stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Rate(u8);

/// A number of tenths that is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} tenths, but a rate is 1 to 10")]
pub struct NoRate(u8);

impl Rate {
    /// As fast as the node.
    pub const FULL: Rate = Rate(10);
    /// Nothing runs slower.
    pub const SLOWEST: Rate = Rate(1);

    /// Of 10.
    pub fn tenths(self) -> u8 {
        self.0
    }

    pub fn percent(self) -> u8 {
        self.0 * 10
    }

    /// A tenth less, if there is one.
    pub fn slower(self) -> Option<Rate> {
        (self > Rate::SLOWEST).then(|| Rate(self.0 - 1))
    }

    /// A tenth more, if there is one.
    pub fn faster(self) -> Option<Rate> {
        (self < Rate::FULL).then(|| Rate(self.0 + 1))
    }
}

impl TryFrom<u8> for Rate {
    type Error = NoRate;

    fn try_from(tenths: u8) -> Result<Rate, NoRate> {
        let rate = Rate(tenths);
        if (Rate::SLOWEST..=Rate::FULL).contains(&rate) { Ok(rate) } else { Err(NoRate(tenths)) }
    }
}

impl From<Rate> for u8 {
    fn from(rate: Rate) -> u8 {
        rate.0
    }
}

/// An entity's tick as a function of its node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// The entity's tick from which on it holds, and its node's then.
    tick: Tick,
    node_tick: Tick,
    rate: Rate,
}

impl Pace {
    /// From `tick` of the entity and `node_tick` of its node on.
    pub fn new(tick: Tick, node_tick: Tick, rate: Rate) -> Pace {
        Pace { tick, node_tick, rate }
    }

    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// The entity's tick when its node's is `node_tick`.
    pub fn tick_at(&self, node_tick: Tick) -> Tick {
        let passed = u128::from(node_tick.since(self.node_tick)) * u128::from(self.rate.0) / 10;
        // Not more than what passed on the node.
        self.tick.after(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// The node's tick with which the entity's became `tick`.
    pub fn node_tick_at(&self, tick: Tick) -> Tick {
        let needed = u128::from(tick.since(self.tick)) * 10;
        let needed = needed.div_ceil(u128::from(self.rate.0));
        self.node_tick.after(u64::try_from(needed).unwrap_or(u64::MAX))
    }

    /// Whether the entity's tick moved with the node's to `node_tick`.
    pub fn moves_at(&self, node_tick: Tick) -> bool {
        self.tick_at(node_tick) > self.tick_at(Tick(node_tick.0.saturating_sub(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates() -> impl Iterator<Item = Rate> {
        (1..=10).map(|tenths| Rate::try_from(tenths).unwrap())
    }

    #[test]
    fn at_full_rate_ticks_are_the_nodes_whatever_there_is_of_them() {
        let pace = Pace::new(Tick(5), Tick(70), Rate::FULL);
        for passed in [0, 1, 9, 1 << 40, u64::MAX - 70] {
            assert_eq!(pace.tick_at(Tick(70 + passed)), Tick(5).after(passed));
        }
    }

    #[test]
    fn ticks_move_by_none_or_one_and_by_the_rates_share_of_ten() {
        for rate in rates() {
            let pace = Pace::new(Tick(100), Tick(7), rate);
            for node in 7..107 {
                let (at, next) = (pace.tick_at(Tick(node)), pace.tick_at(Tick(node + 1)));
                assert!(next.since(at) <= 1 && next >= at, "{rate:?} at {node}");
                assert_eq!(pace.moves_at(Tick(node + 1)), next > at);
            }
            let ten = pace.tick_at(Tick(17)).since(Tick(100));
            assert_eq!(ten, u64::from(rate.tenths()));
            assert_eq!(pace.tick_at(Tick(1007)).since(Tick(100)), 100 * ten);
        }
    }

    #[test]
    fn a_change_of_rate_goes_on_from_the_tick_there_is() {
        let mut pace = Pace::new(Tick(0), Tick(0), Rate::FULL);
        let (mut at, mut node) = (Tick(0), Tick(0));
        for turn in 0..400_u64 {
            for _ in 0..turn % 7 {
                node = node.after(1);
                let next = pace.tick_at(node);
                assert!(next.since(at) <= 1 && next >= at);
                at = next;
            }
            let rate = Rate::try_from(1 + (turn * 7 % 10) as u8).unwrap();
            pace = Pace::new(pace.tick_at(node), node, rate);
            assert_eq!(pace.tick_at(node), at);
        }
    }

    #[test]
    fn the_nodes_tick_is_the_first_with_which_there_is_one() {
        for rate in rates() {
            let pace = Pace::new(Tick(100), Tick(7), rate);
            for tick in 101..150 {
                let node = pace.node_tick_at(Tick(tick));
                assert_eq!(pace.tick_at(node), Tick(tick));
                assert!(pace.moves_at(node));
            }
            assert_eq!(pace.node_tick_at(Tick(100)), Tick(7));
        }
    }

    #[test]
    fn what_is_no_rate_is_not_read() {
        assert_eq!([0, 11, 255].map(|tenths| Rate::try_from(tenths).is_ok()), [false; 3]);
        assert_eq!((Rate::SLOWEST.slower(), Rate::FULL.faster()), (None, None));
        assert!(postcard::from_bytes::<Rate>(&[11]).is_err());
        assert_eq!(postcard::from_bytes::<Rate>(&[3]).unwrap().percent(), 30);
    }
}
