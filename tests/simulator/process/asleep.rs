//! Owns what a process of the simulator does about entities that do not run:
//! as the gateway, it has them woken and turns commands away.

use starmesh::base::{EntityKey, SectorId, Tick};
use starmesh::cluster::core::node::Event;
use starmesh::store::recovery;

use super::Process;
use crate::gateway::ToClient;
use crate::outside::Outside;
use crate::queue::InNode;
use crate::scene::Fact;

/// Sectors that are awaited are woken again after so many ticks.
const WAKE_TICKS: u64 = 20;

impl Process {
    /// Has the core wake `entity`; whoever asked asks again.
    pub(super) fn wake(&mut self, entity: EntityKey, why: &'static str, outside: &mut Outside) {
        self.wakes.insert(entity, why);
        outside.later_in_node(self.id, 1, InNode::Core(Event::Wake(entity)));
    }

    /// It runs, or is about to.
    pub(super) fn awake(&mut self, entity: EntityKey, outside: &mut Outside) {
        self.turned_away.remove(&entity);
        self.end_waking(entity, true, outside);
        if let Some(why) = self.wakes.remove(&entity) {
            outside.witness.coverage.note(why, 1);
        }
    }

    /// Has a table hand out a sector, or not any more; one that does not run is
    /// woken, and followed when it is installed.
    pub(super) fn follow(&mut self, sector: SectorId, on: bool, outside: &mut Outside) {
        let entity = EntityKey::Sector(sector);
        let index = self.table_of(entity);
        let table = &mut self.tables[index];
        self.awaited.remove(&sector);
        if !on {
            table.unfollow(entity);
        } else if table.follow(entity).is_err() {
            self.awaited.insert(sector);
            self.wake(entity, "woken by an observer", outside);
        }
    }

    /// At times there was no room to have one woken.
    pub(super) fn wake_again(&mut self, tick: Tick, outside: &mut Outside) {
        if tick.0.is_multiple_of(WAKE_TICKS) {
            let awaited: Vec<SectorId> = self.awaited.iter().copied().collect();
            for sector in awaited {
                self.wake(EntityKey::Sector(sector), "woken by an observer", outside);
            }
        }
    }

    /// It has no record: what it was sent is for nobody.
    pub(super) fn dormant(&mut self, entity: EntityKey, outside: &mut Outside) {
        outside.witness.coverage.note("observed without a record", 1);
        if outside.witness.scene.shadows.contains_key(&entity) {
            let what = format!("{entity} has a record, but is said to have none");
            outside.witness.note(&Fact::Never(what));
        }
        if let EntityKey::Sector(sector) = entity
            && self.awaited.remove(&sector)
        {
            self.fanout.handle_absent(sector, &outside.world.rules);
            self.show(outside);
        }
        self.end_waking(entity, false, outside);
        for (connection, sequence) in self.turned_away.remove(&entity).unwrap_or_default() {
            let known = self.gateway.connections.get(&connection);
            if let Some(client) = known.map(|known| known.client) {
                let message = ToClient::Rejected { sequence, never: true };
                outside.send_to_client(client, connection, message);
            }
        }
    }

    /// Why a timer of what hibernates has still to be looked after.
    pub fn due(&mut self, outside: &Outside) -> Option<String> {
        let now = self.node_time(outside);
        let first = recovery::due(&*outside.witness.scene.memory, None, 1);
        let (at, entity) = first.ok()?.into_iter().next()?;
        (at <= now).then(|| format!("the timer of {entity} was due at {at:?}, now {now:?}"))
    }
}
