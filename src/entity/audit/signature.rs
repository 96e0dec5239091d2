//! Owns what a signature in the audit log is over, and how it is stored. Never
//! signs and never verifies: both need a key or a certificate, and shells do
//! it. Called by the core, which asks for signatures and puts them, and by
//! whoever verifies a log.
//!
//! Invariant: two different statements have different bytes, and none can be
//! taken for anything else that a node's key signs.

use serde::{Deserialize, Serialize};

use super::Head;
use crate::base::{Incarnation, Millis, NodeId, Tick};
use crate::entity::commit::Put;
use crate::entity::envelope::{self, Kind};
use crate::entity::keys;

/// The longest signature: RSA with 8,192 bits.
pub const SIGNATURE_BYTES_MAX: usize = 1024;

/// First in what is signed.
const DOMAIN: &[u8] = b"starmesh audit log, a head, 1\0";

/// What a signature is over: this far, and in this way, a node's log had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Whose log it is.
    pub node: NodeId,
    /// Of a commit with entries, or as it was when the node was declared dead.
    pub head: Head,
    /// Whose key signs: the node's own, or that of who declared it dead.
    pub by: NodeId,
    /// Of the node's own signatures in this incarnation, the commit that the one
    /// before is over; so that one that is removed is missed.
    pub after: Option<u64>,
    /// Of the log's node.
    pub tick: Tick,
    /// The signer's clock.
    pub time: Millis,
}

impl Statement {
    /// The bytes that are signed: all numbers big endian.
    pub fn message(&self) -> Vec<u8> {
        let Statement { node, head, by, after, tick, time } = self;
        let mut out = DOMAIN.to_vec();
        out.extend(node.0.to_be_bytes());
        out.extend(head.incarnation.0.to_be_bytes());
        out.extend(head.number.to_be_bytes());
        out.extend(head.root);
        out.extend(by.0.to_be_bytes());
        out.push(u8::from(after.is_some()));
        out.extend(after.unwrap_or_default().to_be_bytes());
        out.extend(tick.0.to_be_bytes());
        out.extend(time.0.to_be_bytes());
        out
    }

    /// Where the log had come.
    pub fn at(&self) -> (Incarnation, u64) {
        (self.head.incarnation, self.head.number)
    }
}

/// A statement that a node's key signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    pub statement: Statement,
    /// SHA-256 of the signer's certificate, in DER form.
    pub certificate: [u8; 32],
    /// As in TLS 1.3.
    pub scheme: u16,
    /// At most [`SIGNATURE_BYTES_MAX`].
    pub bytes: Vec<u8>,
}

/// A row that is no signature, or that of another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a signature, or not the one that its key names")]
pub struct DamagedSignature;

/// Why a signature is not believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Doubt {
    #[error("the store does not have the certificate that it names")]
    NoCertificate,
    #[error("its certificate is not that of node {expected}: {why}")]
    Certificate { expected: NodeId, why: String },
    #[error("its certificate is foreign: {0}")]
    Foreign(String),
    #[error("it was not made with its certificate's key, or is over something else")]
    Mismatch,
}

#[derive(Serialize, Deserialize)]
enum StoredSignature {
    V1(Signature),
}

impl Signature {
    /// The put of this signature.
    pub fn put(self) -> Put {
        let Statement { node, by, .. } = self.statement;
        let key = keys::audit_signature(node, self.statement.at(), by);
        Put { key, value: Some(self.to_bytes()) }
    }

    /// The signature in its envelope.
    pub fn to_bytes(self) -> Vec<u8> {
        envelope::seal_row(Kind::AuditSignature, &StoredSignature::V1(self))
    }

    /// The one that is stored under `key`.
    ///
    /// # Errors
    /// When `bytes` are none, or the key names another.
    pub fn of_row(key: &[u8], bytes: &[u8]) -> Result<Signature, DamagedSignature> {
        let stored = envelope::open_row(Kind::AuditSignature, bytes).ok_or(DamagedSignature)?;
        let StoredSignature::V1(signature) = stored;
        let Statement { node, by, .. } = signature.statement;
        let is_named = keys::audit_signature(node, signature.statement.at(), by) == key;
        let is_short = signature.bytes.len() <= SIGNATURE_BYTES_MAX;
        (is_named && is_short).then_some(signature).ok_or(DamagedSignature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> Statement {
        let head = Head { incarnation: Incarnation(2), number: 3, root: [4; 32] };
        let (node, by, tick) = (NodeId(1), NodeId(1), Tick(6));
        Statement { node, head, by, after: Some(5), tick, time: Millis(7) }
    }

    #[test]
    fn whatever_differs_is_signed_otherwise() {
        let one = statement();
        let head = |head| Statement { head, ..one };
        let all = [
            one,
            Statement { node: NodeId(2), ..one },
            head(Head { incarnation: Incarnation(3), ..one.head }),
            head(Head { number: 4, ..one.head }),
            head(Head { root: [5; 32], ..one.head }),
            Statement { by: NodeId(2), ..one },
            Statement { after: None, ..one },
            Statement { after: Some(0), ..one },
            Statement { tick: Tick(7), ..one },
            Statement { time: Millis(8), ..one },
        ];
        for (n, one) in all.iter().enumerate() {
            assert!(all[n + 1..].iter().all(|other| other.message() != one.message()), "{one:?}");
        }
    }

    #[test]
    fn is_read_from_its_own_key_only() {
        let (scheme, bytes) = (0x0403, vec![8; 72]);
        let signature = Signature { statement: statement(), certificate: [9; 32], scheme, bytes };
        let put = signature.clone().put();
        let value = put.value.unwrap();
        assert_eq!(Signature::of_row(&put.key, &value), Ok(signature.clone()));
        let other = keys::audit_signature(NodeId(1), (Incarnation(2), 4), NodeId(1));
        assert_eq!(Signature::of_row(&other, &value), Err(DamagedSignature));
        assert_eq!(Signature::of_row(&put.key, &value[1..]), Err(DamagedSignature));
        let long = Signature { bytes: vec![8; SIGNATURE_BYTES_MAX + 1], ..signature };
        assert_eq!(Signature::of_row(&put.key, &long.to_bytes()), Err(DamagedSignature));
    }
}
