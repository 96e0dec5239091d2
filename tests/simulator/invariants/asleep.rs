//! Invariants 19 and 22, as far as hibernation goes: an entity hibernates with
//! nothing to do, its keys change with its records and say what is so, it wakes
//! as if it had been stepped all the time, and of one that was deleted nothing
//! is left.

use std::collections::BTreeSet;

use starmesh::base::{EntityKey, Millis};
use starmesh::entity::Entity;
use starmesh::entity::channel::{Inbox, Outbox};
use starmesh::entity::commands::CommandRows;
use starmesh::entity::commit::{Append, Group};
use starmesh::entity::input::{Claim, Input};
use starmesh::entity::keys;
use starmesh::entity::kinds::Kind;
use starmesh::entity::record::{Record, RecordHeader, decode_record};
use starmesh::entity::summary::Summary;
use starmesh::sim::Unit;
use starmesh::store::{Store, recovery};

use crate::process::NODE;
use crate::scene::{Fact, Invariant, Scene};

/// So many steps are made one by one to see that nothing happens in them.
const STEPPED_MAX: u64 = 50;

#[derive(Default)]
pub struct Asleep {
    deleted: BTreeSet<EntityKey>,
}

impl Invariant for Asleep {
    fn name(&self) -> &'static str {
        "19, 22 what hibernates has nothing to do and wakes as if it had not"
    }

    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene) -> Result<(), String> {
        match fact {
            Fact::Durable { commit, refused } => {
                let groups = (0_u32..).zip(&commit.groups);
                let mut groups = groups.filter(|(index, _)| !refused.contains(index));
                groups.try_for_each(|(_, group)| keys_change(group, scene))
            }
            Fact::Applied { before, after, record, .. } => match record.inputs.first() {
                Some(Input::Close) => closed(after),
                Some(Input::Claim(claim)) => claimed(before, after, record, claim, scene),
                _ => Ok(()),
            },
            Fact::Deleted(entity) => {
                self.deleted.insert(entity.key());
                if is_blank(entity) && entity.head().slept.is_some() {
                    return Ok(());
                }
                Err(format!("{entity:?} was deleted"))
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self, scene: &Scene) -> Result<(), String> {
        let asleep = |(key, entity): (EntityKey, &Entity)| {
            let slept = entity.head().slept.is_some();
            slept.then(|| (key, entity.next_due()))
        };
        let entities = scene.shadows.iter().map(|(key, shadow)| (*key, shadow.entity()));
        let expected: Vec<(EntityKey, Option<Millis>)> = entities.filter_map(asleep).collect();
        let summaries: BTreeSet<EntityKey> = expected.iter().map(|(key, _)| *key).collect();
        let timers = expected.iter().filter_map(|(key, due)| Some(((*due)?, *key)));
        equal("summaries", &summaries, &stored(scene, keys::SUMMARY, keys::parse_summary)?)?;
        for (key, _) in &expected {
            let row = scene.memory.get(&keys::summary(*key)).map_err(|error| error.to_string())?;
            let entity = scene.shadow(*key).ok_or("a shadow of what sleeps")?;
            let bytes = row.map(|row| row.value).unwrap_or_default();
            sums_up(&bytes, entity, scene).map_err(|what| format!("{key}: {what}"))?;
        }
        equal("timers", &timers.collect(), &stored(scene, keys::DUE, keys::parse_due)?)?;
        let open = scene.shadows.iter().filter(|(_, s)| s.entity().head().claim.is_some());
        let owned = recovery::owned(&*scene.memory, NODE).map_err(|error| error.to_string())?;
        equal("owned", &open.map(|(key, _)| *key).collect(), &owned.into_iter().collect())?;
        for key in self.deleted.iter().filter(|key| !scene.shadows.contains_key(key)) {
            let image = recovery::image(&*scene.memory, *key).map_err(|error| error.to_string())?;
            if !image.is_empty() || !image.chunks.is_empty() {
                return Err(format!("{key} was deleted and has {image:?}"));
            }
        }
        Ok(())
    }
}

fn equal<T: Ord + std::fmt::Debug>(
    what: &str,
    expected: &BTreeSet<T>,
    found: &BTreeSet<T>,
) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    Err(format!("{what}: {found:?} in the store, {expected:?} by the journals"))
}

fn stored<T: Ord>(
    scene: &Scene,
    prefix: &[u8],
    parse: impl Fn(&[u8]) -> Option<T>,
) -> Result<BTreeSet<T>, String> {
    let rows = scene.memory.scan(prefix, None, usize::MAX).map_err(|error| error.to_string())?;
    let parse = |(key, _): &(Vec<u8>, _)| parse(key).ok_or_else(|| format!("the key {key:?}"));
    rows.iter().map(parse).collect()
}

