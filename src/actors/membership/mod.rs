//! Owns who this node is when it starts: its identity, where the cluster's store
//! is, whom it knew, and where others reach it. Makes the cluster's authority on
//! the first node, joins with a line on another, and remembers all of it in
//! `cluster/` of the data folder, so that a restart needs no line. Never opens
//! the store and serves nobody: `gateway::server` does, which calls this first.
//! Invariant: the node's certificate is written last, so a folder without one is
//! not a member yet, whatever else is in it, and starting again goes on.

mod address;
mod desk;
mod first;
pub mod formats;
mod newcomer;
mod register;
mod remembered;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use desk::{OfferError, StoreDesk};
pub use register::{OwnMember, RegisterError, check_store, members, register};
pub use remembered::MembersFile;

use remembered::Remembered;

use rustls::pki_types::CertificateDer;

use crate::actors::rows::Rows;
use crate::base::NodeId;
use crate::cluster::certificates::authority::{
    CERTIFICATE_FILE as AUTHORITY_FILE, KEY_FILE as AUTHORITY_KEY_FILE,
};
use crate::cluster::certificates::files::{self, Readers};
use crate::cluster::certificates::identity::certificates_of;
use crate::cluster::certificates::{
    Authority, CertificateError, Fingerprint, Identity, JoinLine, Subject,
};
use crate::cluster::links::Limits;
use crate::cluster::links::join::{JoinError, Member, StoreAt};
use crate::cluster::secret::{self, SecretError};
use crate::config::{Config, StoreUrl};
use crate::entity::format::Formats;
use crate::entity::member::MemberRow;
use crate::store::sled;

/// In the data folder: who this node is, and whom it knows.
pub const FOLDER: &str = "cluster";
/// The number of a cluster's first node.
pub const FIRST_NODE: NodeId = NodeId(1);

/// Why this node is in no cluster. Asking again is always safe; what is in its
/// folder stays as it was, or is what asking again needs.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    #[error("{path}: cannot be made, read or written")]
    File { path: PathBuf, source: io::Error },
    #[error("{path}: this is not what a node writes there: {why}")]
    Damaged { path: PathBuf, why: String },
    #[error("the certificates in {folder}")]
    Certificate { folder: PathBuf, source: CertificateError },
    #[error("the authority in {folder}, whose key is there")]
    Authority { folder: PathBuf, source: CertificateError },
    #[error("the cluster secret")]
    Secret(#[from] SecretError),
    #[error("no free port was found for {listen}")]
    Port { listen: SocketAddr, source: io::Error },
    #[error("this node did not join")]
    Join(#[from] JoinError),
    #[error(
        "{folder} belongs to {ours} already, and the join line is of another cluster, whose \
         authority is {theirs}: leave the line out to start {ours}, or join with another data \
         folder"
    )]
    OtherCluster { folder: PathBuf, ours: Subject, theirs: Fingerprint },
    #[error(
        "{data} has a galaxy of its own, which would be left behind: join with an empty data \
         folder, or leave the join line out"
    )]
    OwnGalaxy { data: PathBuf },
    #[error(
        "{folder} has the key of an authority, and no node's certificate yet: leave the join line \
         out to start the first node of a cluster with it, or join with another data folder"
    )]
    OwnAuthority { folder: PathBuf },
    #[error(
        "{folder} is that of a node whose joining was cut off: start it with its join line again, \
         or remove the data folder to start a new cluster"
    )]
    HalfJoined { folder: PathBuf },
    #[error(
        "the cluster's store is a PostgreSQL server, which every node opens itself: set store.url \
         to it"
    )]
    NeedsStoreUrl,
    #[error(
        "the certificate in {folder} is that of {subject}, and nothing says where the cluster's \
         store is: set store.url, or give number {FIRST_NODE} to the node that has the store"
    )]
    NoStore { folder: PathBuf, subject: Subject },
}

/// Where a node finds the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorePlace {
    /// It opens it itself, by `store.url`.
    Own,
    /// In this member, which is asked for all of it.
    Of { node: NodeId, address: String },
}

/// Who this node is.
pub struct Membership {
    /// Its subject has the cluster and the node's name, which are the ones that
    /// count, whatever the settings say now.
    pub identity: Identity,
    pub node: NodeId,
    /// Where newcomers can be let in; [`desk`](Self::desk) takes it.
    pub authority: Option<Authority>,
    pub store: StorePlace,
    /// The others, as this node knew them last.
    pub members: Vec<Member>,
    /// Where it listens for other nodes; the port is never 0.
    pub listen: SocketAddr,
    /// `HOST:PORT` where other nodes dial it.
    pub address: String,
    pub memory: MembersFile,
    /// The format versions that it reads.
    pub reads: Formats,
    secret: [u8; secret::BYTES],
    store_at: StoreAt,
    /// It was admitted by a desk, so the store has its row.
    joined: bool,
}

impl std::fmt::Debug for Membership {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Membership({} at {})", self.identity.subject(), self.address)
    }
}

