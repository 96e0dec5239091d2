//! Owns how many sectors of this node hibernate: counted from their keys, page by
//! page while the node works, then kept, and counted anew when others became this
//! node's. Never reads a store. Called by [`NodeCore`](super::node). Invariant: the
//! number is exact when a count has ended, whatever changed meanwhile: of what this
//! node changed since the count began, what the node knows counts, not what a page
//! says.

use std::collections::BTreeMap;

use crate::base::{EntityKey, Millis};

/// It is counted anew at most so often.
const COUNT_MS: u64 = 60_000;

/// The count of hibernating sectors.
#[derive(Debug)]
pub struct Census {
    /// As it was counted last, and what changed since.
    total: Option<u64>,
    counting: Option<Counting>,
    /// Others are this node's than when the last count began.
    moved: bool,
    next: Millis,
}

/// A count that has not ended.
#[derive(Debug, Default)]
struct Counting {
    count: u64,
    /// What this node changed, and whether it hibernates.
    touched: BTreeMap<EntityKey, bool>,
}

impl Default for Census {
    fn default() -> Census {
        let counting = Some(Counting::default());
        Census { total: None, counting, moved: false, next: Millis(0) }
    }
}

impl Census {
    /// How many hibernate; `None` before they have been counted.
    pub fn count(&self) -> Option<u64> {
        self.total
    }

    /// Some of them may be others' now, or others this node's.
    pub fn note_moved(&mut self) {
        self.moved = true;
    }

    /// Whether they are to be counted anew from `now` on.
    pub fn begin(&mut self, now: Millis) -> bool {
        let is_due = self.moved && self.counting.is_none() && now >= self.next;
        if is_due {
            self.moved = false;
            self.next = Millis(now.0 + COUNT_MS);
            self.counting = Some(Counting::default());
        }
        is_due
    }

    /// A commit that changes `entity` is sent; it `hibernates` until then.
    pub fn note_sent(&mut self, entity: EntityKey, hibernates: bool) {
        if let Some(counting) = &mut self.counting {
            counting.touched.entry(entity).or_insert(hibernates);
        }
    }

    /// It is durable that `entity` hibernates, or does not any more: the
    /// opposite of what was.
    pub fn note_durable(&mut self, entity: EntityKey, hibernates: bool) {
        if let Some(counting) = &mut self.counting {
            counting.touched.insert(entity, hibernates);
        }
        if let Some(total) = &mut self.total {
            *total = if hibernates { *total + 1 } else { total.saturating_sub(1) };
        }
    }

    /// Takes those of a page of keys that are this node's; no page before had them.
    pub fn add(&mut self, page: impl Iterator<Item = EntityKey>) {
        let Some(Counting { count, touched }) = &mut self.counting else { return };
        *count += page.filter(|key| !touched.contains_key(key)).count() as u64;
    }

    /// There are no more pages.
    pub fn end(&mut self) {
        let Some(Counting { count, touched }) = self.counting.take() else { return };
        let hibernating = touched.into_values().filter(|hibernates| *hibernates).count();
        self.total = Some(count + hibernating as u64);
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
        census.add([1, 2, 3].into_iter().map(key));
        census.note_durable(key(2), false);
        // Falls asleep behind the page, another before its own, one twice.
        for (n, before) in [(0, false), (9, false), (4, true)] {
            census.note_sent(key(n), before);
            census.note_durable(key(n), !before);
        }
        census.note_sent(key(4), false);
        census.note_durable(key(4), true);
        assert_eq!(census.count(), None);
        census.add([4, 5, 9].into_iter().map(key));
        census.end();
        assert_eq!(census.count(), Some(6), "0, 1, 3, 4, 5 and 9");
        census.note_sent(key(5), true);
        census.note_durable(key(5), false);
        assert_eq!(census.count(), Some(5));
    }

    #[test]
    fn they_are_counted_anew_when_others_are_this_nodes_but_not_all_the_time() {
        let mut census = Census::default();
        census.add([1, 2, 3].into_iter().map(key));
        census.end();
        assert!(!census.begin(Millis(0)), "nothing moved");
        census.note_moved();
        assert!(census.begin(Millis(0)));
        census.note_moved();
        assert!(!census.begin(Millis(COUNT_MS)), "it is being counted");
        census.note_sent(key(2), true);
        census.note_durable(key(2), false);
        assert_eq!(census.count(), Some(2), "as it was counted before");
        census.add([1, 3, 4, 5].into_iter().map(key));
        census.end();
        assert_eq!(census.count(), Some(4));
        assert!(!census.begin(Millis(COUNT_MS - 1)));
        assert!(census.begin(Millis(COUNT_MS)));
    }
}
