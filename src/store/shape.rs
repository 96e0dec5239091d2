//! Owns what a well-formed commit is. Never looks at what is stored: it turns
//! the keys of puts into typed changes, once, before anything is tried.
//! Called by [`decide`](super::decide). Invariant: a commit that it refuses
//! is refused by every engine, whatever is there.

use std::borrow::Cow;

use crate::base::NodeId;
use crate::entity::commit::{
    self, Append, COMMIT_BYTES_MAX, Check, Commit, CommitError, GROUPS_MAX, NodeRow, Put,
    RECORD_BYTES_MAX, VALUE_BYTES_MAX,
};
use crate::entity::keys::{self, KEY_BYTES_MAX};

use super::decide::Op;

/// A group whose puts are understood.
pub(super) struct Group<'a> {
    pub checks: &'a [Check],
    pub append: Option<&'a Append>,
    pub ops: Vec<Op<'a>>,
}

/// The groups of `commit`.
pub(super) fn parse(commit: &Commit) -> Result<Vec<Group<'_>>, CommitError> {
    at_most("groups in a commit", commit.groups.len(), GROUPS_MAX)?;
    at_most("bytes in a commit", commit.weight(), COMMIT_BYTES_MAX)?;
    if commit.is_last && commit.number == 0 {
        return Err(malformed("a commit that begins an incarnation and ends it".into()));
    }
    commit.groups.iter().map(|group| parse_group(commit.node, group)).collect()
}

fn parse_group(node: NodeId, group: &commit::Group) -> Result<Group<'_>, CommitError> {
    for check in &group.checks {
        check_key(&check.key)?;
        if check.key.starts_with(keys::SNAPSHOT) {
            return Err(malformed("a check of a snapshot chunk".into()));
        }
    }
    if let Some(append) = &group.append {
        at_most("bytes in a record", append.bytes.len(), RECORD_BYTES_MAX)?;
    }
    let ops = group.puts.iter().map(|put| parse_put(node, put)).collect::<Result<_, _>>()?;
    Ok(Group { checks: &group.checks, append: group.append.as_ref(), ops })
}

fn parse_put(node: NodeId, put: &Put) -> Result<Op<'_>, CommitError> {
    check_key(&put.key)?;
    at_most("bytes in a value", put.value.as_ref().map_or(0, Vec::len), VALUE_BYTES_MAX)?;
    if put.key.starts_with(keys::SNAPSHOT) {
        parse_chunk(put)
    } else if put.key.starts_with(keys::HEAD) {
        parse_head(put)
    } else if put.key.starts_with(keys::ROW) {
        parse_row(node, put)
    } else {
        let value = put.value.as_deref().map(Cow::Borrowed);
        Ok(Op::Put { key: Cow::Borrowed(&put.key), value })
    }
}

fn parse_chunk(put: &Put) -> Result<Op<'_>, CommitError> {
    let named = keys::parse_chunk(&put.key).ok_or_else(|| unnamed("a snapshot chunk", put))?;
    let (entity, snapshot, index) = named;
    check_sequence(snapshot)?;
    let Some(bytes) = &put.value else {
        return Err(malformed("a chunk deleted by name; the next head removes it".into()));
    };
    Ok(Op::Chunk { entity, snapshot, index, bytes })
}

fn parse_head(put: &Put) -> Result<Op<'_>, CommitError> {
    let entity = keys::parse_head(&put.key).ok_or_else(|| unnamed("a snapshot head", put))?;
    let Some(value) = &put.value else {
        return Ok(Op::Forget { entity });
    };
    match value.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes)) {
        None | Some(0) => Err(malformed(format!("the head of {entity} names no sequence"))),
        Some(snapshot) => {
            check_sequence(snapshot)?;
            Ok(Op::Head { entity, snapshot, value })
        }
    }
}

/// Engines may keep sequences as signed numbers.
fn check_sequence(sequence: u64) -> Result<(), CommitError> {
    if i64::try_from(sequence).is_ok() {
        return Ok(());
    }
    Err(malformed(format!("sequence {sequence}, at most {}", i64::MAX)))
}

/// Rows end with a commit of their node, or by another node that declares it
/// dead; neither deletes them: the ticks of a node never restart.
fn parse_row(committing: NodeId, put: &Put) -> Result<Op<'_>, CommitError> {
    let node = keys::parse_row(&put.key).ok_or_else(|| unnamed("a node's row", put))?;
    if node == committing {
        return Err(malformed(format!("node {node} puts its own row")));
    }
    let Some(value) = &put.value else {
        return Err(malformed(format!("the row of node {node} deleted")));
    };
    let row = NodeRow::from_bytes(value).map_err(|error| malformed(error.to_string()))?;
    Ok(Op::Row { node, row: Cow::Owned(row) })
}

fn check_key(key: &[u8]) -> Result<(), CommitError> {
    at_most("bytes in a key", key.len(), KEY_BYTES_MAX)?;
    if key.is_empty() { Err(malformed("an empty key".into())) } else { Ok(()) }
}

fn at_most(what: &str, got: usize, limit: usize) -> Result<(), CommitError> {
    if got <= limit { Ok(()) } else { Err(malformed(format!("{got} {what}, at most {limit}"))) }
}

fn unnamed(what: &str, put: &Put) -> CommitError {
    malformed(format!("`{}` is not the key of {what}", put.key.escape_ascii()))
}

fn malformed(what: String) -> CommitError {
    CommitError::Malformed(what)
}
