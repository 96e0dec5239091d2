//! Owns recovery: an entity from its snapshot and the records behind it,
//! with every journalled hash compared. Never reads a store; called with what
//! was loaded, by claims, tests and `starmesh replay`.
//!
//! Invariants: the same image gives the same bits, everywhere; what is run is run
//! by the logic that the snapshot or the record names, which changes only with the
//! record that adopts another.

use std::collections::BTreeMap;

use super::Entity;
use super::context::OpenClaim;
use super::effect::Effect;
use super::envelope::{self, Kind, Logic};
use super::input::{Claim, Dilation, Input, InputPlace};
use super::logics::Logics;
use super::machine::{ApplyError, Skips, SnapshotError};
use super::pace::{Pace, Rate};
use super::packed::{self, PackError};
use super::record::{Record, RecordError, RecordHeader, SnapshotHead, decode_record};
use super::workplace;
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
    /// What it was run by last.
    pub logic: Logic,
    /// Size of the snapshot it began from, in canonical form.
    pub snapshot_bytes: u64,
    /// Size of the records behind it.
    pub journal_bytes: u64,
    /// Journalled hashes compared.
    pub hashes: u64,
    /// Where replay found another hash than the journal says.
    pub mismatches: Vec<Mismatch>,
    /// Inputs that are left out though no record says so yet.
    pub set_aside: Skips,
    /// It was parked by the last record, and goes on at that tick when it is resumed.
    pub parked: Option<Tick>,
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
    #[error("snapshot: {0}")]
    Packed(#[from] PackError),
    #[error("snapshot: its hash is {found}, the head says {expected}")]
    SnapshotHash { expected: StateHash, found: StateHash },
    #[error("record: {0}")]
    Record(#[from] RecordError),
    #[error("record: {0}")]
    Apply(#[from] ApplyError),
    /// Nothing of it was run.
    #[error("it needs {needed}, and here there is {have}")]
    Logic { needed: Logic, have: Logic },
    #[error("record {sequence} is of {found}, which the entity has not adopted: it has {had}")]
    NotAdopted { sequence: u64, had: Logic, found: Logic },
}

impl Image {
    /// Whether the entity was ever written.
    pub fn is_empty(&self) -> bool {
        self.head.is_none() && self.records.is_empty()
    }

    /// Whether the last record parks the entity.
    ///
    /// # Errors
    /// When it is not what was written.
    pub fn is_parked(&self) -> Result<bool, ReplayError> {
        let Some((_, last)) = self.records.last() else { return Ok(false) };
        let (_, record) = decode_record(last)?;
        Ok(record.inputs.iter().any(|input| matches!(input, Input::Park { .. })))
    }

    /// The logics that the snapshot and the records name, in order: of several
    /// that come one after the other the same, one. What cannot be read names none.
    pub fn logics(&self) -> Vec<Logic> {
        let head = self.head.as_deref().and_then(|head| SnapshotHead::decode(head).ok());
        let of_record = |bytes: &[u8]| envelope::open(Kind::Record, bytes).map(|it| it.0).ok();
        let records = self.records.iter().filter_map(|(_, bytes)| of_record(bytes));
        let mut logics: Vec<Logic> =
            head.map(|(logic, _)| logic).into_iter().chain(records).collect();
        logics.dedup();
        logics
    }
}

/// Brings `key` back from `image`: its state after the last record.
///
/// # Errors
/// When something in the image is not what was written, or something is to be
/// run by a logic that is not among `logics`.
pub fn replay(
    key: EntityKey,
    image: &Image,
    logics: &impl Logics,
) -> Result<Replayed, ReplayError> {
    replay_with(key, image, logics, |_, _, _| {})
}

/// As [`replay`]; `watch` is called after each record with the entity, the
/// record and the effects since the record before.
///
/// # Errors
/// As [`replay`].
pub fn replay_with(
    key: EntityKey,
    image: &Image,
    logics: &impl Logics,
    mut watch: impl FnMut(&Entity, &Record, &[Effect]),
) -> Result<Replayed, ReplayError> {
    let mut replayed = begin(key, image, logics)?;
    replayed.follow_with(&image.records, logics, &mut watch)?;
    Ok(replayed)
}

impl Replayed {
    /// Goes on with the records that come next.
    ///
    /// # Errors
    /// As [`replay`]; what is left here then is of no use.
    pub fn follow(
        &mut self,
        records: &[(u64, Vec<u8>)],
        logics: &impl Logics,
    ) -> Result<(), ReplayError> {
        self.follow_with(records, logics, &mut |_, _, _| {})
    }

    /// Goes on to `tick` without a record. What stands still needs no logic.
    ///
    /// # Errors
    /// When it does not stand still and its logic is not among `logics`.
    pub fn run_to(&mut self, tick: Tick, logics: &impl Logics) -> Result<(), ReplayError> {
        let _entered = workplace::enter(self.entity.key(), self.entity.tick());
        // What these steps want done is found again by whoever runs it next.
        self.step_to(tick, logics, &mut Vec::new())
    }

    fn step_to(
        &mut self,
        tick: Tick,
        logics: &impl Logics,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplayError> {
        let is_still = self.entity.is_idle() || self.entity.tick() >= tick;
        let world = if is_still { logics.own() } else { self.world(logics)? };
        self.entity.run_to(tick, world, effects);
        Ok(())
    }

    /// The world it is run in.
    ///
    /// # Errors
    /// When that is not among `logics`.
    pub fn world<'l>(&self, logics: &'l impl Logics) -> Result<&'l World, ReplayError> {
        logics.of(self.logic).ok_or_else(|| self.lacks(logics))
    }

    fn lacks(&self, logics: &impl Logics) -> ReplayError {
        ReplayError::Logic { needed: self.logic, have: logics.own().logic() }
    }

    fn follow_with(
        &mut self,
        records: &[(u64, Vec<u8>)],
        logics: &impl Logics,
        watch: &mut impl FnMut(&Entity, &Record, &[Effect]),
    ) -> Result<(), ReplayError> {
        let _entered = workplace::enter(self.entity.key(), self.entity.tick());
        self.journal_bytes += records.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        let records = decode(records)?;
        // The state may hold records of its last tick already, which the hash of
        // that tick does not: only later ones can be compared.
        let mut hashes = hashes_in(&records).split_off(&self.entity.tick().after(1));
        let named = Skips::named_in(records.iter().map(|(_, record)| record));
        let skips = named.with(&self.set_aside);
        let mut effects = Vec::new();
        for (logic, record) in &records {
            // A hash is of the state after the step to its tick and before that
            // tick's records.
            while let Some((tick, _)) = hashes.first_key_value() {
                if *tick > record.header.tick {
                    break;
                }
                if let Some((tick, journalled)) = hashes.pop_first() {
                    self.compare(tick, journalled, logics, &mut effects)?;
                }
            }
            self.enter(*logic, record, logics, &mut effects)?;
            let world = logics.of(self.logic).ok_or_else(|| self.lacks(logics))?;
            self.entity.apply_but(record, &skips, world, &mut effects)?;
            self.parked = record.inputs.iter().fold(self.parked, |parked, input| match input {
                Input::Park { until } => Some(*until),
                Input::Claim(_) => None,
                _ => parked,
            });
            watch(&self.entity, record, &effects);
            effects.clear();
        }
        Ok(())
    }

    /// Takes the logic of `record`, if the entity has it or adopts it there; what
    /// was before is run to its end by the one it had.
    fn enter(
        &mut self,
        logic: Logic,
        record: &Record,
        logics: &impl Logics,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplayError> {
        let had = match record.inputs.first() {
            Some(Input::Adopt { from }) => *from,
            _ => logic,
        };
        if had != self.logic {
            let (sequence, had) = (record.header.sequence, self.logic);
            return Err(ReplayError::NotAdopted { sequence, had, found: logic });
        }
        if logic != self.logic {
            // What stands still is run by nobody: its record makes its time pass, and
            // counts by that how long it slept.
            if !self.entity.is_idle() {
                self.step_to(record.header.tick, logics, effects)?;
            }
            self.logic = logic;
        }
        Ok(())
    }

    fn compare(
        &mut self,
        tick: Tick,
        journalled: StateHash,
        logics: &impl Logics,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplayError> {
        self.step_to(tick, logics, effects)?;
        let replayed = StateHash::of(&self.entity.snapshot_of(self.logic));
        self.hashes += 1;
        if replayed != journalled {
            self.mismatches.push(Mismatch { tick, journalled, replayed });
        }
        Ok(())
    }
}

/// What the image's snapshot, or else the seed, gives, before the first record.
///
/// # Errors
/// As [`replay`]. A snapshot is read whatever its logic is: it is there to be
/// adopted from.
pub fn begin(key: EntityKey, image: &Image, logics: &impl Logics) -> Result<Replayed, ReplayError> {
    let _entered = workplace::enter(key, Tick(0));
    let of = |entity, logic, snapshot_bytes| Replayed {
        entity,
        logic,
        snapshot_bytes,
        journal_bytes: 0,
        hashes: 0,
        mismatches: Vec::new(),
        set_aside: Skips::default(),
        parked: None,
    };
    let Some(head) = &image.head else {
        // What the seed gives is the same by all rules.
        let world = logics.own();
        let entity = Entity::genesis(key, world).ok_or(ReplayError::NoSuchEntity(key))?;
        let logic = image.logics().first().copied().unwrap_or(world.logic());
        return Ok(of(entity, logic, 0));
    };
    let (logic, head) = SnapshotHead::decode(head)?;
    // Behind those of a shorter snapshot there may be some of one that was given up.
    let chunks = &image.chunks[..image.chunks.len().min(head.chunks as usize)];
    let stored = chunks.concat();
    let bytes = packed::unpack(&stored)?;
    let found = StateHash::of(&bytes);
    if found != head.hash {
        return Err(ReplayError::SnapshotHash { expected: head.hash, found });
    }
    Ok(of(Entity::restore(key, &bytes)?, logic, bytes.len() as u64))
}

/// How a journal ends, by what an image says, of which nothing is run: so that can be
/// told whatever logic it is of, and of what nobody can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The last record, or what is in the snapshot: number, tick and time.
    pub last: RecordHeader,
    /// The logic it needs there; `None` when nothing was ever written.
    pub logic: Option<Logic>,
    /// The claim that is open.
    pub open: Option<OpenClaim>,
    /// Whether it hibernates.
    pub sleeps: bool,
    /// It was parked by the last record, and goes on at that tick.
    pub parked: Option<Tick>,
    records: Vec<Record>,
}

/// The end of `key`'s journal.
///
/// # Errors
/// When something in the image is not what was written.
pub fn tail_of(key: EntityKey, image: &Image, logics: &impl Logics) -> Result<Tail, ReplayError> {
    let begun = begin(key, image, logics)?;
    let head = begun.entity.head();
    let mut tail = Tail {
        last: RecordHeader { sequence: head.sequence, tick: head.tick, time: head.time },
        logic: image.logics().last().copied(),
        open: head.claim,
        sleeps: head.slept.is_some(),
        parked: None,
        records: Vec::new(),
    };
    for (_, record) in decode(&image.records)? {
        tail.last = record.header;
        record.inputs.iter().for_each(|input| tail.note(input));
        tail.records.push(record);
    }
    Ok(tail)
}

impl Tail {
    fn note(&mut self, input: &Input) {
        let tick = self.last.tick;
        match input {
            Input::Claim(claim) => {
                let pace = Pace::new(tick, claim.node_tick, Rate::FULL);
                self.open = Some(OpenClaim { claim: *claim, pace });
                (self.sleeps, self.parked) = (false, None);
            }
            Input::Dilate(Dilation { rate, node_tick }) => {
                let pace = Pace::new(tick, *node_tick, *rate);
                self.open = self.open.map(|open| OpenClaim { pace, ..open });
            }
            Input::Close => (self.open, self.sleeps) = (None, true),
            Input::HandOver { .. } => self.open = None,
            Input::Park { until } => (self.open, self.parked) = (None, Some(*until)),
            _ => {}
        }
    }

    /// The claim that is open.
    pub fn claim(&self) -> Option<Claim> {
        self.open.map(|open| open.claim)
    }

    /// The input at that place, if it is behind the snapshot.
    pub fn input(&self, place: InputPlace) -> Option<&Input> {
        let record = self.records.iter().find(|it| it.header.sequence == place.sequence)?;
        record.inputs.get(usize::try_from(place.index).ok()?)
    }

    /// Whether somebody held the state with that record: a hash of later was journalled.
    pub fn was_hashed_behind(&self, sequence: u64) -> bool {
        let mut records = self.records.iter();
        let Some(record) = records.find(|it| it.header.sequence == sequence) else { return true };
        let at = record.header.tick;
        let mut inputs = records.flat_map(|later| &later.inputs);
        inputs.any(|input| matches!(input, Input::Hash { tick, .. } if *tick > at))
    }
}

fn decode(records: &[(u64, Vec<u8>)]) -> Result<Vec<(Logic, Record)>, ReplayError> {
    records.iter().map(|(_, bytes)| Ok(decode_record(bytes)?)).collect()
}

fn hashes_in(records: &[(Logic, Record)]) -> BTreeMap<Tick, StateHash> {
    let inputs = records.iter().flat_map(|(_, record)| &record.inputs);
    inputs
        .filter_map(|input| match input {
            Input::Hash { tick, hash } => Some((*tick, *hash)),
            _ => None,
        })
        .collect()
}
