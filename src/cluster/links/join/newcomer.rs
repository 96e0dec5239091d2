//! Owns the newcomer's side of joining: one connection, one request, one answer.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use quinn::{ClientConfig, Connection, Endpoint, VarInt};
use tokio::time::timeout;

use super::pinned::Pinned;
use super::{ANSWER_MAX, Grant, JoinRefusal, JoinRequest};
use crate::cluster::certificates::authority::SERVER_NAME;
use crate::cluster::certificates::identity::NodeKey;
use crate::cluster::certificates::{CertificateError, JoinLine, Name};
use crate::cluster::links::end::{End, Reason};
use crate::cluster::links::hello::Formats;
use crate::cluster::links::limits::Limits;
use crate::cluster::links::{net, streams, tls};

/// Who wants to join.
pub struct Newcomer<'a> {
    pub key: &'a NodeKey,
    pub name: Name,
    /// See [`JoinRequest::address`].
    pub address: String,
    pub formats: Formats,
    pub build: String,
    pub has_store_url: bool,
}

/// Of the addresses that a name stands for, so many are tried.
const ADDRESSES: usize = 4;

/// Why this node is not in the cluster; asking again with the same line and key
/// is always safe.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("{address} cannot be reached: {why}")]
    Unreachable { address: String, why: String },
    #[error(
        "the node at {address} is not of the cluster that the token is for: it shows no \
         certificate of the authority {authority}; nothing was said to it"
    )]
    OtherAuthority { address: String, authority: String },
    #[error("{address} refused: {refusal}")]
    Refused { address: String, refusal: JoinRefusal },
    #[error("{address} broke off: {end}")]
    Ended { address: String, end: End },
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// Asks the node of the join line to be let in, at every address that its name
/// stands for until one is that node. Takes at most ten times the limits'
/// `handshake`.
///
/// # Errors
/// See [`JoinError`].
pub async fn join(
    line: &JoinLine,
    newcomer: Newcomer<'_>,
    limits: &Limits,
) -> Result<Grant, JoinError> {
    let found = timeout(limits.handshake, tokio::net::lookup_host(&line.address)).await;
    let found = found.map_err(|_| unreachable(line, "its name was not resolved in time"))?;
    let found = found.map_err(|error| unreachable(line, error))?;
    let found: Vec<SocketAddr> = found.take(ADDRESSES).collect();
    join_at(&found, line, newcomer, limits).await
}

/// As [`join`], of a line whose name stands for these addresses.
///
/// # Errors
/// See [`JoinError`].
pub async fn join_at(
    addresses: &[SocketAddr],
    line: &JoinLine,
    newcomer: Newcomer<'_>,
    limits: &Limits,
) -> Result<Grant, JoinError> {
    let address = line.address.clone();
    let request = JoinRequest {
        secret: line.secret.clone(),
        key: newcomer.key.request()?,
        name: newcomer.name,
        address: newcomer.address,
        formats: newcomer.formats,
        build: newcomer.build,
        has_store_url: newcomer.has_store_url,
    };
    let (endpoint, connection) = connect(addresses, line, limits).await?;
    let asked = timeout(3 * limits.handshake, ask(&connection, &request)).await;
    let slow = || End::us(Reason::TooSlow, "no answer in time");
    let asked = asked.unwrap_or_else(|_| Err(slow()));
    connection.close(VarInt::from_u32(Reason::Stopping as u32), b"that was all");
    // So that it hears it; which the newcomer need not wait for, since draining a
    // connection takes a second.
    let within = limits.handshake;
    tokio::spawn(async move { timeout(within, endpoint.wait_idle()).await });
    match asked {
        Ok(Ok(grant)) => Ok(grant),
        Ok(Err(refusal)) => Err(JoinError::Refused { address, refusal }),
        Err(end) => Err(JoinError::Ended { address, end }),
    }
}

/// The first of the addresses at which the line's node answers. One that does
/// not answer, or is no such node, says nothing of the others.
async fn connect(
    addresses: &[SocketAddr],
    line: &JoinLine,
    limits: &Limits,
) -> Result<(Endpoint, Connection), JoinError> {
    let mut failed = unreachable(line, "it stands for no address");
    for to in addresses {
        match connect_to(*to, line, limits).await {
            Ok(connected) => return Ok(connected),
            // Somebody who was there and was not the one tells more than nobody.
            Err(JoinError::Unreachable { .. })
                if !matches!(failed, JoinError::Unreachable { .. }) => {}
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

async fn connect_to(
    to: SocketAddr,
    line: &JoinLine,
    limits: &Limits,
) -> Result<(Endpoint, Connection), JoinError> {
    let from: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let endpoint = net::endpoint(from, None, limits).map_err(|error| unreachable(line, error))?;
    let config = client(line, limits).map_err(|error| unreachable(line, error))?;
    let connecting =
        endpoint.connect_with(config, to, SERVER_NAME).map_err(|error| unreachable(line, error))?;
    let connected = timeout(limits.handshake, connecting).await;
    let connection = connected
        .map_err(|_| unreachable(line, "no answer"))?
        .map_err(|error| not_connected(line, End::from(&error)))?;
    Ok((endpoint, connection))
}

fn unreachable(line: &JoinLine, why: impl ToString) -> JoinError {
    JoinError::Unreachable { address: line.address.clone(), why: why.to_string() }
}

fn client(line: &JoinLine, limits: &Limits) -> Result<ClientConfig, tls::TlsError> {
    let config = rustls::ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| tls::TlsError::new(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned::new(line.authority)))
        .with_no_client_auth();
    let mut config = ClientConfig::new(Arc::new(tls::client_config(config, tls::JOIN)?));
    config.transport_config(Arc::new(net::transport(limits)));
    Ok(config)
}

fn not_connected(line: &JoinLine, end: End) -> JoinError {
    let address = line.address.clone();
    match end.reason {
        Reason::ForeignCertificate => {
            JoinError::OtherAuthority { address, authority: line.authority.to_string() }
        }
        Reason::Lost => JoinError::Unreachable { address, why: "no answer".into() },
        _ => JoinError::Ended { address, end },
    }
}

async fn ask(
    connection: &Connection,
    request: &JoinRequest,
) -> Result<Result<Grant, JoinRefusal>, End> {
    let malformed = |error: postcard::Error| End::us(Reason::Malformed, error.to_string());
    let (mut send, mut receive) = connection.open_bi().await.map_err(|error| End::from(&error))?;
    let bytes = postcard::to_stdvec(request).map_err(malformed)?;
    streams::put(&mut send, &bytes).await?;
    let answer = streams::get(&mut receive, ANSWER_MAX).await?;
    postcard::from_bytes(&answer).map_err(malformed)
}
