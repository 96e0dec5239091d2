//! Owns changing a password: it ends all tokens of the account and gives new
//! ones to whoever changed it.

use super::fields::{FieldError, Password};
use super::{AccountError, Accounts, Identity, TRIES};
use crate::protocol::http::{self, Tokens};

/// The old and the new password.
#[derive(Clone, Debug)]
pub struct PasswordChange {
    current: Password,
    new: Password,
}

impl TryFrom<http::Password> for PasswordChange {
    type Error = FieldError;

    fn try_from(raw: http::Password) -> Result<Self, FieldError> {
        Ok(PasswordChange {
            current: Password::parse(&raw.current.0, "current")?,
            new: Password::parse(&raw.new.0, "new")?,
        })
    }
}

impl Accounts {
    /// Sets a new password and raises the account's generation: all tokens
    /// given out before end, and the sessions they opened.
    ///
    /// # Errors
    /// [`AccountError::WrongCredentials`] when the current password is wrong,
    /// when too much waits, or when the store is away.
    pub async fn change_password(
        &self,
        who: &Identity,
        change: PasswordChange,
    ) -> Result<Tokens, AccountError> {
        let mut loaded = self.load(who.player).await?;
        if !self.verify(&change.current, loaded.as_ref()).await? {
            return Err(AccountError::WrongCredentials);
        }
        let verified = loaded.as_ref().map(|(account, _)| account.password_hash.clone());
        let new_hash = self.0.hasher.hash(change.new).await?;
        for _ in 0..TRIES {
            let Some((mut account, version)) = loaded else { break };
            if Some(&account.password_hash) != verified.as_ref() {
                return Err(AccountError::WrongCredentials);
            }
            account.password_hash.clone_from(&new_hash);
            account.generation += 1;
            // Beginning a family deletes those of older generations.
            if let Some(tokens) = self.admit(account, version).await? {
                return Ok(tokens);
            }
            loaded = self.load(who.player).await?;
        }
        Err(AccountError::Busy)
    }
}
