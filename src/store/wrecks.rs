//! Owns the bringing back of an entity that may break whoever runs it: it is replayed
//! under a guard, again when it panics, and when it panics at the same place once more
//! it is known what breaks. An input that may be set aside is left out from then on
//! and named by the record of the claim; all else makes it a wreck, to be parked.
//! Never writes and never claims. Called by [`load`](super::recovery::load).
//!
//! Whatever this finds is in no journal yet: who is not the first to claim finds it
//! once more. What was left out leaves no trace in the state, because each try begins
//! with the snapshot. An input that an earlier build applied, as a later hash in the
//! journal shows, is not left out when this build panics at it: what came of it was seen.
//!
//! Invariant: a bounded number of tries, whatever the entity does.

use super::Store;
use super::recovery::ended_of_open;
use crate::base::{EntityKey, Tick};
use crate::cluster::core::loading::{Asker, LoadError, Loaded, Wreck, recover};
use crate::entity::caught::caught;
use crate::entity::input::{Claim, Input, InputPlace};
use crate::entity::logics::Logics;
use crate::entity::machine::{Broke, Skips};
use crate::entity::replay::{Image, Replayed, Tail, begin, tail_of};

/// More inputs than this are not set aside in one load.
const SET_ASIDE_MAX: usize = 16;
/// Two tries for each of them, and as many again where they are not always the same.
const TRIES_MAX: usize = 4 * SET_ASIDE_MAX;

/// Brings `entity` to where its last owner left it.
///
/// # Errors
/// When the store does not answer, or it cannot be claimed: of what breaks
/// [`LoadError::Broken`].
pub fn bring_back(
    store: &dyn Store,
    entity: EntityKey,
    image: &Image,
    logics: &impl Logics,
    asker: Asker,
) -> Result<Loaded, LoadError> {
    let mut set_aside = Skips::default();
    let (mut suspect, mut tail) = (None, None);
    for _ in 0..TRIES_MAX {
        let mut replayed = begin(entity, image, logics)?;
        replayed.set_aside = set_aside.clone();
        let broke = match tried(store, image, logics, asker, &mut replayed) {
            Some(tried) => return tried.map(|()| Loaded::of(replayed, logics)),
            None => replayed.entity.broke(),
        };
        if suspect.replace(broke) != Some(broke) {
            continue;
        }
        let tail = match &mut tail {
            Some(tail) => tail,
            None => tail.insert(tail_of(entity, image, logics)?),
        };
        match broke {
            Broke::Input(place) if may_be_skipped(tail, place, &set_aside) => {
                set_aside.insert(place);
            }
            broke => return Err(given_up(store, entity, tail, broke, logics, asker)),
        }
    }
    let tail = tail_of(entity, image, logics)?;
    Err(given_up(store, entity, &tail, Broke::Other(tail.last.tick), logics, asker))
}

/// What it takes to park `entity` without running it, because of what is known of it.
///
/// # Errors
/// [`LoadError::Broken`] with that reason; another when it cannot be parked, or need not
/// be.
pub fn condemn(
    store: &dyn Store,
    entity: EntityKey,
    image: &Image,
    logics: &impl Logics,
    (asker, why): (Asker, String),
) -> LoadError {
    let tail = match tail_of(entity, image, logics) {
        Ok(tail) => tail,
        Err(error) => return error.into(),
    };
    let error = given_up(store, entity, &tail, Broke::Other(tail.last.tick), logics, asker);
    match error {
        LoadError::Broken(wreck) => LoadError::Broken(Box::new(Wreck { why, ..*wreck })),
        error => error,
    }
}

/// What another runs is not this node's to park.
fn given_up(
    store: &dyn Store,
    entity: EntityKey,
    tail: &Tail,
    broke: Broke,
    logics: &impl Logics,
    asker: Asker,
) -> LoadError {
    match (ended_of_open(store, tail.open, asker), tail.claim()) {
        (Err(error), _) => error,
        (Ok(None), Some(Claim { node, incarnation, .. })) => LoadError::Owned { node, incarnation },
        (Ok(ended), _) => LoadError::Broken(Box::new(wreck(entity, tail, ended, broke, logics))),
    }
}

/// `None` when it panicked.
fn tried(
    store: &dyn Store,
    image: &Image,
    logics: &impl Logics,
    asker: Asker,
    replayed: &mut Replayed,
) -> Option<Result<(), LoadError>> {
    if let Err(error) = caught(|| replayed.follow(&image.records, logics))? {
        return Some(Err(error.into()));
    }
    let ended = match ended_of_open(store, replayed.entity.head().claim, asker) {
        Err(error) => return Some(Err(error)),
        Ok(ended) => ended,
    };
    caught(|| recover(replayed, ended, logics))
}

fn may_be_skipped(tail: &Tail, place: InputPlace, known: &Skips) -> bool {
    // One that panics also where it is left out cannot be; nor one that somebody
    // applied, for what came of it was seen.
    !known.has(place)
        && !tail.was_hashed_behind(place.sequence)
        && known.len() < SET_ASIDE_MAX
        && tail.input(place).is_some_and(Input::may_be_skipped)
}

fn wreck(
    entity: EntityKey,
    tail: &Tail,
    ended: Option<Tick>,
    broke: Broke,
    logics: &impl Logics,
) -> Wreck {
    let last = tail.last;
    let got = match broke {
        Broke::Step(tick) => Tick(tick.0.saturating_sub(1)),
        Broke::Other(tick) => tick,
        Broke::Input(_) | Broke::Time { .. } => last.tick,
    };
    let tick = got.max(last.tick);
    let seen = tail.open.zip(ended).map(|(open, ended)| open.tick_at(ended));
    // Nobody ran it since it was parked, and it may have been seen till then.
    let seen = seen.max(tail.parked);
    Wreck {
        entity,
        sequence: last.sequence,
        time: last.time,
        tick,
        until: seen.map_or(tick, |seen| seen.max(tick)),
        logic: tail.logic.unwrap_or_else(|| logics.own().logic()),
        sleeps: tail.sleeps,
        why: broke.to_string(),
    }
}