/// Keys change in the group of the record that makes them true. The shadows
/// do not have the commit yet.
fn keys_change(group: &Group, scene: &Scene) -> Result<(), String> {
    let Some(Append { entity, bytes, .. }) = &group.append else { return Ok(()) };
    let (_, record) = decode_record(bytes).map_err(|error| error.to_string())?;
    let put = |key: Vec<u8>| group.puts.iter().find(|put| put.key == key).map(|put| &put.value);
    let is_deleted = |key: Vec<u8>| put(key) == Some(&None);
    let what = |what: &str| Err(format!("{entity}: {record:?} and {what}"));
    match record.inputs.first() {
        Some(Input::Close) => {
            if !is_deleted(keys::owned(NODE, *entity)) {
                return what("it stays owned");
            }
            let summary = put(keys::summary(*entity)).and_then(Option::as_deref);
            let is_kept = summary.is_some();
            if let (Some(bytes), Some(before)) = (summary, scene.shadow(*entity)) {
                let mut slept = before.clone();
                slept.run_to(record.header.tick, &scene.world, &mut Vec::new());
                // As the record would have it, without applying it.
                let header = RecordHeader { sequence: before.head().sequence + 1, ..record.header };
                let close = Record { header, inputs: vec![Input::Close] };
                let applied = slept.apply(&close, &scene.world, &mut Vec::new());
                applied.map_err(|error| error.to_string())?;
                sums_up(bytes, &slept, scene).map_err(|what| format!("{entity}: {what}"))?;
            }
            if is_kept == is_deleted(keys::head(*entity)) {
                return what("it is both kept and deleted, or neither");
            }
        }
        Some(Input::Claim(_)) => {
            let before = scene.shadow(*entity).filter(|before| before.head().slept.is_some());
            let Some(before) = before else { return Ok(()) };
            let due = before.next_due().map(|due| keys::due(due, *entity));
            if !is_deleted(keys::summary(*entity)) || !due.is_none_or(is_deleted) {
                return what("its summary or timer stays");
            }
        }
        _ => {}
    }
    Ok(())
}

/// Nothing is on its way from it or awaited, nothing in it moves or is to, and
/// every ledger knows what it has. Said here once more, not asked of the entity.
fn closed(after: &Entity) -> Result<(), String> {
    let head = after.head();
    let is_silent = head.outbox.waiting(after.key()).next().is_none()
        && head.backlog.is_empty()
        && head.open_requests.is_empty()
        && !head.waits_for_ids();
    let stands =
        units(after).iter().all(|unit| !unit.course.is_moving() && unit.order.target().is_none());
    if is_silent && stands && after.may_hibernate() {
        return Ok(());
    }
    Err(format!("{} hibernates, but {after:?}", after.key()))
}

fn units(entity: &Entity) -> &[Unit] {
    match entity.kind() {
        Kind::Sector(sector) => sector.state().units(),
        Kind::Board(_) | Kind::Ledger(_) => &[],
    }
}

/// Nobody is in it, it has no channel, remembers no command and awaits nothing.
fn is_blank(entity: &Entity) -> bool {
    let head = entity.head();
    let (outbox, inbox) = (Outbox::default(), Inbox::default());
    units(entity).is_empty()
        && head.outbox == outbox
        && head.inbox == inbox
        && head.commands == CommandRows::default()
        && head.backlog.is_empty()
        && head.open_requests.is_empty()
}

/// A summary is of the state that sleeps.
fn sums_up(bytes: &[u8], entity: &Entity, scene: &Scene) -> Result<(), String> {
    let found = Summary::from_bytes(bytes).map_err(|error| error.to_string())?;
    let Kind::Sector(sector) = entity.kind() else { return Err("it is no sector".into()) };
    let resource_density = scene.world.galaxy.density(sector.state().sector()).unwrap_or(0);
    let count = (found.unit_count as usize, found.resource_density, found.activity_level);
    // The record that lets it go is later than what the summary was made of.
    let is_right = count == (units(entity).len(), resource_density, 0)
        && found.last_update <= entity.head().time;
    if is_right { Ok(()) } else { Err(format!("{found:?} of {entity:?}")) }
}

fn claimed(
    before: &Entity,
    after: &Entity,
    record: &Record,
    claim: &Claim,
    scene: &Scene,
) -> Result<(), String> {
    let (key, tick) = (before.key(), record.header.tick);
    if before.head().sequence == 0 {
        let born = tick.since(claim.node_tick);
        return if born <= 1 {
            Ok(())
        } else {
            Err(format!("{key} begins at {tick:?}, {claim:?}"))
        };
    }
    let Some(slept) = before.head().slept else { return Ok(()) };
    if tick != slept.tick_at(claim.node_tick).max(before.tick()) {
        return Err(format!("{key} wakes at {tick:?}, it slept from {slept:?}, {claim:?}"));
    }
    let steps = tick.since(before.tick()).min(STEPPED_MAX);
    let (mut stepped, mut advanced) = (before.clone(), before.clone());
    (0..steps).for_each(|_| stepped.step(&scene.world, &mut Vec::new()));
    advanced.run_to(before.tick().after(steps), &scene.world, &mut Vec::new());
    let is_same = stepped.snapshot(&scene.world) == advanced.snapshot(&scene.world);
    let inputs_change = record.inputs.len() > 1;
    if is_same && (inputs_change || after.kind() == before.kind()) {
        return Ok(());
    }
    Err(format!("{key} slept as {before:?}, {steps} steps make it {stepped:?}, woke as {after:?}"))
}
