//! Owns what a person may call themselves and how: each type here can only
//! hold a legal value. Pure.

use crate::entity::account::email_key;
use crate::entity::keys::KEY_BYTES_MAX;

/// A field whose value is not legal: which, and what it may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: expected {expected}")]
pub struct FieldError {
    pub field: &'static str,
    pub expected: &'static str,
}

/// What a password may be; said where one is wrong, wherever it stands.
const PASSWORD: &str = "8 to 256 characters";

/// The name of an account: 3 to 32 ASCII letters, digits, - and _.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountName(String);

impl AccountName {
    /// # Errors
    /// When `text` is too short, too long, or has other characters.
    pub fn parse(text: &str) -> Result<AccountName, FieldError> {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if (3..=32).contains(&text.len()) && text.chars().all(legal) {
            return Ok(AccountName(text.to_string()));
        }
        Err(FieldError { field: "name", expected: "3 to 32 ASCII letters, digits, - and _" })
    }

    /// As the player wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An e-mail address of at most 255 bytes. Whether somebody reads it is known
/// only when they answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// # Errors
    /// When `text` has no form `local@domain`, or is too long.
    pub fn parse(text: &str) -> Result<Email, FieldError> {
        let wrong = FieldError {
            field: "email",
            expected: "an e-mail address of at most 255 bytes, without spaces",
        };
        let printable = |c: char| !c.is_whitespace() && !c.is_control();
        let Some((local, domain)) = text.split_once('@') else { return Err(wrong) };
        let whole = !local.is_empty() && !domain.is_empty() && !domain.contains('@');
        // Lower case can be longer, and it is in a key.
        let short = text.len() <= 255 && email_key(text).len() <= KEY_BYTES_MAX;
        let legal = whole && short && text.chars().all(printable);
        legal.then(|| Email(text.to_string())).ok_or(wrong)
    }

    /// As the player wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A password of 8 to 256 characters; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// `field` is where it stands, for the error.
    ///
    /// # Errors
    /// When it is too short or too long.
    pub fn parse(text: &str, field: &'static str) -> Result<Password, FieldError> {
        let legal = (8..=256).contains(&text.chars().count());
        legal.then(|| Password(text.to_string())).ok_or(FieldError { field, expected: PASSWORD })
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// `text` if it is a line of 1 to `max` characters.
///
/// # Errors
/// When it is empty, too long, or has control characters.
fn line(text: &str, max: usize, error: FieldError) -> Result<String, FieldError> {
    let legal = (1..=max).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    legal.then(|| text.to_string()).ok_or(error)
}

/// A display name: what others are shown, at most 64 characters.
///
/// # Errors
/// When it is empty, too long, or has control characters.
pub fn display_name(text: &str) -> Result<String, FieldError> {
    let expected = "1 to 64 characters without line breaks";
    line(text, 64, FieldError { field: "displayName", expected })
}

/// A faction's name, at most 32 characters.
///
/// # Errors
/// When it is empty, too long, or has control characters.
pub fn faction(text: &str) -> Result<String, FieldError> {
    let expected = "1 to 32 characters without line breaks";
    line(text, 32, FieldError { field: "faction", expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_3_to_32_plain_characters() {
        assert_eq!(AccountName::parse("Ada_L-1").unwrap().as_str(), "Ada_L-1");
        for wrong in ["ab", "", "a b c", "käthe", "ada.l", &"a".repeat(33)] {
            assert!(AccountName::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_email_has_one_at_and_no_spaces() {
        assert_eq!(Email::parse("Ada@Example.ORG").unwrap().as_str(), "Ada@Example.ORG");
        let long = format!("{}@example.org", "a".repeat(250));
        for wrong in ["ada", "@x", "ada@", "a@b@c", "a da@x", "a@x\n", &long] {
            assert!(Email::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_counted_in_characters_and_never_printed() {
        assert!(Password::parse("1234567", "password").is_err());
        assert!(Password::parse(&"x".repeat(257), "password").is_err());
        let password = Password::parse("pässwörter", "password").unwrap();
        assert_eq!(format!("{password:?}"), "Password(…)");
    }
}
