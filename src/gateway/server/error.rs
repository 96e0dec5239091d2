//! Owns why a node did not start. Never decides what is done about it. Made by
//! [`Server::start`](super::Server::start), told to people by who called it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::actors::ending::Ended;
use crate::actors::membership::{MembershipError, RegisterError};
use crate::actors::mesh::MeshError;
use crate::actors::node::StartError;
use crate::cluster::certificates::CertificateError;
use crate::cluster::links::store_calls;
use crate::gateway::accounts::{SecretError, SigningError};
use crate::gateway::http::TlsError;
use crate::store::ReadError;
#[cfg(feature = "postgres")]
use crate::store::postgres;
use crate::store::sled::OpenError;

/// Why a node did not start. Nothing of it runs, nothing was changed but what
/// was there already completed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the data folder {folder} cannot be made")]
    Folder { folder: PathBuf, source: io::Error },
    #[error("the store in {folder} does not open")]
    Store { folder: PathBuf, source: OpenError },
    #[cfg(feature = "postgres")]
    #[error("the store on PostgreSQL does not open")]
    Postgres(#[from] postgres::OpenError),
    #[error("store.url names a PostgreSQL server, and this build was made without that engine")]
    NoPostgres,
    #[error("the store cannot be read")]
    Read(#[from] ReadError),
    #[error(
        "`starmesh store copy` into this store did not come to its end: remove what it wrote and copy again"
    )]
    HalfCopied,
    #[error("the store of another node cannot be called")]
    Mesh(#[from] store_calls::MeshError),
    #[error("this node's place in the cluster")]
    Membership(#[from] MembershipError),
    #[error("this node's row among the members")]
    Register(#[from] RegisterError),
    #[error("the node's key, with which its audit log is signed")]
    Key(#[from] CertificateError),
    #[error("the links to other nodes")]
    Links(#[from] MeshError),
    #[error(transparent)]
    Node(#[from] StartError),
    #[error("a node without a cluster has no links")]
    NoCluster,
    #[error("the cluster secret")]
    Secret(#[from] SecretError),
    #[error("the keys that sign tokens")]
    Signing(#[from] SigningError),
    #[error("the certificate of the listener")]
    Tls(#[from] TlsError),
    #[error("nothing can listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("the ready file {file} cannot be written")]
    ReadyFile { file: PathBuf, source: io::Error },
    /// Who begins anew finds what whoever was first has left.
    #[error("the node was overtaken before it was ready: {0}")]
    Overtaken(String),
    #[error("the node ended before it was ready: {0}")]
    Failed(String),
    #[error("the node is stuck: {0}")]
    Stuck(String),
}

impl From<Ended> for ServeError {
    fn from(why: Ended) -> ServeError {
        match why {
            Ended::Overtaken(why) => ServeError::Overtaken(why),
            Ended::Failed(why) => ServeError::Failed(why),
            Ended::Stuck(why) => ServeError::Stuck(why),
        }
    }
}
