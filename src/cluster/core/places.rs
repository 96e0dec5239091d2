//! Owns which of a node's tables each entity is in, and the moves between them
//! that are under way. Never sends anything and never decides that something
//! moves: the [core](super::node) asks where to send, and holds here what comes
//! for an entity between two tables. Invariant: what the core has for an entity
//! gets to the table that has it, in the order in which the core had it.
//!
//! ```text
//!   at home ──(begin)──> moving ──(yielded)──> elsewhere ──(begin)──> moving ──> at home
//!                          └─(refused)─> where it was
//!   elsewhere ──(it runs here no more)──> moving, with what its table still has of it
//! ```
//!
//! Home is one of the common tables, by hash, the same in every run. Nothing of
//! this is stored: who starts a node again begins at home.

use std::collections::BTreeMap;

use super::limits::Limits;
use super::message::ToTable;
use crate::base::EntityKey;

/// The tables of a node: first the common ones, then those that are empty but
/// for what is moved there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tables {
    /// At least one.
    pub common: usize,
    pub hot: usize,
}

impl Tables {
    /// A node with one table for everything.
    pub const ONE: Tables = Tables { common: 1, hot: 0 };

    pub fn count(self) -> usize {
        self.common.max(1) + self.hot
    }

    /// Whether `table` is empty but for what is moved there.
    pub fn is_hot(self, table: usize) -> bool {
        table >= self.common.max(1)
    }

    /// Where an entity is unless it was moved.
    pub fn home(self, entity: EntityKey) -> usize {
        crc32fast::hash(&entity.to_bytes()) as usize % self.common.max(1)
    }
}

/// Where every entity is.
#[derive(Debug)]
pub struct Places {
    tables: Tables,
    /// Those that are not at home, and those that move: a few.
    away: BTreeMap<EntityKey, Place>,
}

#[derive(Debug)]
struct Place {
    table: usize,
    moving: Option<Moving>,
}

#[derive(Debug)]
struct Moving {
    to: usize,
    /// What came for it meanwhile, in order. What comes again is bounded, the
    /// rest is one of each: records of what it had submitted, a block of ids,
    /// the end of a snapshot.
    held: Vec<ToTable>,
    come_again: usize,
}

/// Why something for an entity goes to no table now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It waits until the entity has arrived.
    Held,
    /// Too much waits; it comes again.
    Dropped,
}

/// A move that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Where the entity is now.
    pub table: usize,
    /// What is to be told to that table, in order.
    pub held: Vec<ToTable>,
}

impl Places {
    pub fn new(tables: Tables) -> Places {
        Places { tables, away: BTreeMap::new() }
    }

    pub fn tables(&self) -> Tables {
        self.tables
    }

    /// The table that an entity is in, or was before its move began.
    pub fn of(&self, entity: EntityKey) -> usize {
        self.away.get(&entity).map_or_else(|| self.tables.home(entity), |place| place.table)
    }

    /// The table that a message for `entity` goes to now, and the message.
    ///
    /// # Errors
    /// When the entity is between two tables.
    pub fn way(
        &mut self,
        entity: EntityKey,
        message: ToTable,
        limits: &Limits,
    ) -> Result<(usize, ToTable), Kept> {
        let Some(place) = self.away.get_mut(&entity) else {
            return Ok((self.tables.home(entity), message));
        };
        let Some(moving) = &mut place.moving else { return Ok((place.table, message)) };
        if matches!(message, ToTable::Deliver(_) | ToTable::Acknowledge(_)) {
            if moving.come_again >= limits.waiting_per_load {
                return Err(Kept::Dropped);
            }
            moving.come_again += 1;
        }
        // One tells all that ask.
        let is_awake = |message: &ToTable| matches!(message, ToTable::Awake(_));
        if is_awake(&message) && moving.held.iter().any(is_awake) {
            return Err(Kept::Held);
        }
        moving.held.push(message);
        Err(Kept::Held)
    }

    /// Begins to move `entity`; the table that is to give it up. `None` when it
    /// moves already, is there already, or there is no such table.
    pub fn begin(&mut self, entity: EntityKey, to: usize) -> Option<usize> {
        let from = self.of(entity);
        let is_moving = self.away.get(&entity).is_some_and(|place| place.moving.is_some());
        if is_moving || from == to || to >= self.tables.count() {
            return None;
        }
        let moving = Moving { to, held: Vec::new(), come_again: 0 };
        self.away.insert(entity, Place { table: from, moving: Some(moving) });
        Some(from)
    }

    /// Begins to move `entity` to where it is at home; the table that is to give
    /// up what it still has of it. `None` when it is at home or moves.
    pub fn begin_home(&mut self, entity: EntityKey) -> Option<usize> {
        self.begin(entity, self.tables.home(entity))
    }

