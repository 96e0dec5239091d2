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

/// The draws of one seed and purpose, for where there are very many: what
/// depends on those two is computed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draws {
    key: [u8; 32],
}

impl Draws {
    pub fn new(seed: u64, purpose: &str) -> Draws {
        let mut hasher = blake3::Hasher::new_derive_key(purpose);
        hasher.update(&seed.to_le_bytes());
        Draws { key: hasher.finalize().into() }
    }

    /// Four uniform u64 for `numbers`, of which there are always as many for
    /// one use.
    pub fn of<const N: usize>(&self, numbers: [u64; N]) -> [u64; 4] {
        // One block of the hash.
        const { assert!(N <= 8) };
        let mut bytes = [0; 64];
        for (eight, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            eight.copy_from_slice(&number.to_le_bytes());
        }
        let hash = *blake3::keyed_hash(&self.key, &bytes[..8 * N]).as_bytes();
        std::array::from_fn(|word| std::array::from_fn(|byte| hash[8 * word + byte]))
            .map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::{Draws, draw};

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

    #[test]
    fn draws_by_a_key_stay_the_same_for_ever() {
        let draws = Draws::new(42, "starmesh test");
        assert_eq!(
            draws.of([1, 2]),
            [
                7_394_583_634_543_026_668,
                11_831_149_517_091_927_339,
                3_831_262_497_843_147_169,
                2_741_634_018_794_085_188,
            ]
        );
    }

    #[test]
    fn draws_by_a_key_differ_by_seed_purpose_and_numbers() {
        let mut words: Vec<u64> = [
            Draws::new(1, "a").of([1]),
            Draws::new(2, "a").of([1]),
            Draws::new(1, "b").of([1]),
            Draws::new(1, "a").of([2]),
            Draws::new(1, "a").of([1, 0]),
        ]
        .concat();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), 20);
    }
}
