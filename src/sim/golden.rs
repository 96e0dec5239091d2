//! Owns a scenario whose hash is the same for ever: 10,000 steps of a sector
//! under random orders, with rules of its own. Never used by a node. Played by
//! tests in debug, by `starmesh replay golden` in release, and in WebAssembly.
//! Invariant: when [`HASH`] changes, [`LOGIC_VERSION`](super::LOGIC_VERSION)
//! is raised.

use super::rules::sample::{self, FIGHTER, FREIGHTER, TURRET};
use super::{Changes, Command, Rules, SectorState, Target, UnitIds};
use crate::base::draw::draw;
use crate::base::{CompressedPosition, PlayerId, SectorId, StateHash, UnitId};

/// What [`play`] gives with logic version 1.
pub const HASH: &str = "4caa181683455825ee90608dd0c74785";

const HERE: SectorId = SectorId { x: 6259, y: 3740, scale: 0 };
const STEPS: u64 = 10_000;
const PLAYERS: u64 = 20;
const UNITS_EACH: u64 = 16;

/// Plays all steps; the hash over the hashes of every hundredth. `between` may
/// exchange the sector at each of them.
pub fn play(between: impl Fn(SectorState) -> SectorState) -> StateHash {
    // A test of the sample shows that it is in range.
    let rules = sample::rules().expect("the sample is in range");
    let mut sector = settled();
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

/// The first 8 bytes of the hash, big endian, for whoever loads the module.
#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "the linker is to keep the name; nothing else has it")]
#[unsafe(no_mangle)]
pub extern "C" fn golden_hash() -> u64 {
    let StateHash([a, b, c, d, e, f, g, h, ..]) = play(|sector| sector);
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// The canonical bytes of a sector.
pub fn snapshot(sector: &SectorState) -> Vec<u8> {
    let mut bytes = Vec::new();
    sector.write(&mut bytes);
    bytes
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
    // One to four ids, each once, from 1 on.
    let units = UnitIds::new(units).expect("well formed");
    let command = match random(3, 8) {
        0 => Command::Stop { units },
        1 => Command::Hold { units },
        _ => Command::Move { units, target: target(draw(step, "target", &[n])) },
    };
    // Refused or not: that, too, is in the hash.
    let _ = sector.apply_command(PlayerId(player + 1), &command, rules, &mut Changes::default());
}

fn target(random: u64) -> Target {
    let [x, y] = [(random >> 32) as u32, random as u32];
    Target { sector: HERE, position: CompressedPosition { x, y } }
}
