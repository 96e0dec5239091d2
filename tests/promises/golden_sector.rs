//! A sector plays 10,000 steps of random orders to one fixed hash: in debug
//! here, in release by `tests/processes`, on wasm32 by `scripts/wasm-golden.mjs`.
//! The logic's version is raised when it changes.

use starmesh::sim::golden::{HASH, play, snapshot};
use starmesh::sim::{LOGIC_VERSION, SectorState};

#[test]
fn ten_thousand_steps_of_random_orders_give_the_golden_hash() {
    assert_eq!((LOGIC_VERSION, play(|sector| sector).to_string().as_str()), (8, HASH));
}

#[test]
fn a_sector_restored_again_and_again_gives_the_golden_hash() {
    let restored = play(|sector| SectorState::read(&snapshot(&sector)).unwrap());
    assert_eq!(restored.to_string(), HASH);
}
