//! Owns joining: a newcomer shows the secret of its join line and its key, and
//! gets a node id, a certificate and the members, or hears why not. Never
//! decides who may join: a [`JoinDesk`] does. Invariant: nothing is said before
//! the newcomer knows by the line's fingerprint whom it talks to, and nothing
//! is granted without a secret.

pub mod desk;
mod newcomer;
mod pinned;

use std::time::Duration;

use quinn::Connection;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

pub use desk::{JoinDesk, MemoryDesk};
pub use newcomer::{JoinError, Newcomer, join, join_at};

use super::end::{End, Reason};
use super::hello::Formats;
use super::link::malformed;
use super::streams;
use crate::base::NodeId;
use crate::cluster::certificates::identity::NodeKey;
use crate::cluster::certificates::{CertificateError, Identity, JoinSecret, Name};

/// Bytes of a request at most; a stranger's.
const REQUEST_MAX: usize = 8 << 10;
/// Bytes of an answer at most.
const ANSWER_MAX: usize = 1 << 20;

/// What a newcomer says. Sent: a new form gets a new name in the handshake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    pub secret: JoinSecret,
    /// Its key, to be signed, in DER form: see `certificates::Request`.
    pub key: Vec<u8>,
    pub name: Name,
    /// `HOST:PORT` where other nodes are to dial it; an empty host stands for
    /// the address that it came from.
    pub address: String,
    pub formats: Formats,
    pub build: String,
    /// Whether it has the address of a store that all nodes open themselves.
    pub has_store_url: bool,
}

/// What a newcomer gets. Sent, as [`JoinRequest`] is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pub node: NodeId,
    /// Its certificate and those between it and the authority, in DER form.
    pub chain: Vec<Vec<u8>>,
    /// Whom to believe.
    pub authorities: Vec<Vec<u8>>,
    pub cluster: Name,
    /// The content of the cluster secret's file.
    pub cluster_secret: Vec<u8>,
    /// The others.
    pub members: Vec<Member>,
    pub store: StoreAt,
}

/// Where a cluster's store is. Sent: variants keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreAt {
    /// In the data folder of this member.
    Node(NodeId),
    /// On a server that every node opens itself.
    Shared,
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Grant(node {} of {}, {} members)", self.node, self.cluster, self.members.len())
    }
}

/// A node to dial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub node: NodeId,
    pub name: Name,
    pub address: String,
}

/// Why a newcomer gets nothing. Sent: variants keep their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum JoinRefusal {
    #[error("the token is not known here; it may be of another cluster, or withdrawn")]
    UnknownToken,
    #[error("the token was used by another node; a token serves once")]
    UsedToken,
    #[error("the token has expired; ask for a new one")]
    ExpiredToken,
    #[error("a node named {0} is there already")]
    NameTaken(Name),
    #[error("the newcomer reads formats {theirs}, the cluster needs {ours}")]
    Formats { theirs: Formats, ours: Formats },
    #[error("the request is not sound: {0}")]
    Request(String),
    #[error("nobody lets in here; join at another node")]
    NoDesk,
    /// Try again later.
    #[error("it cannot be decided now: {0}")]
    Unavailable(String),
    #[error(
        "the cluster's store is a PostgreSQL server, which every node opens itself: start with \
         store.url set to it"
    )]
    NeedsStoreUrl,
    #[error("the cluster's store is on node {0}: start without store.url")]
    NeedsNoStoreUrl(NodeId),
}

impl StoreAt {
    /// Whether a newcomer that has a `store.url`, or has none, can reach it.
    ///
    /// # Errors
    /// When it cannot, or would open another.
    pub fn judge(self, has_store_url: bool) -> Result<(), JoinRefusal> {
        match (self, has_store_url) {
            (StoreAt::Shared, false) => Err(JoinRefusal::NeedsStoreUrl),
            (StoreAt::Node(node), true) => Err(JoinRefusal::NeedsNoStoreUrl(node)),
            _ => Ok(()),
        }
    }
}

impl Grant {
    /// Who the newcomer is from now on.
    ///
    /// # Errors
    /// When the certificate is not for this key, or names another node.
    pub fn identity(&self, key: &NodeKey) -> Result<Identity, CertificateError> {
        let der = |all: &[Vec<u8>]| all.iter().map(|one| one.clone().into()).collect();
        let identity = Identity::new(der(&self.chain), &key.pem(), der(&self.authorities))?;
        let subject = identity.subject();
        if subject.node != self.node || subject.cluster != self.cluster {
            return Err(CertificateError::NoNode);
        }
        Ok(identity)
    }
}

/// Serves a newcomer: hears its request, asks the desk, answers.
pub(super) async fn serve(
    desk: Option<&dyn JoinDesk>,
    connection: &Connection,
    limit: Duration,
) -> Result<(), End> {
    let slow = |what: &str| End::us(Reason::TooSlow, format!("{what} in time"));
    let heard = timeout(limit, hear(connection)).await;
    let (mut stream, request) = heard.unwrap_or_else(|_| Err(slow("no request to join")))?;
    let from = connection.remote_address();
    let name = request.name.clone();
    let answer = match desk {
        None => Err(JoinRefusal::NoDesk),
        Some(desk) => match timeout(limit, desk.redeem(request, from)).await {
            Ok(answer) => answer,
            Err(_) => Err(JoinRefusal::Unavailable("the desk takes too long".into())),
        },
    };
    let bytes = postcard::to_stdvec(&answer).map_err(|error| malformed(error.to_string()))?;
    let told = timeout(limit, async {
        streams::put(&mut stream, &bytes).await?;
        // It closes when it has read it.
        let _ = stream.finish();
        connection.closed().await;
        Ok(())
    });
    told.await.unwrap_or_else(|_| Err(slow("the newcomer did not take its answer")))?;
    match answer {
        Ok(grant) => {
            tracing::info!(%from, %name, node = %grant.node, "joins the cluster");
            Ok(())
        }
        Err(refusal) => {
            let detail = format!("{name} may not join: {refusal}");
            Err(End::us(Reason::NotAdmitted, detail))
        }
    }
}

async fn hear(connection: &Connection) -> Result<(quinn::SendStream, JoinRequest), End> {
    let accepted = connection.accept_bi().await;
    let (send, mut receive) = accepted.map_err(|error| End::from(&error))?;
    let bytes = streams::get(&mut receive, REQUEST_MAX).await?;
    let request = postcard::from_bytes(&bytes);
    Ok((send, request.map_err(|error| malformed(format!("no request to join: {error}")))?))
}
