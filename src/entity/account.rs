//! Owns the rows of accounts: their stored form, and the one group that makes an
//! account. Never hashes, signs or commits (`gateway::accounts` does, which
//! calls this; so does the simulator). Invariant: the first byte of a payload
//! is its variant: a new form becomes a new variant, the old one stays readable.

use serde::{Deserialize, Serialize};

use super::commit::{Check, Expect, Group, Put};
use super::envelope::{self, Kind};
use super::keys;
use crate::base::{Millis, PlayerId};

/// A row that is not what its key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row of accounts is damaged")]
pub struct Damaged;

/// The key by which a name is unique: without case.
pub fn name_key(name: &str) -> Vec<u8> {
    keys::account_name(&name.to_lowercase())
}

/// The key by which an e-mail is unique: without case. Mail systems that tell
/// `A@x` from `a@x` exist in the standard, not in use.
pub fn email_key(email: &str) -> Vec<u8> {
    keys::account_email(&email.to_lowercase())
}

/// The group that makes `account`: refused unless its name and e-mail are
/// free, and then they are taken.
pub fn registration(account: &Account) -> Group {
    let (name, email) = (name_key(&account.name), email_key(&account.email));
    let id = keys::account(account.player);
    let player = || Some(account.player.0.to_be_bytes().to_vec());
    let absent = |key: &Vec<u8>| Check { key: key.clone(), expect: Expect::Absent };
    Group {
        checks: vec![absent(&name), absent(&email), absent(&id)],
        puts: vec![
            Put { key: name, value: player() },
            Put { key: email, value: player() },
            Put { key: id, value: Some(account.to_bytes()) },
        ],
        append: None,
    }
}

/// What an account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountRole {
    Player,
    Moderator,
    Admin,
}

impl AccountRole {
    pub fn as_str(self) -> &'static str {
        match self {
            AccountRole::Player => "player",
            AccountRole::Moderator => "moderator",
            AccountRole::Admin => "admin",
        }
    }
}

/// A player's account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub player: PlayerId,
    /// As the player wrote them; unique without case by rows of their own.
    pub name: String,
    pub email: String,
    pub display_name: Option<String>,
    pub faction: Option<String>,
    /// argon2id with its parameters and salt, as a PHC string.
    pub password_hash: String,
    pub roles: Vec<AccountRole>,
    /// Raised to end all tokens given out before.
    pub generation: u64,
    pub created: Millis,
    pub last_login: Millis,
}

/// A log-in and where its chain of refresh tokens has come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshFamily {
    /// blake3 of the secret of the one token that is valid.
    pub current: [u8; 32],
    pub generation: u64,
    pub issued: Millis,
    pub expires: Millis,
}

#[derive(Serialize, Deserialize)]
enum StoredAccount {
    V1(Account),
}

#[derive(Serialize, Deserialize)]
enum StoredFamily {
    V1(RefreshFamily),
}

impl Account {
    pub fn to_bytes(&self) -> Vec<u8> {
        envelope::seal_row(Kind::Account, &StoredAccount::V1(self.clone()))
    }

    /// # Errors
    /// When the row is not an account.
    pub fn from_bytes(bytes: &[u8]) -> Result<Account, Damaged> {
        let StoredAccount::V1(account) = envelope::open_row(Kind::Account, bytes).ok_or(Damaged)?;
        Ok(account)
    }
}

impl RefreshFamily {
    pub fn to_bytes(&self) -> Vec<u8> {
        envelope::seal_row(Kind::RefreshFamily, &StoredFamily::V1(self.clone()))
    }

    /// # Errors
    /// When the row is not a refresh family.
    pub fn from_bytes(bytes: &[u8]) -> Result<RefreshFamily, Damaged> {
        let StoredFamily::V1(family) =
            envelope::open_row(Kind::RefreshFamily, bytes).ok_or(Damaged)?;
        Ok(family)
    }
}

/// The player id that [`name_key`] and [`email_key`] have as their value.
///
/// # Errors
/// When it is not eight bytes.
pub fn player_of(value: &[u8]) -> Result<PlayerId, Damaged> {
    let id = value.try_into().map_err(|_| Damaged)?;
    Ok(PlayerId(u64::from_be_bytes(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account {
            player: PlayerId(7),
            name: "Ada".to_string(),
            email: "ada@example.org".to_string(),
            display_name: None,
            faction: Some("blue".to_string()),
            password_hash: "$argon2id$".to_string(),
            roles: vec![AccountRole::Player],
            generation: 2,
            created: Millis(1),
            last_login: Millis(300),
        }
    }

    #[test]
    fn an_account_comes_back_as_it_was_written() {
        let account = account();
        assert_eq!(Account::from_bytes(&account.to_bytes()).unwrap(), account);
    }

    /// A stored form: when this fails, write a new variant instead.
    #[test]
    fn the_first_form_stays_readable() {
        let payload = b"\x00\x07\x03Ada\x0fada@example.org\x00\x01\x04blue\x0a$argon2id$\x01\x00\x02\x01\xac\x02";
        let golden = envelope::seal(Kind::Account, envelope::Logic::default(), payload);
        assert_eq!(account().to_bytes(), golden);
    }

    #[test]
    fn refuses_what_is_no_account() {
        let bytes = account().to_bytes();
        assert!(Account::from_bytes(&bytes[..bytes.len() - 1]).is_err());
        assert!(RefreshFamily::from_bytes(&bytes).is_err());
    }
}
