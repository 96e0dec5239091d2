//! Owns the memory of recent changes to keys below `account/`, for gateways
//! that follow bans and password changes. Never durable: after a start it
//! remembers nothing and says `too_old`, and who follows scans anew. Called
//! by the engines. Invariant: each key is in it at most once, at its newest
//! version.

use std::collections::BTreeMap;

use crate::entity::keys;

use super::{Change, Changes};

/// The most changes remembered; the oldest versions go first.
const REMEMBERED_MAX: usize = 64 * 1024;

/// Recent changes to keys below `account/`.
#[derive(Clone, Debug)]
pub struct ChangeLog {
    /// Changes after this version are all here.
    floor: u64,
    /// The version of the last commit.
    upto: u64,
    newest: BTreeMap<Vec<u8>, u64>,
    changes: BTreeMap<(u64, Vec<u8>), Option<Vec<u8>>>,
}

impl ChangeLog {
    /// Remembers what happens after `version`.
    pub fn new(version: u64) -> ChangeLog {
        let (newest, changes) = (BTreeMap::new(), BTreeMap::new());
        ChangeLog { floor: version, upto: version, newest, changes }
    }

    /// A key was put or deleted by the commit with `version`.
    pub fn record(&mut self, version: u64, key: &[u8], value: Option<&[u8]>) {
        if !key.starts_with(keys::ACCOUNT) {
            return;
        }
        if let Some(older) = self.newest.insert(key.to_vec(), version) {
            self.changes.remove(&(older, key.to_vec()));
        }
        self.changes.insert((version, key.to_vec()), value.map(<[u8]>::to_vec));
    }

    /// The commit with `version` is complete.
    pub fn complete(&mut self, version: u64) {
        self.upto = version;
        while self.changes.len() > REMEMBERED_MAX {
            let Some(((version, key), _)) = self.changes.pop_first() else { return };
            self.newest.remove(&key);
            self.floor = version;
        }
    }

    /// See [`Store::changes`](super::Store::changes).
    pub fn since(&self, since: u64, limit: usize) -> Changes {
        if since < self.floor || since > self.upto {
            return Changes { changes: vec![], upto: self.upto, too_old: true };
        }
        let mut found: Vec<Change> = Vec::new();
        for ((version, key), value) in self.changes.range((since.saturating_add(1), vec![])..) {
            // One version is never divided, else `upto` could not name the cut.
            let full = found.len() >= limit.max(1);
            if let Some(last) = found.last().filter(|last| full && last.version < *version) {
                let upto = last.version;
                return Changes { changes: found, upto, too_old: false };
            }
            found.push(Change { version: *version, key: key.clone(), value: value.clone() });
        }
        Changes { changes: found, upto: self.upto, too_old: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_the_oldest_and_says_so() {
        let mut log = ChangeLog::new(0);
        for version in 1..=(REMEMBERED_MAX as u64 + 2) {
            log.record(version, format!("account/{version}").as_bytes(), Some(b"x"));
            log.complete(version);
        }
        assert!(log.since(1, 10).too_old);
        let kept = log.since(2, usize::MAX);
        assert!(!kept.too_old);
        assert_eq!(kept.changes.len(), REMEMBERED_MAX);
    }

    #[test]
    fn never_divides_a_version() {
        let mut log = ChangeLog::new(0);
        for key in [b"account/a", b"account/b", b"account/c"] {
            log.record(1, key, None);
        }
        log.complete(1);
        log.record(2, b"account/d", None);
        log.complete(2);
        let first = log.since(0, 2);
        assert_eq!((first.changes.len(), first.upto), (3, 1));
        assert_eq!(log.since(first.upto, 2).changes.len(), 1);
    }
}
