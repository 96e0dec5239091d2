//! Owns the types of single values: numbers with a range, names, optional
//! paths. Parsing is where a range is checked; nothing checks it again.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use serde::de::{Deserialize, Deserializer, Error, Unexpected};

use crate::cluster::certificates::{JoinLine, JoinLineError, Name};
use crate::cluster::core::roles::{Role, Roles};

/// A whole number from `MIN` to `MAX`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounded<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Bounded<MIN, MAX> {
    /// `value` if it is in range.
    pub fn new(value: u64) -> Option<Self> {
        (MIN..=MAX).contains(&value).then_some(Self(value))
    }

    pub fn u64(self) -> u64 {
        self.0
    }

    /// Only for ranges that fit; checked when compiled.
    pub fn u8(self) -> u8 {
        const { assert!(MAX <= u8::MAX as u64) };
        self.0 as u8
    }

    /// Only for ranges that fit; checked when compiled.
    pub fn u16(self) -> u16 {
        const { assert!(MAX <= u16::MAX as u64) };
        self.0 as u16
    }

    /// Only for ranges that fit; checked when compiled.
    pub fn u32(self) -> u32 {
        const { assert!(MAX <= u32::MAX as u64) };
        self.0 as u32
    }

    /// Only for ranges that fit everywhere; checked when compiled.
    pub fn usize(self) -> usize {
        const { assert!(MAX <= u32::MAX as u64) };
        self.0 as usize
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Bounded<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let value = i64::deserialize(input)?;
        u64::try_from(value).ok().and_then(Self::new).ok_or_else(|| {
            let expected = format!("a whole number from {MIN} to {MAX}");
            D::Error::invalid_value(Unexpected::Signed(value), &expected.as_str())
        })
    }
}

/// What people call a node: 1 to 63 letters, digits, - and _.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeName(Name);

impl NodeName {
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// As it is in certificates.
    pub fn name(&self) -> &Name {
        &self.0
    }
}

impl std::fmt::Display for NodeName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for NodeName {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        parsed(input, "1 to 63 letters, digits, - and _").map(NodeName)
    }
}

/// The name of an account, compared without case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayerName(String);

impl PlayerName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for PlayerName {
    type Err = ();

    fn from_str(text: &str) -> Result<PlayerName, ()> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let is_name = (3..=32).contains(&text.len()) && text.bytes().all(legal);
        if is_name { Ok(PlayerName(text.to_owned())) } else { Err(()) }
    }
}

impl<'de> Deserialize<'de> for PlayerName {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        parsed(input, "the name of an account: 3 to 32 ASCII letters, digits, - and _")
    }
}

/// What other nodes are told to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advertise {
    /// Found from where the node listens.
    Derived,
    /// A name, or an IPv6 address in brackets; the port where the node listens if
    /// there is none.
    Host { host: String, port: Option<u16> },
}

/// Bytes of a host's name at most.
const HOST_MAX: usize = 255;

impl std::str::FromStr for Advertise {
    type Err = ();

    fn from_str(text: &str) -> Result<Advertise, ()> {
        if text.is_empty() {
            return Ok(Advertise::Derived);
        }
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Ok(Advertise::Host { host: format!("[{address}]"), port: None });
        }
        let (host, port) = match text.rsplit_once(':').filter(|_| !text.ends_with(']')) {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| ())?)),
            None => (text, None),
        };
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_host = match bracketed {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
        };
        match (1..=HOST_MAX).contains(&host.len()) && is_host && port != Some(0) {
            true => Ok(Advertise::Host { host: host.to_owned(), port }),
            false => Err(()),
        }
    }
}

impl<'de> Deserialize<'de> for Advertise {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        parsed(input, "\"\", HOST or HOST:PORT")
    }
}

/// A join line, `None` when the text is empty. What is wrong with it is said,
/// and not the line, which may be secret.
pub fn join_line<'de, D: Deserializer<'de>>(input: D) -> Result<Option<JoinLine>, D::Error> {
    let text = String::deserialize(input)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error: JoinLineError| {
        let expected = format!("a join line ({error})");
        D::Error::invalid_value(Unexpected::Other("another text"), &expected.as_str())
    })
}

