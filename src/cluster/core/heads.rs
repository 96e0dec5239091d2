//! Owns what other nodes said of how far their audit logs had come, and whether
//! the store says the same. Never reads a store and never decides anything by
//! it: whoever changes a row to cut a log off is only reported. Called by the
//! [core](super::node) with what a link brought, and with each reading.
//!
//! Invariants: a node tells what is durable, so the store says no less in a
//! reading that began after it was told; of a node one head is kept, the newest.

use std::collections::BTreeMap;

use crate::base::NodeId;
use crate::entity::audit::Head;
use crate::entity::commit::NodeRow;

/// What nodes told of themselves.
#[derive(Debug, Default)]
pub struct Heads(BTreeMap<NodeId, Told>);

#[derive(Debug)]
struct Told {
    head: Head,
    /// A reading ended since, which may have begun before.
    read: bool,
    reported: bool,
}

impl Heads {
    /// A node, of which there is a row, told how far its log is signed.
    pub fn note_told(&mut self, node: NodeId, head: Head) {
        let is_new = |told: &Told| at(&head) > at(&told.head);
        if self.0.get(&node).is_none_or(is_new) {
            self.0.insert(node, Told { head, read: false, reported: false });
        }
    }

    /// The newest that a node told.
    pub fn of(&self, node: NodeId) -> Option<Head> {
        self.0.get(&node).map(|told| told.head)
    }

    /// Holds what was told against the rows as they were read: which nodes told
    /// otherwise, each time only once. There is one reading at a time.
    pub fn compare<'a>(
        &mut self,
        rows: impl Iterator<Item = (NodeId, &'a NodeRow)>,
    ) -> Vec<(NodeId, Head)> {
        let mut differing = Vec::new();
        for (node, row) in rows {
            let Some(told) = self.0.get_mut(&node) else { continue };
            let (says, is) = (at(&told.head), (row.incarnation, row.number));
            let differs = is < says || is == says && row.audit_root != told.head.root;
            if differs && told.read && !told.reported {
                told.reported = true;
                differing.push((node, told.head));
            }
            told.read = true;
        }
        differing
    }
}

fn at(head: &Head) -> (crate::base::Incarnation, u64) {
    (head.incarnation, head.number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Incarnation, Tick};

    const NODE: NodeId = NodeId(2);

    fn head(incarnation: u64, number: u64) -> Head {
        Head { incarnation: Incarnation(incarnation), number, root: [number as u8; 32] }
    }

    fn row(incarnation: u64, number: u64) -> NodeRow {
        let Head { incarnation, number, root } = head(incarnation, number);
        let (nonce, tick, refused) = (7, Tick(1), Vec::new());
        NodeRow { incarnation, nonce, number, tick, refused, audit_root: root }
    }

    /// Who differs after these readings of node 2's row.
    fn differing(told: Head, readings: &[NodeRow]) -> Vec<(NodeId, Head)> {
        let mut heads = Heads::default();
        heads.note_told(NODE, told);
        readings.iter().flat_map(|row| heads.compare([(NODE, row)].into_iter())).collect()
    }

    #[test]
    fn a_row_that_was_set_back_is_told_once() {
        let back = [row(1, 5), row(1, 8), row(1, 4), row(1, 4), row(1, 4)];
        assert_eq!(differing(head(1, 5), &back), [(NODE, head(1, 5))]);
        let older = [row(2, 5), row(1, 9)];
        assert_eq!(differing(head(2, 5), &older), [(NODE, head(2, 5))]);
    }

    #[test]
    fn another_root_at_the_same_commit_is_told() {
        let other = NodeRow { audit_root: [1; 32], ..row(1, 5) };
        assert_eq!(differing(head(1, 5), &[row(1, 5), other]), [(NODE, head(1, 5))]);
    }

    #[test]
    fn a_reading_that_began_before_it_was_told_says_nothing() {
        assert_eq!(differing(head(1, 5), &[row(1, 4), row(1, 6), row(2, 0)]), []);
    }

    #[test]
    fn an_older_word_replaces_no_newer_one() {
        let mut heads = Heads::default();
        heads.note_told(NODE, head(1, 5));
        heads.note_told(NODE, head(1, 4));
        assert_eq!((heads.of(NODE), heads.of(NodeId(3))), (Some(head(1, 5)), None));
    }
}
