//! Owns what a commit is decided on: which keys and journals it touches, what
//! they are taken to be without asking, and what the server says they are.
//! Never trusts either: the server carries a decision out only if all of it
//! still holds. Invariant: [`Known`] has every key and journal of [`Touched`].

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::types::ToSql;

use crate::base::{EntityKey, NodeId};
use crate::entity::commit::{Commit, CommitError, Expect, NodeRow};
use crate::entity::keys;
use crate::store::ReadError;
use crate::store::decide::{Journal, Present, Stamp};

use super::connection::Link;
use super::error::Failure;

/// The keys and journals that a commit's decision depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Of all checks, and the node's own row.
    pub keys: BTreeSet<Vec<u8>>,
    /// And whether the snapshot counts too, not the last record alone.
    pub journals: BTreeMap<EntityKey, bool>,
    /// The highest version that a check names.
    pub version_max: u64,
}

impl Touched {
    pub fn of(commit: &Commit) -> Touched {
        let mut touched = Touched::default();
        touched.keys.insert(keys::row(commit.node));
        for group in &commit.groups {
            for check in &group.checks {
                touched.keys.insert(check.key.clone());
                if let Expect::Version(version) = check.expect {
                    touched.version_max = touched.version_max.max(version);
                }
            }
            if let Some(append) = &group.append {
                touched.journals.entry(append.entity).or_default();
            }
            for put in &group.puts {
                let chunk = keys::parse_chunk(&put.key).map(|(entity, ..)| entity);
                let entity = chunk.or_else(|| keys::parse_head(&put.key));
                touched.journals.extend(entity.map(|entity| (entity, true)));
            }
        }
        touched
    }
}

/// What a commit touches, as it is taken to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    pub version: u64,
    pub row: Option<(u64, NodeRow)>,
    pub stamps: BTreeMap<Vec<u8>, Option<Stamp>>,
    pub journals: BTreeMap<EntityKey, Journal>,
}

impl Known {
    /// That all of a commit is accepted, `row` being the node's as it was
    /// left. `None` when that does not say what everything is.
    pub fn guess(commit: &Commit, touched: &Touched, row: &(u64, NodeRow)) -> Option<Known> {
        let version = row.0;
        // Before the next version is drawn nobody can expect it, or a later one.
        if touched.version_max > version || touched.journals.values().any(|head| *head) {
            return None;
        }
        let mut known = Known { version, row: Some(row.clone()), ..Known::default() };
        let own = Stamp::of(version, &row.1.to_bytes());
        known.stamps.insert(keys::row(commit.node), Some(own));
        for group in &commit.groups {
            for check in &group.checks {
                let stamp = match check.expect {
                    Expect::Absent => None,
                    Expect::Version(version) => Some(Stamp { version, number: None }),
                    Expect::NumberBelow(_) => return None,
                };
                known.stamps.entry(check.key.clone()).or_insert(stamp);
            }
            if let Some(append) = &group.append {
                let last = append.sequence.checked_sub(1)?;
                i64::try_from(last).ok()?;
                known.journals.entry(append.entity).or_insert(Journal { last, head: 0 });
            }
        }
        Some(known)
    }

    /// What the server says of everything touched.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn read(link: &Link, node: NodeId, touched: &Touched) -> Result<Known, Failure> {
        let (client, statements) = (&link.client, &link.statements);
        let names: Vec<&[u8]> = touched.keys.iter().map(Vec::as_slice).collect();
        let entities: Vec<Vec<u8>> = touched.journals.keys().map(|key| key.to_bytes()).collect();
        let row_key = keys::row(node);
        // The version first: what is read after it is no older.
        let one = async |statement, argument: &(dyn ToSql + Sync)| {
            client.query(statement, &[argument]).await
        };
        let (version, rows, stamps, journals) = tokio::try_join!(
            client.query_one(&statements.version, &[]),
            one(&statements.get, &row_key),
            one(&statements.stamps, &names),
            one(&statements.journals, &entities),
        )?;
        let mut known = Known {
            version: unsigned(version.try_get(0)?)?,
            stamps: touched.keys.iter().map(|key| (key.clone(), None)).collect(),
            journals: touched.journals.keys().map(|key| (*key, Journal::default())).collect(),
            row: None,
        };
        for found in stamps {
            let (version, value): (i64, &[u8]) = (found.try_get(1)?, found.try_get(2)?);
            let stamp = Stamp::of(unsigned(version)?, value);
            known.stamps.insert(found.try_get(0)?, Some(stamp));
        }
        for found in journals {
            let entity = entity(found.try_get(0)?)?;
            let journal =
                Journal { last: unsigned(found.try_get(1)?)?, head: unsigned(found.try_get(2)?)? };
            known.journals.insert(entity, journal);
        }
        // The row's stamp is as the fence sees it, whatever the other query saw:
        // else a row that another process wrote between the two would pass for
        // one that nobody has.
        known.stamps.insert(row_key.clone(), None);
        if let Some(found) = rows.first() {
            let (version, value): (i64, &[u8]) = (found.try_get(0)?, found.try_get(1)?);
            let damaged =
                |error: crate::entity::commit::RowError| Failure::Damaged(error.to_string());
            known.row = Some((unsigned(version)?, NodeRow::from_bytes(value).map_err(damaged)?));
            known.stamps.insert(row_key, Some(Stamp::of(unsigned(version)?, value)));
        }
        Ok(known)
    }
}

impl Present for Known {
    fn version(&self) -> u64 {
        self.version
    }

    fn row(&self, _: NodeId) -> Result<Option<(u64, NodeRow)>, ReadError> {
        Ok(self.row.clone())
    }

    fn stamp(&self, key: &[u8]) -> Result<Option<Stamp>, ReadError> {
        Ok(self.stamps.get(key).copied().flatten())
    }

    fn journal(&self, entity: EntityKey) -> Journal {
        self.journals.get(&entity).copied().unwrap_or_default()
    }
}

/// A number as PostgreSQL keeps it.
///
/// # Errors
/// Beyond 2^63 - 1, which no galaxy reaches.
pub fn signed(number: u64) -> Result<i64, CommitError> {
    let beyond = |_| CommitError::Malformed(format!("{number}: this engine counts to 2^63 - 1"));
    i64::try_from(number).map_err(beyond)
}

/// A number that PostgreSQL kept.
///
/// # Errors
/// When it is negative: nothing here writes such a one.
pub fn unsigned(number: i64) -> Result<u64, Failure> {
    let negative =
        |_| Failure::Damaged(format!("{number} where a sequence or version was expected"));
    u64::try_from(number).map_err(negative)
}

/// An entity's key as it is stored.
///
/// # Errors
/// When it is none.
pub fn entity(bytes: &[u8]) -> Result<EntityKey, Failure> {
    EntityKey::from_bytes(bytes).map_err(|error| Failure::Damaged(error.to_string()))
}
