//! Owns secret random bytes: from the system's generator, by way of ring.

use ring::rand::{SecureRandom, SystemRandom};

/// `N` random bytes that nobody can guess.
///
/// # Panics
/// When the system has no random bytes, as no system we run on ever does: a
/// process without them must not go on to make keys and tokens.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system has random bytes");
    bytes
}
