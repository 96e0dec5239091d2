//! Owns what the cluster secret does: it encrypts what is secret in the store,
//! so that a copy of the store alone signs nothing. Its file is
//! `cluster::secret`'s. Never logged, never stored in the store.

use std::path::Path;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::random::random;
pub use crate::cluster::secret::SecretError;
use crate::cluster::secret::{self, BYTES};

/// What was encrypted is damaged, or was encrypted with another secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot be decrypted with this cluster secret")]
pub struct CannotDecrypt;

/// The secret of the cluster.
#[derive(Clone)]
pub struct ClusterSecret([u8; BYTES]);

impl std::fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterSecret(…)")
    }
}

impl ClusterSecret {
    /// The secret in the data folder, which is made if there is none.
    ///
    /// # Errors
    /// When it cannot be read or made, is damaged, or can be read by others.
    pub fn open(data: &Path) -> Result<ClusterSecret, SecretError> {
        secret::open(data).map(ClusterSecret)
    }

    /// `plain`, encrypted for `purpose`: a random nonce, then the ciphertext
    /// (ChaCha20-Poly1305) and its tag.
    pub fn encrypt(&self, purpose: &str, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = random();
        let mut sealed = plain.to_vec();
        let key = self.key(purpose);
        // ring refuses only texts of more than 256 GiB.
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(purpose.as_bytes()),
            &mut sealed,
        )
        .expect("the text fits in memory");
        [nonce.as_slice(), &sealed].concat()
    }

    /// The inverse of [`encrypt`](Self::encrypt) for the same purpose.
    ///
    /// # Errors
    /// When it was damaged or encrypted with another secret or purpose.
    pub fn decrypt(&self, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, CannotDecrypt> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or(CannotDecrypt)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| CannotDecrypt)?;
        let mut text = text.to_vec();
        let aad = Aad::from(purpose.as_bytes());
        let plain = self.key(purpose).open_in_place(nonce, aad, &mut text);
        plain.map(|plain| plain.to_vec()).map_err(|_| CannotDecrypt)
    }

    fn key(&self, purpose: &str) -> LessSafeKey {
        let key = blake3::derive_key(&format!("starmesh 2026 cluster secret: {purpose}"), &self.0);
        // A key of this algorithm is any 32 bytes.
        LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key).expect("32 bytes are a key"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opened_again_decrypts() {
        let data = tempfile::tempdir().unwrap();
        let made = ClusterSecret::open(data.path()).unwrap();
        let again = ClusterSecret::open(data.path()).unwrap();
        assert_eq!(again.decrypt("a", &made.encrypt("a", b"hello")).unwrap(), b"hello");
    }

    #[test]
    fn decrypts_only_what_it_encrypted_for_that_purpose() {
        let (one, other) = (ClusterSecret([1; 32]), ClusterSecret([2; 32]));
        let mut sealed = one.encrypt("keys", b"hello");
        assert_eq!(one.decrypt("keys", &sealed).unwrap(), b"hello");
        assert_eq!(other.decrypt("keys", &sealed), Err(CannotDecrypt));
        assert_eq!(one.decrypt("mail", &sealed), Err(CannotDecrypt));
        sealed[20] ^= 1;
        assert_eq!(one.decrypt("keys", &sealed), Err(CannotDecrypt));
        assert_eq!(one.decrypt("keys", b""), Err(CannotDecrypt));
    }
}
