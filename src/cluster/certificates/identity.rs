//! Owns what a node shows to the others: its key, its certificate with those
//! above it, and the authorities it believes itself. Never judges a peer.
//! Invariant: an [`Identity`] that exists has a certificate for its key, which
//! names a node.

use std::path::Path;

use rcgen::{CertificateParams, CertificateSigningRequestParams, KeyPair, PublicKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::authority::CERTIFICATE_FILE as AUTHORITY_FILE;
use super::files::{self, Readers};
use super::{CertificateError, Facts, Subject};

/// The node's certificate, followed by those between it and the authority.
pub const CERTIFICATE_FILE: &str = "node.pem";
/// Its private key.
pub const KEY_FILE: &str = "node.key";

/// A node's key, before anybody has signed it.
pub struct NodeKey(KeyPair);

impl NodeKey {
    /// A new one (P-256).
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn generate() -> Result<NodeKey, CertificateError> {
        KeyPair::generate()
            .map(NodeKey)
            .map_err(|error| CertificateError::Signing(error.to_string()))
    }

    /// The one in this folder, made if there is none. It is on disk before
    /// anybody signs it, so that who asks again after a crash asks with the same.
    ///
    /// # Errors
    /// When it cannot be read or made, or is open to others.
    pub fn open(folder: &Path) -> Result<NodeKey, CertificateError> {
        let path = folder.join(KEY_FILE);
        if !path.exists() {
            match files::make(&path, &NodeKey::generate()?.pem(), Readers::Owner) {
                // Another has made one meanwhile: that one is it.
                Ok(()) | Err(CertificateError::Exists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let text = files::read(&path, Readers::Owner)?;
        KeyPair::from_pem(&text).map(NodeKey).map_err(|error| key_error(&error))
    }

    pub fn pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// Asks an authority to sign it: DER, signed with the key itself.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn request(&self) -> Result<Vec<u8>, CertificateError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let request = params
            .serialize_request(&self.0)
            .map_err(|error| CertificateError::Signing(error.to_string()))?;
        Ok(request.der().to_vec())
    }
}

/// A key to sign, whose owner has proved that they have it.
pub struct Request(PublicKey);

impl Request {
    /// # Errors
    /// When these bytes are no request, or not signed by the key in them.
    pub fn from_der(der: &[u8]) -> Result<Request, CertificateError> {
        CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(der))
            .map(|read| Request(read.public_key))
            .map_err(|error| CertificateError::Request(error.to_string()))
    }

    pub(super) fn public_key(&self) -> &PublicKey {
        &self.0
    }

    /// The key alone, to know it again.
    pub fn key_bytes(&self) -> &[u8] {
        use rcgen::PublicKeyData;
        self.0.der_bytes()
    }
}

/// What a node shows, and whom it believes.
pub struct Identity {
    subject: Subject,
    /// The node's own first, the authority's not among them.
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// Those whose nodes are believed; never empty. The first signed this node.
    authorities: Vec<CertificateDer<'static>>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.subject)
    }
}

impl Clone for Identity {
    fn clone(&self) -> Identity {
        Identity {
            subject: self.subject.clone(),
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            authorities: self.authorities.clone(),
        }
    }
}

impl Identity {
    /// From PEM texts: the certificate and those between, its key, the authorities.
    ///
    /// # Errors
    /// When one cannot be read, the key is another's, or no node is named.
    pub fn from_pem(
        chain: &str,
        key: &str,
        authorities: &str,
    ) -> Result<Identity, CertificateError> {
        Identity::new(certificates_of(chain)?, key, certificates_of(authorities)?)
    }

    /// As [`from_pem`](Self::from_pem), of what an authority granted.
    ///
    /// # Errors
    /// When the key is another's, or no node is named.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: &str,
        authorities: Vec<CertificateDer<'static>>,
    ) -> Result<Identity, CertificateError> {
        let none = || CertificateError::Unreadable("there is none".into());
        let subject = Facts::of(chain.first().ok_or_else(none)?)?.subject;
        let subject = subject.ok_or(CertificateError::NoNode)?;
        authorities.first().ok_or_else(none)?;
        let key = check_key(&chain, key)?;
        Ok(Identity { subject, chain, key, authorities })
    }

    /// The one whose files are in this folder.
    ///
    /// # Errors
    /// When a file cannot be read, is open to others, or is not what it should be.
    pub fn load(folder: &Path) -> Result<Identity, CertificateError> {
        Identity::from_pem(
            &files::read(&folder.join(CERTIFICATE_FILE), Readers::Everybody)?,
            &files::read(&folder.join(KEY_FILE), Readers::Owner)?,
            &files::read(&folder.join(AUTHORITY_FILE), Readers::Everybody)?,
        )
    }

    /// Writes the certificates to this folder, the node's own last: where it is,
    /// all is. The key is there since [`NodeKey::open`].
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), CertificateError> {
        let authorities = pem_of(&self.authorities);
        files::replace(&folder.join(AUTHORITY_FILE), &authorities, Readers::Everybody)?;
        let chain = pem_of(&self.chain);
        files::replace(&folder.join(CERTIFICATE_FILE), &chain, Readers::Everybody)
    }

    /// Whether [`load`](Self::load) would find one.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(CERTIFICATE_FILE).exists()
    }

    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    pub fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.authorities
    }

    pub fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    /// The node's own certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }

    /// The node's own certificate, and those between it and the authority.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// What a handshake shows: up to the authority, so that a newcomer who knows
    /// only its fingerprint finds it.
    pub fn shown(&self) -> Vec<CertificateDer<'static>> {
        self.chain.iter().chain(self.authorities.first()).cloned().collect()
    }
}

/// The key in PEM form, if the first certificate is for it.
pub(super) fn check_key(
    chain: &[CertificateDer<'static>],
    key: &str,
) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| key_error(&error))?;
    let provider = rustls::crypto::ring::default_provider();
    match CertifiedKey::from_der(chain.to_vec(), key.clone_key(), &provider) {
        Ok(_) => Ok(key),
        Err(rustls::Error::InconsistentKeys(_)) => Err(CertificateError::OtherKey),
        Err(error) => Err(key_error(&error)),
    }
}

/// The certificates of a PEM text, of which there is at least one.
///
/// # Errors
/// When there is none or one is damaged.
pub fn certificates_of(text: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let wrong = |why: String| CertificateError::Pem { expected: "a certificate", why };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let found = found.map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() {
        return Err(wrong("there is none".into()));
    }
    Ok(found)
}

/// Certificates as PEM text.
pub fn pem_of(certificates: &[CertificateDer<'_>]) -> String {
    let pems: Vec<pem::Pem> = certificates
        .iter()
        .map(|certificate| pem::Pem::new("CERTIFICATE", certificate.to_vec()))
        .collect();
    pem::encode_many_config(&pems, pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF))
}

fn key_error(error: &impl ToString) -> CertificateError {
    CertificateError::Pem { expected: "a private key (PKCS #8)", why: error.to_string() }
}
