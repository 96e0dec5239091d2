//! Owns how a node reads back what it wrote: whole entities, which ones it
//! owned, the next free ids. Never writes. Called by the store's reading
//! threads, by `starmesh replay` and by the simulator.

use std::collections::BTreeMap;

use super::worlds::Worlds;
use super::wrecks;
use super::{Cursor, ReadError, Store, Versioned};
use crate::base::{EntityKey, Incarnation, Millis, NodeId, Tick};
use crate::cluster::core::deaths::DeathsRead;
use crate::cluster::core::directory::{self, Directory};
use crate::cluster::core::loading::{Ahead, Asker, LoadError, Loaded, recover};
use crate::cluster::core::members::RowRead;
use crate::cluster::core::node::ClusterRead;
use crate::cluster::core::roles::Roles;
use crate::entity::attempt::Attempt;
use crate::entity::caught::caught;
use crate::entity::commit::{NodeRow, RowError};
use crate::entity::context::OpenClaim;
use crate::entity::history::NodeTicks;
use crate::entity::input::Claim;
use crate::entity::keys;
use crate::entity::logics::KnownWorlds;
use crate::entity::parked::Parked;
use crate::entity::replay::{Image, ReplayError, Replayed, replay, tail_of};
use crate::entity::summary::Summary;

/// Keys read at a time.
const PAGE: usize = 1024;
/// What is loaded ahead of a hand-over is left as it is when it is so many ticks
/// behind its owner, or after so many rounds: each takes but a part of the one
/// before, as long as stepping is faster than time.
const NEAR_TICKS: u64 = 3;
const ROUNDS_MAX: u32 = 16;

/// Loads and replays `entity` for `asker`, to where its last owner left it. What
/// was loaded `ahead` is gone on from, if its journal still goes on from there.
///
/// # Errors
/// When the store does not answer, or the entity cannot be claimed.
pub fn load(
    store: &dyn Store,
    entity: EntityKey,
    worlds: &Worlds,
    asker: Asker,
    ahead: Option<Ahead>,
) -> Result<Loaded, LoadError> {
    if let Some(ahead) = ahead
        // What panics is looked at from its beginning.
        && let Some(loaded) = caught(|| load_behind(store, entity, worlds, asker, ahead))
        && let Some(loaded) = loaded?
    {
        return Ok(loaded);
    }
    let (image, known) = unparked(store, entity, worlds)?;
    match wrecks::bring_back(store, entity, &image, &known, asker) {
        Err(LoadError::Replay(ReplayError::Logic { needed, have })) => {
            let tail = tail_of(entity, &image, &known)?;
            let error = ReplayError::Logic { needed, have }.into();
            Err(others(store, tail.claim(), asker).map_err(unread)?.unwrap_or(error))
        }
        loaded => loaded,
    }
}

/// What it takes to park `entity`, and `why` that is to be: of what has a record. Nothing
/// of it is run.
///
/// # Errors
/// [`LoadError::Broken`] says it; as [`load`] when it cannot be claimed.
pub fn condemn(
    store: &dyn Store,
    entity: EntityKey,
    worlds: &Worlds,
    asker: Asker,
    why: String,
) -> Result<Loaded, LoadError> {
    let (image, known) = unparked(store, entity, worlds)?;
    if image.is_empty() {
        // It was deleted since: what the seed gives did nothing yet.
        return load(store, entity, worlds, asker, None);
    }
    Err(wrecks::condemn(store, entity, &image, &known, (asker, why)))
}

/// All that there is of `entity`, and what it takes to run it, unless it is parked.
fn unparked(
    store: &dyn Store,
    entity: EntityKey,
    worlds: &Worlds,
) -> Result<(Image, KnownWorlds), LoadError> {
    let image = image(store, entity).map_err(unread)?;
    let known = worlds.of_image(store, &image).map_err(unread)?;
    if image.is_parked()?
        && let Some(row) = store.get(&keys::parked(entity)).map_err(unread)?
    {
        let parked = Parked::from_bytes(&row.value);
        let parked = parked.ok_or_else(|| LoadError::Damaged("why it is parked".into()))?;
        return Err(LoadError::Parked(Box::new(parked)));
    }
    Ok((image, known))
}

