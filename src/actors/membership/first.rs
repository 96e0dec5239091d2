//! Owns the first node of a cluster: its authority and its own certificate, made
//! when a node starts without a join line in a folder that is of no cluster.
//! Invariant: whatever was made before a start was cut off is used by the next
//! one, so node 1 has one key and one authority, which others may have seen.

use std::path::Path;
use std::time::SystemTime;

use super::{FIRST_NODE, MembershipError, certificate};
use crate::cluster::certificates::authority::CERTIFICATE_FILE as AUTHORITY_FILE;
use crate::cluster::certificates::identity::NodeKey;
use crate::cluster::certificates::{
    Authority, CertificateError, Identity, Request, Subject, Validity,
};
use crate::cluster::secret;
use crate::config::Config;

/// Makes what is missing of authority, key, secret and certificate.
pub fn make(config: &Config, folder: &Path) -> Result<Identity, MembershipError> {
    secret::open(&config.node.data)?;
    let identity = make_identity(config, folder).map_err(|source| certificate(folder, source))?;
    tracing::info!(subject = %identity.subject(), "the first node of a new cluster");
    Ok(identity)
}

fn make_identity(config: &Config, folder: &Path) -> Result<Identity, CertificateError> {
    let (now, cluster) = (SystemTime::now(), &config.cluster.name);
    let authority = Authority::open(folder, cluster, Validity::of_authority(now))?;
    let key = NodeKey::open(folder)?;
    let request = Request::from_der(&key.request()?)?;
    let name = config.node.name.name().clone();
    let subject = Subject { cluster: cluster.clone(), node: FIRST_NODE, name };
    let signed = authority.sign(&request, &subject, Validity::of_node(now))?;
    let authorities = authority.with_others(&[&folder.join(AUTHORITY_FILE)])?;
    let identity = Identity::new(vec![signed], &key.pem(), authorities)?;
    identity.save(folder)?;
    Ok(identity)
}
