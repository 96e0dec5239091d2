//! Owns who players are: accounts, passwords, access and refresh tokens. Never
//! commits by itself (groups go through [`Rows`]) and never blocks an arbiter.
//! Called by the HTTP routes and, to authenticate, by sessions. Invariant: no
//! two accounts share a name or e-mail; one group checks both and writes both.

pub mod fields;
mod generations;
mod hashing;
mod hex;
mod login;
mod password;
mod random;
mod refresh;
mod register;
mod secret;
mod signing;
mod tokens;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

pub use generations::{Generations, Raised};
pub use refresh::RefreshToken;
pub use secret::{ClusterSecret, SecretError};
pub use signing::SigningError;
pub use tokens::TokenError;

use self::fields::FieldError;
use self::hashing::Hasher;
use self::signing::Signing;
use self::tokens::Claims;
use crate::actors::rows::{Rows, StoreAway};
use crate::base::{Millis, PlayerId};
use crate::config::Players;
use crate::entity::account::Damaged;
pub use crate::entity::account::{Account, AccountRole};
use crate::entity::keys;

/// Tries of a change that another change of the same account overtook.
const TRIES: usize = 4;

/// Why a call on accounts failed. Unless it says otherwise, nothing was
/// changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error("the name is taken")]
    NameTaken,
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// An unknown user and a wrong password look the same.
    #[error("name or password is wrong")]
    WrongCredentials,
    #[error("the access token is {0}")]
    Access(TokenError),
    #[error("the refresh token is {0}")]
    Refresh(TokenError),
    /// Too many passwords wait to be hashed, or too many changes of one
    /// account at once.
    #[error("too much to do, try again")]
    Busy,
    #[error(transparent)]
    Store(#[from] StoreAway),
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error("passwords cannot be hashed")]
    Hashing,
}

/// What tells the time; a test brings its own.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// Who a valid access token belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub player: PlayerId,
    pub roles: Vec<AccountRole>,
    /// Compare with [`Raised`]: a session of a lower one ends.
    pub generation: u64,
    pub expires: Millis,
}

impl From<Claims> for Identity {
    fn from(claims: Claims) -> Self {
        let expires = Millis(claims.exp.saturating_mul(1000));
        let Claims { player, roles, generation, .. } = claims;
        Identity { player, roles, generation, expires }
    }
}

/// The accounts of the cluster, as one gateway serves them; cheap to clone.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

struct Inner {
    rows: Rows,
    hasher: Hasher,
    signing: Signing,
    generations: Generations,
    clock: Clock,
    access_token: Duration,
    refresh_token: Duration,
    /// Names, in lower case.
    admins: BTreeSet<String>,
}

impl Accounts {
    /// Opens the accounts in the store; makes the signing key if there is none.
    ///
    /// # Errors
    /// When the store does not answer, the signing keys were encrypted with
    /// another cluster secret, or argon2id refuses the settings.
    pub async fn open(
        rows: Rows,
        secret: ClusterSecret,
        settings: &Players,
        clock: Clock,
    ) -> Result<Accounts, SigningError> {
        let signing = Signing::open(rows.clone(), secret, settings.signing_key(), clock()).await?;
        let hasher = Hasher::new(settings).map_err(SigningError::Accounts)?;
        Ok(Accounts(Arc::new(Inner {
            generations: Generations::new(rows.clone()),
            rows,
            hasher,
            signing,
            clock,
            access_token: settings.access_token(),
            refresh_token: settings.refresh_token(),
            admins: settings.admins.iter().map(|name| name.as_str().to_lowercase()).collect(),
        })))
    }

    /// Who `token` belongs to, if it is valid now: signed by a key of the
    /// cluster, not expired, and of the account's current generation.
    ///
    /// # Errors
    /// [`AccountError::Access`], or when the store must be asked and is away.
    pub async fn authenticate(&self, token: &str) -> Result<Identity, AccountError> {
        let inner = &self.0;
        let claims = match inner.signing.verify(token, self.now()) {
            // Another node may have made a key a moment ago.
            Err(TokenError::UnknownKey) if inner.signing.reload(self.now()).await? => {
                inner.signing.verify(token, self.now())
            }
            outcome => outcome,
        }
        .map_err(AccountError::Access)?;
        let current = inner.generations.current(claims.player).await?;
        if current != Some(claims.generation) {
            return Err(AccountError::Access(TokenError::Revoked));
        }
        Ok(claims.into())
    }

    /// The account of `player`.
    ///
    /// # Errors
    /// When the store is away or the row damaged.
    pub async fn account(&self, player: PlayerId) -> Result<Option<Account>, AccountError> {
        Ok(self.load(player).await?.map(|(account, _)| account))
    }

    /// The generations of accounts, as this gateway knows them.
    pub fn generations(&self) -> &Generations {
        &self.0.generations
    }

    /// Follows changes of accounts and keys until dropped. To be polled by one
    /// task for as long as this gateway serves.
    pub async fn follow(&self) {
        let mut beat = tokio::time::interval(Generations::FOLLOW_PERIOD);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last_maintained = self.now();
        loop {
            beat.tick().await;
            // While the store is away there is nothing new, and tokens are not
            // believed on old knowledge: see `Generations::current`.
            if let Err(error) = self.0.generations.follow().await {
                tracing::debug!(%error, "changes of accounts cannot be read");
            }
            if self.now().since(last_maintained) >= Signing::MAINTAIN_PERIOD_MS {
                last_maintained = self.now();
                if let Err(error) = self.maintain_keys().await {
                    tracing::warn!(%error, "signing keys cannot be read or renewed");
                }
            }
        }
    }

    /// Reads the signing keys anew, and renews them when it is time.
    ///
    /// # Errors
    /// When the store is away, or the keys cannot be decrypted; those in use
    /// stay.
    pub async fn maintain_keys(&self) -> Result<(), SigningError> {
        self.0.signing.maintain(self.now()).await
    }

    /// The roles of `account`. Who is admin only the settings say.
    pub fn roles(&self, account: &Account) -> Vec<AccountRole> {
        let others = account.roles.iter().filter(|role| **role != AccountRole::Admin);
        let is_admin = self.0.admins.contains(&account.name.to_lowercase());
        others.copied().chain(is_admin.then_some(AccountRole::Admin)).collect()
    }

    fn now(&self) -> Millis {
        (self.0.clock)()
    }

    /// The account of `player` and the version of its row.
    async fn load(&self, player: PlayerId) -> Result<Option<(Account, u64)>, AccountError> {
        let row = self.0.rows.get(keys::account(player)).await?;
        row.map(|row| Ok((Account::from_bytes(&row.value)?, row.version))).transpose()
    }

    /// An access token for `account`.
    fn sign(&self, account: &Account) -> Result<String, AccountError> {
        let now = self.now();
        let lifetime_s = self.0.access_token.as_secs();
        let roles = self.roles(account);
        let claims = Claims::new(account.player, roles, account.generation, now, lifetime_s);
        self.0.signing.sign(&claims, now).map_err(AccountError::Access)
    }
}
