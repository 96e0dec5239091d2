//! Owns what the handshakes of links, of calls of the store and of joining demand: TLS 1.3, the
//! cluster's authorities on both sides, no resumption (a resumed connection
//! would not look at the dates again). Never decides which node a peer is; that
//! is the hello's part.

use std::sync::Arc;

use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::cluster::certificates::{Facts, Identity, Subject};

/// What a connection is for, told in the handshake.
pub const LINK: &[u8] = b"starmesh-link/1";
/// For calls of the store.
pub const STORE: &[u8] = b"starmesh-store/1";
/// By whom has no certificate yet.
pub const JOIN: &[u8] = b"starmesh-join/1";

/// Keys and certificates of which no connection can be made.
#[derive(Debug, thiserror::Error)]
#[error("these certificates serve no connection: {0}")]
pub struct TlsError(String);

impl TlsError {
    pub(super) fn new(error: &impl ToString) -> TlsError {
        TlsError(error.to_string())
    }
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(authorities: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).map_err(|error| TlsError::new(&error))?;
    }
    Ok(Arc::new(roots))
}

/// For what comes in: other nodes, whose certificate is checked, and those who
/// join, who have none.
pub(super) fn server(identity: &Identity) -> Result<QuicServerConfig, TlsError> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots(identity.authorities())?, provider())
            .allow_unauthenticated()
            .build()
            .map_err(|error| TlsError::new(&error))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| {
            builder
                .with_client_cert_verifier(verifier)
                .with_single_cert(identity.shown(), identity.key())
        })
        .map_err(|error| TlsError::new(&error))?;
    config.alpn_protocols = vec![LINK.to_vec(), STORE.to_vec(), JOIN.to_vec()];
    config.send_tls13_tickets = 0;
    QuicServerConfig::try_from(config).map_err(|error| TlsError::new(&error))
}

/// For what this node dials, `purpose` of it.
pub(super) fn client(identity: &Identity, purpose: &[u8]) -> Result<QuicClientConfig, TlsError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| TlsError::new(&error))?
        .with_root_certificates(roots(identity.authorities())?)
        .with_client_auth_cert(identity.shown(), identity.key())
        .map_err(|error| TlsError::new(&error))?;
    client_config(config, purpose)
}

pub(super) fn client_config(
    mut config: ClientConfig,
    purpose: &[u8],
) -> Result<QuicClientConfig, TlsError> {
    config.alpn_protocols = vec![purpose.to_vec()];
    config.resumption = Resumption::disabled();
    QuicClientConfig::try_from(config).map_err(|error| TlsError::new(&error))
}

/// What the connection is for.
pub(super) fn purpose(connection: &quinn::Connection) -> Option<Vec<u8>> {
    connection.handshake_data()?.downcast::<HandshakeData>().ok()?.protocol
}

/// Until when the certificate that the peer showed is valid, and those above it, in
/// seconds since 1970.
pub(super) fn valid_until(connection: &quinn::Connection) -> Option<i64> {
    let identity = connection.peer_identity()?;
    let chain = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    chain.iter().filter_map(|it| Facts::of(it).ok()).map(|facts| facts.valid_until).min()
}

/// The node that the peer's certificate names; the outer `None` is no certificate.
pub(super) fn subject(connection: &quinn::Connection) -> Option<Option<Subject>> {
    let identity = connection.peer_identity()?;
    let chain = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    Some(Facts::of(chain.first()?).ok().and_then(|facts| facts.subject))
}
