//! Owns whether a signature in an audit log is believed: it was made with the key
//! of a certificate that the store has, which names the signer and was signed by
//! an authority. Never reads a store and no clock: what a signature says of its
//! time counts for the certificate's dates. Called by whoever verifies a log.
//!
//! Invariant: without authorities nobody is believed to be who they say, only to
//! have the key of their certificate; [`Notary::has_authorities`] says which.

use std::time::Duration;

use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{CertificateError, Facts, Fingerprint};
use crate::entity::audit::{Doubt, Signature};
use crate::store::audit::Certificates;

/// Judges signatures by the certificates of a store.
#[derive(Debug)]
pub struct Notary {
    certificates: Certificates,
    /// `None`: whoever signed a certificate is believed.
    authorities: Option<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Notary {
    /// One that believes these authorities, or any when there are none.
    ///
    /// # Errors
    /// When one of them is none.
    pub fn new(
        certificates: Certificates,
        authorities: &[CertificateDer<'static>],
    ) -> Result<Notary, CertificateError> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            let added = roots.add(authority.clone());
            added.map_err(|error| CertificateError::Unreadable(error.to_string()))?;
        }
        let authorities = (!roots.is_empty()).then_some(roots);
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        Ok(Notary { certificates, authorities, algorithms })
    }

    /// Whether certificates are held against authorities.
    pub fn has_authorities(&self) -> bool {
        self.authorities.is_some()
    }

    /// Whether `signature` is believed.
    ///
    /// # Errors
    /// Why it is not.
    pub fn judge(&self, signature: &Signature) -> Result<(), Doubt> {
        let by = signature.statement.by;
        let chain = self.certificates.get(&(by, signature.certificate));
        let chain: Vec<CertificateDer<'_>> =
            chain.ok_or(Doubt::NoCertificate)?.iter().map(|der| der.as_slice().into()).collect();
        let not_its = |why: String| Doubt::Certificate { expected: by, why };
        let own = chain.first().ok_or_else(|| not_its("it is empty".into()))?;
        if Fingerprint::of(own).0 != signature.certificate {
            return Err(not_its("it is another one than its key says".into()));
        }
        let facts = Facts::of(own).map_err(|error| not_its(error.to_string()))?;
        if facts.subject.as_ref().map(|subject| subject.node) != Some(by) {
            let names = facts.subject.map_or("no node".into(), |subject| subject.to_string());
            return Err(not_its(format!("it names {names}")));
        }
        self.judge_chain(&chain, signature)?;
        self.judge_bytes(own, signature).ok_or(Doubt::Mismatch)
    }

    /// Whether the certificate was signed by an authority, and valid then.
    fn judge_chain(
        &self,
        chain: &[CertificateDer<'_>],
        signature: &Signature,
    ) -> Result<(), Doubt> {
        let (Some(roots), Some((own, above))) = (&self.authorities, chain.split_first()) else {
            return Ok(());
        };
        let foreign = |error: rustls::Error| Doubt::Foreign(error.to_string());
        let parsed = ParsedCertificate::try_from(own).map_err(foreign)?;
        let at = Duration::from_millis(signature.statement.time.0);
        let (at, all) = (UnixTime::since_unix_epoch(at), self.algorithms.all);
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, above, at, all).map_err(foreign)
    }

    /// Whether the key of the certificate made these bytes.
    fn judge_bytes(&self, own: &CertificateDer<'_>, signature: &Signature) -> Option<()> {
        let (_, read) = X509Certificate::from_der(own).ok()?;
        let key = &read.public_key().subject_public_key.data;
        let message = signature.statement.message();
        let mut schemes = self.algorithms.mapping.iter();
        let (_, algorithms) = schemes.find(|(scheme, _)| u16::from(*scheme) == signature.scheme)?;
        let verified = |it: &&&dyn rustls::pki_types::SignatureVerificationAlgorithm| {
            it.verify_signature(key, &message, &signature.bytes).is_ok()
        };
        algorithms.iter().find(verified).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::identity::NodeKey;
    use super::super::signing::Signer;
    use super::super::{Authority, Identity, Request, Subject, Validity};
    use super::*;
    use crate::base::{Incarnation, Millis, NodeId, Tick};
    use crate::entity::audit::{Head, Statement};

    const DAY_MS: u64 = 24 * 3600 * 1000;

    fn now_ms() -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        since.as_millis() as u64
    }

