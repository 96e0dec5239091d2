//! Owns the members' rows in the store: each node puts its own at each start,
//! with its present address, and reads those of all. Never decides who is a
//! member. Invariant: no two numbers have one name, and no number that registered
//! is given again.

use rustls::pki_types::CertificateDer;

use super::formats;
use crate::actors::rows::{GroupAnswer, Rows, StoreAway};
use crate::base::NodeId;
use crate::cluster::certificates::{Fingerprint, Name};
use crate::cluster::links::join::Member;
use crate::entity::commit::{Put, VALUE_BYTES_MAX};
use crate::entity::format::{FormatError, Formats};
use crate::entity::keys;
use crate::entity::member::{self, CertificateRow, Damaged, LastNode, MemberRow, Registered};
use crate::store::{ReadError, Store, Versioned};

/// Tries of a change that another node's overtook.
const TRIES: usize = 64;
/// Rows read at once.
const PAGE: usize = 256;
/// Members at most: as many as links.
pub const MEMBERS_MAX: usize = 1_024;

/// Why this node's row is not in the store, which is unchanged unless the store
/// says that it does not know.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    #[error("the members cannot be read")]
    Read(#[from] ReadError),
    #[error(transparent)]
    Store(#[from] StoreAway),
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(
        "the store is of a cluster with another cluster secret, of which node {node} was at {address}: \
         give this node a store of its own, or an empty data folder and a join line of that cluster"
    )]
    OtherCluster { node: NodeId, address: String },
    #[error(
        "the store knows nothing of node {node}, which joined a cluster: store.url names another \
         store"
    )]
    Unknown { node: NodeId },
    #[error("node {node} is named {name} already: issue this node's certificate with another name")]
    NameTaken { node: NodeId, name: String },
    #[error(
        "the certificates in node.pem have {0} bytes, expected at most {VALUE_BYTES_MAX}: leave out \
         those that are not between the node's and its authority's"
    )]
    LongChain(usize),
    #[error("other nodes register all the time; nothing was changed")]
    Busy,
    #[error("{MEMBERS_MAX} nodes or more were members: not all of them can be looked at")]
    Many,
}

/// A node, as it registers itself.
#[derive(Clone, Debug)]
pub struct OwnMember {
    pub node: NodeId,
    pub row: MemberRow,
    pub reads: Formats,
    /// Its own first, those between it and the authority behind it.
    pub certificate: Vec<CertificateDer<'static>>,
    /// It was admitted by a desk, so the store has its row.
    pub joined: bool,
}

impl OwnMember {
    /// What is put beside its row, so that its signatures can be verified.
    fn put_certificate(&self) -> Result<Put, RegisterError> {
        let fingerprint = self.certificate.first().map_or([0; 32], |own| Fingerprint::of(own).0);
        let chain = self.certificate.iter().map(|one| one.to_vec()).collect();
        let value = CertificateRow { chain }.to_bytes();
        if value.len() > VALUE_BYTES_MAX {
            return Err(RegisterError::LongChain(value.len()));
        }
        Ok(Put { key: keys::certificate(self.node, &fingerprint), value: Some(value) })
    }

    /// Whether this node may be in a store that has this of it, and that of
    /// whichever member comes first.
    fn judge(
        &self,
        first: Option<&(NodeId, MemberRow)>,
        row: Option<&MemberRow>,
        named: Option<NodeId>,
    ) -> Result<(), RegisterError> {
        if let Some((node, row)) = first.filter(|(_, row)| row.cluster != self.row.cluster) {
            return Err(RegisterError::OtherCluster { node: *node, address: row.address.clone() });
        }
        if row.is_none() && self.joined {
            return Err(RegisterError::Unknown { node: self.node });
        }
        match named {
            Some(node) if node != self.node => {
                Err(RegisterError::NameTaken { node, name: self.row.name.clone() })
            }
            _ => Ok(()),
        }
    }
}

/// Whether this is the store of the node's own cluster. Only reads: to be asked
/// before the node starts on it, as two first nodes on one store would depose
/// each other.
///
/// # Errors
/// When it is another cluster's, or cannot be read.
pub fn check_store(store: &dyn Store, own: &OwnMember) -> Result<(), RegisterError> {
    let first = read_first(store.scan(keys::MEMBER, None, 1)?)?;
    let row = store.get(&keys::member(own.node))?.map(|row| read_row(&row)).transpose()?;
    let name = store.get(&keys::member_name(&own.row.name))?;
    let named = name.map(|name| member::node_of(&name.value)).transpose()?;
    own.judge(first.as_ref(), row.as_ref().map(|(row, _)| row), named)
}