/// What was loaded ahead and the records behind it, if those are what follows.
fn load_behind(
    store: &dyn Store,
    entity: EntityKey,
    worlds: &Worlds,
    asker: Asker,
    ahead: Ahead,
) -> Result<Option<Loaded>, LoadError> {
    let followed = follow(store, entity, worlds, ahead).map_err(unread)?;
    let Some((Ahead { mut replayed, .. }, known)) = followed else { return Ok(None) };
    if replayed.parked.is_some() {
        // Whether it was resumed since is asked where all of it is loaded.
        return Ok(None);
    }
    let ended = ended_of_open(store, replayed.entity.head().claim, asker)?;
    recover(&mut replayed, ended, &known)?;
    Ok(Some(Loaded { was_ahead: true, ..Loaded::of(replayed, &known) }))
}

/// That another node runs what has this open claim.
fn others(
    store: &dyn Store,
    claim: Option<Claim>,
    asker: Asker,
) -> Result<Option<LoadError>, ReadError> {
    let Some(Claim { node, incarnation, .. }) = claim.filter(|claim| claim.node != asker.node)
    else {
        return Ok(None);
    };
    let runs = ended(store, node, incarnation)?.is_none();
    Ok(runs.then_some(LoadError::Owned { node, incarnation }))
}

/// Loads and replays `entity` while another node runs it, and follows it until
/// little is left: a load takes time, in which its owner goes on.
///
/// # Errors
/// When the store does not answer, or the entity cannot be replayed here, or what
/// was read was replaced meanwhile.
pub fn load_ahead(
    store: &dyn Store,
    entity: EntityKey,
    worlds: &Worlds,
) -> Result<Ahead, LoadError> {
    let mut image = image(store, entity).map_err(unread)?;
    let known = worlds.of_image(store, &image).map_err(unread)?;
    let replayed = replay(entity, &image, &known)?;
    let mut ahead = Ahead { replayed, head: image.head, last: image.records.pop() };
    for _ in 0..ROUNDS_MAX {
        let Some(tick) = owners_tick(store, &ahead.replayed).map_err(unread)? else { break };
        if tick.since(ahead.replayed.entity.tick()) <= NEAR_TICKS {
            break;
        }
        let followed = follow(store, entity, worlds, ahead).map_err(unread)?;
        let (mut next, known) = followed.ok_or_else(|| unread(ReadError::Replaced))?;
        // Records that come later are of that tick at least, and its hash is still
        // to be compared.
        next.replayed.run_to(Tick(tick.0.saturating_sub(1)), &known)?;
        ahead = next;
    }
    Ok(ahead)
}

/// The tick that the entity had when its owner's row was read now, if that still
/// runs: all records of before are in the journal.
fn owners_tick(store: &dyn Store, replayed: &Replayed) -> Result<Option<Tick>, ReadError> {
    let Some(open) = replayed.entity.head().claim else { return Ok(None) };
    let Some(found) = store.get(&keys::row(open.claim.node))? else { return Ok(None) };
    let row = NodeRow::from_bytes(&found.value);
    let row = row.map_err(|error| ReadError::Damaged(error.to_string()))?;
    let runs = row.incarnation == open.claim.incarnation;
    Ok(runs.then(|| open.tick_at(row.tick)))
}

