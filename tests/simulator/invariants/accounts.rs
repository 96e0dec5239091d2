//! Invariant 18: no two accounts share a name or an e-mail, and whoever was
//! told that they have one does.

use std::collections::{BTreeMap, BTreeSet};

use starmesh::entity::commit::Group;
use starmesh::entity::keys;
use starmesh::store::Store;

use crate::scene::{Fact, Invariant, Scene};

#[derive(Default)]
pub struct Accounts {
    /// Values of name and e-mail keys.
    owners: BTreeMap<Vec<u8>, Vec<u8>>,
    accepted: u64,
    told: BTreeSet<u64>,
}

fn is_row(group: &Group) -> bool {
    group.puts.iter().any(|put| keys::account_player(&put.key).is_some())
}

impl Invariant for Accounts {
    fn name(&self) -> &'static str {
        "18 no two accounts share a name or e-mail"
    }

    fn observe(&mut self, fact: &Fact<'_>, _: &Scene) -> Result<(), String> {
        match fact {
            Fact::Durable { commit, refused } => {
                let groups = (0_u32..).zip(&commit.groups);
                let accepted =
                    groups.filter(|(index, group)| !refused.contains(index) && is_row(group));
                accepted.map(|(_, group)| group).try_for_each(|group| self.register(group))
            }
            Fact::RowsDone { id, accepted } => {
                if *accepted && self.told.insert(*id) && self.told.len() as u64 > self.accepted {
                    return Err(format!("group {id} is said to be accepted and is not durable"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self, scene: &Scene) -> Result<(), String> {
        for (key, owner) in &self.owners {
            let found = scene.memory.get(key).map_err(|error| error.to_string())?;
            if found.map(|found| found.value).as_ref() != Some(owner) {
                return Err(format!("{:?} was lost", String::from_utf8_lossy(key)));
            }
        }
        Ok(())
    }
}

impl Accounts {
    fn register(&mut self, group: &Group) -> Result<(), String> {
        self.accepted += 1;
        for put in &group.puts {
            if keys::account_player(&put.key).is_some() {
                continue;
            }
            let owner = put.value.clone().unwrap_or_default();
            if let Some(other) = self.owners.insert(put.key.clone(), owner.clone()) {
                let key = String::from_utf8_lossy(&put.key).into_owned();
                return Err(format!("{key} belongs to {other:?} and to {owner:?}"));
            }
        }
        Ok(())
    }
}
