//! Owns the keys that sign access tokens, in the store: encrypted with the
//! cluster secret, two at most, renewed by age. Every gateway of the cluster
//! keeps a copy ready for use; any of them may renew.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::secret::{CannotDecrypt, ClusterSecret};
use super::tokens::{Claims, Keyring, StoredKey, TokenError};
use super::{AccountError, TRIES};
use crate::actors::rows::{GroupAnswer, Rows, StoreAway};
use crate::base::Millis;
use crate::entity::commit::{Check, Expect, Group, Put};
use crate::entity::envelope::{self, Kind, Logic};
use crate::entity::keys;
use crate::store::Versioned;

/// The newest key and the one before it.
const KEYS_MAX: usize = 2;
/// Unknown keys make us look at the store at most this often.
const RELOAD_PERIOD_MS: u64 = 10_000;
const PURPOSE: &str = "signing keys";

/// Why there are no signing keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    #[error(
        "the signing keys in the store were made with another cluster secret, or are damaged; \
         expected the file cluster.secret of the node that made this store"
    )]
    OtherSecret,
    #[error(transparent)]
    Store(#[from] StoreAway),
    #[error("the row of the signing keys changes again and again")]
    Contended,
    #[error(transparent)]
    Accounts(AccountError),
}

impl From<CannotDecrypt> for SigningError {
    fn from(_: CannotDecrypt) -> Self {
        SigningError::OtherSecret
    }
}

#[derive(Serialize, Deserialize)]
enum StoredKeys {
    V1(Vec<StoredKey>),
}

/// The signing keys of the cluster.
pub struct Signing {
    rows: Rows,
    secret: ClusterSecret,
    lifetime: Duration,
    ready: RwLock<Ready>,
}

#[derive(Clone, Default)]
struct Ready {
    ring: Arc<Keyring>,
    read_at: Millis,
}

impl Signing {
    /// How often the keys are read anew, and renewed when it is time.
    pub const MAINTAIN_PERIOD_MS: u64 = 60_000;

    /// The keys in the store, made if there are none.
    ///
    /// # Errors
    /// When the store is away, or they were encrypted with another secret.
    pub async fn open(
        rows: Rows,
        secret: ClusterSecret,
        lifetime: Duration,
        now: Millis,
    ) -> Result<Signing, SigningError> {
        let signing = Signing { rows, secret, lifetime, ready: RwLock::default() };
        signing.maintain(now).await?;
        Ok(signing)
    }

    /// See [`Keyring::sign`].
    ///
    /// # Errors
    /// When the ring is empty.
    pub fn sign(&self, claims: &Claims, now: Millis) -> Result<String, TokenError> {
        self.ready().ring.sign(claims, now)
    }

    /// See [`Keyring::verify`].
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn verify(&self, token: &str, now: Millis) -> Result<Claims, TokenError> {
        self.ready().ring.verify(token, now)
    }

    /// Reads the keys anew unless that was done a moment ago; true when it
    /// was done now.
    ///
    /// # Errors
    /// When the store is away. Keys that cannot be read stay as they were.
    pub async fn reload(&self, now: Millis) -> Result<bool, StoreAway> {
        if now.since(self.ready().read_at) < RELOAD_PERIOD_MS {
            return Ok(false);
        }
        match self.maintain(now).await {
            Ok(()) => Ok(true),
            Err(SigningError::Store(away)) => Err(away),
            Err(_) => Ok(false),
        }
    }

    /// Reads the keys, and adds one when there is none or the newest is old.
    ///
    /// # Errors
    /// See [`SigningError`]; the keys in use stay as they were.
    pub async fn maintain(&self, now: Millis) -> Result<(), SigningError> {
        for _ in 0..TRIES {
            let row = self.rows.get(keys::SIGNING.to_vec()).await?;
            let mut stored = self.decrypt(row.as_ref())?;
            let newest = stored.iter().map(|key| key.created).max();
            let lifetime_ms = u64::try_from(self.lifetime.as_millis()).unwrap_or(u64::MAX);
            if newest.is_none_or(|created| now.since(created) >= lifetime_ms) {
                stored.insert(0, StoredKey::new(now));
                stored.truncate(KEYS_MAX);
                if !self.write(row.as_ref(), &stored).await? {
                    continue;
                }
            }
            let ready = Ready { ring: Arc::new(Keyring::new(&stored)), read_at: now };
            *self.ready.write().unwrap_or_else(PoisonError::into_inner) = ready;
            return Ok(());
        }
        Err(SigningError::Contended)
    }

    fn ready(&self) -> Ready {
        self.ready.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Newest first.
    fn decrypt(&self, row: Option<&Versioned>) -> Result<Vec<StoredKey>, SigningError> {
        let Some(row) = row else { return Ok(Vec::new()) };
        let (_, sealed) =
            envelope::open(Kind::SigningKeys, &row.value).map_err(|_| SigningError::OtherSecret)?;
        let plain = self.secret.decrypt(PURPOSE, sealed)?;
        let StoredKeys::V1(mut stored) =
            postcard::from_bytes(&plain).map_err(|_| SigningError::OtherSecret)?;
        stored.sort_by_key(|key| std::cmp::Reverse(key.created));
        Ok(stored)
    }

    /// False when another gateway was faster.
    async fn write(
        &self,
        over: Option<&Versioned>,
        stored: &[StoredKey],
    ) -> Result<bool, SigningError> {
        // Postcard fails to write only sequences of unknown length.
        let plain = postcard::to_stdvec(&StoredKeys::V1(stored.to_vec()))
            .expect("the keys have a known length");
        let sealed = self.secret.encrypt(PURPOSE, &plain);
        let value = envelope::seal(Kind::SigningKeys, Logic::default(), &sealed);
        let expect = over.map_or(Expect::Absent, |row| Expect::Version(row.version));
        let group = Group {
            checks: vec![Check { key: keys::SIGNING.to_vec(), expect }],
            puts: vec![Put { key: keys::SIGNING.to_vec(), value: Some(value) }],
            append: None,
        };
        Ok(matches!(self.rows.commit_group(group).await?, GroupAnswer::Accepted { .. }))
    }
}
