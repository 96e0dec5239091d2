//! Owns the rows of a cluster's members and of the tokens with which newcomers
//! join: their stored form, and the groups that write them. Never decides who
//! may join (`actors::membership` does, which calls this). Invariant: a group
//! that gives a number to a newcomer also takes its name, raises the highest
//! number and uses up its token, or does none of it.

use serde::{Deserialize, Serialize};

use super::commit::{Check, Expect, Group, Put};
use super::envelope::{self, Kind};
use super::format::{Format, Formats};
use super::keys;
use crate::base::{Millis, NodeId};

/// A row that is not what its key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row of the members is damaged")]
pub struct Damaged;

/// A node of the cluster, as the others find it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRow {
    pub name: String,
    /// `HOST:PORT` where other nodes dial it.
    pub address: String,
    /// The digest of the secret that all nodes of its cluster have.
    pub cluster: [u8; 32],
}

/// A token that was given out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRow {
    /// By the store's clock.
    pub issued: Millis,
    pub used: Option<TokenUse>,
}

/// Whom a token made a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUse {
    /// SHA-256 over the newcomer's public key.
    pub key: [u8; 32],
    pub node: NodeId,
}

/// A certificate that a node has or had, so that its signatures can be verified.
/// Kept for ever, whatever it is replaced by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRow {
    /// In DER form: the node's own, then those between it and the authority.
    pub chain: Vec<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
enum StoredMember {
    V1(MemberRow),
}

#[derive(Serialize, Deserialize)]
enum StoredCertificate {
    V1(CertificateRow),
}

#[derive(Serialize, Deserialize)]
enum StoredToken {
    V1(TokenRow),
}

impl MemberRow {
    pub fn to_bytes(&self) -> Vec<u8> {
        envelope::seal_row(Kind::Member, &StoredMember::V1(self.clone()))
    }

    /// # Errors
    /// When the row is not a member.
    pub fn from_bytes(bytes: &[u8]) -> Result<MemberRow, Damaged> {
        let StoredMember::V1(member) = envelope::open_row(Kind::Member, bytes).ok_or(Damaged)?;
        Ok(member)
    }
}

impl TokenRow {
    pub fn to_bytes(&self) -> Vec<u8> {
        envelope::seal_row(Kind::JoinToken, &StoredToken::V1(self.clone()))
    }

    /// # Errors
    /// When the row is not a token.
    pub fn from_bytes(bytes: &[u8]) -> Result<TokenRow, Damaged> {
        let StoredToken::V1(token) = envelope::open_row(Kind::JoinToken, bytes).ok_or(Damaged)?;
        Ok(token)
    }
}

impl CertificateRow {
    pub fn to_bytes(&self) -> Vec<u8> {
        envelope::seal_row(Kind::Certificate, &StoredCertificate::V1(self.clone()))
    }

    /// # Errors
    /// When the row is not a certificate.
    pub fn from_bytes(bytes: &[u8]) -> Result<CertificateRow, Damaged> {
        let stored = envelope::open_row(Kind::Certificate, bytes).ok_or(Damaged)?;
        let StoredCertificate::V1(certificate) = stored;
        Ok(certificate)
    }
}

/// The node that [`keys::LAST_NODE`] and [`keys::member_name`] have as their
/// value.
///
/// # Errors
/// When it is not four bytes.
pub fn node_of(value: &[u8]) -> Result<NodeId, Damaged> {
    let id = value.try_into().map_err(|_| Damaged)?;
    Ok(NodeId(u32::from_be_bytes(id)))
}

/// The highest number ever given, as it was read.
#[derive(Clone, Copy, Debug)]
pub struct LastNode {
    pub node: NodeId,
    /// Of its row; none where there is no row yet.
    pub version: Option<u64>,
}

/// The group that makes a newcomer the node after `last`: refused unless that is
/// still the last one, the cluster writes what it did, the token's row still has the
/// version `token_version`, and the name is free.
pub fn admission(
    (last, format): (LastNode, Format),
    (member, reads): (&MemberRow, Formats),
    digest: &[u8; 32],
    (token, token_version): (&TokenRow, u64),
) -> Group {
    let node = token.used.as_ref().map_or(last.node, |used| used.node);
    let (name, row) = (keys::member_name(&member.name), keys::member(node));
    let token_key = keys::join_token(digest);
    Group {
        checks: vec![
            Check { key: token_key.clone(), expect: Expect::Version(token_version) },
            Check { key: keys::LAST_NODE.to_vec(), expect: version(last.version) },
            Check { key: name.clone(), expect: Expect::Absent },
            Check { key: row.clone(), expect: Expect::Absent },
            format.check(),
        ],
        puts: vec![
            Put { key: token_key, value: Some(token.to_bytes()) },
            Put { key: keys::LAST_NODE.to_vec(), value: node_bytes(node) },
            Put { key: name, value: node_bytes(node) },
            Put { key: row, value: Some(member.to_bytes()) },
            reads.put(node),
        ],
        append: None,
    }
}

