//! Owns whose eyes one looks through: an account that exists, or one made for
//! this.

use anyhow::Context;

use crate::base::PlayerId;
use crate::client::{CallError, Target};
use crate::protocol::http::{Login, Register, Secret};

/// A player who is logged in.
pub struct Account {
    pub name: String,
    pub player: PlayerId,
    pub token: String,
    password: Secret,
}

impl Account {
    /// Logs in.
    ///
    /// # Errors
    /// When the server refuses, or does not answer.
    pub async fn open(target: &Target, name: String, password: String) -> anyhow::Result<Account> {
        let password = Secret(password);
        let login = Login { name: name.clone(), password: password.clone() };
        let tokens = target.log_in(login).await;
        let tokens = tokens.with_context(|| format!("logging in as {name}"))?;
        Ok(Account { name, player: tokens.player, token: tokens.access_token.0, password })
    }

    /// Registers a player whom nobody else can play.
    ///
    /// # Errors
    /// When the server refuses, or does not answer.
    pub async fn make(target: &Target) -> anyhow::Result<Account> {
        let name = format!("watch-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let password = Secret(uuid::Uuid::new_v4().to_string());
        let body = Register {
            name: name.clone(),
            email: format!("{name}@watch.invalid"),
            password: password.clone(),
            display_name: None,
            faction: None,
        };
        let tokens = target.register(body).await;
        let tokens = tokens.context("making an account (--name and --password take another)")?;
        Ok(Account { name, player: tokens.player, token: tokens.access_token.0, password })
    }

    /// A new token.
    ///
    /// # Errors
    /// When the server refuses, or does not answer.
    pub async fn log_in(&self, target: &Target) -> Result<String, CallError> {
        let login = Login { name: self.name.clone(), password: self.password.clone() };
        target.log_in(login).await.map(|tokens| tokens.access_token.0)
    }
}
