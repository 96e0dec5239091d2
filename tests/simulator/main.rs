//! The simulator: whole nodes over a faulty store on one thread, from one
//! seed. `make sim` runs many seeds, `make sim SEED=n` repeats one.

mod client;
mod cluster;
mod coverage;
mod gateway;
mod invariants;
mod kernel;
mod outside;
mod past;
mod process;
mod properties;
mod queue;
mod random;
mod registrar;
mod scenario;
mod scene;
mod simulation;
mod witness;

use std::time::Instant;

use coverage::Coverage;
use simulation::{Outcome, run};

/// Seeds when nothing else is said.
const SEEDS: u64 = 2000;
/// The tests that share them, so that all cores have work.
const SHARES: u64 = 4;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What to run: one seed again, or so many from the first on.
fn seeds() -> std::ops::Range<u64> {
    let (first, count) = (variable("STARMESH_SIM_SEED"), variable("STARMESH_SIM_SEEDS"));
    match (first, count) {
        (Some(seed), None) => seed..seed + 1,
        (first, count) => {
            let first = first.unwrap_or(1);
            first..first + count.unwrap_or(SEEDS)
        }
    }
}

fn check(seed: u64, outcome: &Outcome) {
    if let Some(failure) = &outcome.failure {
        panic!(
            "seed {seed}, step {}, {} ms: invariant {}: {}\nrepeat it: make sim SEED={seed}",
            failure.step, failure.at_ms, failure.invariant, failure.what
        );
    }
}

/// From so many seeds on, each rare thing must have happened in some.
const ENOUGH: u64 = 250;

/// Every fourth seed.
fn share(index: u64) {
    let seeds = seeds();
    let one = seeds.end - seeds.start == 1;
    let (began, mut virtual_ms, mut ran, mut processes) = (Instant::now(), 0, 0_u64, 0);
    let (mut steps, mut coverage) = (0, Coverage::default());
    for seed in seeds.filter(|seed| seed % SHARES == index) {
        let outcome = run(seed, one);
        check(seed, &outcome);
        virtual_ms += outcome.virtual_ms;
        processes += outcome.processes;
        steps += outcome.steps;
        coverage.merge(&outcome.coverage);
        ran += 1;
        if one {
            println!("seed {seed}: {:?}, trace {:016x}", outcome.faults, outcome.trace);
        }
    }
    if ran > 0 {
        let took = began.elapsed();
        println!(
            "{ran} seeds, {processes} processes, {steps} facts, {} s of virtual time in {:.1} s: {:.0} x real time",
            virtual_ms / 1000,
            took.as_secs_f64(),
            virtual_ms as f64 / 1000.0 / took.as_secs_f64()
        );
        print!("{}", coverage.table());
    }
    let missing = coverage.missing(&[]);
    assert!(ran < ENOUGH || missing.is_empty(), "in {ran} seeds there never was: {missing:?}");
}

#[test]
fn seeds_keep_every_invariant_first_share() {
    share(0);
}

#[test]
fn seeds_keep_every_invariant_second_share() {
    share(1);
}

#[test]
fn seeds_keep_every_invariant_third_share() {
    share(2);
}

#[test]
fn seeds_keep_every_invariant_fourth_share() {
    share(3);
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    for seed in 1..=8 {
        let (first, second) = (run(seed, false), run(seed, false));
        assert_eq!(first.trace, second.trace, "seed {seed} gave two different runs");
    }
}
