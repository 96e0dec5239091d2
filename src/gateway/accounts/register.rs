//! Owns registration: one group that checks name and e-mail absent and writes
//! both with the account.

use super::fields::{self, AccountName, Email, FieldError, Password};
use super::{Account, AccountError, AccountRole, Accounts, TRIES};
use crate::entity::account::{email_key, name_key, registration};
use crate::protocol::http::{Register, Tokens};
use crate::telemetry::metrics::REGISTRATIONS;

/// What a person asks for who registers; every field is legal.
#[derive(Clone, Debug)]
pub struct Registration {
    name: AccountName,
    email: Email,
    password: Password,
    display_name: Option<String>,
    faction: Option<String>,
}

impl TryFrom<Register> for Registration {
    type Error = FieldError;

    fn try_from(raw: Register) -> Result<Self, FieldError> {
        Ok(Registration {
            name: AccountName::parse(&raw.name)?,
            email: Email::parse(&raw.email)?,
            password: Password::parse(&raw.password.0, "password")?,
            display_name: raw.display_name.as_deref().map(fields::display_name).transpose()?,
            faction: raw.faction.as_deref().map(fields::faction).transpose()?,
        })
    }
}

impl Accounts {
    /// Makes an account and logs it in.
    ///
    /// # Errors
    /// When name or e-mail is taken, too much waits, or the store is away.
    pub async fn register(&self, asked: Registration) -> Result<Tokens, AccountError> {
        // Told before the work of hashing; what decides is the group.
        self.check_free(&asked).await?;
        let account = self.new_account(&asked).await?;
        for _ in 0..TRIES {
            let (refresh, puts) = self.new_family(&account).await?;
            let mut group = registration(&account);
            group.puts.extend(puts);
            if self.commit(group).await? {
                REGISTRATIONS.increment(1);
                return self.tokens(&account, &refresh);
            }
            self.check_free(&asked).await?;
        }
        Err(AccountError::Busy)
    }

    async fn check_free(&self, asked: &Registration) -> Result<(), AccountError> {
        if self.0.rows.get(name_key(asked.name.as_str())).await?.is_some() {
            return Err(AccountError::NameTaken);
        }
        if self.0.rows.get(email_key(asked.email.as_str())).await?.is_some() {
            return Err(AccountError::EmailTaken);
        }
        Ok(())
    }

    async fn new_account(&self, asked: &Registration) -> Result<Account, AccountError> {
        let password_hash = self.0.hasher.hash(asked.password.clone()).await?;
        let now = self.now();
        Ok(Account {
            player: self.0.rows.next_player_id().await?,
            name: asked.name.as_str().to_string(),
            email: asked.email.as_str().to_string(),
            display_name: asked.display_name.clone(),
            faction: asked.faction.clone(),
            password_hash,
            roles: vec![AccountRole::Player],
            generation: 1,
            created: now,
            last_login: now,
        })
    }
}
