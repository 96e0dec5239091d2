//! Owns which decision a group of rows is: told by its keys, so that whoever
//! makes such a group need not know of the audit log, and cannot forget it.
//! Called by the core for each group that it did not make itself.

use super::{Decision, DirectoryChange, NAMED_MAX};
use crate::entity::account::Account;
use crate::entity::commit::{Group, Put};
use crate::entity::keys;

/// The decision that `group` carries out, if it is one: rows of sessions and of
/// caches are not.
pub fn of_rows(group: &Group) -> Option<Decision> {
    let puts = || group.puts.iter();
    if puts().any(|put| put.key == keys::DIRECTORY_VERSION) {
        return Some(Decision::DirectoryChanged(directory(group)));
    }
    if puts().any(|put| put.key == keys::WORLD) {
        return Some(Decision::GalaxyMade);
    }
    if let Some(put) = puts().find(|put| put.key == keys::FORMAT) {
        let version = put.value.as_deref().and_then(|value| value.try_into().ok());
        return Some(Decision::FormatRaised { version: version.map_or(0, u16::from_be_bytes) });
    }
    let token = || puts().find_map(|put| Some((keys::parse_join_token(&put.key)?, put)));
    if let Some(node) = puts().find_map(|put| keys::parse_member(&put.key)) {
        return Some(Decision::NodeAdmitted { node, token: token().map(|(token, _)| token) });
    }
    if let Some((token, put)) = token() {
        return Some(match put.value {
            Some(_) => Decision::TokenOffered { token },
            None => Decision::TokenWithdrawn { token },
        });
    }
    if let Some(entity) = puts().find_map(|put| keys::parse_parked(&put.key)) {
        return Some(Decision::Resumed { entity });
    }
    puts().find_map(|put| account(group, put))
}

fn account(group: &Group, put: &Put) -> Option<Decision> {
    let player = keys::account_player(&put.key)?;
    // A registration takes the name, too.
    if group.puts.iter().any(|put| put.key.starts_with(keys::ACCOUNT_NAME)) {
        return Some(Decision::AccountMade { player });
    }
    let account = put.value.as_deref().and_then(|bytes| Account::from_bytes(bytes).ok());
    let (generation, roles) = account.map_or((0, 0), |it| (it.generation, it.roles.len()));
    let roles = u8::try_from(roles).unwrap_or(u8::MAX);
    Some(Decision::AccountChanged { player, generation, roles })
}

fn directory(group: &Group) -> DirectoryChange {
    let mut change = DirectoryChange {
        version: 0,
        changed: 0,
        entities: Vec::new(),
        draining: Vec::new(),
        digest: [0; 32],
    };
    let mut hasher = blake3::Hasher::new_derive_key("starmesh audit log, directory change");
    for put in group.puts.iter().filter(|put| put.key.starts_with(keys::DIRECTORY)) {
        let value = put.value.as_deref();
        if put.key == keys::DIRECTORY_VERSION {
            let version = value.and_then(|value| value.try_into().ok());
            change.version = version.map_or(0, u64::from_be_bytes);
            continue;
        }
        change.changed = change.changed.saturating_add(1);
        for part in [&put.key[..], &[u8::from(value.is_some())], value.unwrap_or_default()] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        if let Some(entity) = keys::parse_directory_entry(&put.key)
            && change.entities.len() < NAMED_MAX
        {
            change.entities.push(entity);
        }
        if let Some(node) = keys::parse_directory_draining(&put.key)
            && change.draining.len() < NAMED_MAX
        {
            change.draining.push((node, value.is_some()));
        }
    }
    change.digest = *hasher.finalize().as_bytes();
    change
}
