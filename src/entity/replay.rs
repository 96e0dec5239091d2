//! Owns recovery: an entity from its snapshot and the records behind it,
//! with every journalled hash compared. Never reads a store; called with what
//! was loaded, by claims, tests and `starmesh replay`.
//!
//! Invariant: the same image and world give the same bits, everywhere.

use std::collections::BTreeMap;

use super::Entity;
use super::effect::Effect;
use super::envelope::Logic;
use super::input::Input;
use super::machine::{ApplyError, SnapshotError};
use super::record::{Record, RecordError, SnapshotHead, decode_record};
use super::world::World;
use crate::base::{EntityKey, StateHash, Tick};

/// All that the store has of an entity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    pub head: Option<Vec<u8>>,
    pub chunks: Vec<Vec<u8>>,
    /// Sequence and bytes.
    pub records: Vec<(u64, Vec<u8>)>,
}

/// An entity brought back.
#[derive(Clone, Debug)]
pub struct Replayed {
    pub entity: Entity,
    /// Size of the snapshot it began from.
    pub snapshot_bytes: u64,
    /// Size of the records behind it.
    pub journal_bytes: u64,
    /// Journalled hashes compared.
    pub hashes: u64,
    /// Where replay found another hash than the journal says.
    pub mismatches: Vec<Mismatch>,
}

/// A journalled hash that replay does not find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    pub tick: Tick,
    pub journalled: StateHash,
    pub replayed: StateHash,
}

/// Why an entity cannot be brought back. Nothing was changed anywhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    #[error("{0} is of a kind, or at a place, that does not exist in this galaxy")]
    NoSuchEntity(EntityKey),
    #[error("snapshot: {0}")]
    Snapshot(#[from] SnapshotError),
    #[error("snapshot: its hash is {found}, the head says {expected}")]
    SnapshotHash { expected: StateHash, found: StateHash },
    #[error("record: {0}")]
    Record(#[from] RecordError),
    #[error("record: {0}")]
    Apply(#[from] ApplyError),
    #[error("logic {needed:?} is needed, this node has {have:?}")]
    Logic { needed: Logic, have: Logic },
}

impl Image {
    /// Whether the entity was ever written.
    pub fn is_empty(&self) -> bool {
        self.head.is_none() && self.records.is_empty()
    }
}

/// Brings `key` back from `image`: its state after the last record.
///
/// # Errors
/// When something in the image is not what was written, or needs logic that
/// `world` is not.
pub fn replay(key: EntityKey, image: &Image, world: &World) -> Result<Replayed, ReplayError> {
    replay_with(key, image, world, |_, _, _| {})
}

/// As [`replay`]; `watch` is called after each record with the entity, the
/// record and the effects since the record before.
///
/// # Errors
/// As [`replay`].
pub fn replay_with(
    key: EntityKey,
    image: &Image,
    world: &World,
    mut watch: impl FnMut(&Entity, &Record, &[Effect]),
) -> Result<Replayed, ReplayError> {
    let (entity, snapshot_bytes) = begin(key, image, world)?;
    let mut replayed =
        Replayed { entity, snapshot_bytes, journal_bytes: 0, hashes: 0, mismatches: Vec::new() };
    replayed.follow_with(&image.records, world, &mut watch)?;
    Ok(replayed)
}

impl Replayed {
    /// Goes on with the records that come next.
    ///
    /// # Errors
    /// As [`replay`]; what is left here then is of no use.
    pub fn follow(&mut self, records: &[(u64, Vec<u8>)], world: &World) -> Result<(), ReplayError> {
        self.follow_with(records, world, &mut |_, _, _| {})
    }

    fn follow_with(
        &mut self,
        records: &[(u64, Vec<u8>)],
        world: &World,
        watch: &mut impl FnMut(&Entity, &Record, &[Effect]),
    ) -> Result<(), ReplayError> {
        self.journal_bytes += records.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        let records = decode(records, world)?;
        // The state may hold records of its last tick already, which the hash of
        // that tick does not: only later ones can be compared.
        let mut hashes = hashes_in(&records).split_off(&self.entity.tick().after(1));
        let mut effects = Vec::new();
        for record in &records {
            // A hash is of the state after the step to its tick and before that
            // tick's records.
            while let Some((tick, _)) = hashes.first_key_value() {
                if *tick > record.header.tick {
                    break;
                }
                if let Some((tick, journalled)) = hashes.pop_first() {
                    self.compare(tick, journalled, world, &mut effects);
                }
            }
            self.entity.apply(record, world, &mut effects)?;
            watch(&self.entity, record, &effects);
            effects.clear();
        }
        Ok(())
    }

    fn compare(
        &mut self,
        tick: Tick,
        journalled: StateHash,
        world: &World,
        effects: &mut Vec<Effect>,
    ) {
        self.entity.run_to(tick, world, effects);
        let replayed = self.entity.state_hash(world);
        self.hashes += 1;
        if replayed != journalled {
            self.mismatches.push(Mismatch { tick, journalled, replayed });
        }
    }
}

/// The state that the image's snapshot, or else the seed, gives, and the
/// snapshot's size.
///
/// # Errors
/// As [`replay`].
pub fn begin(key: EntityKey, image: &Image, world: &World) -> Result<(Entity, u64), ReplayError> {
    let Some(head) = &image.head else {
        let entity = Entity::genesis(key, world).ok_or(ReplayError::NoSuchEntity(key))?;
        return Ok((entity, 0));
    };
    let (logic, head) = SnapshotHead::decode(head)?;
    expect_logic(logic, world)?;
    let bytes = image.chunks.concat();
    let found = StateHash::of(&bytes);
    if found != head.hash {
        return Err(ReplayError::SnapshotHash { expected: head.hash, found });
    }
    Ok((Entity::restore(key, &bytes)?, bytes.len() as u64))
}

fn decode(records: &[(u64, Vec<u8>)], world: &World) -> Result<Vec<Record>, ReplayError> {
    let one = |(_, bytes): &(u64, Vec<u8>)| {
        let (logic, record) = decode_record(bytes)?;
        expect_logic(logic, world)?;
        Ok(record)
    };
    records.iter().map(one).collect()
}

fn hashes_in(records: &[Record]) -> BTreeMap<Tick, StateHash> {
    let inputs = records.iter().flat_map(|record| &record.inputs);
    inputs
        .filter_map(|input| match input {
            Input::Hash { tick, hash } => Some((*tick, *hash)),
            _ => None,
        })
        .collect()
}

fn expect_logic(needed: Logic, world: &World) -> Result<(), ReplayError> {
    let have = world.logic();
    if needed == have { Ok(()) } else { Err(ReplayError::Logic { needed, have }) }
}
