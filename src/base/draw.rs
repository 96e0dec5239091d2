//! Owns chance: a draw is a keyed hash of what it is for. Never keeps a state,
//! so draws do not depend on their order. Called by whatever the galaxy's seed
//! decides. Invariant: the same seed, purpose and numbers give the same draw.

/// A uniform u64 for `numbers` of `purpose`, a name that no other use has.
pub fn draw(seed: u64, purpose: &str, numbers: &[u64]) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key(purpose);
    hasher.update(&seed.to_le_bytes());
    for number in numbers {
        hasher.update(&number.to_le_bytes());
    }
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn draws_stay_the_same_for_ever() {
        // Galaxies that exist were drawn with them.
        assert_eq!(draw(42, "starmesh test", &[1, 2]), 5_545_075_448_748_183_427);
    }

    #[test]
    fn draws_differ_by_seed_purpose_and_numbers() {
        let mut draws = vec![
            draw(1, "a", &[1]),
            draw(2, "a", &[1]),
            draw(1, "b", &[1]),
            draw(1, "a", &[2]),
            draw(1, "a", &[]),
            draw(1, "a", &[1, 0]),
        ];
        draws.sort_unstable();
        draws.dedup();
        assert_eq!(draws.len(), 6);
    }
}
