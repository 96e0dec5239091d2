//! Owns what observers have to be told. Never part of the state or its hash:
//! whoever steps a sector passes one in and empties it when it has published.
//! Invariant: in order of ids, each unit once per list.

use std::collections::BTreeSet;

use crate::base::UnitId;

/// Units whose state is not what a client predicts from their courses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New here: made, or arrived from elsewhere.
    pub appeared: BTreeSet<UnitId>,
    /// Have another course, order, health or owner than before.
    pub changed: BTreeSet<UnitId>,
    /// Reached the end of their course. A client predicts this itself.
    pub arrived: BTreeSet<UnitId>,
    /// Not here any more.
    pub left: BTreeSet<UnitId>,
}

impl Changes {
    /// Whether there is nothing that a client could not predict.
    pub fn is_predictable(&self) -> bool {
        self.appeared.is_empty() && self.changed.is_empty() && self.left.is_empty()
    }

    /// Adds what happened after.
    pub fn merge(&mut self, later: Changes) {
        self.appeared.extend(later.appeared);
        self.changed.extend(later.changed);
        self.arrived.extend(later.arrived);
        self.left.extend(later.left);
    }

    /// Takes out what was collected.
    pub fn drain(&mut self) -> Changes {
        std::mem::take(self)
    }
}
