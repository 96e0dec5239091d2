//! Owns the cluster's authority: its certificate and the key that signs those
//! of the nodes. The first node makes it, or a person who brings their own.
//! Never decides who is let in; whoever calls `sign` has decided. Invariant:
//! what it signs names one node, and may sign nothing itself.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::CertificateDer;

use super::files::{self, Readers};
use super::identity::{self, certificates_of, pem_of};
use super::{CertificateError, Facts, Fingerprint, Name, Request, Subject};

/// The authority's certificate in a data folder.
pub const CERTIFICATE_FILE: &str = "ca.pem";
/// Its private key, on the node that signs.
pub const KEY_FILE: &str = "ca.key";
/// The DNS name that every node's certificate bears besides its own: what the
/// handshake compares. Which node it is, is compared after it.
pub const SERVER_NAME: &str = "node.starmesh";

const DAY: Duration = Duration::from_hours(24);

/// From when until when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub from: SystemTime,
    pub until: SystemTime,
}

impl Validity {
    /// From a day before `now`, as clocks differ, until `days` after it.
    pub fn days(now: SystemTime, days: u32) -> Validity {
        Validity { from: now - DAY, until: now + DAY * days }
    }

    /// An authority's, when nobody says otherwise: 20 years.
    pub fn of_authority(now: SystemTime) -> Validity {
        Validity::days(now, 20 * 365)
    }

    /// A node's, when nobody says otherwise: 10 years.
    pub fn of_node(now: SystemTime) -> Validity {
        Validity::days(now, 10 * 365)
    }
}

/// A certificate that may sign others, with its key.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({})", self.fingerprint())
    }
}

impl Authority {
    /// A new one for this cluster, with a key of its own (P-256).
    ///
    /// # Errors
    /// When the system has no random bytes or the dates cannot be written.
    pub fn new(cluster: &Name, validity: Validity) -> Result<Authority, CertificateError> {
        Authority::of_key(cluster, KeyPair::generate().map_err(signing)?, validity)
    }

    fn of_key(
        cluster: &Name,
        key: KeyPair,
        validity: Validity,
    ) -> Result<Authority, CertificateError> {
        let mut params = params(format!("Starmesh cluster {cluster}"), validity);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(signing)?.der().clone();
        Ok(Authority { certificate, issuer: Issuer::new(params, key) })
    }

    /// One from its certificate and key, both PEM; also one made by other tools.
    ///
    /// # Errors
    /// When they cannot be read, do not belong together, or may sign nothing.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Authority, CertificateError> {
        let certificate = certificates_of(certificate)?.swap_remove(0);
        if !Facts::of(&certificate)?.is_authority {
            return Err(CertificateError::NotAnAuthority);
        }
        identity::check_key(std::slice::from_ref(&certificate), key)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key_of(key)?)
            .map_err(|error| CertificateError::Unreadable(error.to_string()))?;
        Ok(Authority { certificate, issuer })
    }

    /// The one in this folder, made if there is none. Its key is on disk before its
    /// certificate, so that a start that was cut off goes on with the same.
    ///
    /// # Errors
    /// When a file cannot be read or made, is open to others, or is not what it
    /// should be.
    pub fn open(
        folder: &Path,
        cluster: &Name,
        validity: Validity,
    ) -> Result<Authority, CertificateError> {
        let path = folder.join(KEY_FILE);
        if !path.exists() {
            let key = KeyPair::generate().map_err(signing)?;
            made(files::make(&path, &key.serialize_pem(), Readers::Owner))?;
        }
        let path = folder.join(CERTIFICATE_FILE);
        if !path.exists() {
            let key = files::read(&folder.join(KEY_FILE), Readers::Owner)?;
            let authority = Authority::of_key(cluster, key_of(&key)?, validity)?;
            let certificate = pem_of(std::slice::from_ref(&authority.certificate));
            made(files::make(&path, &certificate, Readers::Everybody))?;
        }
        Authority::load(folder)
    }

    /// The one whose files are in this folder.
    ///
    /// # Errors
    /// When a file cannot be read, is open to others, or is not what it should be.
    pub fn load(folder: &Path) -> Result<Authority, CertificateError> {
        let certificate = files::read(&folder.join(CERTIFICATE_FILE), Readers::Everybody)?;
        Authority::from_pem(&certificate, &files::read(&folder.join(KEY_FILE), Readers::Owner)?)
    }

    /// Makes its files in this folder; overwrites none.
    ///
    /// # Errors
    /// When one is there already or cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), CertificateError> {
        let key = self.issuer.key().serialize_pem();
        files::make(&folder.join(KEY_FILE), &key, Readers::Owner)?;
        let certificate = pem_of(std::slice::from_ref(&self.certificate));
        files::make(&folder.join(CERTIFICATE_FILE), &certificate, Readers::Everybody)
    }

    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Whom its nodes believe: itself first, then the others among the
    /// certificates in these files, of which any may be missing.
    ///
    /// # Errors
    /// When a file that is there cannot be read.
    pub fn with_others(
        &self,
        files: &[&Path],
    ) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
        let mut all = vec![self.certificate.clone()];
        for path in files.iter().filter(|path| path.exists()) {
            for one in certificates_of(&files::read(path, Readers::Everybody)?)? {
                if !all.contains(&one) {
                    all.push(one);
                }
            }
        }
        Ok(all)
    }

    /// What a join line carries.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// A certificate that says of the requested key that it is `subject`'s. Of
    /// what else the request says nothing is taken.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn sign(
        &self,
        request: &Request,
        subject: &Subject,
        validity: Validity,
    ) -> Result<CertificateDer<'static>, CertificateError> {
        let Subject { cluster, node, name } = subject;
        let mut params = params(format!("{name}, node {node} of {cluster}"), validity);
        let uri = subject.to_string().try_into().map_err(signing)?;
        let dns = SERVER_NAME.try_into().map_err(signing)?;
        params.subject_alt_names = vec![SanType::URI(uri), SanType::DnsName(dns)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let signed = params.signed_by(request.public_key(), &self.issuer).map_err(signing)?;
        Ok(signed.der().clone())
    }
}

/// Another may have made it meanwhile: that one is it.
fn made(outcome: Result<(), CertificateError>) -> Result<(), CertificateError> {
    match outcome {
        Err(CertificateError::Exists { .. }) => Ok(()),
        outcome => outcome,
    }
}

fn key_of(pem: &str) -> Result<KeyPair, CertificateError> {
    KeyPair::from_pem(pem).map_err(|error| CertificateError::Pem {
        expected: "a private key (PKCS #8)",
        why: error.to_string(),
    })
}

fn params(name: String, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, DnValue::Utf8String(name));
    params.not_before = validity.from.into();
    params.not_after = validity.until.into();
    params
}

fn signing(error: rcgen::Error) -> CertificateError {
    CertificateError::Signing(error.to_string())
}