/// Puts this node's row, or refreshes it.
///
/// # Errors
/// See [`RegisterError`].
pub async fn register(rows: &Rows, own: &OwnMember) -> Result<(), RegisterError> {
    let first = read_first(rows.scan(keys::MEMBER.to_vec(), None, 1).await?)?;
    let certificate = own.put_certificate()?;
    for _ in 0..TRIES {
        let row = rows.get(keys::member(own.node)).await?;
        let row = row.map(|row| read_row(&row)).transpose()?;
        let name = rows.get(keys::member_name(&own.row.name)).await?;
        let named = name.as_ref().map(|name| member::node_of(&name.value)).transpose()?;
        own.judge(first.as_ref(), row.as_ref().map(|(row, _)| row), named)?;
        let last = last_node(rows, own.node).await?;
        let format = formats::read(rows, own.reads).await?;
        let reads = formats::reads(rows, own.node).await?.map(|(reads, _)| reads);
        let name_version = name.map(|name| name.version);
        let has_certificate = rows.get(certificate.key.clone()).await?;
        let has_certificate = has_certificate.map(|row| row.value) == certificate.value;
        let found = Registered { row, name_version, has_certificate, last, format, reads };
        let Some(group) =
            member::registration(own.node, (&own.row, own.reads), &certificate, &found)
        else {
            return Ok(());
        };
        if let GroupAnswer::Accepted { .. } = rows.commit_group(group).await? {
            return Ok(());
        }
    }
    Err(RegisterError::Busy)
}

/// The highest number ever given; `least` where none was.
pub(super) async fn last_node(rows: &Rows, least: NodeId) -> Result<LastNode, RegisterError> {
    Ok(match rows.get(keys::LAST_NODE.to_vec()).await? {
        Some(row) => LastNode { node: member::node_of(&row.value)?, version: Some(row.version) },
        None => LastNode { node: least, version: None },
    })
}

fn read_first(page: Vec<(Vec<u8>, Versioned)>) -> Result<Option<(NodeId, MemberRow)>, Damaged> {
    let Some((key, row)) = page.into_iter().next() else { return Ok(None) };
    let node = keys::parse_member(&key).ok_or(Damaged)?;
    Ok(Some((node, MemberRow::from_bytes(&row.value)?)))
}

fn read_row(row: &Versioned) -> Result<(MemberRow, u64), Damaged> {
    Ok((MemberRow::from_bytes(&row.value)?, row.version))
}

/// All members, by number. One whose row is damaged is left out, and logged.
///
/// # Errors
/// When the store does not answer in time.
pub async fn members(rows: &Rows) -> Result<Vec<Member>, StoreAway> {
    let found = scan(rows).await?;
    let members = found.iter().filter_map(|(key, row)| read_member(key, &row.value));
    Ok(members.take(MEMBERS_MAX).collect())
}

/// The numbers of all members.
///
/// # Errors
/// When the store does not answer in time, a key is damaged, or there are too many.
pub(super) async fn numbers(rows: &Rows) -> Result<Vec<NodeId>, RegisterError> {
    let found = scan(rows).await?;
    if found.len() >= MEMBERS_MAX {
        return Err(RegisterError::Many);
    }
    let node = |(key, _): &(Vec<u8>, Versioned)| keys::parse_member(key).ok_or(Damaged.into());
    found.iter().map(node).collect()
}

async fn scan(rows: &Rows) -> Result<Vec<(Vec<u8>, Versioned)>, StoreAway> {
    let mut found: Vec<(Vec<u8>, Versioned)> = Vec::new();
    while found.len() < MEMBERS_MAX {
        let after = found.last().map(|(key, _)| key.clone());
        let page = rows.scan(keys::MEMBER.to_vec(), after, PAGE).await?;
        let is_last = page.len() < PAGE;
        found.extend(page);
        if is_last {
            break;
        }
    }
    Ok(found)
}

fn read_member(key: &[u8], value: &[u8]) -> Option<Member> {
    let read = || {
        let row = MemberRow::from_bytes(value).ok()?;
        let name: Name = row.name.parse().ok()?;
        Some(Member { node: keys::parse_member(key)?, name, address: row.address })
    };
    let member = read();
    if member.is_none() {
        tracing::error!(key = %key.escape_ascii(), "the row of a member is damaged");
    }
    member
}
