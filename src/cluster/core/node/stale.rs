//! Owns which keys of this node are of no use any more and are deleted with its
//! next commits. Never reads a store. Called when a load shows that a key says too
//! much, and when everything that the node owned runs again.
//!
//! The last tick of an incarnation that ended is needed by whoever claims what that
//! one left open. Each such entity has an `owned/` key of this node: a claim puts
//! it, and only what ends the claim deletes it. An incarnation that ended opens
//! none. So once every `owned/` key of this node is of an entity that this
//! incarnation has claimed itself, nobody needs the ticks of those before. Until
//! then it is looked again; of a node that runs no more its last ones stay, as its
//! row does: as many as it began without getting so far.
//!
//! Invariant: a key that may have been put anew since it was read is deleted only
//! at the version that was read.

use std::collections::BTreeMap;

use super::{NodeCore, Phase};
use crate::base::{EntityKey, Incarnation, Millis};
use crate::cluster::core::pipeline::Slot;
use crate::entity::commit::{Check, Expect, Group, Put};
use crate::entity::keys;

/// In a cluster it is looked so often whether anything names an incarnation that
/// ended.
const LOOK_MS: u64 = 60_000;

/// Keys to be deleted.
#[derive(Debug, Default)]
pub(super) struct Stale {
    /// Each with the version at which it may be, if that matters.
    keys: BTreeMap<Vec<u8>, Option<u64>>,
    /// Incarnations of this node that ended, as they were found when it began.
    pub ended: Vec<Incarnation>,
    look_at: Millis,
}

impl Stale {
    /// Deletes `key`, if it still is of that version.
    pub fn delete(&mut self, key: Vec<u8>, version: Option<u64>) {
        self.keys.insert(key, version);
    }

    /// It is put again.
    pub fn keep(&mut self, key: &[u8]) {
        self.keys.remove(key);
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Groups that delete at most so many keys: those with a version each by
    /// itself, so that one that moved does not keep the others.
    fn take(&mut self, most: usize) -> Vec<Group> {
        let mut unchecked = Group::default();
        let mut groups = Vec::new();
        for _ in 0..most {
            let Some((key, version)) = self.keys.pop_first() else { break };
            let put = Put { key: key.clone(), value: None };
            match version.map(Expect::Version) {
                None => unchecked.puts.push(put),
                Some(expect) => groups.push(Group {
                    checks: vec![Check { key, expect }],
                    puts: vec![put],
                    append: None,
                }),
            }
        }
        if !unchecked.puts.is_empty() {
            groups.push(unchecked);
        }
        groups
    }
}

impl NodeCore {
    /// Groups that delete keys, for the next commit.
    pub(super) fn take_stale(&mut self) -> Vec<(Group, Slot)> {
        let groups = self.stale.take(self.limits.rows_per_commit);
        groups.into_iter().map(|group| (group, Slot::Stale)).collect()
    }

    /// Everything this node owned runs again, under this incarnation's claims. In a
    /// cluster others may have to claim some of it: there it is looked first.
    pub(super) fn note_all_claimed(&mut self) {
        if self.cluster.is_none() && self.loading.is_complete() {
            self.forget_ended();
        }
    }

    /// Has the keys of what this node owned read when it is time to.
    pub(super) fn look_for_claims(&mut self, now: Millis) {
        let is_due = now >= self.stale.look_at && !self.stale.ended.is_empty();
        if self.phase == Phase::Running
            && is_due
            && let Some(cluster) = &mut self.cluster
        {
            self.stale.look_at = Millis(now.0 + LOOK_MS);
            cluster.bereft.insert(self.node);
        }
    }

    /// All `owned/` keys of this node, as they were read just now.
    pub(super) fn note_own_keys(&mut self, entities: &[EntityKey]) {
        let is_claimed =
            |key: &EntityKey| self.owned.contains_key(key) && !self.claiming.contains(key);
        if self.phase == Phase::Running && entities.iter().all(is_claimed) {
            self.forget_ended();
        }
    }

    fn forget_ended(&mut self) {
        for incarnation in std::mem::take(&mut self.stale.ended) {
            self.stale.delete(keys::ended_incarnation(self.node, incarnation), None);
        }
    }
}
