//! A sector plays 10,000 steps of random orders to one fixed hash: in debug, in
//! release, and on every target. The logic's version is raised when it changes.
//!
//! It uses the pure parts only, so that it can run in WebAssembly as well.

use starmesh::base::draw::draw;
use starmesh::base::{CompressedPosition, PlayerId, SectorId, StateHash, UnitId};
use starmesh::sim::rules::sample::{self, FIGHTER, FREIGHTER, TURRET};
use starmesh::sim::{Changes, Command, LOGIC_VERSION, Rules, SectorState, Target, UnitIds};

const HERE: SectorId = SectorId { x: 6259, y: 3740, scale: 0 };
const STEPS: u64 = 10_000;
const PLAYERS: u64 = 20;
const UNITS_EACH: u64 = 16;

/// The hash over the hashes of every hundredth step.
const GOLDEN: &str = "4caa181683455825ee90608dd0c74785";

#[test]
fn ten_thousand_steps_of_random_orders_give_the_golden_hash() {
    assert_eq!((LOGIC_VERSION, play(|sector| sector).to_string().as_str()), (1, GOLDEN));
}

#[test]
fn a_sector_restored_again_and_again_gives_the_golden_hash() {
    let restored = play(|sector| SectorState::read(&snapshot(&sector)).unwrap());
    assert_eq!(restored.to_string(), GOLDEN);
}

/// Plays all steps; `between` may exchange the sector at every hundredth.
fn play(between: impl Fn(SectorState) -> SectorState) -> StateHash {
    let (rules, mut sector) = (sample::rules().unwrap(), settled());
    let mut hashes = Vec::new();
    for step in 0..STEPS {
        (0..draw(step, "commands", &[]) % 4).for_each(|n| command(&mut sector, &rules, step, n));
        sector.step(&mut Changes::default());
        if step % 100 == 99 {
            sector = between(sector);
            hashes.extend(StateHash::of(&snapshot(&sector)).0);
        }
    }
    StateHash::of(&hashes)
}

fn settled() -> SectorState {
    let mut sector = SectorState::new(HERE);
    let mut last = 0;
    for player in 1..=PLAYERS {
        let next_id = || {
            last += 1;
            UnitId(last)
        };
        let fleet = [(FIGHTER, 10), (FREIGHTER, 5), (TURRET, 1)];
        sector.found(PlayerId(player), &fleet, next_id, &mut Changes::default());
    }
    sector
}

/// A command of a random player to up to four of its units; some are refused.
fn command(sector: &mut SectorState, rules: &Rules, step: u64, n: u64) {
    let random = |what: u64, below: u64| draw(step, "command", &[n, what]) % below;
    let player = random(0, PLAYERS);
    let first = player * UNITS_EACH + 1 + random(1, UNITS_EACH);
    let units = (first..=first + random(2, 4)).map(UnitId).collect();
    let units = UnitIds::new(units).unwrap();
    let command = match random(3, 8) {
        0 => Command::Stop { units },
        1 => Command::Hold { units },
        _ => Command::Move { units, target: target(draw(step, "target", &[n])) },
    };
    let player = PlayerId(player + 1);
    let _ = sector.apply_command(player, &command, rules, &mut Changes::default());
}

fn target(random: u64) -> Target {
    let halves = [(random >> 32) as u32, random as u32];
    Target { sector: HERE, position: CompressedPosition { x: halves[0], y: halves[1] } }
}

fn snapshot(sector: &SectorState) -> Vec<u8> {
    let mut bytes = Vec::new();
    sector.write(&mut bytes);
    bytes
}