/// Goes on with the records behind what was loaded ahead; `None` where those are
/// not what follows, or lead to another hash than the journal says: then all of
/// it is to be loaded.
fn follow(
    store: &dyn Store,
    entity: EntityKey,
    worlds: &Worlds,
    ahead: Ahead,
) -> Result<Option<(Ahead, KnownWorlds)>, ReadError> {
    let Ahead { mut replayed, head, last } = ahead;
    let sequence = replayed.entity.head().sequence;
    let overlap = u64::from(last.is_some());
    if last.is_none() && store.get(&keys::head(entity))?.map(|row| row.value) != head {
        return Ok(None);
    }
    let mut from = Some(Cursor::After(sequence.saturating_sub(overlap)));
    let mut records = Vec::new();
    while from.is_some() {
        let page = match store.load(entity, from) {
            Err(ReadError::Replaced) => return Ok(None),
            page => page?,
        };
        records.extend(page.records);
        from = page.next;
    }
    if let Some(last) = &last {
        if records.first() != Some(last) {
            return Ok(None);
        }
        records.remove(0);
    }
    let mut logics = vec![replayed.logic];
    let mut behind = Image { records, ..Image::default() };
    logics.extend(behind.logics());
    let known = worlds.of(store, &logics)?;
    let is_same =
        replayed.follow(&behind.records, &known).is_ok() && replayed.mismatches.is_empty();
    let last = behind.records.pop().or(last);
    Ok(is_same.then_some((Ahead { replayed, head, last }, known)))
}

/// The last durable tick of the incarnation that has this open claim, if it ended,
/// or asks.
pub(super) fn ended_of_open(
    store: &dyn Store,
    open: Option<OpenClaim>,
    asker: Asker,
) -> Result<Option<Tick>, LoadError> {
    match open {
        Some(OpenClaim { claim, .. })
            if (claim.node, claim.incarnation) == (asker.node, asker.incarnation) =>
        {
            Ok(Some(asker.durable))
        }
        Some(open) => ended(store, open.claim.node, open.claim.incarnation).map_err(unread),
        None => Ok(None),
    }
}

/// All that `store` has of `entity`.
///
/// # Errors
/// When the store does not answer.
pub fn image(store: &dyn Store, entity: EntityKey) -> Result<Image, ReadError> {
    let mut image = Image::default();
    let mut from = None;
    loop {
        let page = store.load(entity, from)?;
        image.head = image.head.or(page.head);
        image.chunks.extend(page.chunks);
        image.records.extend(page.records);
        from = page.next;
        if from.is_none() {
            return Ok(image);
        }
    }
}

/// The last durable tick of an incarnation, if it has ended.
fn ended(
    store: &dyn Store,
    node: NodeId,
    incarnation: Incarnation,
) -> Result<Option<Tick>, ReadError> {
    let row = store.get(&keys::ended_incarnation(node, incarnation))?;
    let tick = row.map(|row| {
        row.value.as_slice().try_into().map(u64::from_be_bytes).map_err(|_| {
            ReadError::Damaged(format!("the end of incarnation {incarnation} of node {node}"))
        })
    });
    Ok(tick.transpose()?.map(Tick))
}

/// The last durable tick of every incarnation, of those that run and of those
/// that ended.
///
/// # Errors
/// When the store does not answer.
pub fn node_ticks(store: &dyn Store) -> Result<NodeTicks, ReadError> {
    let mut ticks = NodeTicks::new();
    for (key, row) in store.scan(keys::ROW, None, usize::MAX)? {
        let damaged = |error: RowError| ReadError::Damaged(error.to_string());
        let row = NodeRow::from_bytes(&row.value).map_err(damaged)?;
        ticks.extend(keys::parse_row(&key).map(|node| ((node, row.incarnation), row.tick)));
    }
    for (key, _) in store.scan(keys::ENDED, None, usize::MAX)? {
        let Some((node, incarnation)) = keys::parse_ended_incarnation(&key) else { continue };
        ticks.extend(ended(store, node, incarnation)?.map(|tick| ((node, incarnation), tick)));
    }
    Ok(ticks)
}

