//! Invariant 11: whatever is bounded stays within its bound: channels and what
//! waits behind them, what one commit holds of each thing.

use std::collections::BTreeMap;

use starmesh::base::EntityKey;
use starmesh::cluster::core::limits::Limits;
use starmesh::entity::Entity;
use starmesh::entity::channel::WAITING_MAX;
use starmesh::entity::commit::{Append, Commit};
use starmesh::entity::input::{FromGateway, Input};
use starmesh::entity::keys;
use starmesh::entity::message::{Body, Notice};
use starmesh::entity::record::{Record, decode_record, encode_input};

use crate::scene::{Fact, Invariant, Scene};

#[derive(Default)]
pub struct Bounds {
    /// How much may wait behind an entity's channels: what it was to send when
    /// the run began; since then an answer and a notice for each request, and
    /// a request for each player that connects.
    backlog: BTreeMap<EntityKey, usize>,
}

impl Invariant for Bounds {
    fn name(&self) -> &'static str {
        "11 everything is within its bounds"
    }

    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene) -> Result<(), String> {
        match fact {
            Fact::Imported(entity) => {
                self.backlog.insert(entity.key(), waits_behind(entity));
                Ok(())
            }
            Fact::Sent(commit) => self::commit(commit, scene),
            Fact::Applied { after, record, .. } => self.applied(after, record),
            _ => Ok(()),
        }
    }
}

fn waits_behind(entity: &Entity) -> usize {
    entity.head().backlog.values().map(std::collections::VecDeque::len).sum()
}

fn at_most(what: &str, found: usize, bound: usize) -> Result<(), String> {
    if found <= bound { Ok(()) } else { Err(format!("{found} {what}, at most {bound}")) }
}

impl Bounds {
    fn applied(&mut self, after: &Entity, record: &Record) -> Result<(), String> {
        let asks_for = |input: &Input| match input {
            Input::Message(message) if matches!(message.body, Body::Request { .. }) => 2,
            Input::Connect(_) | Input::Gateway(FromGateway::ConnectAgain(_)) => 1,
            _ => 0,
        };
        let bound = self.backlog.entry(after.key()).or_default();
        *bound += record.inputs.iter().map(asks_for).sum::<usize>();
        let is_unit = |body: &&Body| matches!(body, Body::Notice(Notice::Units { .. }));
        let held = after.head().backlog.values().flatten().filter(is_unit).count();
        // Whom a full channel does not take is held at the border. (No run has
        // so many units that one step makes two messages of them.)
        at_most("messages of units behind a full channel", held, 0)?;
        at_most("messages in a channel", after.head().outbox.fullest(), WAITING_MAX)?;
        at_most("messages behind channels", waits_behind(after), *bound)
    }
}

fn commit(commit: &Commit, scene: &Scene) -> Result<(), String> {
    let limits = &scene.limits;
    let (mut rows, mut chunks) = (0, 0);
    let (mut records, mut commands) = (Vec::new(), 0);
    for group in &commit.groups {
        if let Some(append) = &group.append {
            records.push(append.bytes.len());
            commands += self::record(append, limits)?;
        }
        for put in &group.puts {
            rows += usize::from(keys::account_player(&put.key).is_some());
            if keys::parse_chunk(&put.key).is_some() {
                chunks += 1;
                let bytes = put.value.as_ref().map_or(0, Vec::len);
                at_most("bytes in a chunk", bytes, limits.chunk_bytes)?;
            }
        }
    }
    at_most("records in a commit", records.len(), limits.records_per_commit)?;
    at_most("rows in a commit", rows, limits.rows_per_commit)?;
    at_most("chunks in a commit", chunks, limits.chunks_per_commit)?;
    // Looked at before the last was added.
    records.pop();
    if records.iter().sum::<usize>() >= limits.commit_bytes.max(1) {
        return Err(format!("records of {records:?} bytes, and one more, in a commit"));
    }
    // Entities change their tables, and bring what waits along.
    let bound = scene.tables * limits.inputs_per_table + scene.brought;
    at_most("commands in a commit", commands, bound)
}

/// The number of commands in it.
fn record(append: &Append, limits: &Limits) -> Result<usize, String> {
    let (_, record) = decode_record(&append.bytes).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    for input in &record.inputs {
        // Those of the core come first, whatever the bound.
        let is_cores = matches!(input, Input::Claim(_) | Input::Dilate(_) | Input::Close);
        if bytes.len() >= limits.record_bytes && !is_cores {
            let (entity, most) = (append.entity, limits.record_bytes);
            return Err(format!(
                "a record of {entity} goes on after {} bytes, {most} are enough",
                bytes.len()
            ));
        }
        encode_input(input, &mut bytes);
    }
    let commands = record.inputs.iter().filter(|input| matches!(input, Input::Command(_))).count();
    at_most("commands in a record", commands, limits.inputs_per_entity)?;
    Ok(commands)
}
