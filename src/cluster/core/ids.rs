//! Owns the id blocks this node reserved in the store and has not given to an
//! entity yet. Never gives one twice; what is left at the end of an
//! incarnation is never used. Called by [`NodeCore`](super::node).

use std::collections::BTreeSet;

use super::limits::Limits;
use crate::base::EntityKey;
use crate::base::ids::ID_BLOCK;
use crate::entity::commit::{Check, Expect, Group, Put};
use crate::entity::keys;

/// Id blocks reserved by this node.
#[derive(Debug, Default)]
pub struct IdBlocks {
    next: u64,
    end: u64,
    wanting: BTreeSet<EntityKey>,
    asked: bool,
    /// The reservation that is being committed.
    reserving: Option<(u64, u64)>,
}

impl IdBlocks {
    /// Notes that `entity` needs a block. Returns whether the next free block
    /// must be read from the store.
    pub fn want(&mut self, entity: EntityKey) -> bool {
        self.wanting.insert(entity);
        self.next == self.end && !std::mem::replace(&mut self.asked, true)
    }

    /// The first free id and the version of its key, `None` in a new galaxy;
    /// gives the group that reserves blocks from there.
    pub fn reserve(&mut self, found: Option<(u64, u64)>, limits: &Limits) -> Group {
        let (start, expect) = match found {
            Some((start, version)) => (start, Expect::Version(version)),
            None => (1, Expect::Absent),
        };
        let end = start + limits.id_blocks * ID_BLOCK;
        self.reserving = Some((start, end));
        let key = keys::NEXT_ID.to_vec();
        let value = end.to_be_bytes().to_vec();
        Group {
            checks: vec![Check { key: key.clone(), expect }],
            puts: vec![Put { key, value: Some(value) }],
            append: None,
        }
    }

    /// The reservation is durable, or was refused because another node was
    /// first. Returns whether the store must be read again.
    pub fn settle(&mut self, accepted: bool) -> bool {
        match (accepted, self.reserving.take()) {
            (true, Some(reserved)) => {
                (self.next, self.end) = reserved;
                self.asked = false;
                false
            }
            _ => true,
        }
    }

    /// An entity that gets a block now, and the block's first id. When blocks
    /// run out while entities still want some, they are asked for again by
    /// [`must_read`](Self::must_read).
    pub fn grant(&mut self) -> Option<(EntityKey, u64)> {
        if self.next == self.end {
            return None;
        }
        let entity = self.wanting.pop_first()?;
        let start = self.next;
        self.next += ID_BLOCK;
        Some((entity, start))
    }

    /// Whether entities still want blocks and nobody reads for more.
    pub fn must_read(&mut self) -> bool {
        !self.wanting.is_empty()
            && self.next == self.end
            && !std::mem::replace(&mut self.asked, true)
    }
}
