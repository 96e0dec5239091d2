//! Owns how a core comes to its end: it begins nothing more, what was admitted becomes
//! durable and is signed, its incarnation ends; or its row is refused. Never decides
//! when: the shell asks. Called for [`Event::Settle`](super::Event::Settle) and
//! [`Event::Leave`](super::Event::Leave), and where a commit's answer comes.
//! Invariant: behind its last commit nothing is committed or answered.

use super::{NodeCore, NodeEffect, Phase};
use crate::base::Millis;
use crate::cluster::core::message::ToTable;

impl NodeCore {
    /// Nothing begins any more.
    pub(super) fn settle(&mut self, now: Millis) {
        self.says_stop |= !self.settling;
        self.settling = true;
        self.signing.note_settling(now);
    }

    /// Whether nothing waits for a commit and none is under way: the process
    /// can end without anything being answered late. After [`Event::Settle`](super::Event::Settle)
    /// that comes with the store's answers: time stands still, so that sectors
    /// have nothing more to say of themselves, and nothing is loaded or moved.
    pub fn is_settled(&self) -> bool {
        self.is_over()
            || (self.pipeline.is_idle() && self.has_nothing_waiting() && self.places.is_settled())
    }

    pub(super) fn has_nothing_waiting(&self) -> bool {
        self.order.is_empty()
            && self.rows.is_empty()
            && self.parking.is_empty()
            && !self.is_retiring()
            && !self.says_stop
    }

    /// Whether this process commits nothing any more, ever.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Ends the incarnation: in a cluster by a last commit, so that others need not
    /// wait for this node's row to stand still. Alone, nobody waits for it.
    pub(super) fn leave(&mut self) {
        if self.cluster.is_some() {
            self.leaving = true;
        } else {
            self.end();
        }
    }

    /// Nothing is this node's any more: what its tables have is as old as that.
    pub(super) fn end(&mut self) {
        self.phase = Phase::Over;
        self.effects.push(NodeEffect::ToTables(ToTable::Over));
    }
}
