//! An entity's tick is a fixed function of its node's: each record names the
//! tick that the last claim or dilation before it gives for the tick of its
//! commit. Only sectors are dilated, and none that sleeps.

use std::collections::BTreeMap;

use starmesh::base::{EntityKey, Tick};
use starmesh::entity::commit::{Append, Commit};
use starmesh::entity::input::{Claim, Dilation, Input};
use starmesh::entity::record::decode_record;

use crate::scene::{Fact, Invariant, Scene};

/// From a tick and its node's then on, so many tenths.
#[derive(Clone, Copy, Debug)]
struct From {
    tick: u64,
    node_tick: u64,
    tenths: u64,
}

#[derive(Default)]
pub struct Pace {
    paces: BTreeMap<EntityKey, From>,
}

impl Invariant for Pace {
    fn name(&self) -> &'static str {
        "2.6 an entity's tick is a fixed function of its node's"
    }

    fn observe(&mut self, fact: &Fact<'_>, _: &Scene) -> Result<(), String> {
        let Fact::Durable { commit, refused } = fact else { return Ok(()) };
        let groups = (0_u32..).zip(&commit.groups);
        let accepted = groups.filter(|(index, _)| !refused.contains(index));
        for append in accepted.filter_map(|(_, group)| group.append.as_ref()) {
            self.take(append, commit).map_err(|what| format!("{}: {what}", append.entity))?;
        }
        Ok(())
    }
}

impl Pace {
    fn take(&mut self, append: &Append, commit: &Commit) -> Result<(), String> {
        let (_, record) = decode_record(&append.bytes).map_err(|error| error.to_string())?;
        let (tick, Tick(now)) = (record.header.tick.0, commit.tick);
        for (index, input) in record.inputs.iter().enumerate() {
            let (node_tick, tenths) = match input {
                Input::Claim(Claim { node_tick, .. }) => (node_tick.0, 10),
                Input::Dilate(Dilation { rate, node_tick }) => {
                    if index > 1 || !matches!(append.entity, EntityKey::Sector(_)) {
                        return Err(format!("{input:?} as input {index}"));
                    }
                    self.is_at(append.entity, tick, now)?;
                    (node_tick.0, u64::from(rate.tenths()))
                }
                _ => continue,
            };
            if node_tick != now {
                return Err(format!("{input:?} in a commit of {now}"));
            }
            self.paces.insert(append.entity, From { tick, node_tick, tenths });
        }
        self.is_at(append.entity, tick, now)?;
        let tenths = self.paces.get(&append.entity).map(|from| from.tenths);
        if record.inputs.contains(&Input::Close) && tenths != Some(10) {
            return Err(format!("sleeps at {tenths:?} tenths"));
        }
        Ok(())
    }

    fn is_at(&self, entity: EntityKey, tick: u64, now: u64) -> Result<(), String> {
        let Some(from) = self.paces.get(&entity) else { return Err("no claim".into()) };
        let expected = from.tick + (now - from.node_tick) * from.tenths / 10;
        if tick == expected {
            return Ok(());
        }
        Err(format!("a record of {tick} in a commit of {now}, {from:?} makes that {expected}"))
    }
}
