//! Owns who a node is to the others: the cluster's certificate authority, the
//! certificates it signs, and the line with which a newcomer joins. Never
//! opens a socket and decides nothing about membership; the time is an
//! argument. Called by the links, by whoever starts a node, and by `starmesh
//! cert`. Invariant: a certificate that was made here names exactly one node of
//! one cluster, and a private key is readable by its owner only.

pub mod authority;
pub mod facts;
pub mod files;
pub mod identity;
pub mod name;
pub mod notary;
pub mod signing;
pub mod subject;
pub mod text;
pub mod token;

use std::io;
use std::path::PathBuf;

pub use authority::{Authority, SERVER_NAME, Validity};
pub use facts::Facts;
pub use identity::{Identity, Request};
pub use name::Name;
pub use notary::Notary;
pub use signing::Signer;
pub use subject::Subject;
pub use token::{Fingerprint, JoinLine, JoinLineError, JoinSecret};

/// Why there is no certificate, key or authority; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("{path}: cannot be read or written")]
    File { path: PathBuf, source: io::Error },
    #[error("{path} is there already; nothing was overwritten")]
    Exists { path: PathBuf },
    #[error("{path}: others can read the private key (mode {mode:o}); expected mode 600")]
    Readable { path: PathBuf, mode: u32 },
    #[error("expected {expected} in PEM form; {why}")]
    Pem { expected: &'static str, why: String },
    #[error("this is not a certificate: {0}")]
    Unreadable(String),
    #[error(
        "the certificate names no node: expected a name of the form starmesh://CLUSTER/NUMBER/NAME"
    )]
    NoNode,
    #[error("the certificate does not belong to its private key")]
    OtherKey,
    #[error("this is not the certificate of an authority: it may sign no others")]
    NotAnAuthority,
    #[error("the request to sign a key is not sound: {0}")]
    Request(String),
    #[error("the system has no random bytes")]
    NoRandom,
    #[error("it could not be signed: {0}")]
    Signing(String),
}
