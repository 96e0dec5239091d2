//! Owns how the core has an entity change its table, so that a sector can have
//! a thread of its own: it asks the table that has it to give it up, holds what
//! comes for it meanwhile, and sends the whole of it to the other table.
//!
//! ```text
//!   core            table A                      table B
//!    │── Yield ──────>│ what it submitted, said before
//!    │                │ and released is out; it takes nothing more
//!    │<─ Yielded ─────│
//!    │── Adopt, what was held ───────────────────────>│ applies the records,
//!    │                                                │ steps to the node's tick
//! ```
//!
//! The state is moved in memory, with its inputs that are not durable yet and
//! its outputs behind the publish barrier. Nothing is written: the owner stays
//! the same, and whoever starts the node again finds it at home. What can come
//! between the two messages:
//!
//! | what | what becomes of it |
//! |---|---|
//! | commands, reads, observers | A does not have it: as for one that is about to hibernate, the core is asked to wake it and says so behind `Adopt`; they come again. B takes commands only of sessions that attached to it, so that none overtakes one that went to A |
//! | records of a commit | held; B applies them before it steps past their tick |
//! | ticks | B steps all that A did not |
//! | messages and acknowledgements | held up to a bound, then dropped: they come again |
//! | ids, the end of a snapshot | held |
//! | `Quiet` (A said it before it was asked) | A keeps it: the move ends where it began, what was held goes there |
//! | `Dropped` (A said it before it was asked) | only the outputs of what A dropped are moved |
//! | a refused record, clocks that differ | `Drop` is held, and B forgets it |
//! | the store is away | nothing: no commit is needed for a move; none is begun while it is |
//! | the node stops | it is settled only when nothing moves |
//! | the node dies | what is durable is in the journal, the rest was never seen |
//!
//! An entity that runs here no more goes home before it can be loaded again: the
//! table that had it is asked the same, and gives up the outputs that it still
//! holds. So one life of an entity never shows behind the next.
//!
//! Invariant: at each moment at most one table has the entity; every record of
//! its installation is applied by the one that has it then.

use super::{NodeCore, NodeEffect};
use crate::base::{EntityKey, Millis};
use crate::cluster::core::hot::TableLoad;
use crate::cluster::core::message::{Committed, ToTable};
use crate::cluster::core::places::{Ended, Kept};
use crate::cluster::core::table::Moved;

impl NodeCore {
    /// Tells the table that `entity` is in, now or after its move.
    pub(super) fn tell(&mut self, entity: EntityKey, message: ToTable) {
        match self.places.way(entity, message, &self.limits) {
            Ok((table, message)) => {
                self.effects.push(NodeEffect::ToTable(table, message));
            }
            Err(Kept::Held) => {}
            Err(Kept::Dropped) => self.counts.dropped += 1,
        }
    }

    /// Each table's records, in the order of the commit.
    pub(super) fn tell_records(&mut self, records: Vec<Committed>) {
        let mut lists = vec![Vec::new(); self.places.tables().count()];
        for record in records {
            let message = ToTable::Committed(vec![record]);
            if let Ok((table, _)) = self.places.way(record.entity, message, &self.limits) {
                lists[table].push(record);
            }
        }
        let lists = lists.into_iter().enumerate().filter(|(_, list)| !list.is_empty());
        let message = |(table, list)| NodeEffect::ToTable(table, ToTable::Committed(list));
        self.effects.extend(lists.map(message));
    }

    /// Begins to move a sector to another table, if it runs here and nothing
    /// stands against it.
    pub(super) fn handle_move(&mut self, entity: EntityKey, to: usize) {
        // The mailboxes of others hold what does not come again.
        let is_sector = matches!(entity, EntityKey::Sector(_));
        let runs = self.is_open(entity);
        if !is_sector || !runs || self.away || self.settling {
            return;
        }
        if let Some(from) = self.places.begin(entity, to) {
            self.effects.push(NodeEffect::ToTable(from, ToTable::Yield(entity)));
        }
    }

    /// A table says how busy its thread is: a sector may need one of its own, or
    /// not any more.
    pub(super) fn handle_load(&mut self, table: usize, load: TableLoad, now: Millis) {
        let hot: Vec<(usize, EntityKey)> = self.places.hot().collect();
        if let Some((entity, to)) = self.hot.note(table, load, &hot, now) {
            self.handle_move(entity, to);
        }
    }

    /// A table gives an entity up, or keeps it because it is about to hibernate.
    pub(super) fn handle_yielded(&mut self, entity: EntityKey, moved: Option<Box<Moved>>) {
        let Some(Ended { table, held }) = self.places.end(entity, moved.is_some()) else { return };
        match moved {
            Some(moved) => {
                self.counts.moves += u64::from(moved.runs());
                let adopt = ToTable::Adopt { moved, then: held };
                self.effects.push(NodeEffect::ToTable(table, adopt));
            }
            None => {
                let told = held.into_iter().map(|message| NodeEffect::ToTable(table, message));
                self.effects.extend(told);
            }
        }
        self.send_home(entity);
    }

    /// An entity that runs here no more is at home when it is loaded again.
    pub(super) fn send_home(&mut self, entity: EntityKey) {
        if self.owned.contains_key(&entity) {
            return;
        }
        if let Some(from) = self.places.begin_home(entity) {
            self.effects.push(NodeEffect::ToTable(from, ToTable::Yield(entity)));
        }
    }
}
