//! Owns a scenario whose hash is the same for ever: 10,000 steps of some
//! sectors under random orders, with rules of its own. Never used by a node.
//! Played by tests in debug, by `starmesh replay golden` in release, and in
//! WebAssembly. Invariant: when [`HASH`] changes,
//! [`LOGIC_VERSION`](super::LOGIC_VERSION) is raised.

use super::galaxy::{Parameters, PerRegion};
use super::mesh::Mesh;
use super::rules::sample::{self, FIGHTER, FREIGHTER, TURRET};
use super::{Changes, Command, Galaxy, Instruction, Recipients, SectorState, Target, UnitIds};
use crate::base::draw::draw;
use crate::base::{CompressedPosition, FleetId, PlayerId, SectorId, StateHash, UnitId};

/// What [`play`] gives with this logic version.
pub const HASH: &str = "63b814cceabc46bd7c443242d08f7393";

const HERE: SectorId = SectorId { x: 6259, y: 3740, scale: 0 };
const STEPS: u64 = 10_000;
const PLAYERS: u64 = 20;
const UNITS_EACH: u64 = 16;

/// Plays all steps; the hash over the hashes of every hundredth. `between` may
/// exchange each sector at each of them.
pub fn play(between: impl Fn(SectorState) -> SectorState) -> StateHash {
    let mut mesh = settled();
    let mut hashes = Vec::new();
    for step in 0..STEPS {
        (0..draw(step, "commands", &[]) % 4).for_each(|n| command(&mut mesh, step, n));
        mesh.step();
        if step % 100 == 99 {
            let sectors = std::mem::take(&mut mesh.sectors).into_iter();
            mesh.sectors = sectors.map(|(id, sector)| (id, between(sector))).collect();
            for sector in mesh.sectors.values() {
                hashes.extend(StateHash::of(&snapshot(sector)).0);
            }
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

fn settled() -> Mesh {
    // Tests of both show that they are in range.
    let rules = sample::rules().expect("the sample is in range");
    // With asteroids in every sector, so that there is something in the way.
    let all = PerRegion { core: 1_000, mid_rim: 1_000, outer_rim: 1_000, deep_space: 1_000 };
    let parameters = Parameters { asteroid_fields: all, ..Parameters::default() };
    let galaxy = Galaxy::generated(2026, Galaxy::SIDE, parameters).expect("in range");
    let mut mesh = Mesh::new(galaxy, rules);
    let mut last = 0;
    for player in 1..=PLAYERS {
        let next_id = || {
            last += 1;
            UnitId(last)
        };
        let fleet = [(FIGHTER, 10), (FREIGHTER, 5), (TURRET, 1)];
        let changes = &mut Changes::default();
        let obstacles = mesh.galaxy.obstacles(HERE);
        mesh.sector(HERE).found(PlayerId(player), &fleet, &obstacles, next_id, changes);
    }
    mesh
}

/// A command of a random player, to up to four of its units or a fleet, where
/// the first of the units is; some are refused.
fn command(mesh: &mut Mesh, step: u64, n: u64) {
    let random = |what: u64, below: u64| draw(step, "command", &[n, what]) % below;
    let player = random(0, PLAYERS);
    let first = player * UNITS_EACH + 1 + random(1, UNITS_EACH);
    let Some(place) = mesh.place_of(UnitId(first)) else { return };
    let units = (first..=first + random(2, 4)).map(UnitId);
    // Most are elsewhere at times; one that is not here would refuse all.
    let units = units.filter(|id| mesh.place_of(*id) == Some(place)).collect();
    // One to four ids, each once, from 1 on.
    let units = Recipients::Units(UnitIds::new(units).expect("well formed"));
    let fleet = FleetId(1 + random(4, 3));
    let to = if random(5, 8) == 0 { Recipients::Fleet(fleet) } else { units };
    let target = target(draw(step, "target", &[n]), random(6, 4));
    let what = match random(3, 16) {
        0 => Instruction::Stop,
        1 => Instruction::Hold,
        2 => Instruction::Patrol { target },
        3 | 4 => Instruction::AttackMove { target },
        5 => Instruction::Warp { target },
        6 => Instruction::Join { fleet },
        _ => Instruction::Move { target },
    };
    let command = Command { to, what, queue: random(7, 4) == 0 };
    // Refused or not: that, too, is in the hash.
    let _ = mesh.command(place, PlayerId(player + 1), &command);
}

/// A place in one of the sectors around, half of the time in the middle one.
fn target(random: u64, around: u64) -> Target {
    let [x, y] = [(random >> 32) as u32, random as u32];
    let (dx, dy) = match around {
        0 => (0, i64::from(x % 3) - 1),
        1 => (i64::from(x % 3) - 1, i64::from(y % 3) - 1),
        _ => (0, 0),
    };
    let sector = SectorId { x: HERE.x + dx, y: HERE.y + dy, scale: 0 };
    Target { sector, position: CompressedPosition { x, y } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scenario_gives_its_hash() {
        assert_eq!(play(|sector| sector).to_string(), HASH);
    }
}
