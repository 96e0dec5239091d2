//! SIGKILL at random instants under load, again and again, while units cross
//! the borders of sectors: the clients see every acknowledged command's effect,
//! and the journal agrees with them; each unit is in one place.
//! `make crash` runs 20 rounds; STARMESH_CRASH_SEED repeats the instants and
//! the orders, as far as real processes can be repeated.

use std::time::{Duration, Instant};

use starmesh::base::draw::draw;

use crate::audit::audit;
use crate::support::{Home, pause};
use crate::swarm::Swarm;

const CLIENTS: u64 = 20;
/// `make test` has time for so many; `make crash` sets more.
const ROUNDS: u64 = 5;

/// A number that the environment sets.
pub fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: expected a number")))
}

#[test]
fn a_node_killed_at_random_under_load_loses_nothing_acknowledged() {
    let rounds = number("STARMESH_CRASH_ROUNDS").unwrap_or(ROUNDS);
    let seed = number("STARMESH_CRASH_SEED").unwrap_or_else(|| std::process::id().into());
    println!("crash: {rounds} rounds, STARMESH_CRASH_SEED={seed}");
    let began = Instant::now();
    let mut home = Home::new();
    let mut node = home.start();
    let mut swarm = Swarm::start(&home, CLIENTS, seed);
    let mut known = 0;
    for round in 0..rounds {
        // The instant: so many acknowledgements after the start, and a little.
        let chance = |what, below| draw(seed, "crash", &[round, what]) % below;
        swarm.wait_for_successes(known, 1 + chance(0, 120));
        pause(Duration::from_millis(chance(1, 150)));
        node.kill();
        known = swarm.answered().len();
        if chance(2, 3) == 0 {
            // And again, before it has recovered.
            let starting = home.spawn();
            pause(Duration::from_millis(chance(3, 200)));
            starting.kill();
        }
        let started = Instant::now();
        node = home.start();
        println!("round {}: {known} answers, ready after {:?}", round + 1, started.elapsed());
    }
    swarm.wait_for_everybody(known);
    let (told, report) = swarm.stop();
    let (status, _) = node.terminate();
    assert!(status.success(), "{status}:\n{}", home.log());
    let log = home.log();
    assert!(!log.contains("panicked"), "{log}");
    let found = audit(home.data(), &told);
    println!("crash: {} answers kept by the swarm, {found:?}", told.len());
    println!("crash: swarm {report}");
    println!("crash: {rounds} rounds in {:?}", began.elapsed());
    assert_eq!(found.players, CLIENTS);
    assert!(found.hashes > 0, "no hash was compared");
    assert!(found.hops > CLIENTS, "hardly a unit crossed a border: {found:?}");
    assert!(found.found > 10 * found.trimmed, "too little of what was told could be checked");
}
