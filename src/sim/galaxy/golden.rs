//! Owns a survey whose hash is the same for ever: what is in 10,000 sectors of a
//! galaxy, its lanes and some routes. Never used by a node. Made by tests in
//! debug, by `starmesh replay golden` in release, and in WebAssembly.
//! Invariant: [`HASH`] does not change, because galaxies exist.

use super::{Galaxy, Rectangle, RouteLimits};
use crate::base::draw::draw;
use crate::base::{SectorId, StateHash};

/// What [`survey`] gives.
pub const HASH: &str = "695c88a5ecfe214283f6e71992727356";

/// Looks at 10,000 sectors all over a galaxy, at the lanes of all systems near
/// its centre, and at ten routes across it; the hash of what is there.
pub fn survey() -> StateHash {
    // In range.
    let galaxy = Galaxy::new(2026, Galaxy::SIDE).expect("the default side");
    let random = |n: u64, what| {
        let [x, y] = [0, 1].map(|axis| draw(n, "survey", &[what, axis]) % 10_000);
        SectorId::tactical(x as i64, y as i64)
    };
    let mut seen = Vec::new();
    for n in 0..10_000 {
        // Half of them where players start, where there is most.
        let sector = if n % 2 == 0 { galaxy.start_place(n) } else { random(n, 0) };
        put(&mut seen, [galaxy.region(sector).map_or(9, |region| region as i64)]);
        put(&mut seen, [galaxy.density(sector).map_or(-1, i64::from)]);
        // Memory takes all that is written.
        seen = postcard::to_extend(&galaxy.contents(sector), seen).expect("written");
    }
    for system in galaxy.systems_in(Rectangle { from: (4_500, 4_500), to: (5_499, 5_499) }) {
        put(&mut seen, [system.star.x, system.star.y, system.planets.into()]);
        let lanes = galaxy.lanes_of(system.star);
        lanes.iter().for_each(|end| put(&mut seen, [end.x, end.y]));
    }
    for n in 0..10 {
        let route = galaxy.route(random(n, 1), random(n, 2), RouteLimits { expanded_max: 5_000 });
        match route {
            Ok(route) => route.waypoints.iter().for_each(|at| put(&mut seen, [at.x, at.y])),
            Err(_) => put(&mut seen, [-1]),
        }
    }
    StateHash::of(&seen)
}

fn put<const N: usize>(out: &mut Vec<u8>, values: [i64; N]) {
    values.iter().for_each(|value| out.extend(value.to_le_bytes()));
}

/// The first 8 bytes of the hash, big endian, for whoever loads the module.
#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "the linker is to keep the name; nothing else has it")]
#[unsafe(no_mangle)]
pub extern "C" fn golden_galaxy() -> u64 {
    let StateHash([a, b, c, d, e, f, g, h, ..]) = survey();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_galaxy_has_what_it_had_when_the_first_was_made() {
        assert_eq!(survey().to_string(), HASH);
    }
}