/// The last declarations of death, then all nodes' rows and roles, and the
/// directory if its version is not `known`.
///
/// # Errors
/// When the store does not answer, or the directory changed while it was read.
pub fn cluster(store: &dyn Store, known: u64) -> Result<ClusterRead, ReadError> {
    let deaths = deaths(store)?;
    let mut rows = Vec::new();
    for (key, Versioned { version, value }) in store.scan(keys::ROW, None, usize::MAX)? {
        let damaged = |error: RowError| ReadError::Damaged(error.to_string());
        let row = NodeRow::from_bytes(&value).map_err(damaged)?;
        rows.extend(keys::parse_row(&key).map(|node| RowRead { node, version, row }));
    }
    let mut roles = BTreeMap::new();
    for (key, row) in store.scan(keys::ROLES, None, usize::MAX)? {
        let said = keys::parse_roles(&key).zip(Roles::from_bytes(&row.value));
        roles.extend([said.ok_or_else(|| ReadError::Damaged("the roles of a node".into()))?]);
    }
    let version = store.get(keys::DIRECTORY_VERSION)?.map(|version| version.value);
    let damaged = |error: directory::RowError| match error {
        directory::RowError::Changed { .. } => ReadError::Away(error.to_string()),
        error => ReadError::Damaged(error.to_string()),
    };
    let version = directory::read_version(version.as_deref()).map_err(damaged)?;
    if version == known {
        return Ok(ClusterRead { deaths, rows, roles, directory: None });
    }
    let entries = store.scan(keys::DIRECTORY, None, usize::MAX)?;
    let entries = entries.into_iter().map(|(key, row)| (key, row.value));
    let directory = Directory::from_rows(version, entries).map_err(damaged)?;
    Ok(ClusterRead { deaths, rows, roles, directory: Some(directory) })
}

fn deaths(store: &dyn Store) -> Result<DeathsRead, ReadError> {
    let Some(row) = store.get(keys::DEATHS)? else { return Ok(DeathsRead::default()) };
    let damaged = || ReadError::Damaged("the declarations of death".into());
    DeathsRead::parse(row.version, &row.value).ok_or_else(damaged)
}

/// The entities that `node` has, or had, an open claim on.
///
/// # Errors
/// When the store does not answer.
pub fn owned(store: &dyn Store, node: NodeId) -> Result<Vec<EntityKey>, ReadError> {
    Ok(owned_keys(store, node)?.into_iter().map(|(entity, _)| entity).collect())
}

/// The same, each with the version of the key that says so.
///
/// # Errors
/// As [`owned`].
pub fn owned_keys(store: &dyn Store, node: NodeId) -> Result<Vec<(EntityKey, u64)>, ReadError> {
    let prefix = keys::owned_by(node);
    let mut entities = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(&prefix, after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(entities) };
        after = Some(last.clone());
        for (key, found) in &page {
            let entity = EntityKey::from_bytes(&key[prefix.len()..])
                .map_err(|error| ReadError::Damaged(error.to_string()))?;
            entities.push((entity, found.version));
        }
    }
}

/// A page of the entities that are parked, behind the key `after`, and why, each with
/// the version of its row.
///
/// # Errors
/// When the store does not answer.
pub fn parked(
    store: &dyn Store,
    after: Option<&[u8]>,
) -> Result<Vec<(EntityKey, u64, Parked)>, ReadError> {
    let page = store.scan(keys::PARKED, after, PAGE)?;
    let parsed = page.iter().map(|(key, row)| {
        let parsed = keys::parse_parked(key).zip(Parked::from_bytes(&row.value));
        let damaged = || ReadError::Damaged("why an entity is parked".into());
        parsed.map(|(entity, parked)| (entity, row.version, parked)).ok_or_else(damaged)
    });
    parsed.collect()
}