    /// The table of `entity` has `yielded` it, or will not. `None` when it was
    /// not asked to.
    pub fn end(&mut self, entity: EntityKey, yielded: bool) -> Option<Ended> {
        let place = self.away.get_mut(&entity)?;
        let moving = place.moving.take()?;
        if yielded {
            place.table = moving.to;
        }
        let table = place.table;
        if table == self.tables.home(entity) {
            self.away.remove(&entity);
        }
        Some(Ended { table, held: moving.held })
    }

    /// Whether nothing is between two tables.
    pub fn is_settled(&self) -> bool {
        self.away.values().all(|place| place.moving.is_none())
    }

    /// Which entities are in hot tables, or on their way to or from one, and
    /// which tables those are.
    pub fn hot(&self) -> impl Iterator<Item = (usize, EntityKey)> + '_ {
        self.away.iter().flat_map(|(entity, place)| {
            let to = place.moving.as_ref().map(|moving| moving.to);
            let tables = [Some(place.table), to.filter(|to| *to != place.table)];
            let hot = tables.into_iter().flatten().filter(|table| self.tables.is_hot(*table));
            hot.map(|table| (table, *entity))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SectorId;
    use crate::entity::channel::{Acknowledgement, ChannelId};

    const TABLES: Tables = Tables { common: 2, hot: 2 };

    fn sector(x: i64) -> EntityKey {
        EntityKey::Sector(SectorId::tactical(x, 0))
    }

    fn places() -> (Places, EntityKey, usize) {
        let entity = sector(5);
        (Places::new(TABLES), entity, TABLES.home(entity))
    }

    fn ack(entity: EntityKey) -> ToTable {
        let channel = ChannelId { sender: entity, receiver: entity, opened: 1 };
        ToTable::Acknowledge(Acknowledgement { channel, upto: 1 })
    }

    #[test]
    fn hot_tables_are_nobodys_home() {
        assert!((0..1000).all(|x| !TABLES.is_hot(TABLES.home(sector(x)))));
        let both = [0, 1].map(|table| (0..1000).any(|x| TABLES.home(sector(x)) == table));
        assert_eq!(both, [true, true]);
    }

    #[test]
    fn what_comes_during_a_move_goes_where_it_ends() {
        let (mut places, entity, home) = places();
        let limits = Limits::default();
        for (yielded, there) in [(false, home), (true, 3)] {
            assert_eq!(places.begin(entity, 3), Some(home));
            assert_eq!(places.begin(entity, 2), None, "it moves already");
            for message in [ToTable::Snapshot(entity), ToTable::Drop(entity)] {
                assert!(matches!(places.way(entity, message, &limits), Err(Kept::Held)));
            }
            assert!(!places.is_settled());
            let ended = places.end(entity, yielded).unwrap();
            assert_eq!(ended.table, there);
            assert!(matches!(&ended.held[..], [ToTable::Snapshot(_), ToTable::Drop(_)]));
            let way = places.way(entity, ToTable::Drop(entity), &limits);
            assert!(matches!(way, Ok((table, _)) if table == there));
        }
        assert_eq!(places.hot().collect::<Vec<_>>(), [(3, entity)]);
    }

    #[test]
    fn of_what_comes_again_a_bounded_number_is_held() {
        let (mut places, entity, _) = places();
        let limits = Limits { waiting_per_load: 2, ..Limits::default() };
        places.begin(entity, 2);
        assert!(
            (0..2).all(|_| matches!(places.way(entity, ack(entity), &limits), Err(Kept::Held)))
        );
        assert!(matches!(places.way(entity, ack(entity), &limits), Err(Kept::Dropped)));
        assert!(matches!(places.way(entity, ToTable::Drop(entity), &limits), Err(Kept::Held)));
        for _ in 0..9 {
            let way = places.way(entity, ToTable::Awake(entity), &limits);
            assert!(matches!(way, Err(Kept::Held)));
        }
        assert_eq!(places.end(entity, true).unwrap().held.len(), 4);
    }

    #[test]
    fn one_that_runs_no_more_goes_home_behind_the_word_of_its_table() {
        let (mut places, entity, home) = places();
        assert_eq!(places.begin_home(entity), None, "it is at home");
        places.begin(entity, 2);
        assert_eq!(places.begin_home(entity), None, "it moves");
        places.end(entity, true);
        assert_eq!(places.begin_home(entity), Some(2));
        // It is loaded again before the table has said so.
        let way = places.way(entity, ToTable::Awake(entity), &Limits::default());
        assert!(matches!(way, Err(Kept::Held)));
        let ended = places.end(entity, true).unwrap();
        assert_eq!((ended.table, ended.held.len()), (home, 1));
        assert!(places.away.is_empty(), "nothing is kept of what is at home");
    }
}
