//! Owns how many sectors hibernate: counted once from their keys, page by
//! page while the node works, then kept. Never reads a store. Called by
//! [`NodeCore`](super::node). Invariant: the number is exact when the count has
//! ended, whatever changed meanwhile: of what this node changed since it began,
//! what the node knows counts, not what a page says.

use std::collections::BTreeMap;

use crate::base::EntityKey;

/// The count of hibernating sectors.
#[derive(Debug, Default)]
pub struct Census {
    count: u64,
    done: bool,
    /// Until it is done: what this node changed, and whether it hibernates.
    touched: BTreeMap<EntityKey, bool>,
}

impl Census {
    /// How many hibernate; `None` before they have been counted.
    pub fn count(&self) -> Option<u64> {
        self.done.then_some(self.count)
    }

    /// A commit that changes `entity` is sent; it `hibernates` until then.
    pub fn note_sent(&mut self, entity: EntityKey, hibernates: bool) {
        if !self.done {
            self.touched.entry(entity).or_insert(hibernates);
        }
    }

    /// It is durable that `entity` hibernates, or does not any more: the
    /// opposite of what was.
    pub fn note_durable(&mut self, entity: EntityKey, hibernates: bool) {
        if !self.done {
            self.touched.insert(entity, hibernates);
        } else if hibernates {
            self.count += 1;
        } else {
            self.count = self.count.saturating_sub(1);
        }
    }

    /// Takes a page of keys, which no page before had.
    pub fn add(&mut self, page: &[EntityKey]) {
        let counted = page.iter().filter(|key| !self.touched.contains_key(key)).count();
        self.count += counted as u64;
    }

    /// There are no more pages.
    pub fn end(&mut self) {
        let touched = std::mem::take(&mut self.touched);
        self.count += touched.into_values().filter(|hibernates| *hibernates).count() as u64;
        self.done = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SectorId;

    fn key(n: i64) -> EntityKey {
        EntityKey::Sector(SectorId::tactical(n, 0))
    }

    #[test]
    fn what_changes_during_the_count_is_counted_once() {
        let mut census = Census::default();
        // In the store: 1 to 5. Sent before the first page, durable behind it.
        census.note_sent(key(2), true);
        census.add(&[key(1), key(2), key(3)]);
        census.note_durable(key(2), false);
        // Falls asleep behind the page, another before its own, one twice.
        for (n, before) in [(0, false), (9, false), (4, true)] {
            census.note_sent(key(n), before);
            census.note_durable(key(n), !before);
        }
        census.note_sent(key(4), false);
        census.note_durable(key(4), true);
        assert_eq!(census.count(), None);
        census.add(&[key(4), key(5), key(9)]);
        census.end();
        assert_eq!(census.count(), Some(6), "0, 1, 3, 4, 5 and 9");
        census.note_sent(key(5), true);
        census.note_durable(key(5), false);
        assert_eq!(census.count(), Some(5));
    }
}
