//! Owns what a seed decides about a run before it begins: who takes part, how
//! long, and how much goes wrong.

use std::sync::Arc;

use starmesh::cluster::core::limits::Limits;
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
    /// Of commits, in thousandths: refused as a whole, as if another process
    /// of the node had begun.
    pub fenced: u64,
    /// Of every process of the run.
    pub limits: Limits,
    /// Players that a ledger was about to start in one sector when the run
    /// begins: more than a channel takes, in some runs.
    pub settlers: u64,
    /// When the run begins, many units of the first client's player are on
    /// their way over a border, all that the channel takes, and more are at it.
    pub caravan: bool,
    /// A commit's usual longest time.
    pub commit_ms_max: u64,
    pub stall_ms_max: u64,
    /// Crashes in the storm.
    pub crashes: u64,
    pub clock_jumps: u64,
    /// Sectors that change their table, in the storm.
    pub moves: u64,
    pub registrations: u64,
    /// Commands of clients may be lost on the way, come twice, and overtake each
    /// other.
    pub unruly: bool,
    /// Of sectors at each tick, in thousandths: run at another rate from then on.
    pub dilates: u64,
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
        let limits = draw_limits(random);
        let mut scenario = Scenario {
            clients,
            fenced: random.below(3) * u64::from(scale > 0),
            limits,
            settlers: match random.below(100) {
                0..6 => random.within(1..=100),
                // Somebody to be seen.
                6..30 => random.within(1..=4),
                _ => 0,
            },
            caravan: random.chance(60),
            ledger_shards: random.within(1..=3),
            storm_ms: random.within(8_000..=25_000),
            rates,
            commit_ms_max: random.within(1..=40),
            stall_ms_max: random.within(1..=300),
            crashes: random.below(6),
            clock_jumps: random.below(4),
            moves: random.below(60),
            registrations: random.below(12),
            unruly: random.chance(250),
            dilates: 0,
            quiet: random.chance(40),
        };
        scenario.draw_pace(&mut Random::new(random.clone().number()));
        scenario
    }

    /// How slow what runs may be: from draws of its own, so that a seed without
    /// any of it is what it was without.
    fn draw_pace(&mut self, random: &mut Random) {
        self.dilates = if random.chance(400) { random.within(1..=60) } else { 0 };
        if self.limits != Limits::default() {
            self.limits.ticks_behind = random.within(1..=3);
        }
        if self.settlers > 4 {
            // One that slept between two carryings would take one of them a time.
            self.limits.quiet_ms = self.limits.quiet_ms.max(2500);
        }
    }

    pub fn world(&self, seed: u64) -> Arc<World> {
        // Both are fixed and valid.
        let rules = sample::rules().expect("sample rules");
        let galaxy = Galaxy::new(seed, Galaxy::SIDE_MIN).expect("a small galaxy");
        Arc::new(World::new(galaxy, self.ledger_shards, rules))
    }
}

/// Small bounds, so that every one is met; in some runs those of a real node.
fn draw_limits(random: &mut Random) -> Limits {
    if random.chance(300) {
        return Limits::default();
    }
    let mut below = |most: u64| random.within(1..=most) as usize;
    Limits {
        inputs_per_entity: 7 + below(8),
        // With room for one alone, resent messages of a busy ledger would keep
        // every Connect out.
        inputs_per_table: 15 + below(32),
        attached_per_entity: below(3),
        // Less than a client waits before it asks again would starve it.
        quiet_ms: 200 + below(2800) as u64,
        ticks_behind: Limits::default().ticks_behind,
        due_page: below(3),
        input_bytes: Limits::default().input_bytes,
        loads: below(3),
        waiting_per_load: below(8),
        waiting_for_loads: below(16),
        commit_bytes: below(2000),
        records_per_commit: below(4),
        record_bytes: below(400),
        rows_bytes: below(600),
        rows_per_commit: below(2),
        snapshots: below(2),
        journal_bytes_min: below(4000) as u64,
        chunk_bytes: 63 + below(1000),
        chunks_per_commit: below(4),
        id_blocks: below(2) as u64,
        // What is for other nodes, of which there are none.
        ..Limits::default()
    }
}
