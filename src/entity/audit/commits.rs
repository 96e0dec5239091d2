//! Owns what is kept of a node's commits with entries while its log is verified:
//! 64 bytes each. Invariant: in the order in which they were made.

use super::Root;
use crate::base::{Incarnation, Millis};

/// A commit with entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub at: (Incarnation, u64),
    /// Behind it.
    pub root: Root,
    /// Of its entries.
    pub time: Millis,
    /// Of the log, up to and with it.
    pub entries: u64,
}

/// A node's commits with entries.
#[derive(Debug, Default)]
pub(super) struct Commits(Vec<Known>);

impl Commits {
    pub fn push(&mut self, commit: Known) {
        self.0.push(commit);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The chain's root as it was after that commit, which may have had no entry.
    pub fn root_at(&self, at: (Incarnation, u64)) -> Root {
        self.upto(Some(at)).last().map_or([0; 32], |commit| commit.root)
    }

    /// Those before and at that commit.
    pub fn upto(&self, at: Option<(Incarnation, u64)>) -> &[Known] {
        self.0.get(..self.count(at)).unwrap_or_default()
    }

    /// Those behind it.
    pub fn after(&self, at: Option<(Incarnation, u64)>) -> &[Known] {
        self.0.get(self.count(at)..).unwrap_or_default()
    }

    fn count(&self, at: Option<(Incarnation, u64)>) -> usize {
        at.map_or(0, |at| self.0.partition_point(|commit| commit.at <= at))
    }
}