/// All entities that are parked, ascending.
///
/// # Errors
/// When the store does not answer.
pub fn parked_keys(store: &dyn Store) -> Result<Vec<EntityKey>, ReadError> {
    let mut entities: Vec<EntityKey> = Vec::new();
    loop {
        let after = entities.last().map(|entity| keys::parked(*entity));
        let page = store.scan(keys::PARKED, after.as_deref(), PAGE)?;
        if page.is_empty() {
            return Ok(entities);
        }
        for (key, _) in &page {
            let entity = keys::parse_parked(key);
            let damaged = || ReadError::Damaged("the key of a parked entity".into());
            entities.push(entity.ok_or_else(damaged)?);
        }
    }
}

/// All ends of processes that are entities'.
///
/// # Errors
/// When the store does not answer.
pub fn attempts(store: &dyn Store) -> Result<Vec<Attempt>, ReadError> {
    let damaged = || ReadError::Damaged("what ended a process".into());
    let mut attempts: Vec<Attempt> = Vec::new();
    loop {
        let after = attempts.last().map(Attempt::key);
        let page = store.scan(keys::ATTEMPT, after.as_deref(), PAGE)?;
        if page.is_empty() {
            return Ok(attempts);
        }
        for (key, row) in &page {
            attempts.push(Attempt::from_row(key, &row.value).ok_or_else(damaged)?);
        }
    }
}

/// The first `limit` timers of hibernating entities behind the key `after`, in
/// order.
///
/// # Errors
/// When the store does not answer.
pub fn due(
    store: &dyn Store,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<(Millis, EntityKey)>, ReadError> {
    let page = store.scan(keys::DUE, after, limit)?;
    let parsed = page.iter().map(|(key, _)| {
        keys::parse_due(key).ok_or_else(|| ReadError::Damaged("the key of a timer".into()))
    });
    parsed.collect()
}

/// A sector that hibernates, and what is known of it: nothing when that cannot
/// be read.
pub type Asleep = (EntityKey, Option<Summary>);

/// A page of the entities that hibernate, behind the key `after`, and after
/// which key there may be more.
///
/// # Errors
/// When the store does not answer.
pub fn asleep(
    store: &dyn Store,
    after: Option<&[u8]>,
) -> Result<(Vec<Asleep>, Option<Vec<u8>>), ReadError> {
    let page = store.scan(keys::SUMMARY, after, PAGE)?;
    let parsed = page.iter().map(|(key, row)| {
        let entity = keys::parse_summary(key);
        let entity = entity.ok_or_else(|| ReadError::Damaged("the key of a summary".into()))?;
        // What it had is known again when it wakes.
        Ok((entity, Summary::from_bytes(&row.value).ok()))
    });
    let entities = parsed.collect::<Result<Vec<_>, ReadError>>()?;
    Ok((entities, page.into_iter().next_back().map(|(key, _)| key)))
}

/// The incarnations of `node` whose last tick is kept, ascending.
///
/// # Errors
/// When the store does not answer.
pub fn ended_of(store: &dyn Store, node: NodeId) -> Result<Vec<Incarnation>, ReadError> {
    let rows = store.scan(&keys::ended_of(node), None, usize::MAX)?;
    let incarnation = |(key, _): &(Vec<u8>, _)| keys::parse_ended_incarnation(key);
    Ok(rows.iter().filter_map(incarnation).map(|(_, incarnation)| incarnation).collect())
}

/// The first id that no block holds yet and the version of its key; `None` in
/// a new galaxy.
///
/// # Errors
/// When the store does not answer.
pub fn next_id(store: &dyn Store) -> Result<Option<(u64, u64)>, ReadError> {
    let Some(row) = store.get(keys::NEXT_ID)? else { return Ok(None) };
    let next = row.value.as_slice().try_into().map(u64::from_be_bytes);
    let next = next.map_err(|_| ReadError::Damaged("the next free id".into()))?;
    Ok(Some((next, row.version)))
}

fn unread(error: ReadError) -> LoadError {
    match error {
        ReadError::Damaged(why) => LoadError::Damaged(why),
        ReadError::Away(_) | ReadError::Replaced => LoadError::Store(error.to_string()),
    }
}