/// What is in the store of a node that registers, with the versions read.
#[derive(Clone, Debug)]
pub struct Registered {
    pub row: Option<(MemberRow, u64)>,
    /// The version of the row of its name, where that names this node.
    pub name_version: Option<u64>,
    /// Whether the store has the node's certificate.
    pub has_certificate: bool,
    pub last: LastNode,
    /// What the cluster writes, which the node reads.
    pub format: Format,
    /// What the node said that it reads.
    pub reads: Option<Formats>,
}

/// The group that puts `member` as `node`, with its certificate, and raises the
/// highest number to it: refused unless all is as it was read. None when nothing
/// is to be changed.
pub fn registration(
    node: NodeId,
    (member, reads): (&MemberRow, Formats),
    certificate: &Put,
    found: &Registered,
) -> Option<Group> {
    let before = found.row.as_ref();
    let is_last = found.last.version.is_some() && found.last.node >= node;
    let is_told = found.has_certificate && found.reads == Some(reads);
    let is_named = found.name_version.is_some() && is_told;
    if before.is_some_and(|(row, _)| row == member) && is_named && is_last {
        return None;
    }
    let (name, row) = (keys::member_name(&member.name), keys::member(node));
    let mut group = Group {
        checks: vec![
            Check { key: row.clone(), expect: version(before.map(|(_, version)| *version)) },
            Check { key: name.clone(), expect: version(found.name_version) },
            Check { key: keys::LAST_NODE.to_vec(), expect: version(found.last.version) },
            found.format.check(),
        ],
        puts: vec![
            Put { key: row, value: Some(member.to_bytes()) },
            Put { key: name, value: node_bytes(node) },
            Put { key: keys::LAST_NODE.to_vec(), value: node_bytes(found.last.node.max(node)) },
            certificate.clone(),
            reads.put(node),
        ],
        append: None,
    };
    // Its certificate has another name than before: that one is free.
    if let Some((row, _)) = before.filter(|(row, _)| row.name != member.name) {
        group.puts.push(Put { key: keys::member_name(&row.name), value: None });
    }
    Some(group)
}

fn version(version: Option<u64>) -> Expect {
    version.map_or(Expect::Absent, Expect::Version)
}

fn node_bytes(node: NodeId) -> Option<Vec<u8>> {
    Some(node.0.to_be_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::format::FORMATS;

    #[test]
    fn rows_come_back_and_nothing_else_is_one() {
        let member = MemberRow { name: "a".into(), address: "[::1]:7000".into(), cluster: [7; 32] };
        let token = TokenRow {
            issued: Millis(300),
            used: Some(TokenUse { key: [9; 32], node: NodeId(2) }),
        };
        assert_eq!(MemberRow::from_bytes(&member.to_bytes()), Ok(member.clone()));
        assert_eq!(TokenRow::from_bytes(&token.to_bytes()), Ok(token.clone()));
        assert_eq!(MemberRow::from_bytes(&token.to_bytes()), Err(Damaged));
        assert_eq!(TokenRow::from_bytes(&token.to_bytes()[1..]), Err(Damaged));
        let certificate = CertificateRow { chain: vec![vec![1], vec![2; 300]] };
        assert_eq!(CertificateRow::from_bytes(&certificate.to_bytes()), Ok(certificate));
        assert_eq!(CertificateRow::from_bytes(&token.to_bytes()), Err(Damaged));
        assert_eq!(node_of(&[0, 0, 1, 0]), Ok(NodeId(256)));
        assert_eq!(node_of(b""), Err(Damaged));
    }

    #[test]
    fn a_node_that_is_as_it_was_changes_nothing() {
        let member = MemberRow { name: "a".into(), address: "h:1".into(), cluster: [7; 32] };
        let last = LastNode { node: NodeId(3), version: Some(5) };
        let format = Format { number: 1, version: Some(6) };
        let row = Some((member.clone(), 4));
        let found = Registered {
            row,
            name_version: Some(4),
            has_certificate: true,
            last,
            format,
            reads: Some(FORMATS),
        };
        let certificate = Put { key: keys::certificate(NodeId(1), &[8; 32]), value: Some(vec![]) };
        let register = |member: &MemberRow, found: &Registered| {
            registration(NodeId(1), (member, FORMATS), &certificate, found)
        };
        assert_eq!(register(&member, &found), None);
        let moved = MemberRow { address: "h:2".into(), ..member.clone() };
        let group = register(&moved, &found).unwrap();
        assert_eq!((group.checks.len(), group.puts.len()), (4, 5));
        assert_eq!(group.puts[2].value, node_bytes(NodeId(3)));
        let found = Registered { has_certificate: false, ..found };
        assert_eq!(register(&member, &found).unwrap().puts[3], certificate, "it has another");
    }
}
