//! Owns how far a node's log is signed: takes its signatures in their order and
//! holds each against the chain. Never verifies one: it is told what came of
//! that. Called by the [`Verifier`](super::chain::Verifier), after the entries.
//!
//! | what was done | how it shows |
//! |---|---|
//! | entries written anew, or cut off, and the row with them | a signature is over another root, or beyond the end |
//! | a signature removed | the next one names it |
//! | the last signatures removed | the unsigned tail is longer than a node leaves it |
//!
//! Invariant: entries count as signed only up to a signature that is believed
//! and whose root is the chain's.

use super::commits::Commits;
use super::problem::{Problem, SignedPlace};
use super::signature::{Doubt, Statement};
use crate::base::Incarnation;
use crate::base::time::TICK_MS;
use crate::entity::commit::NodeRow;

/// A node that runs signs an entry within this time, though threads stand still
/// for seconds: what is unsigned for longer is a finding.
pub const SIGNED_WITHIN_MS: u64 = 60_000;

/// How far a log is signed.
#[derive(Debug, Default)]
pub(super) struct Signed {
    /// Those that are believed, and as the chain says.
    pub count: u64,
    /// The last entry that is signed is in or before this commit.
    pub upto: Option<(Incarnation, u64)>,
    /// The node's own last signature.
    own: Option<Statement>,
    /// Beyond the row as it was read first.
    pub beyond: Vec<SignedPlace>,
}

impl Signed {
    /// Takes the next signature, of a log whose row had come to `end`.
    pub fn take(
        &mut self,
        statement: &Statement,
        verdict: Result<(), Doubt>,
        commits: &Commits,
        end: Option<(Incarnation, u64)>,
    ) -> Result<(), Problem> {
        let at = SignedPlace::of(statement);
        // Of what came meanwhile not even the certificate may have been there.
        if end.is_none_or(|end| statement.at() > end) {
            self.beyond.push(at);
            return Ok(());
        }
        verdict.map_err(|doubt| Problem::Doubtful { at, doubt })?;
        if commits.root_at(statement.at()) != statement.head.root {
            return Err(Problem::SignedOtherwise(at));
        }
        self.count += 1;
        self.upto = self.upto.max(Some(statement.at()));
        if statement.by != statement.node {
            return Ok(());
        }
        let before = self.own.replace(*statement).filter(|own| own.at().0 == statement.at().0);
        if before.map(|own| own.head.number) != statement.after {
            return Err(Problem::SignatureMissing { before: at });
        }
        Ok(())
    }

    /// For how many milliseconds at least the node ran with an entry that was not
    /// signed. Its tick moves only while it runs, so the time in which it stood
    /// still does not count.
    pub fn unsigned_ms(&self, commits: &Commits, row: &NodeRow) -> Option<u64> {
        // Who has the key of another node only must not cover what this one did: a
        // successor signs what a dead node had not signed for a moment.
        let tail = commits.after(self.own.map(|own| own.at()));
        let first = tail.first()?;
        let own = self.own.filter(|own| own.at().0 == first.at.0);
        Some(match own {
            Some(own) => {
                let ran_ms = row.tick.since(own.tick).saturating_mul(TICK_MS);
                ran_ms.saturating_sub(first.time.since(own.time))
            }
            None => {
                let same = tail.iter().take_while(|commit| commit.at.0 == first.at.0);
                same.last().map_or(0, |last| last.time.since(first.time))
            }
        })
    }
}
