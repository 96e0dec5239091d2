//! Invariant 7: after a commit of unknown outcome the same bytes follow, or
//! the process steps down; and one commit is under way at a time.

use starmesh::entity::commit::{Commit, CommitError};

use crate::scene::{Fact, Invariant, Scene};

#[derive(Default)]
pub struct UnknownCommit {
    under_way: Option<Commit>,
    /// The outcome of `under_way` is unknown.
    unknown: bool,
    next: u64,
}

impl Invariant for UnknownCommit {
    fn name(&self) -> &'static str {
        "7 an unknown commit is followed by the same bytes"
    }

    fn observe(&mut self, fact: &Fact<'_>, _: &Scene) -> Result<(), String> {
        match fact {
            Fact::Began => *self = UnknownCommit::default(),
            Fact::Sent(commit) => return self.sent(commit),
            Fact::Answered(Ok(_)) => {
                self.under_way = None;
                self.next += 1;
            }
            Fact::Answered(Err(CommitError::Unknown(_))) => self.unknown = true,
            _ => {}
        }
        Ok(())
    }
}

impl UnknownCommit {
    fn sent(&mut self, commit: &Commit) -> Result<(), String> {
        match &self.under_way {
            Some(last) if !self.unknown => {
                return Err(format!("commit {} while {} is under way", commit.number, last.number));
            }
            Some(last) if last != commit => {
                return Err(format!("{commit:?} after {last:?}, whose outcome is unknown"));
            }
            None if commit.number != self.next => {
                return Err(format!("commit {} instead of {}", commit.number, self.next));
            }
            _ => {}
        }
        self.unknown = false;
        self.under_way = Some(commit.clone());
        Ok(())
    }
}
