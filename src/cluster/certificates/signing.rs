//! Owns how a node signs the heads of audit logs: with the private key of its
//! certificate. Never decides what is signed, and waits for nothing. Called by a
//! thread of the node. Invariant: a signature names the certificate with which it
//! can be verified.

use std::sync::Arc;

use rustls::crypto::ring::{default_provider, sign};
use rustls::sign::SigningKey;

use super::{CertificateError, Fingerprint, Identity};
use crate::entity::audit::{Signature, Statement};

/// A node's key, to sign with.
#[derive(Clone, Debug)]
pub struct Signer {
    key: Arc<dyn SigningKey>,
    certificate: Fingerprint,
}

impl Signer {
    /// The one of `identity`.
    ///
    /// # Errors
    /// When its key is of a kind that signs nothing here.
    pub fn of(identity: &Identity) -> Result<Signer, CertificateError> {
        let key = sign::any_supported_type(&identity.key()).map_err(|error| signing(&error))?;
        Ok(Signer { key, certificate: Fingerprint::of(identity.certificate()) })
    }

    /// Signs `statement`.
    ///
    /// # Errors
    /// When the key does not sign; nothing was changed.
    pub fn sign(&self, statement: Statement) -> Result<Signature, CertificateError> {
        let schemes = default_provider().signature_verification_algorithms.supported_schemes();
        let none = || CertificateError::Signing("no scheme for such a key".into());
        let signer = self.key.choose_scheme(&schemes).ok_or_else(none)?;
        let bytes = signer.sign(&statement.message()).map_err(|error| signing(&error))?;
        let (certificate, scheme) = (self.certificate.0, u16::from(signer.scheme()));
        Ok(Signature { statement, certificate, scheme, bytes })
    }
}

fn signing(error: &rustls::Error) -> CertificateError {
    CertificateError::Signing(error.to_string())
}
