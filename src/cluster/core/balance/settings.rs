//! Owns what balancing goes by: the strategy, when it begins and ends, and the
//! bounds of a plan. Invariant: `low` < `high`, so that there is a band in which
//! nothing moves.

use super::load::{RestLoad, SectorLoad};

/// What a sector weighs, and where it is best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadBalanceStrategy {
    /// By players.
    PlayerCount,
    /// By commands and combat events.
    ActivityLevel,
    /// By time on a thread.
    #[default]
    ResourceUsage,
    /// By time on a thread, and near to the players' gateways.
    Geographic,
}

impl LoadBalanceStrategy {
    /// What a sector weighs. Each weighs something, so that even those where
    /// nothing happens are spread.
    pub fn weigh(self, sector: &SectorLoad) -> u64 {
        match self {
            LoadBalanceStrategy::PlayerCount => 16 * u64::from(sector.players) + 1,
            LoadBalanceStrategy::ActivityLevel => u64::from(sector.activity) + 1,
            LoadBalanceStrategy::ResourceUsage | LoadBalanceStrategy::Geographic => {
                u64::from(sector.cost_us) + 50
            }
        }
    }

    /// What sectors weigh that were told together.
    pub fn weigh_rest(self, rest: RestLoad) -> u64 {
        let RestLoad { count, players, activity, cost_us } = rest;
        let (sum, each) = match self {
            LoadBalanceStrategy::PlayerCount => (players.saturating_mul(16), 1),
            LoadBalanceStrategy::ActivityLevel => (activity, 1),
            LoadBalanceStrategy::ResourceUsage | LoadBalanceStrategy::Geographic => (cost_us, 50),
        };
        sum.saturating_add(count.saturating_mul(each))
    }

    /// Whether what a node does besides counts.
    pub(super) fn counts_other(self) -> bool {
        matches!(self, LoadBalanceStrategy::ResourceUsage | LoadBalanceStrategy::Geographic)
    }

    /// A node less than this off the mean is left alone, however small the mean
    /// is: two players, four actions a second, one per cent of a thread.
    pub(super) fn gap_min(self) -> u64 {
        match self {
            LoadBalanceStrategy::PlayerCount => 32,
            LoadBalanceStrategy::ActivityLevel => 64,
            LoadBalanceStrategy::ResourceUsage | LoadBalanceStrategy::Geographic => 1_000,
        }
    }
}

/// How balancing is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub strategy: LoadBalanceStrategy,
    /// Thousandths of the mean by which a node must be off it before anything
    /// moves, and to which it is brought then. `low` < `high` < 1000.
    pub high: u32,
    pub low: u32,
    /// Thousandths by which a hot sector, or one that is larger than what its
    /// node has too much, must be better off elsewhere.
    pub gain: u32,
    /// A sector that came less than this ago stays, unless it must go.
    pub rest_ms: u64,
    /// For so long a sector is hot before it goes to another node, and cold
    /// before its entry goes.
    pub hot_ms: u64,
    pub cold_ms: u64,
    /// Moves of a plan: entries of living nodes, and sectors that are awake in
    /// them, each of which is a live migration.
    pub moves_max: usize,
    pub sectors_max: usize,
    /// Entries of dead nodes that a plan gives to living ones.
    pub orphans_max: usize,
    /// Entries that a plan removes.
    pub merges_max: usize,
    /// With so many entries in the directory no new ones are made.
    pub entries_max: usize,
    /// Entries of this scale and above stay, with nothing in them, too: nodes
    /// share the galaxy by them.
    pub kept_scale: u8,
    /// Whether what operators gave to a node stays there, unless it must go.
    pub heeds_pins: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            strategy: LoadBalanceStrategy::default(),
            high: 250,
            low: 100,
            gain: 200,
            rest_ms: 300_000,
            hot_ms: 10_000,
            cold_ms: 300_000,
            moves_max: 64,
            sectors_max: 256,
            orphans_max: 1024,
            merges_max: 1024,
            entries_max: 32_768,
            kept_scale: u8::MAX,
            heeds_pins: true,
        }
    }
}
