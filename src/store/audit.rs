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
    let mut verification = Verification::begin(store, kept)?;
    while verification.step(store, judge, PAGE)? {}
    verification.finish(store)
}

/// A log that is verified page by page, so that whoever does it can pause, or
/// stop.
#[derive(Debug)]
pub struct Verification {
    verifier: Verifier,
    /// Signatures are read, after the entries.
    signatures: bool,
    after: Option<Vec<u8>>,
    read: u64,
}

impl Verification {
    /// Reads the nodes' rows.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn begin(store: &dyn Store, kept: &[(NodeId, Head)]) -> Result<Verification, ReadError> {
        let mut verifier = Verifier::new(rows(store)?);
        kept.iter().for_each(|(node, head)| verifier.add_kept(*node, *head));
        Ok(Verification { verifier, signatures: false, after: None, read: 0 })
    }

    /// Entries and signatures that were read.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// What is kept in memory, in parts of less than 100 bytes.
    pub fn held(&self) -> usize {
        self.verifier.held()
    }

    /// Reads the next page, of at most `page`; false when there was none.
    ///
    /// # Errors
    /// When the store does not answer, or a key of the log is not one.
    pub fn step(
        &mut self,
        store: &dyn Store,
        judge: Judge<'_>,
        page: usize,
    ) -> Result<bool, ReadError> {
        let prefix = if self.signatures { keys::AUDIT_SIGNATURE } else { keys::AUDIT };
        let page = store.scan(prefix, self.after.as_deref(), page)?;
        self.read += page.len() as u64;
        self.after = page.last().map(|(key, _)| key.clone());
        for (key, found) in &page {
            match self.signatures {
                false => self.verifier.add(entry_place(key)?, &found.value),
                true => {
                    keys::parse_audit_signature(key).ok_or_else(|| not_a_key(key))?;
                    self.verifier.add_signature(key, &found.value, judge);
                }
            }
        }
        let was_signatures = self.signatures;
        self.signatures |= page.is_empty();
        Ok(!(was_signatures && page.is_empty()))
    }

    /// What was found, of each node.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn finish(self, store: &dyn Store) -> Result<Vec<Chain>, ReadError> {
        Ok(self.verifier.finish(&rows(store)?))
    }
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
        page.iter()
            .try_for_each(|(key, found)| take(entry_place(key)?, Entry::from_bytes(&found.value)))
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

fn entry_place(key: &[u8]) -> Result<Place, ReadError> {
    keys::parse_audit(key).ok_or_else(|| not_a_key(key))
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
