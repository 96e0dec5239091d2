//! Owns logging in. An unknown user and a wrong password take the same reads
//! and the same hash, and are answered the same.

use super::fields::{FieldError, Password};
use super::refresh::{check, put_account};
use super::{Account, AccountError, Accounts, TRIES};
use crate::base::PlayerId;
use crate::entity::account::{email_key, name_key, player_of};
use crate::entity::commit::{Expect, Group};
use crate::entity::keys;
use crate::protocol::http::{Login, Tokens};
use crate::telemetry::metrics::LOGINS;

/// No account has this id; they count from 1.
const NOBODY: PlayerId = PlayerId(0);
/// Longer than any name or e-mail may be.
const USER_BYTES_MAX: usize = 255;

/// Who says they are who.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// A name or an e-mail.
    user: String,
    password: Password,
}

impl TryFrom<Login> for Credentials {
    type Error = FieldError;

    fn try_from(raw: Login) -> Result<Self, FieldError> {
        if raw.name.is_empty() || raw.name.len() > USER_BYTES_MAX {
            return Err(FieldError { field: "name", expected: "an account's name or e-mail" });
        }
        Ok(Credentials { password: Password::parse(&raw.password.0, "password")?, user: raw.name })
    }
}

impl Accounts {
    /// Tokens for the account with this name or e-mail and password.
    ///
    /// # Errors
    /// [`AccountError::WrongCredentials`], when too much waits, or when the
    /// store is away.
    pub async fn login(&self, who: Credentials) -> Result<Tokens, AccountError> {
        let player = self.find_player(&who.user).await?;
        let mut loaded = self.load(player).await?;
        let verified = self.verify(&who.password, loaded.as_ref()).await?;
        LOGINS.with(&[if verified { "accepted" } else { "refused" }]).increment(1);
        if !verified {
            return Err(AccountError::WrongCredentials);
        }
        let hash = loaded.as_ref().map(|(account, _)| account.password_hash.clone());
        for _ in 0..TRIES {
            let Some((account, version)) = loaded else { break };
            // Changed meanwhile, and with it perhaps what was verified.
            if Some(&account.password_hash) != hash.as_ref() {
                return Err(AccountError::WrongCredentials);
            }
            if let Some(tokens) = self.admit(account, version).await? {
                return Ok(tokens);
            }
            loaded = self.load(player).await?;
        }
        Err(AccountError::Busy)
    }

    /// Writes `account` with this log-in over `version` and begins a refresh
    /// family; `None` when the account changed meanwhile.
    pub(super) async fn admit(
        &self,
        mut account: Account,
        version: u64,
    ) -> Result<Option<Tokens>, AccountError> {
        account.last_login = self.now();
        let (refresh, mut puts) = self.new_family(&account).await?;
        puts.push(put_account(&account));
        let checks = vec![check(keys::account(account.player), Expect::Version(version))];
        let accepted = self.commit(Group { checks, puts, append: None }).await?;
        accepted.then(|| self.tokens(&account, &refresh)).transpose()
    }

    async fn find_player(&self, user: &str) -> Result<PlayerId, AccountError> {
        let key = match user.contains('@') {
            true => email_key(user),
            false => name_key(user),
        };
        // Lower case may be longer than any key that was written.
        if key.len() > keys::KEY_BYTES_MAX {
            return Ok(NOBODY);
        }
        let row = self.0.rows.get(key).await?;
        Ok(row.map_or(Ok(NOBODY), |row| player_of(&row.value))?)
    }

    pub(super) async fn verify(
        &self,
        password: &Password,
        loaded: Option<&(Account, u64)>,
    ) -> Result<bool, AccountError> {
        let hash = loaded.map(|(account, _)| account.password_hash.as_str());
        self.0.hasher.verify(password.clone(), hash).await
    }
}
