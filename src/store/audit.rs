//! Owns how the audit log is read out of a store: page by page, in order. Never
//! writes and never judges ([`chain`](crate::entity::audit::chain) does). Called
//! by `starmesh audit` and by the simulator.

use std::collections::BTreeMap;

use super::{ReadError, Store, Versioned};
use crate::base::NodeId;
use crate::entity::audit::chain::{Chain, Rows, Verifier};
use crate::entity::audit::{Doubt, Entry, EntryError, Head, Place, Signature};
use crate::entity::commit::NodeRow;
use crate::entity::keys;
use crate::entity::member::CertificateRow;

/// Entries or signatures read at a time.
const PAGE: usize = 1024;

/// Says whether a signature is that of who it says.
pub type Judge<'a> = &'a dyn Fn(&Signature) -> Result<(), Doubt>;

/// Whether the log in `store` is whole, of each node. Nodes may run on it. `kept`
/// are heads that were kept elsewhere.
///
/// # Errors
/// When the store does not answer, or a key of the log is not one.
pub fn verify(
    store: &dyn Store,
    judge: Judge<'_>,
    kept: &[(NodeId, Head)],
) -> Result<Vec<Chain>, ReadError> {
    verify_some(store, judge, kept, &mut |_| Ok(()))
}

/// The same, asking before each page whether to go on, with the number of
/// entries and signatures that were read so far.
///
/// # Errors
/// Those of [`verify`], and of `go_on`.
pub fn verify_some<E: From<ReadError>>(
    store: &dyn Store,
    judge: Judge<'_>,
    kept: &[(NodeId, Head)],
    go_on: &mut dyn FnMut(u64) -> Result<(), E>,
) -> Result<Vec<Chain>, E> {
    let mut verifier = Verifier::new(rows(store)?);
    kept.iter().for_each(|(node, head)| verifier.add_kept(*node, *head));
    let mut read = 0;
    pages(store, keys::AUDIT, |page| {
        go_on(read)?;
        read += page.len() as u64;
        for (key, found) in page {
            verifier.add(keys::parse_audit(key).ok_or_else(|| not_a_key(key))?, &found.value);
        }
        Ok::<(), E>(())
    })?;
    pages(store, keys::AUDIT_SIGNATURE, |page| {
        go_on(read)?;
        read += page.len() as u64;
        for (key, found) in page {
            keys::parse_audit_signature(key).ok_or_else(|| not_a_key(key))?;
            verifier.add_signature(key, &found.value, judge);
        }
        Ok::<(), E>(())
    })?;
    Ok(verifier.finish(&rows(store)?))
}

/// Every node's certificates, of now and before, by their fingerprints. One whose
/// row is damaged is as if it were not there.
///
/// # Errors
/// When the store does not answer.
pub fn certificates(store: &dyn Store) -> Result<Certificates, ReadError> {
    let mut found = Certificates::new();
    pages(store, keys::CERTIFICATE, |page| {
        for (key, row) in page {
            if let Some(named) = keys::parse_certificate(key)
                && let Ok(row) = CertificateRow::from_bytes(&row.value)
            {
                found.insert(named, row.chain);
            }
        }
        Ok::<(), ReadError>(())
    })?;
    Ok(found)
}

/// Chains of certificates, in DER form, by node and fingerprint.
pub type Certificates = BTreeMap<(NodeId, [u8; 32]), Vec<Vec<u8>>>;

/// Gives every entry to `take`, node by node, each in order; stops at its first
/// error.
///
/// # Errors
/// As [`verify`], and those of `take`.
pub fn list<E: From<ReadError>>(
    store: &dyn Store,
    mut take: impl FnMut(Place, Result<Entry, EntryError>) -> Result<(), E>,
) -> Result<(), E> {
    pages(store, keys::AUDIT, |page| {
        page.iter().try_for_each(|(key, found)| {
            let place = keys::parse_audit(key).ok_or_else(|| not_a_key(key))?;
            take(place, Entry::from_bytes(&found.value))
        })
    })
}

fn pages<E: From<ReadError>>(
    store: &dyn Store,
    prefix: &[u8],
    mut take: impl FnMut(&[(Vec<u8>, Versioned)]) -> Result<(), E>,
) -> Result<(), E> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(prefix, after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        take(&page)?;
    }
}

fn not_a_key(key: &[u8]) -> ReadError {
    let key = key.escape_ascii();
    ReadError::Damaged(format!("`{key}` is not a key of the audit log"))
}

fn rows(store: &dyn Store) -> Result<Rows, ReadError> {
    let mut rows = Rows::new();
    for (key, found) in store.scan(keys::ROW, None, usize::MAX)? {
        let Some(node) = keys::parse_row(&key) else { continue };
        let row = NodeRow::from_bytes(&found.value);
        rows.insert(node, row.map_err(|error| ReadError::Damaged(error.to_string()))?);
    }
    Ok(rows)
}
