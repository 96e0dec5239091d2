//! Owns the turns in which a node looks whether the cluster's format version can be
//! raised, and reads what a decision takes. What is decided, and what makes it safe,
//! is in `entity::format`. Whoever encodes hears of a rise from here, be it this
//! node's or another's: a second late at most, until when it writes what all can
//! read. Called with each reading of the members, and by who lets a node in.
//! Invariant: a node that reads no higher version than is written reads nothing.

use super::register::{RegisterError, last_node, numbers};
use crate::actors::rows::{GroupAnswer, Rows, StoreAway};
use crate::base::NodeId;
use crate::entity::commit::NodeRow;
use crate::entity::format::{Format, Formats, Raise, Reader, raise};
use crate::entity::keys;
use crate::entity::member::Damaged;
use crate::telemetry::metrics;

/// The row as it is, for a node that reads `reads`.
///
/// # Errors
/// When the store does not answer, or the node cannot read what is written.
pub async fn read(rows: &Rows, reads: Formats) -> Result<Format, RegisterError> {
    let row = rows.get(keys::FORMAT.to_vec()).await?;
    Ok(Format::found(row.as_ref().map(|row| (row.value.as_slice(), row.version)), reads)?)
}

/// The version that the cluster writes, as it is in the row; 0 where there is none.
///
/// # Errors
/// When the store does not answer.
pub async fn written(rows: &Rows) -> Result<u16, StoreAway> {
    let row = rows.get(keys::FORMAT.to_vec()).await?;
    let number = row.and_then(|row| row.value.try_into().ok());
    Ok(number.map_or(0, u16::from_be_bytes))
}

/// What a node said that it reads, and the version of that row.
pub(super) async fn reads(
    rows: &Rows,
    node: NodeId,
) -> Result<Option<(Formats, u64)>, RegisterError> {
    let Some(row) = rows.get(keys::reads(node)).await? else { return Ok(None) };
    Ok(Some((Formats::from_bytes(&row.value).ok_or(Damaged)?, row.version)))
}

/// What a node does for the cluster to write the highest version that all read.
pub struct Raising {
    reads: Formats,
    /// What the cluster writes, as far as is known here.
    writes: u16,
    /// Who encodes is told of a change.
    tell: Box<dyn Fn(u16) + Send>,
    /// Whom it waits for, as was logged.
    waits: Vec<NodeId>,
}

impl Raising {
    /// For a node that reads `reads`, and has `tell` called with what is to be
    /// written when that changes.
    pub fn new(reads: Formats, tell: impl Fn(u16) + Send + 'static) -> Raising {
        Raising { reads, writes: 0, tell: Box::new(tell), waits: Vec::new() }
    }

    /// Raises it if it can be; whether it did. What cannot be read, or was overtaken,
    /// is done with the next turn.
    pub async fn turn(&mut self, rows: &Rows) -> bool {
        if self.writes >= self.reads.highest {
            return false;
        }
        match self.raise(rows).await {
            Ok(raised) => raised,
            Err(error) => {
                tracing::debug!(%error, "the format version is looked at again");
                false
            }
        }
    }

    async fn raise(&mut self, rows: &Rows) -> Result<bool, RegisterError> {
        let format = read(rows, self.reads).await?;
        if (1..format.number).contains(&self.writes) {
            tracing::info!("another node raised the format version: {} is written", format.number);
        }
        self.note(format.number);
        if format.number >= self.reads.highest {
            return Ok(false);
        }
        let last = last_node(rows, NodeId(0)).await?;
        let readers = readers(rows).await?;
        match raise(format, self.reads, &readers, last) {
            Raise::Settled => Ok(false),
            Raise::Waits(nodes) => {
                if nodes != self.waits {
                    let names: Vec<String> = nodes.iter().map(NodeId::to_string).collect();
                    tracing::info!(
                        "the cluster writes format {}: node {} does not read the next one",
                        format.number,
                        names.join(", "),
                    );
                    self.waits = nodes;
                }
                Ok(false)
            }
            Raise::To(number, group) => {
                let done = matches!(rows.commit_group(group).await?, GroupAnswer::Accepted { .. });
                if done {
                    tracing::info!("every node reads format {number}: it is written from now on");
                    self.note(number);
                }
                Ok(done)
            }
        }
    }

    fn note(&mut self, writes: u16) {
        if writes != self.writes {
            self.writes = writes;
            metrics::FORMAT.set(f64::from(writes));
            (self.tell)(writes);
        }
    }
}

/// All members, and whether they run.
async fn readers(rows: &Rows) -> Result<Vec<Reader>, RegisterError> {
    let members = numbers(rows).await?;
    let mut readers = Vec::with_capacity(members.len());
    for node in members {
        let row = match rows.get(keys::row(node)).await? {
            Some(row) => {
                let read = NodeRow::from_bytes(&row.value).map_err(|_| Damaged)?;
                Some((read, row.version))
            }
            None => None,
        };
        readers.push(Reader { node, reads: reads(rows, node).await?, row });
    }
    Ok(readers)
}
