//! Owns what a seed decides about a run before it begins: who takes part, how
//! long, and how much goes wrong.

use std::sync::Arc;

use starmesh::entity::World;
use starmesh::sim::Galaxy;
use starmesh::sim::rules::sample;
use starmesh::store::faults::Rates;

use crate::random::Random;

/// What a seed decides.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The player of each client; two clients may share one.
    pub clients: Vec<u64>,
    pub ledger_shards: u64,
    pub storm_ms: u64,
    pub rates: Rates,
    /// A commit's usual longest time.
    pub commit_ms_max: u64,
    pub stall_ms_max: u64,
    /// Crashes in the storm.
    pub crashes: u64,
    pub clock_jumps: u64,
    pub registrations: u64,
    /// For a quarter of an hour nobody does anything, so that timers fall due.
    pub quiet: bool,
}

impl Scenario {
    pub fn draw(random: &mut Random) -> Scenario {
        let players = random.within(1..=4);
        let mut clients: Vec<u64> = (1..=players).collect();
        if random.chance(500) {
            clients.push(random.within(1..=players));
        }
        let scale = random.below(4) as u16;
        let rates = Rates {
            lost: 15 * scale,
            unheard: 15 * scale,
            read_refused: 40 * scale,
            slow: 20 * scale,
            slow_ms_max: 900,
            away: 2 * scale,
            away_ms_max: 4000,
            full: scale,
            full_ms_max: 2500,
        };
        Scenario {
            clients,
            ledger_shards: random.within(1..=3),
            storm_ms: random.within(8_000..=25_000),
            rates,
            commit_ms_max: random.within(1..=40),
            stall_ms_max: random.within(1..=300),
            crashes: random.below(6),
            clock_jumps: random.below(4),
            registrations: random.below(12),
            quiet: random.chance(40),
        }
    }

    pub fn world(&self, seed: u64) -> Arc<World> {
        // Both are fixed and valid.
        let rules = sample::rules().expect("sample rules");
        let galaxy = Galaxy::new(seed, Galaxy::SIDE_MIN).expect("a small galaxy");
        Arc::new(World { rules, galaxy, ledger_shards: self.ledger_shards })
    }
}
