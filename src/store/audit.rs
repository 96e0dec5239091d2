//! Owns how the audit log is read out of a store: page by page, in order. Never
//! writes and never judges ([`chain`](crate::entity::audit::chain) does). Called
//! by `starmesh audit` and by the simulator.

use super::{ReadError, Store};
use crate::entity::audit::chain::{Chain, Rows, Verifier};
use crate::entity::audit::{Entry, EntryError, Place};
use crate::entity::commit::NodeRow;
use crate::entity::keys;

/// Entries read at a time.
const PAGE: usize = 1024;

/// Whether the log in `store` is whole, of each node. Nodes may run on it.
///
/// # Errors
/// When the store does not answer, or a key below `audit/` is no entry's.
pub fn verify(store: &dyn Store) -> Result<Vec<Chain>, ReadError> {
    let mut verifier = Verifier::new(rows(store)?);
    for_each(store, |place, value| {
        verifier.add(place, value);
        Ok::<(), ReadError>(())
    })?;
    Ok(verifier.finish(&rows(store)?))
}

/// Gives every entry to `take`, node by node, each in order; stops at its first
/// error.
///
/// # Errors
/// As [`verify`], and those of `take`.
pub fn list<E: From<ReadError>>(
    store: &dyn Store,
    mut take: impl FnMut(Place, Result<Entry, EntryError>) -> Result<(), E>,
) -> Result<(), E> {
    for_each(store, |place, value| take(place, Entry::from_bytes(value)))
}

fn for_each<E: From<ReadError>>(
    store: &dyn Store,
    mut take: impl FnMut(Place, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(keys::AUDIT, after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        for (key, found) in &page {
            let place = keys::parse_audit(key).ok_or_else(|| {
                let key = key.escape_ascii();
                ReadError::Damaged(format!("`{key}` is not the key of an audit entry"))
            })?;
            take(place, &found.value)?;
        }
    }
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
