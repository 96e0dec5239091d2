//! Owns how an entity leaves a table for another of the same node, and how it
//! is taken up there: all that the table keeps of it goes along, so that nobody
//! outside can tell. Never decides that one moves (the core does) and never
//! changes the entity: inputs that are not durable yet stay its own, in order,
//! and outputs that wait for the row wait on in the other table. Invariants: of
//! an entity that was given up nothing is left; its outputs leave the node in
//! the order in which it made them, whatever tick either table has reached.
//!
//! | what | how it goes along |
//! |---|---|
//! | submitted inputs, the snapshot under way, who follows it | in its cell |
//! | timer, look for quiet | the cell has both; noted anew |
//! | outputs behind the barrier, answers to reads among them | by tick, before all that it gives from now on |
//! | what the roll-up was told, and is to be told | each sector's own |
//! | hash that is due, messages carried again | as before |
//! | what it casts beyond its borders, and what falls on it | in its cell |
//! | who is attached | not: a command on its way to this table never gets to the other, so those behind it must not; each session attaches again |

use super::activity::Talk;
use super::{FromTable, Release, Table};
use crate::base::{EntityKey, Tick};
use crate::cluster::core::attaching::Attachments;
use crate::cluster::core::cell::Cell;
use crate::cluster::core::message::ToTable;

/// An entity between two tables: all that one has of it.
#[derive(Clone, Debug)]
pub struct Moved {
    entity: EntityKey,
    /// `None` when it runs no more: then only the rest is left of it.
    cell: Option<Cell>,
    /// Outputs that wait for the row, by tick.
    held: Vec<(Tick, Vec<Release>)>,
    unhashed: bool,
    talk: Talk,
}

impl Moved {
    pub fn entity(&self) -> EntityKey {
        self.entity
    }

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.cell.is_some()
    }

    /// Inputs submitted and not yet durable.
    pub fn waiting(&self) -> usize {
        self.cell.as_ref().map_or(0, Cell::pending)
    }

    /// Outputs that wait for the row.
    pub fn held(&self) -> usize {
        self.held.iter().map(|(_, releases)| releases.len()).sum()
    }

    /// Whether it is handed out to the view.
    pub fn is_followed(&self) -> bool {
        self.cell.as_ref().is_some_and(|cell| cell.follower.is_some())
    }
}

impl Table {
    /// Gives an entity up to another table. One that is about to hibernate
    /// stays.
    pub(super) fn yield_up(&mut self, key: EntityKey) {
        let stays = self.cells.get(&key).is_some_and(Cell::is_closed);
        let moved = (!stays).then(|| Box::new(self.take_out(key)));
        self.to_core.push(FromTable::Yielded { entity: key, moved });
    }

    fn take_out(&mut self, key: EntityKey) -> Moved {
        let mut cell = self.forget(key);
        if let Some(cell) = &mut cell {
            cell.attached = Attachments::default();
        }
        let unhashed = self.unhashed.remove(&key);
        let talk = self.activity.take(key);
        let mut held = Vec::new();
        for (tick, releases) in &mut self.held {
            let own = take_own(key, releases);
            if !own.is_empty() {
                held.push((*tick, own));
            }
        }
        Moved { entity: key, cell, held, unhashed, talk }
    }

    /// Takes an entity up that another table gave up, then what came for it
    /// meanwhile, and steps it to the node's tick.
    pub(super) fn adopt(&mut self, moved: Moved, then: Vec<ToTable>) {
        let Moved { entity: key, cell, held, unhashed, talk } = moved;
        held.into_iter().for_each(|(tick, releases)| self.hold_of(tick, releases));
        self.activity.put(key, talk);
        if let Some(cell) = cell {
            self.take_in(key, cell, unhashed);
        }
        for message in then {
            match message {
                // Its state at this table's tick is not there before it caught up.
                ToTable::Leave(entity) => self.mark_leaving(entity),
                message => self.handle(message),
            }
        }
        self.catch_up(key);
        self.close_door(key);
    }

    fn take_in(&mut self, key: EntityKey, cell: Cell, unhashed: bool) {
        self.pending += cell.pending();
        self.timers.extend(cell.due().map(|due| (due, key)));
        self.looks.extend(cell.look.map(|at| (at, key)));
        if cell.follower.is_some() {
            self.followed.insert(key);
        }
        if unhashed {
            self.unhashed.insert(key);
        }
        if !cell.entity.head().outbox.is_settled() {
            self.unsettled.insert(key);
        }
        self.shade.note_came(key, &cell.shade);
        self.cells.insert(key, cell);
        self.note_state(key);
    }

    /// Ticks that passed while it was between two tables.
    fn catch_up(&mut self, key: EntityKey) {
        let Some(cell) = self.cells.get(&key) else { return };
        if self.active.contains(&key) && cell.entity.tick() < cell.tick_at(self.tick) {
            self.step_entity(key);
            self.show(key);
        }
    }

    /// Keeps outputs of another table until the row says their tick, which is
    /// not after this table's.
    fn hold_of(&mut self, tick: Tick, releases: Vec<Release>) {
        if tick <= self.durable {
            return self.released.extend(releases);
        }
        let at = self.held.partition_point(|(held, _)| *held < tick);
        match self.held.get_mut(at) {
            Some((held, others)) if *held == tick => others.extend(releases),
            _ => self.held.insert(at, (tick, releases)),
        }
    }
}

/// Takes what is of `key` out of `releases`, in order.
fn take_own(key: EntityKey, releases: &mut Vec<Release>) -> Vec<Release> {
    let mut own = Vec::new();
    for release in std::mem::take(releases) {
        match release {
            Release::Summaries(changed) => {
                let is_own = |sector| EntityKey::Sector(sector) == key;
                let (mine, others): (Vec<_>, Vec<_>) =
                    changed.into_iter().partition(|(sector, _)| is_own(*sector));
                own.extend((!mine.is_empty()).then_some(Release::Summaries(mine)));
                releases.extend((!others.is_empty()).then_some(Release::Summaries(others)));
            }
            release if release.entity() == Some(key) => own.push(release),
            release => releases.push(release),
        }
    }
    own
}
