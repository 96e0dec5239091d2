//! Owns which table of a process each entity is in, as the registry of actors
//! knows it: who has something for an entity that is between two tables asks the
//! one that had it.

use starmesh::base::{EntityKey, SectorId};
use starmesh::cluster::core::message::ToTable;
use starmesh::cluster::core::node::Event;
use starmesh::cluster::core::table::Moved;

use super::{Process, TABLES};
use crate::outside::Outside;
use crate::queue::InNode;

impl Process {
    /// Which table to ask; any, for what does not run.
    pub(super) fn table_of(&self, entity: EntityKey) -> usize {
        self.here.get(&entity).copied().unwrap_or_default()
    }

    /// What the actors do about a message before their table gets it; `arrived`
    /// are the sectors that run there from now on.
    pub(super) fn register(
        &mut self,
        index: usize,
        message: &ToTable,
        arrived: &mut Vec<SectorId>,
        outside: &mut Outside,
    ) {
        let come = match message {
            ToTable::Awake(entity) => return self.awake(*entity, outside),
            ToTable::Drop(entity) => {
                self.here.remove(entity);
                return;
            }
            ToTable::Install(installed) => installed.entity.key(),
            ToTable::Adopt { moved, then } => {
                self.note_moved(moved, then, outside);
                if moved.runs() {
                    self.arrive(index, moved.entity(), arrived);
                }
                then.iter().for_each(|message| self.register(index, message, arrived, outside));
                return;
            }
            _ => return,
        };
        self.arrive(index, come, arrived);
    }

    fn arrive(&mut self, index: usize, entity: EntityKey, arrived: &mut Vec<SectorId>) {
        self.here.insert(entity, index);
        if let EntityKey::Sector(sector) = entity {
            arrived.push(sector);
        }
    }

    fn note_moved(&mut self, moved: &Moved, then: &[ToTable], outside: &mut Outside) {
        self.brought += moved.waiting();
        let mut note = |what, is: bool| outside.witness.coverage.note(what, is.into());
        note("moved", moved.runs());
        note("moved with inputs that waited", moved.waiting() > 0);
        note("moved with outputs behind the barrier", moved.held() > 0);
        note("moved while it was watched", moved.is_followed());
        let is = |of: fn(&ToTable) -> bool| then.iter().any(of);
        let overtook = is(|message| matches!(message, ToTable::Committed(_)));
        note("moved while a record of it became durable", moved.runs() && overtook);
        note("went home when it ran no more", !moved.runs());
    }

    /// Some sector goes to some table, wherever it is.
    pub fn move_one(&mut self, outside: &mut Outside) {
        let is_sector = |entity: &&EntityKey| matches!(entity, EntityKey::Sector(_));
        let sectors: Vec<EntityKey> = self.here.keys().filter(is_sector).copied().collect();
        if sectors.is_empty() {
            return;
        }
        let entity = sectors[outside.random.below(sectors.len() as u64) as usize];
        let to = outside.random.below(TABLES as u64) as usize;
        outside.later_in_node(self.id, 0, InNode::Core(Event::Move { entity, to }));
    }
}
