//! Owns when this node's audit log is signed: after each commit with entries, at
//! most once a second, and a last time before an orderly stop. Never signs
//! anything: it says what is to be signed, is given the signature, and puts it
//! with the next commit. Called where a commit is put together, where its answer
//! comes, and whenever the core goes on.
//!
//! ```text
//!   unsigned ──(a second since the last)──> asked ──Signed──> made ──commit durable──> signed
//! ```
//!
//! Invariants: at most one signature is asked for, so that each names the one
//! before; nothing but an orderly stop waits for one, and that not for long; a
//! commit without entries needs none.

use std::collections::VecDeque;

use super::{NodeCore, NodeEffect};
use crate::base::{Millis, NodeId, Tick};
use crate::cluster::core::pipeline::{Dead, Slot};
use crate::entity::audit::{HEADS_MAX, Head, Signature, Statement};
use crate::entity::commit::Group;

/// The log is signed at most so often.
const EVERY_MS: u64 = 1_000;
/// An orderly stop waits so long for the last signature, from when it was asked for;
/// a node that stops waits for all together a second more.
const LAST_WITHIN_MS: u64 = 4_000;

/// What is to be signed, and what was.
#[derive(Debug, Default)]
pub(super) struct Signing {
    /// Whether there is a key, and its certificate is in the store.
    may: bool,
    /// Where the log has come, when no signature that is durable is over it, and
    /// since when.
    unsigned: Option<(Head, Millis)>,
    /// Last heads of nodes that this one declared dead. When there are too many
    /// the oldest is left out: the entry that declares it dead names it, too.
    buried: VecDeque<Dead>,
    asked: Option<Statement>,
    /// Waits for a commit.
    made: Option<Signature>,
    /// Of this node's last signature that is durable, in this incarnation.
    signed: Option<u64>,
    /// No earlier than this is the log signed again; and anything, after a failure.
    again: Millis,
    retry: Millis,
    /// Until when an orderly stop waits for signatures, and whether it does not any
    /// more.
    last_until: Option<Millis>,
    gave_up: bool,
}

impl Signing {
    /// A commit with entries is durable.
    pub fn note_entries(&mut self, head: Head, now: Millis) {
        let since = self.unsigned.map_or(now, |(_, since)| since);
        self.unsigned = Some((head, since));
    }

    /// A node was declared dead, whose log had come so far.
    pub fn note_buried(&mut self, dead: Dead) {
        if self.buried.len() >= HEADS_MAX {
            self.buried.pop_front();
        }
        self.buried.push_back(dead);
    }

    /// The node is to stop: from now on it waits for signatures no longer than may be.
    pub fn note_settling(&mut self, now: Millis) {
        self.last_until.get_or_insert(Millis(now.0 + LAST_WITHIN_MS));
    }

    /// A signature is durable.
    fn note_signed(&mut self, statement: &Statement) {
        if statement.by != statement.node {
            return;
        }
        self.signed = Some(statement.head.number);
        // What came meanwhile has been unsigned since then at the longest.
        self.unsigned = self
            .unsigned
            .filter(|(head, _)| *head != statement.head)
            .map(|(head, since)| (head, since.max(statement.time)));
    }

    /// Since when entries of this node have been unsigned.
    pub fn unsigned_since(&self) -> Option<Millis> {
        self.unsigned.map(|(_, since)| since)
    }

    fn is_done(&self) -> bool {
        let nothing = self.unsigned.is_none() && self.buried.is_empty();
        !self.may || self.gave_up || nothing && self.asked.is_none() && self.made.is_none()
    }

    /// What is to be signed now, if something is. `is_last` before an orderly
    /// stop, when nothing else is to be committed.
    fn next(&mut self, me: NodeId, tick: Tick, now: Millis, is_last: bool) -> Option<Statement> {
        self.gave_up |= self.last_until.is_some_and(|until| now >= until);
        let is_asked = self.asked.is_some() || self.made.is_some();
        if !self.may || self.gave_up || is_asked || now < self.retry {
            return None;
        }
        let statement = if let Some(Dead { node, last, tick }) = self.buried.pop_front() {
            Statement { node, head: last, by: me, after: None, tick, time: now }
        } else {
            let (head, _) = self.unsigned.filter(|_| now >= self.again || is_last)?;
            self.again = Millis(now.0 + EVERY_MS);
            Statement { node: me, head, by: me, after: self.signed, tick, time: now }
        };
        self.asked = Some(statement);
        Some(statement)
    }
}

impl NodeCore {
    /// Whether this node's log is signed as far as it goes, nobody signs it, or
    /// it took too long. After [`Event::Settle`](super::Event::Settle) that comes
    /// once all else is settled.
    pub fn is_signed(&self) -> bool {
        self.is_over() || self.signing.is_done()
    }

    /// Since when entries of this node have been unsigned.
    pub fn unsigned_since(&self) -> Option<Millis> {
        self.signing.unsigned_since()
    }

    pub(super) fn handle_may_sign(&mut self) {
        self.signing.may = true;
    }

    /// What came of [`NodeEffect::Sign`]; without a signature it is asked for
    /// again, but not at once.
    pub(super) fn handle_signed(
        &mut self,
        statement: &Statement,
        signature: Option<Signature>,
        now: Millis,
    ) {
        if self.signing.asked.as_ref() != Some(statement) {
            return;
        }
        self.signing.asked = None;
        let Statement { node, head: last, tick, .. } = *statement;
        if signature.is_none() && node != self.node {
            self.signing.buried.push_front(Dead { node, last, tick });
        }
        self.signing.made = signature.filter(|it| it.statement == *statement);
        if self.signing.made.is_none() {
            self.counts.sign_failures += 1;
            self.signing.retry = Millis(now.0 + EVERY_MS);
            self.signing.gave_up |= self.settling;
        }
    }

    /// Has what is due signed.
    pub(super) fn sign(&mut self, now: Millis) {
        let is_last = self.settling && self.is_settled();
        let statement = self.signing.next(self.node, self.tick, now, is_last);
        self.effects.extend(statement.map(NodeEffect::Sign));
    }

    /// Whether a signature wants a commit: nothing else does before a stop.
    pub(super) fn has_last_signature(&self) -> bool {
        self.settling && self.signing.made.is_some()
    }

    /// The signature that goes with the next commit.
    pub(super) fn take_signature(&mut self) -> Option<(Group, Slot)> {
        let signature = self.signing.made.take()?;
        let statement = signature.statement;
        // As long as it is not durable no other is made.
        self.signing.asked = Some(statement);
        let group = Group { puts: vec![signature.put()], ..Group::default() };
        Some((group, Slot::Signature(statement)))
    }

    /// Its commit is durable.
    pub(super) fn note_signature(&mut self, statement: &Statement) {
        self.signing.asked = None;
        self.signing.note_signed(statement);
        self.counts.signatures += 1;
        if statement.node == self.node {
            self.tell_head(statement.head);
        }
    }
}
