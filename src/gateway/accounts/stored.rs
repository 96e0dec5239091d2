//! Owns the form in which accounts and refresh families are stored. The first
//! byte of the payload is the variant: a new form becomes a new variant, and
//! the old one stays readable.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::AccountError;
use crate::base::{Millis, PlayerId};
use crate::entity::envelope::{self, Kind, Logic};
use crate::store::Versioned;

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
        seal(Kind::Account, &StoredAccount::V1(self.clone()))
    }

    /// # Errors
    /// When the row is not an account.
    pub fn from_bytes(bytes: &[u8]) -> Result<Account, AccountError> {
        let StoredAccount::V1(account) = open(Kind::Account, bytes)?;
        Ok(account)
    }
}

impl RefreshFamily {
    pub fn to_bytes(&self) -> Vec<u8> {
        seal(Kind::RefreshFamily, &StoredFamily::V1(self.clone()))
    }

    /// # Errors
    /// When the row is not a refresh family.
    pub fn from_bytes(bytes: &[u8]) -> Result<RefreshFamily, AccountError> {
        let StoredFamily::V1(family) = open(Kind::RefreshFamily, bytes)?;
        Ok(family)
    }
}

/// The player id in a row of [`account_name`](crate::entity::keys::account_name)
/// or [`account_email`](crate::entity::keys::account_email).
///
/// # Errors
/// When it is not eight bytes.
pub fn player_of(row: &Versioned) -> Result<PlayerId, AccountError> {
    let id = row.value.as_slice().try_into().map_err(|_| AccountError::Damaged)?;
    Ok(PlayerId(u64::from_be_bytes(id)))
}

fn seal(kind: Kind, value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    let at = envelope::start(kind, Logic::default(), &mut out);
    // Postcard fails to write into a growing Vec only for sequences of unknown
    // length; no stored type has one.
    out = postcard::to_extend(value, out).expect("stored types have known lengths");
    envelope::finish(at, &mut out);
    out
}

fn open<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Result<T, AccountError> {
    let (_, payload) = envelope::open(kind, bytes).map_err(|_| AccountError::Damaged)?;
    postcard::from_bytes(payload).map_err(|_| AccountError::Damaged)
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
        let golden = envelope::seal(Kind::Account, Logic::default(), payload);
        assert_eq!(account().to_bytes(), golden);
    }

    #[test]
    fn refuses_what_is_no_account() {
        let bytes = account().to_bytes();
        assert!(Account::from_bytes(&bytes[..bytes.len() - 1]).is_err());
        assert!(RefreshFamily::from_bytes(&bytes).is_err());
    }
}
