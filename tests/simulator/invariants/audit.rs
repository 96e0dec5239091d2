//! Invariant 32 on one node: every decision has one entry in the same group, and
//! the row's root follows from the entries that were accepted.

use starmesh::entity::audit::{Root, root_after};

use crate::cluster::audit::check_entries;
use crate::scene::{Fact, Invariant, Scene};

#[derive(Default)]
pub struct Audit {
    /// Behind the last durable commit, if there was one.
    root: Option<Root>,
    entries: u64,
}

impl Invariant for Audit {
    fn name(&self) -> &'static str {
        "32 every decision has one entry in the same group"
    }

    fn observe(&mut self, fact: &Fact<'_>, _: &Scene) -> Result<(), String> {
        let Fact::Durable { commit, refused } = fact else { return Ok(()) };
        check_entries(commit)?;
        if self.root.is_some_and(|root| root != commit.audit_root) {
            return Err(format!("commit {} does not go on where the last ended", commit.number));
        }
        let root = root_after(commit, refused);
        self.entries += u64::from(root != commit.audit_root);
        self.root = Some(root);
        Ok(())
    }

    fn judged(&self) -> Vec<(&'static str, u64)> {
        vec![("commits with audit entries", self.entries)]
    }
}
