//! Owns the file in which a node remembers the members and where the store is:
//! `members.json`. What it says of members is as old as the last time this node
//! ran; the store's rows are newer, once they can be read. Blocks. Invariant: a
//! crash leaves the old file or the new one.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{MembershipError, certificate};
use crate::cluster::certificates::files::{self, Readers};
use crate::cluster::links::join::{Member, StoreAt};

pub const FILE: &str = "members.json";
/// The form that this build writes.
const FORM: u8 = 1;

/// What a node remembers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remembered {
    form: u8,
    /// What was said when it joined; none on a node that joined nobody.
    pub store: Option<StoreAt>,
    /// The others.
    pub members: Vec<Member>,
}

/// The file of one node.
#[derive(Clone, Debug)]
pub struct MembersFile {
    folder: PathBuf,
}

impl MembersFile {
    pub(super) fn new(folder: &Path) -> MembersFile {
        MembersFile { folder: folder.to_owned() }
    }

    pub(super) fn is_there(&self) -> bool {
        self.path().exists()
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// What is remembered: nothing where there is no file.
    pub(super) fn read(&self) -> Result<Remembered, MembershipError> {
        if !self.is_there() {
            return Ok(Remembered { form: FORM, store: None, members: Vec::new() });
        }
        let text = files::read(&self.path(), Readers::Everybody)
            .map_err(|source| certificate(&self.folder, source))?;
        let damaged = |why| MembershipError::Damaged { path: self.path(), why };
        let read: Remembered =
            serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        match read.form {
            FORM => Ok(read),
            form => Err(damaged(format!("form {form}, and this build knows {FORM}"))),
        }
    }

    pub(super) fn write(
        &self,
        store: Option<StoreAt>,
        members: Vec<Member>,
    ) -> Result<(), MembershipError> {
        let text = serde_json::to_string_pretty(&Remembered { form: FORM, store, members });
        let damaged = |why| MembershipError::Damaged { path: self.path(), why };
        let text = text.map_err(|error| damaged(error.to_string()))?;
        files::replace(&self.path(), &format!("{text}\n"), Readers::Everybody)
            .map_err(|source| certificate(&self.folder, source))
    }

    /// Remembers these members, the node itself not among them, for the next start.
    ///
    /// # Errors
    /// When the file cannot be read or written; what it said it says still.
    pub fn remember(&self, members: &[Member]) -> Result<(), MembershipError> {
        let before = self.read()?;
        if before.members == members {
            return Ok(());
        }
        self.write(before.store, members.to_vec())
    }
}
