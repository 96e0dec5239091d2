//! Owns access tokens: JWTs signed with Ed25519, what they say and when they
//! are believed. Pure but for the random token id: time is an argument.
//! Invariant: only EdDSA, only by a key of the ring; what the token's header
//! says about the algorithm is compared, never followed.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};

use super::random::random;
use crate::base::{Millis, PlayerId};
use crate::entity::account::AccountRole;

/// Longer ones are refused unread; ours have about 400 bytes.
const TOKEN_BYTES_MAX: usize = 2048;
/// How long every node has to learn of a new key before it signs.
const ACTIVE_AFTER_MS: u64 = 5 * 60 * 1000;
/// Clocks of nodes may differ by this much; see semantics 1.3.
const CLOCK_TOLERANCE_S: u64 = 2;
/// PKCS #8 of an Ed25519 private key (RFC 8410) up to its 32 bytes.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("not a token of this service")]
    Malformed,
    /// Not by a key of the ring; a new key may not have arrived here yet.
    #[error("signed by an unknown key")]
    UnknownKey,
    #[error("wrong signature")]
    Forged,
    #[error("expired")]
    Expired,
    /// The account's generation has been raised since, or it is used up.
    #[error("revoked")]
    Revoked,
}

/// What an access token says. Times are seconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub player: PlayerId,
    pub roles: Vec<AccountRole>,
    pub generation: u64,
    /// Issued.
    pub iat: u64,
    /// Expires.
    pub exp: u64,
    /// The token's id.
    pub jti: String,
}

impl Claims {
    /// Claims issued at `now` for `lifetime_s` seconds, with a random id.
    pub fn new(
        player: PlayerId,
        roles: Vec<AccountRole>,
        generation: u64,
        now: Millis,
        lifetime_s: u64,
    ) -> Claims {
        let iat = now.0 / 1000;
        let jti = super::hex::encode(&random::<16>());
        Claims { player, roles, generation, iat, exp: iat.saturating_add(lifetime_s), jti }
    }
}

/// A key as it is stored (encrypted).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredKey {
    pub seed: [u8; 32],
    pub created: Millis,
}

impl StoredKey {
    pub fn new(now: Millis) -> StoredKey {
        StoredKey { seed: random(), created: now }
    }
}

/// A key ready for use.
struct Key {
    id: String,
    created: Millis,
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl Key {
    fn new(stored: &StoredKey) -> Option<Key> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&stored.seed).ok()?;
        let public = pair.public_key().as_ref();
        Some(Key {
            id: super::hex::encode(&blake3::hash(public).as_bytes()[..8]),
            created: stored.created,
            encoding: EncodingKey::from_ed_der(&[&PKCS8_PREFIX[..], &stored.seed].concat()),
            decoding: DecodingKey::from_ed_der(public),
        })
    }
}

/// The keys that are valid, newest first.
#[derive(Default)]
pub struct Keyring {
    keys: Vec<Key>,
}

impl Keyring {
    pub fn new(stored: &[StoredKey]) -> Keyring {
        let mut keys: Vec<Key> = stored.iter().filter_map(Key::new).collect();
        keys.sort_by_key(|key| std::cmp::Reverse(key.created));
        Keyring { keys }
    }

    /// Signs with the newest key that every node knows by `now`.
    ///
    /// # Errors
    /// When the ring is empty.
    pub fn sign(&self, claims: &Claims, now: Millis) -> Result<String, TokenError> {
        let known = |key: &&Key| now.since(key.created) >= ACTIVE_AFTER_MS;
        let key = self.keys.iter().find(known).or(self.keys.last());
        let key = key.ok_or(TokenError::UnknownKey)?;
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(key.id.clone());
        jsonwebtoken::encode(&header, claims, &key.encoding).map_err(|_| TokenError::UnknownKey)
    }

    /// What `token` says, if a key of the ring signed it and it is not expired
    /// at `now`. Whether it was revoked is not known here.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn verify(&self, token: &str, now: Millis) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.alg != Algorithm::EdDSA {
            return Err(TokenError::Malformed);
        }
        let key = self.keys.iter().find(|key| header.kid.as_ref() == Some(&key.id));
        let key = key.ok_or(TokenError::UnknownKey)?;
        let claims = jsonwebtoken::decode::<Claims>(token, &key.decoding, &signature_only())
            .map_err(|_| TokenError::Forged)?
            .claims;
        if claims.exp.saturating_add(CLOCK_TOLERANCE_S) <= now.0 / 1000 {
            return Err(TokenError::Expired);
        }
        Ok(claims)
    }
}