/// The roles in a list of their names.
pub fn roles<'de, D: Deserializer<'de>>(input: D) -> Result<Roles, D::Error> {
    let expected = "a list of one or more of \"sector\", \"coordinator\", \"meta\", \"gateway\"";
    let role = |name: String| {
        let found = Role::ALL.into_iter().find(|role| role.name() == name);
        found.ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&name), &expected))
    };
    let named = Vec::<String>::deserialize(input)?.into_iter().map(role);
    let named = named.collect::<Result<Vec<_>, _>>()?;
    Roles::of(named).ok_or_else(|| D::Error::invalid_value(Unexpected::Seq, &expected))
}

/// Which engine keeps the store.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// In the node's own data folder.
    Embedded,
    /// On the PostgreSQL server that this URL names.
    Postgres(String),
}

impl std::fmt::Debug for StoreUrl {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            StoreUrl::Embedded => "Embedded",
            StoreUrl::Postgres(_) => "Postgres(..)",
        })
    }
}

impl std::str::FromStr for StoreUrl {
    type Err = ();

    fn from_str(text: &str) -> Result<StoreUrl, ()> {
        let is_postgres = ["postgres://", "postgresql://"].iter().any(|s| text.starts_with(s));
        match text {
            "" => Ok(StoreUrl::Embedded),
            _ if is_postgres => Ok(StoreUrl::Postgres(text.to_string())),
            _ => Err(()),
        }
    }
}

impl<'de> Deserialize<'de> for StoreUrl {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        parsed(input, "\"\" or postgres://USER:PASSWORD@HOST:PORT/DATABASE")
    }
}

/// A path, `None` when the text is empty.
pub fn optional_path<'de, D: Deserializer<'de>>(input: D) -> Result<Option<PathBuf>, D::Error> {
    let text = String::deserialize(input)?;
    Ok((!text.is_empty()).then(|| PathBuf::from(text)))
}

/// A path that is not empty.
pub fn path<'de, D: Deserializer<'de>>(input: D) -> Result<PathBuf, D::Error> {
    optional_path(input)?
        .ok_or_else(|| D::Error::invalid_value(Unexpected::Str(""), &"the path of a folder"))
}

/// A text that [`FromStr`](std::str::FromStr) reads; else says `expected`.
pub fn parsed<'de, D, T>(input: D, expected: &str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr,
{
    let text = String::deserialize(input)?;
    text.parse().map_err(|_| D::Error::invalid_value(Unexpected::Str(&text), &expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_advertised_is_a_host_with_or_without_a_port() {
        let host = |host: &str, port| Ok(Advertise::Host { host: host.into(), port });
        for (text, expected) in [
            ("", Ok(Advertise::Derived)),
            ("a.example.org", host("a.example.org", None)),
            ("a:7500", host("a", Some(7500))),
            ("10.0.0.7", host("10.0.0.7", None)),
            ("::1", host("[::1]", None)),
            ("[::1]", host("[::1]", None)),
            ("[2001:db8::7]:7500", host("[2001:db8::7]", Some(7500))),
            ("a:", Err(())),
            ("a:0", Err(())),
            ("a:70000", Err(())),
            (":7500", Err(())),
            ("a b", Err(())),
            ("a#b", Err(())),
            ("[a]:7500", Err(())),
        ] {
            assert_eq!(text.parse::<Advertise>(), expected, "{text}");
        }
    }
    #[test]
    fn a_wrong_join_line_is_told_and_not_shown() {
        for (text, expected) in [
            (
                "[cluster]\njoin = \"secret\"\n",
                "settings:2: cluster.join: found another text, expected a join line \
                 (expected HOST:PORT#TOKEN, as the first node prints it; there is no #)",
            ),
            (
                "[cluster]\nadvertise = \"a:b\"\n",
                "settings:2: cluster.advertise: found \"a:b\", expected \"\", HOST or HOST:PORT",
            ),
        ] {
            let error = crate::config::Config::with(text).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
