//! Owns why a connection was refused or ended: a reason that both sides know by
//! number, and a sentence for people. It travels in the packet that closes the
//! connection. Pure but for the types of quinn's errors.

use quinn::{ConnectionError, TransportErrorCode, VarInt};
use serde::Serialize;

/// Why a connection was refused or ended. Sent: a number keeps its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[repr(u32)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// The node stops, or nobody wants this peer any more.
    Stopping = 0,
    /// The certificate is not of this cluster's authority.
    ForeignCertificate = 1,
    /// The certificate is not valid yet, or not any more.
    ExpiredCertificate = 2,
    NoCertificate = 3,
    /// The certificate names another node than the hello, or none, or the node
    /// is not the one that was dialled.
    OtherNode = 4,
    OtherCluster = 5,
    /// No format version that both read.
    Formats = 6,
    /// A later incarnation of this node was seen, or it was declared dead.
    DeadIncarnation = 7,
    /// Not a member, or not to be linked now.
    NotAdmitted = 8,
    /// Another connection of this pair stays. Nothing is wrong.
    Duplicate = 9,
    /// Something that no sound peer sends.
    Malformed = 10,
    TooLong = 11,
    /// A time limit passed.
    TooSlow = 12,
    /// As many connections as there may be.
    Busy = 13,
    /// No answer from this address, or it could not be resolved.
    Unreachable = 14,
    /// No sign of life any more.
    Lost = 15,
    /// The other side ended it without a reason that this build knows.
    Unknown = 16,
}

impl Reason {
    const ALL: [Reason; 17] = [
        Reason::Stopping,
        Reason::ForeignCertificate,
        Reason::ExpiredCertificate,
        Reason::NoCertificate,
        Reason::OtherNode,
        Reason::OtherCluster,
        Reason::Formats,
        Reason::DeadIncarnation,
        Reason::NotAdmitted,
        Reason::Duplicate,
        Reason::Malformed,
        Reason::TooLong,
        Reason::TooSlow,
        Reason::Busy,
        Reason::Unreachable,
        Reason::Lost,
        Reason::Unknown,
    ];

    fn from_number(number: u64) -> Reason {
        let known = Reason::ALL.into_iter().find(|reason| *reason as u64 == number);
        known.unwrap_or(Reason::Unknown)
    }

    /// Whether the peer was there and would not, or this node would not: trying
    /// again changes nothing until somebody does something.
    pub fn is_refusal(self) -> bool {
        use Reason::{
            DeadIncarnation, ExpiredCertificate, ForeignCertificate, Formats, NoCertificate,
            NotAdmitted, OtherCluster, OtherNode,
        };
        matches!(
            self,
            ForeignCertificate
                | ExpiredCertificate
                | NoCertificate
                | OtherNode
                | OtherCluster
                | Formats
                | DeadIncarnation
                | NotAdmitted
        )
    }
}

/// Who ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum By {
    Us,
    Peer,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{detail} ({reason:?}, told by {})", match by { By::Us => "this node", By::Peer => "the peer" })]
pub struct End {
    pub reason: Reason,
    pub by: By,
    pub detail: String,
}

/// Bytes of a detail at most, so that it fits the closing packet.
const DETAIL_MAX: usize = 512;

impl End {
    /// Ended by this node.
    pub fn us(reason: Reason, detail: impl Into<String>) -> End {
        End { reason, by: By::Us, detail: short(detail.into()) }
    }

    fn peer(reason: Reason, detail: impl Into<String>) -> End {
        End { reason, by: By::Peer, detail: short(detail.into()) }
    }

    /// Closes the connection, with this as its reason.
    pub fn close(&self, connection: &quinn::Connection) {
        connection.close(VarInt::from_u32(self.reason as u32), self.detail.as_bytes());
    }
}

fn short(mut text: String) -> String {
    while text.len() > DETAIL_MAX {
        text.pop();
    }
    text
}

impl From<&ConnectionError> for End {
    fn from(error: &ConnectionError) -> End {
        let alert = |code: TransportErrorCode| u64::from(code).checked_sub(CRYPTO).map(of_alert);
        match error {
            ConnectionError::ApplicationClosed(closed) => {
                let reason = Reason::from_number(closed.error_code.into_inner());
                End::peer(reason, printable(&closed.reason))
            }
            ConnectionError::ConnectionClosed(closed) => match alert(closed.error_code) {
                Some(reason) => End::peer(reason, of_ours(reason, &closed.reason)),
                None => End::peer(Reason::Unknown, closed.to_string()),
            },
            ConnectionError::TransportError(error) => match alert(error.code) {
                Some(reason) => End::us(reason, error.reason.clone()),
                None => End::us(Reason::Malformed, error.to_string()),
            },
            ConnectionError::TimedOut => End::us(Reason::Lost, "no sign of life any more"),
            ConnectionError::Reset => End::peer(Reason::Lost, "the peer knows nothing of it"),
            ConnectionError::LocallyClosed => End::us(Reason::Stopping, "closed"),
            other => End::us(Reason::Unknown, other.to_string()),
        }
    }
}

/// Where the alerts of TLS begin among the codes of QUIC.
const CRYPTO: u64 = 0x100;

/// What an alert of TLS (RFC 8446, 6.2) says about certificates.
fn of_alert(alert: u64) -> Reason {
    match alert {
        // bad, unsupported, revoked, unknown certificate; unknown authority;
        // a signature that does not fit.
        42 | 43 | 44 | 46 | 48 | 51 => Reason::ForeignCertificate,
        45 => Reason::ExpiredCertificate,
        116 => Reason::NoCertificate,
        _ => Reason::Malformed,
    }
}

/// What a peer's alert says about the certificate that this node showed.
fn of_ours(reason: Reason, said: &[u8]) -> String {
    let meaning = match reason {
        Reason::ForeignCertificate => {
            "the peer does not believe this node's certificate: it is not of its cluster's authority"
        }
        Reason::ExpiredCertificate => {
            "this node's certificate is not valid at this time; see starmesh cert show"
        }
        Reason::NoCertificate => "the peer wants a certificate and this node showed none",
        _ => "the handshake failed",
    };
    match printable(said) {
        said if said.is_empty() => meaning.to_owned(),
        said => format!("{meaning}: {said}"),
    }
}

/// What a peer said, fit for a log: no control characters.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(DETAIL_MAX)]);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_comes_back_from_its_number() {
        for (number, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
            assert_eq!(Reason::from_number(number as u64), reason);
        }
        assert_eq!(Reason::from_number(1 << 40), Reason::Unknown);
    }

    #[test]
    fn what_a_peer_says_cannot_break_a_log() {
        assert_eq!(printable(b"a\x1b[31m\nb\xff"), "a [31m b\u{fffd}");
        let long = End::us(Reason::Malformed, "ä".repeat(DETAIL_MAX));
        assert_eq!(long.detail.len(), DETAIL_MAX);
    }
}
