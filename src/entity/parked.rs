//! Owns what is kept of an entity that nobody runs because it breaks whoever does:
//! why, and where in its journal that was. A stored format, under
//! [`keys::parked`](super::keys), written with the record that parks it and
//! deleted when it is resumed. Invariant: while there is one nobody claims the entity.

use serde::{Deserialize, Serialize};

use super::commit::{Check, Expect, Group, Put};
use super::envelope::{self, Kind};
use super::keys;
use crate::base::{EntityKey, Millis, NodeId, Tick};

/// The longest reason, in bytes.
pub const WHY_BYTES_MAX: usize = 256;

/// Why an entity is parked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// Who parked it.
    pub node: NodeId,
    /// When, by that node's clock.
    pub time: Millis,
    /// The record that did it.
    pub sequence: u64,
    /// The tick that it got to.
    pub tick: Tick,
    /// What breaks, in words: at most [`WHY_BYTES_MAX`].
    pub why: String,
}

impl Parked {
    /// Parks it; cuts the reason to its length.
    pub fn put(mut self, entity: EntityKey) -> Put {
        self.why.truncate(self.why.floor_char_boundary(WHY_BYTES_MAX));
        Put { key: keys::parked(entity), value: Some(envelope::seal_row(Kind::Parked, &self)) }
    }

    /// The inverse of [`put`](Self::put); `None` when `bytes` are no such row.
    pub fn from_bytes(bytes: &[u8]) -> Option<Parked> {
        envelope::open_row(Kind::Parked, bytes)
    }
}

/// Has an entity resumed that is parked by the row of that version: the row goes, and
/// `node`, which it belongs to, or who comes after that, finds it by its key.
pub fn resume_group(entity: EntityKey, version: u64, node: NodeId) -> Group {
    let key = keys::parked(entity);
    let owned = Put { key: keys::owned(node, entity), value: Some(Vec::new()) };
    Group {
        checks: vec![Check { key: key.clone(), expect: Expect::Version(version) }],
        puts: vec![Put { key, value: None }, owned],
        append: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_bring_it_back_or_are_refused_and_a_long_reason_is_cut() {
        let (node, time, tick) = (NodeId(3), Millis(1 << 41), Tick(7));
        let parked = |why: String| Parked { node, time, sequence: 9, tick, why };
        let bytes = |parked: Parked| parked.put(EntityKey::Ledger(1)).value.unwrap();
        let short = bytes(parked("its step panics".into()));
        assert_eq!(Parked::from_bytes(&short), Some(parked("its step panics".into())));
        for end in 0..short.len() {
            assert_eq!(Parked::from_bytes(&short[..end]), None);
        }
        let long = Parked::from_bytes(&bytes(parked("ä".repeat(200)))).unwrap();
        assert_eq!(long.why, "ä".repeat(128));
        let odd = Parked::from_bytes(&bytes(parked(format!("a{}", "ä".repeat(200))))).unwrap();
        assert_eq!(odd.why.len(), 255);
    }
}