/// The library checks the signature; expiry is checked against our clock.
fn signature_only() -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    validation
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_800_000_000_000);

    fn ring(seed: u8) -> Keyring {
        Keyring::new(&[StoredKey { seed: [seed; 32], created: Millis(0) }])
    }

    fn claims() -> Claims {
        Claims::new(PlayerId(7), vec![AccountRole::Player], 3, NOW, 60)
    }

    #[test]
    fn believes_what_its_key_signed_until_it_expires() {
        let (ring, claims) = (ring(1), claims());
        let token = ring.sign(&claims, NOW).unwrap();
        assert_eq!(ring.verify(&token, NOW), Ok(claims.clone()));
        assert_eq!(ring.verify(&token, Millis(NOW.0 + 59_000)), Ok(claims));
        assert_eq!(ring.verify(&token, Millis(NOW.0 + 62_000)), Err(TokenError::Expired));
    }

    #[test]
    fn does_not_believe_another_key() {
        let token = ring(2).sign(&claims(), NOW).unwrap();
        assert_eq!(ring(1).verify(&token, NOW), Err(TokenError::UnknownKey));
        // The right key's name on another key's signature.
        let named = ring(1).sign(&claims(), NOW).unwrap();
        let (header, _) = named.split_once('.').unwrap();
        let (_, rest) = token.split_once('.').unwrap();
        assert_eq!(ring(1).verify(&format!("{header}.{rest}"), NOW), Err(TokenError::Forged));
    }

    #[test]
    fn does_not_believe_a_changed_token() {
        let ring = ring(1);
        let token = ring.sign(&claims(), NOW).unwrap();
        let body = token.split('.').nth(1).unwrap();
        let mut other = body.to_string();
        other.replace_range(20..21, if &body[20..21] == "A" { "B" } else { "A" });
        assert_eq!(ring.verify(&token.replace(body, &other), NOW), Err(TokenError::Forged));
    }

    #[test]
    fn does_not_believe_other_algorithms() {
        let ring = ring(1);
        let token = ring.sign(&claims(), NOW).unwrap();
        let (_, rest) = token.split_once('.').unwrap();
        let (body, _) = rest.split_once('.').unwrap();
        // {"alg":"none"} without a signature.
        let none = format!("eyJhbGciOiJub25lIn0.{body}.");
        assert_eq!(ring.verify(&none, NOW), Err(TokenError::Malformed));
        // HS256 keyed with what everybody may know.
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(ring.keys[0].id.clone());
        let public = EncodingKey::from_secret(ring.keys[0].decoding.try_get_as_bytes().unwrap());
        let hmac = jsonwebtoken::encode(&header, &claims(), &public).unwrap();
        assert_eq!(ring.verify(&hmac, NOW), Err(TokenError::Malformed));
    }

    #[test]
    fn refuses_what_is_no_token() {
        for wrong in ["", "a.b.c", "....", &"x".repeat(5000), "é.é.é"] {
            assert_eq!(ring(1).verify(wrong, NOW), Err(TokenError::Malformed), "{wrong}");
        }
    }

    #[test]
    fn a_new_key_signs_when_every_node_knows_it() {
        let old = StoredKey { seed: [1; 32], created: Millis(0) };
        let new = StoredKey { seed: [2; 32], created: NOW };
        let (both, only_old) = (Keyring::new(&[old.clone(), new]), Keyring::new(&[old]));
        let early = both.sign(&claims(), NOW).unwrap();
        assert!(only_old.verify(&early, NOW).is_ok());
        let later = Millis(NOW.0 + ACTIVE_AFTER_MS);
        let late = both.sign(&claims(), later).unwrap();
        assert_eq!(only_old.verify(&late, NOW), Err(TokenError::UnknownKey));
        assert!(both.verify(&early, NOW).is_ok() && both.verify(&late, NOW).is_ok());
    }
}
