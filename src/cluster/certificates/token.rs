//! Owns the line with which a newcomer joins: `HOST:PORT#TOKEN`. The token
//! carries the fingerprint of the cluster's authority, so that the newcomer
//! knows whom it talks to, and a secret that serves once. Pure but for
//! [`JoinSecret::random`].

use std::str::FromStr;

use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::{CertificateError, text};

/// SHA-256 over an authority's certificate in DER form, as other tools print it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    pub fn of(der: &[u8]) -> Fingerprint {
        Fingerprint(sha256(der))
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if at == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

const SECRET: usize = 16;

/// What a newcomer shows once. Who keeps it keeps only its [`digest`](Self::digest).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinSecret([u8; SECRET]);

impl JoinSecret {
    /// A new one that nobody can guess.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn random() -> Result<JoinSecret, CertificateError> {
        let mut bytes = [0; SECRET];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.map(|()| JoinSecret(bytes)).map_err(|_| CertificateError::NoRandom)
    }

    /// Under which it is kept. Looking up a digest tells nobody by its time how
    /// much of a guess was right.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&self.0)
    }
}

impl std::fmt::Debug for JoinSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JoinSecret(…)")
    }
}

/// Where to join, whom to believe there, and what to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinLine {
    /// `HOST:PORT` of the cluster port of a node that lets join.
    pub address: String,
    pub authority: Fingerprint,
    pub secret: JoinSecret,
}

/// Why a text is no join line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinLineError {
    #[error("expected HOST:PORT#TOKEN, as the first node prints it; there is no #")]
    NoToken,
    #[error("expected HOST:PORT before the #, found {0:?}")]
    Address(String),
    #[error("the token has a mistake: {0:?} is no character of a token; copy it anew")]
    Character(char),
    #[error("the token has a mistake: it has {got} characters instead of {CHARACTERS}")]
    Length { got: usize },
    #[error("the token has a mistake: its checksum does not match; copy it anew")]
    Checksum,
    #[error("the token is of form {got}, and this build knows {FORM}: use the same build")]
    Form { got: u8 },
}

/// The form of tokens this build writes.
const FORM: u8 = 1;
const BODY: usize = 1 + 32 + SECRET;
const TOKEN: usize = BODY + 4;
const CHARACTERS: usize = (TOKEN * 8).div_ceil(5);

impl std::fmt::Display for JoinLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = vec![FORM];
        bytes.extend(self.authority.0);
        bytes.extend(self.secret.0);
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        write!(f, "{}#{}", self.address, text::encode(&bytes))
    }
}

impl FromStr for JoinLine {
    type Err = JoinLineError;

    fn from_str(line: &str) -> Result<JoinLine, JoinLineError> {
        let (address, token) = line.trim().split_once('#').ok_or(JoinLineError::NoToken)?;
        let whole = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        if whole.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
            return Err(JoinLineError::Address(address.to_owned()));
        }
        let (authority, secret) = parse_token(token)?;
        Ok(JoinLine { address: address.to_owned(), authority, secret })
    }
}

fn parse_token(token: &str) -> Result<(Fingerprint, JoinSecret), JoinLineError> {
    let got = token.chars().count();
    if got != CHARACTERS {
        return Err(JoinLineError::Length { got });
    }
    let bytes = text::decode(token).map_err(JoinLineError::Character)?;
    // So many characters are so many bytes.
    let sum = bytes.last_chunk().ok_or(JoinLineError::Checksum)?;
    let (sum, body) = (u32::from_be_bytes(*sum), &bytes[..BODY]);
    if crc32fast::hash(body) != sum {
        return Err(JoinLineError::Checksum);
    }
    if body[0] != FORM {
        return Err(JoinLineError::Form { got: body[0] });
    }
    let (mut authority, mut secret) = ([0; 32], [0; SECRET]);
    authority.copy_from_slice(&body[1..33]);
    secret.copy_from_slice(&body[33..]);
    Ok((Fingerprint(authority), JoinSecret(secret)))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> JoinLine {
        JoinLine {
            address: "[::1]:7000".into(),
            authority: Fingerprint::of(b"an authority"),
            secret: JoinSecret([7; SECRET]),
        }
    }

    #[test]
    fn comes_back_as_it_was_written() {
        assert_eq!(line().to_string().parse(), Ok(line()));
        assert_eq!(line().to_string().to_uppercase().parse(), Ok(line()));
    }

    #[test]
    fn every_single_mistake_in_a_token_is_told_as_one() {
        let text = line().to_string();
        let start = text.find('#').unwrap() + 1;
        for at in start..text.len() {
            for wrong in "0123456789abcdefghjkmnpqrstuvwxyz*".split("") {
                let mut typed = text.clone();
                typed.replace_range(at..=at, wrong);
                if typed == text || wrong.is_empty() {
                    continue;
                }
                let error = typed.parse::<JoinLine>().unwrap_err();
                assert!(
                    error.to_string().starts_with("the token has a mistake"),
                    "{typed} {error}"
                );
            }
            let mut short = text.clone();
            short.remove(at);
            assert!(matches!(short.parse::<JoinLine>(), Err(JoinLineError::Length { .. })));
        }
    }

    #[test]
    fn a_line_without_its_parts_says_which_one_is_missing() {
        assert_eq!("a:7000".parse::<JoinLine>(), Err(JoinLineError::NoToken));
        for address in ["", "a", "a:", ":7000", "a:70000"] {
            let text = line().to_string().replace("[::1]:7000", address);
            assert_eq!(text.parse::<JoinLine>(), Err(JoinLineError::Address(address.into())));
        }
    }
}