    fn statement(by: u32) -> Statement {
        let head = Head { incarnation: Incarnation(1), number: 2, root: [3; 32] };
        let (node, tick, time) = (NodeId(1), Tick(4), Millis(now_ms()));
        Statement { node, head, by: NodeId(by), after: None, tick, time }
    }

    fn authority() -> Authority {
        let validity = Validity::of_authority(SystemTime::now());
        Authority::new(&"galaxy".parse().unwrap(), validity).unwrap()
    }

    fn identity(authority: &Authority, key: &NodeKey, node: u32) -> Identity {
        let request = Request::from_der(&key.request().unwrap()).unwrap();
        let (cluster, name) = ("galaxy".parse().unwrap(), format!("n{node}").parse().unwrap());
        let subject = Subject { cluster, node: NodeId(node), name };
        let validity = Validity::of_node(SystemTime::now());
        let signed = authority.sign(&request, &subject, validity).unwrap();
        Identity::new(vec![signed], &key.pem(), vec![authority.certificate().clone()]).unwrap()
    }

    fn store(of: &[&Identity]) -> Certificates {
        let row = |it: &&Identity| {
            let key = (it.subject().node, Fingerprint::of(it.certificate()).0);
            (key, vec![it.certificate().to_vec()])
        };
        of.iter().map(row).collect()
    }

    #[test]
    fn believes_a_node_by_each_certificate_that_it_ever_had() {
        let authority = authority();
        let (first, other) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
        // Another certificate for the same key, and then another key.
        let all = [&first, &first, &other].map(|key| identity(&authority, key, 1));
        let notary =
            Notary::new(store(&all.each_ref()), &[authority.certificate().clone()]).unwrap();
        assert!(notary.has_authorities());
        for identity in &all {
            let signature = Signer::of(identity).unwrap().sign(statement(1)).unwrap();
            assert_eq!(notary.judge(&signature), Ok(()));
            let mut other = signature.clone();
            other.statement.head.root[0] ^= 1;
            assert_eq!(notary.judge(&other), Err(Doubt::Mismatch), "over something else");
            let mut other = signature.clone();
            other.bytes[20] ^= 1;
            assert_eq!(notary.judge(&other), Err(Doubt::Mismatch));
            let other = Signature { scheme: 7, ..signature };
            assert_eq!(notary.judge(&other), Err(Doubt::Mismatch), "no such scheme");
        }
    }

    #[test]
    fn believes_nobody_else() {
        let (ours, theirs) = (authority(), authority());
        let key = NodeKey::generate().unwrap();
        let (own, foreign) = (identity(&ours, &key, 1), identity(&theirs, &key, 2));
        let certificates = store(&[&own, &foreign]);
        let roots = [ours.certificate().clone()];
        let notary = Notary::new(certificates.clone(), &roots).unwrap();
        let sign = |identity, by| Signer::of(identity).unwrap().sign(statement(by)).unwrap();
        let of = |signature: &Signature| notary.judge(signature);
        assert!(matches!(of(&sign(&foreign, 2)), Err(Doubt::Foreign(_))));
        // Only whoever has no authority to ask takes it for one of the cluster's.
        let blind = Notary::new(certificates.clone(), &[]).unwrap();
        assert!(!blind.has_authorities());
        assert_eq!(blind.judge(&sign(&foreign, 2)), Ok(()));
        assert_eq!(of(&sign(&own, 3)), Err(Doubt::NoCertificate), "of a node that has none");
        let mut late = statement(1);
        late.time.0 += 11 * 365 * DAY_MS;
        let late = Signer::of(&own).unwrap().sign(late).unwrap();
        assert!(matches!(of(&late), Err(Doubt::Foreign(_))), "it was not valid any more");
        // Rows that somebody put: another's certificate, or one under another's name.
        let (mut swapped, mut named) = (certificates.clone(), certificates);
        let (own_key, foreign_key) = (
            (NodeId(1), Fingerprint::of(own.certificate()).0),
            (NodeId(2), Fingerprint::of(foreign.certificate()).0),
        );
        swapped.insert(own_key, swapped[&foreign_key].clone());
        let notary = Notary::new(swapped, &roots).unwrap();
        let found = notary.judge(&sign(&own, 1));
        assert!(matches!(found, Err(Doubt::Certificate { .. })), "{found:?}");
        named.insert((NodeId(2), own_key.1), named[&own_key].clone());
        let notary = Notary::new(named, &roots).unwrap();
        let found = notary.judge(&sign(&own, 2));
        assert!(matches!(found, Err(Doubt::Certificate { .. })), "{found:?}");
    }
}
