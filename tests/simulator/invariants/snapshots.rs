//! Invariant 6: the sequences of an entity's snapshots never decrease, and
//! trimming never passes them: what is behind the snapshot is there.

use std::collections::BTreeMap;

use starmesh::base::EntityKey;
use starmesh::entity::keys;
use starmesh::store::recovery;

use crate::scene::{Fact, Invariant, Scene};

#[derive(Default)]
pub struct Snapshots {
    last: BTreeMap<EntityKey, u64>,
}

impl Invariant for Snapshots {
    fn name(&self) -> &'static str {
        "6 snapshots go forward and trimming stays behind them"
    }

    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene) -> Result<(), String> {
        if let Fact::Deleted(entity) = fact {
            self.last.remove(&entity.key());
        }
        let Fact::Durable { commit, refused } = fact else { return Ok(()) };
        for (index, group) in (0_u32..).zip(&commit.groups) {
            let head = group.puts.last().filter(|put| put.value.is_some());
            let Some(key) = head.and_then(|put| keys::parse_head(&put.key)) else { continue };
            match refused.contains(&index) {
                true if scene.alone => return Err(format!("a snapshot of {key} was refused")),
                true => continue,
                false => {}
            }
            self.judge(key, scene)?;
        }
        Ok(())
    }

    fn end(&mut self, scene: &Scene) -> Result<(), String> {
        scene.shadows.keys().try_for_each(|key| is_whole(*key, scene).map(|_| ()))
    }
}

impl Snapshots {
    fn judge(&mut self, key: EntityKey, scene: &Scene) -> Result<(), String> {
        let now = is_whole(key, scene)?;
        let last = self.last.insert(key, now).unwrap_or(0);
        if now > last {
            return Ok(());
        }
        Err(format!("the snapshot of {key} is of record {now} after one of {last}"))
    }
}

/// Every record behind the snapshot is there; the snapshot's sequence.
fn is_whole(key: EntityKey, scene: &Scene) -> Result<u64, String> {
    let image = recovery::image(&*scene.memory, key).map_err(|error| error.to_string())?;
    let head = image.head.as_deref().and_then(|head| head.first_chunk::<8>());
    let head = head.map_or(0, |bytes| u64::from_be_bytes(*bytes));
    for (expected, (sequence, _)) in (head + 1..).zip(&image.records) {
        if expected != *sequence {
            return Err(format!("{key}: record {sequence} where {expected} should be"));
        }
    }
    Ok(head)
}
