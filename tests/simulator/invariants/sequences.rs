//! Invariant 1: an entity's records are 1…n without gap, each written by the
//! holder of the last claim; ticks and times in them never go back.

use std::collections::BTreeMap;

use starmesh::base::{EntityKey, Incarnation, Millis, NodeId, Tick};
use starmesh::entity::commit::{Append, Commit};
use starmesh::entity::input::Input;
use starmesh::entity::record::decode_record;

use crate::scene::{Fact, Invariant, Scene};

#[derive(Default)]
pub struct Sequences {
    journals: BTreeMap<EntityKey, Journal>,
}

#[derive(Default)]
struct Journal {
    last: u64,
    tick: Tick,
    time: Millis,
    owner: Option<(NodeId, Incarnation)>,
}

impl Invariant for Sequences {
    fn name(&self) -> &'static str {
        "1 sequences without gap, by the holder of the last claim"
    }

    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene) -> Result<(), String> {
        if let Fact::Imported(entity) = fact {
            let head = entity.head();
            let (last, tick, time) = (head.sequence, head.tick, head.time);
            self.journals.insert(entity.key(), Journal { last, tick, time, owner: None });
        }
        if let Fact::Deleted(entity) = fact
            && let Some(journal) = self.journals.get_mut(&entity.key())
        {
            // It may come again: with its first record and at a later tick.
            (journal.last, journal.time, journal.owner) = (0, Millis(0), None);
        }
        let Fact::Durable { commit, refused } = fact else { return Ok(()) };
        for (index, group) in (0_u32..).zip(&commit.groups) {
            let Some(append) = &group.append else { continue };
            match refused.contains(&index) {
                true if scene.alone => {
                    return Err(format!("a record of {} was refused", append.entity));
                }
                true => continue,
                false => {}
            }
            let journal = self.journals.entry(append.entity).or_default();
            journal.take(append, commit).map_err(|what| format!("{}: {what}", append.entity))?;
        }
        Ok(())
    }
}

impl Journal {
    fn take(&mut self, append: &Append, commit: &Commit) -> Result<(), String> {
        let (_, record) = decode_record(&append.bytes).map_err(|error| error.to_string())?;
        let header = record.header;
        let expected = self.last + 1;
        if (append.sequence, header.sequence) != (expected, expected) {
            let found = (append.sequence, header.sequence);
            return Err(format!("sequences {found:?} instead of {expected}"));
        }
        if header.tick < self.tick || header.time < self.time {
            return Err(format!("{header:?} after {:?} {:?}", self.tick, self.time));
        }
        (self.last, self.tick, self.time) = (header.sequence, header.tick, header.time);
        let writer = (commit.node, commit.incarnation);
        for (index, input) in record.inputs.iter().enumerate() {
            let Input::Claim(claim) = input else { continue };
            let adopts = matches!(record.inputs.first(), Some(Input::Adopt { .. }));
            if index > usize::from(adopts) || (claim.node, claim.incarnation) != writer {
                return Err(format!("a claim of {claim:?} as input {index} by {writer:?}"));
            }
            if claim.node_tick != commit.tick {
                return Err(format!("{claim:?} in a commit of {:?}", commit.tick));
            }
            self.owner = Some(writer);
        }
        let closes = record.inputs.contains(&Input::Close);
        if closes && record.inputs != [Input::Close] {
            return Err(format!("a close among others: {:?}", record.inputs));
        }
        if self.owner == Some(writer) {
            let gives = |it: &Input| matches!(it, Input::HandOver { .. } | Input::Park { .. });
            if closes || record.inputs.iter().any(gives) {
                self.owner = None;
            }
            return Ok(());
        }
        Err(format!("record {} by {writer:?}, but {:?} owns it", header.sequence, self.owner))
    }
}
