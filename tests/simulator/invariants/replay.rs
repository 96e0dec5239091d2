//! Invariant 4: snapshot and replay give the state that was live, the hash
//! that was journalled and the snapshot that was written, to the bit.

use std::collections::BTreeMap;

use starmesh::base::EntityKey;
use starmesh::entity::Entity;
use starmesh::entity::commit::Put;
use starmesh::entity::input::Input;
use starmesh::entity::keys;
use starmesh::entity::kinds::Kind;
use starmesh::entity::packed;
use starmesh::entity::record::Record;
use starmesh::store::recovery;

use crate::scene::{Fact, Invariant, Scene};

#[derive(Default)]
pub struct Replay {
    /// The last record of those that the store forgot. Until its table hears of
    /// it, a node still has what was before it.
    deleted: BTreeMap<EntityKey, u64>,
}

impl Invariant for Replay {
    fn name(&self) -> &'static str {
        "4 replay gives the same bits"
    }

    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene) -> Result<(), String> {
        match fact {
            Fact::Deleted(entity) => {
                self.deleted.insert(entity.key(), entity.head().sequence);
                Ok(())
            }
            Fact::Live(entity) if self.is_deleted(entity, scene) => Ok(()),
            Fact::Live(entity) => equals_shadow(entity, scene),
            Fact::Loaded(loaded) => match loaded.mismatches.first() {
                Some(mismatch) => Err(format!("{}: {mismatch:?}", loaded.entity.key())),
                None => equals_shadow(&loaded.entity, scene),
            },
            Fact::Applied { after, record, .. } => hashes(after.key(), record, scene),
            Fact::Durable { commit, refused } => {
                let groups = (0_u32..).zip(&commit.groups);
                let mut puts = groups
                    .filter(|(index, _)| !refused.contains(index))
                    .flat_map(|(_, group)| &group.puts);
                puts.try_for_each(|put| snapshot(put, scene))
            }
            _ => Ok(()),
        }
    }
}

impl Replay {
    fn is_deleted(&self, entity: &Entity, scene: &Scene) -> bool {
        let last = self.deleted.get(&entity.key()).copied();
        let is_gone = scene.shadow(entity.key()).is_none();
        is_gone && last == Some(entity.head().sequence + 1)
    }
}

fn equals_shadow(entity: &Entity, scene: &Scene) -> Result<(), String> {
    let (key, head) = (entity.key(), entity.head());
    if head.sequence == 0 {
        return Ok(());
    }
    let shadow = scene.shadows.get(&key).and_then(|shadow| shadow.after(head.sequence));
    let Some(mut shadow) = shadow.cloned() else {
        return Err(format!("{key} is at record {}, which is not durable", head.sequence));
    };
    shadow.run_to(entity.tick(), &scene.world, &mut Vec::new());
    // The head by itself too: what a snapshot left out would be missed.
    let is_equal = shadow.head() == head && kinds_equal(&shadow, entity);
    if is_equal && shadow.snapshot(&scene.world) == entity.snapshot(&scene.world) {
        return Ok(());
    }
    Err(format!("{key} is {entity:?}, durable records make it {shadow:?}"))
}

/// What is simulated, but not what is still to be shown of it.
fn kinds_equal(one: &Entity, other: &Entity) -> bool {
    match (one.kind(), other.kind()) {
        (Kind::Sector(one), Kind::Sector(other)) => one.state() == other.state(),
        (one, other) => one == other,
    }
}

fn hashes(key: EntityKey, record: &Record, scene: &Scene) -> Result<(), String> {
    for input in &record.inputs {
        let Input::Hash { tick, hash } = input else { continue };
        let state = scene.shadows.get(&key).and_then(|shadow| shadow.at(*tick));
        let found = state.map(|state| state.state_hash(&scene.world));
        if found != Some(*hash) {
            return Err(format!("{key} hashed {hash} at {tick:?}, replay finds {found:?}"));
        }
    }
    Ok(())
}

/// A snapshot that becomes the entity's is the state after its record.
fn snapshot(put: &Put, scene: &Scene) -> Result<(), String> {
    let head = Some(&put.key).filter(|_| put.value.is_some());
    let Some(key) = head.and_then(|key| keys::parse_head(key)) else { return Ok(()) };
    let image = recovery::image(&*scene.memory, key).map_err(|error| error.to_string())?;
    let stored = image.chunks.concat();
    let bytes = packed::unpack(&stored).map_err(|error| error.to_string())?;
    let restored = Entity::restore(key, &bytes).map_err(|error| error.to_string())?;
    let sequence = put.value.as_deref().and_then(|value| value.first_chunk::<8>());
    let sequence = sequence.map_or(0, |bytes| u64::from_be_bytes(*bytes));
    if restored.head().sequence == sequence && restored.snapshot(&scene.world) == *bytes {
        return equals_shadow(&restored, scene);
    }
    Err(format!("the snapshot of {key} after record {sequence} is not its state"))
}