impl Membership {
    /// Who the node with these settings is. Makes a cluster or joins one where its
    /// folder is of none.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn open(config: &Config) -> Result<Membership, MembershipError> {
        Membership::open_with(config, &Limits::default()).await
    }

    /// As [`open`](Self::open), joining within other limits.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn open_with(
        config: &Config,
        limits: &Limits,
    ) -> Result<Membership, MembershipError> {
        let data = config.node.data.clone();
        let folder = data.join(FOLDER);
        std::fs::create_dir_all(&folder)
            .map_err(|source| MembershipError::File { path: folder.clone(), source })?;
        let listen = address::listen(config.cluster.listen, &folder)?;
        let memory = MembersFile::new(&folder);
        let identity = match &config.cluster.join {
            line if Identity::is_in(&folder) => load(&folder, line.as_ref())?,
            // Node 1 of this cluster is another one.
            None if memory.read()?.store.is_some() => {
                return Err(MembershipError::HalfJoined { folder });
            }
            None => first::make(config, &folder)?,
            Some(line) => newcomer::join(config, line, (&memory, listen), limits).await?,
        };
        let remembered = memory.read()?;
        let (store, store_at) = place(config, &identity, &folder, &remembered)?;
        let (joined, members) = (remembered.store.is_some(), remembered.members);
        let towards = members.first().map(|member| member.address.as_str());
        let address = address::advertised(&config.cluster.advertise, listen, towards).await;
        let node = identity.subject().node;
        let authority = load_authority(&folder)?;
        let secret = secret::open(&data)?;
        tracing::info!(%node, subject = %identity.subject(), %listen, address, "member of the cluster");
        Ok(Membership {
            identity,
            node,
            authority,
            store,
            members,
            listen,
            address,
            memory,
            reads: config.cluster.formats(),
            secret,
            store_at,
            joined,
        })
    }

    /// What [`register()`] puts into the store.
    pub fn own(&self) -> OwnMember {
        let name = self.identity.subject().name.to_string();
        let cluster = secret::digest(&self.secret);
        let row = MemberRow { name, address: self.address.clone(), cluster };
        let certificate = self.identity.chain().to_vec();
        let (reads, joined) = (self.reads, self.joined);
        OwnMember { node: self.node, row, reads, certificate, joined }
    }

    /// Where newcomers are let in: once, and only where the authority's key is.
    pub fn desk(&mut self, rows: Rows) -> Option<Arc<StoreDesk>> {
        let authority = self.authority.take()?;
        Some(Arc::new(StoreDesk::new(self, authority, rows)))
    }
}

/// Who the node in this folder is, which is a member already. A join line is of
/// no use to it; one of another cluster says that somebody is mistaken.
fn load(folder: &Path, line: Option<&JoinLine>) -> Result<Identity, MembershipError> {
    let identity = Identity::load(folder).map_err(|source| certificate(folder, source))?;
    let Some(line) = line else { return Ok(identity) };
    let believed = |authority| Fingerprint::of(authority) == line.authority;
    if !identity.authorities().iter().any(|authority| believed(authority)) {
        let (folder, ours) = (folder.to_owned(), identity.subject().clone());
        return Err(MembershipError::OtherCluster { folder, ours, theirs: line.authority });
    }
    let subject = identity.subject();
    tracing::info!(%subject, "the join line is not needed: this node has joined already");
    Ok(identity)
}

/// Whose nodes the node with this data believes; none where it is in no cluster.
///
/// # Errors
/// When the file that says so cannot be read.
pub fn authorities(data: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let file = data.join(FOLDER).join(AUTHORITY_FILE);
    match file.exists() {
        true => certificates_of(&files::read(&file, Readers::Everybody)?),
        false => Ok(Vec::new()),
    }
}

fn load_authority(folder: &Path) -> Result<Option<Authority>, MembershipError> {
    if !folder.join(AUTHORITY_KEY_FILE).exists() {
        return Ok(None);
    }
    let wrong = |source| MembershipError::Authority { folder: folder.to_owned(), source };
    Authority::load(folder).map(Some).map_err(wrong)
}

/// Where the store is: a `store.url` always counts, else what was said when this
/// node joined. Whether it is the right store, [`check_store`] sees.
fn place(
    config: &Config,
    identity: &Identity,
    folder: &Path,
    remembered: &Remembered,
) -> Result<(StorePlace, StoreAt), MembershipError> {
    let subject = identity.subject();
    if matches!(config.store.url, StoreUrl::Postgres(_)) {
        return Ok((StorePlace::Own, StoreAt::Shared));
    }
    match remembered.store {
        Some(StoreAt::Shared) => Err(MembershipError::NeedsStoreUrl),
        Some(StoreAt::Node(node)) if node != subject.node => {
            let found = remembered.members.iter().find(|member| member.node == node);
            let found = found.ok_or_else(|| MembershipError::Damaged {
                path: folder.join(remembered::FILE),
                why: format!("node {node} has the store, and has no address"),
            })?;
            let place = StorePlace::Of { node, address: found.address.clone() };
            Ok((place, StoreAt::Node(node)))
        }
        None if subject.node != FIRST_NODE && !config.node.data.join(sled::FOLDER).exists() => {
            let (folder, subject) = (folder.to_owned(), subject.clone());
            Err(MembershipError::NoStore { folder, subject })
        }
        _ => Ok((StorePlace::Own, StoreAt::Node(subject.node))),
    }
}

fn certificate(folder: &Path, source: CertificateError) -> MembershipError {
    MembershipError::Certificate { folder: folder.to_owned(), source }
}
