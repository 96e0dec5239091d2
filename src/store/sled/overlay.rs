//! Owns the changes to keys that sled does not have yet. Never touches sled
//! or a file; all of it is in the segments too. Called by the engine.
//! Invariant: fresh changes are newer than frozen ones, frozen ones newer
//! than sled's, until [`Overlay::thaw`] says that sled has them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::store::{ReadError, Versioned};

/// A key's change: its value, or `None` when deleted.
pub type Pending = Option<Versioned>;
/// Changes by key.
pub type Batch = BTreeMap<Vec<u8>, Pending>;

/// Changes that sled does not have yet.
#[derive(Debug, Default)]
pub struct Overlay {
    fresh: Batch,
    /// Bytes of keys and values in `fresh`.
    fresh_bytes: usize,
    /// On their way into sled.
    frozen: Arc<Batch>,
}

impl Overlay {
    /// Adds a change.
    pub fn put(&mut self, key: Vec<u8>, change: Pending) {
        let size = |change: &Pending| change.as_ref().map_or(0, |found| found.value.len());
        self.fresh_bytes += key.len() + size(&change);
        let key_bytes = key.len();
        if let Some(older) = self.fresh.insert(key, change) {
            self.fresh_bytes = self.fresh_bytes.saturating_sub(key_bytes + size(&older));
        }
    }

    /// The newest change of `key`, if there is one here.
    pub fn find(&self, key: &[u8]) -> Option<&Pending> {
        self.fresh.get(key).or_else(|| self.frozen.get(key))
    }

    /// Fresh changes and their bytes.
    pub fn fresh(&self) -> (usize, usize) {
        (self.fresh.len(), self.fresh_bytes)
    }

    /// The changes to bring into sled now: those that did not get there yet,
    /// and all fresh ones.
    pub fn freeze(&mut self) -> Arc<Batch> {
        let fresh = std::mem::take(&mut self.fresh);
        self.fresh_bytes = 0;
        Arc::make_mut(&mut self.frozen).extend(fresh);
        Arc::clone(&self.frozen)
    }

    /// Sled has what was frozen.
    pub fn thaw(&mut self) {
        self.frozen = Arc::default();
    }

    /// The keys with `prefix` from `from` on, over those of sled (`below`)
    /// and `rows`: ascending, at most `limit`.
    ///
    /// # Errors
    /// The first of `below`.
    pub fn scan<B>(
        &self,
        prefix: &[u8],
        from: Bound<&[u8]>,
        rows: &Batch,
        below: B,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Versioned)>, ReadError>
    where
        B: Iterator<Item = Result<(Vec<u8>, Versioned), ReadError>>,
    {
        let range = |batch| Layer::of(batch, prefix, from);
        let mut layers = [range(rows), range(&self.fresh), range(&self.frozen)];
        let mut below = below.peekable();
        let mut found = Vec::new();
        while found.len() < limit {
            let above = layers.iter().filter_map(|layer| layer.next.map(|(key, _)| key)).min();
            let take_below = match (above, below.peek()) {
                (None, None) => break,
                (_, Some(Err(_))) => true,
                (Some(above), Some(Ok((key, _)))) => key < above,
                (above, _) => above.is_none(),
            };
            if take_below {
                found.extend(below.next().transpose()?);
                continue;
            }
            let Some(key) = above.cloned() else { break };
            let _same = below.next_if(|item| matches!(item, Ok((other, _)) if *other == key));
            let mut newest = None;
            for layer in &mut layers {
                newest = newest.or(layer.take(&key));
            }
            found.extend(newest.flatten().map(|value| (key, value)));
        }
        Ok(found)
    }
}

/// A batch's changes within a range, the next one looked at.
struct Layer<'a> {
    rest: std::collections::btree_map::Range<'a, Vec<u8>, Pending>,
    prefix: &'a [u8],
    next: Option<(&'a Vec<u8>, &'a Pending)>,
}

impl<'a> Layer<'a> {
    fn of(batch: &'a Batch, prefix: &'a [u8], from: Bound<&[u8]>) -> Layer<'a> {
        let rest = batch.range::<[u8], _>((from, Bound::Unbounded));
        let mut layer = Layer { rest, prefix, next: None };
        layer.advance();
        layer
    }

    fn advance(&mut self) {
        self.next = self.rest.next().filter(|(key, _)| key.starts_with(self.prefix));
    }

    /// The change of `key`, if it is the next one.
    fn take(&mut self, key: &[u8]) -> Option<Pending> {
        let (_, change) = self.next.filter(|(next, _)| *next == key)?;
        let change = change.clone();
        self.advance();
        Some(change)
    }
}
