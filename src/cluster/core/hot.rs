//! Owns which sector should have a thread of its own, and when it should come
//! back: a decision from what tables say once a second of how busy their threads
//! are. Never moves anything and reads no clock; the [core](super::node) does
//! and says the time.
//!
//! ```text
//!   common ──(thread > 70 % busy for 2 s, one sector of several is most of it)──> own
//!   own ──(thread < 30 % busy for 30 s, and a common one has room for it)──> common
//! ```
//!
//! What keeps a sector from going to and fro: it goes where together they are
//! at most 60 % busy, below what sends one away; and after each move all that
//! was measured of both threads counts from anew. Invariant: a hot table has at
//! most one sector.

use std::collections::BTreeMap;

use super::places::Tables;
use crate::base::{EntityKey, Millis};

/// What a table says of its thread and its sectors, once a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableLoad {
    /// Thousandths of the time since the last word in which the thread worked.
    pub busy: u32,
    pub sectors: u64,
    /// Of all sectors: what one weighs is the number of its units and one.
    pub weight: u64,
    /// The heaviest sector, and what it weighs.
    pub heaviest: Option<(EntityKey, u64)>,
}

/// When a sector is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// A thread busier than this, in thousandths, for so many ms gives its
    /// heaviest sector a thread of its own.
    pub busy: u32,
    pub busy_ms: u64,
    /// One less busy than this for so many ms gives it back.
    pub idle: u32,
    pub idle_ms: u64,
    /// It goes only where the two together are at most so busy: less than
    /// `busy`.
    pub room: u32,
}

impl Default for Thresholds {
    fn default() -> Thresholds {
        Thresholds { busy: 700, busy_ms: 2_000, idle: 300, idle_ms: 30_000, room: 600 }
    }
}

/// A sector that should go to a table.
pub type Move = (EntityKey, usize);

/// What was measured of each table.
#[derive(Debug)]
pub struct HotThreads {
    tables: Tables,
    thresholds: Thresholds,
    measured: BTreeMap<usize, Measured>,
}

#[derive(Clone, Copy, Debug)]
struct Measured {
    load: TableLoad,
    /// Since when the thread has been too busy.
    busy: Option<Millis>,
    /// Since when it has been idle.
    idle: Option<Millis>,
}

impl HotThreads {
    pub fn new(tables: Tables, thresholds: Thresholds) -> HotThreads {
        HotThreads { tables, thresholds, measured: BTreeMap::new() }
    }

    /// A table says its load. `hot` are the sectors in hot tables, or on their
    /// way to or from one. Returns what should move: no more than one at a time.
    pub fn note(
        &mut self,
        table: usize,
        load: TableLoad,
        hot: &[(usize, EntityKey)],
        now: Millis,
    ) -> Option<Move> {
        let Thresholds { busy, busy_ms, idle, idle_ms, .. } = self.thresholds;
        let before = self.measured.get(&table);
        let since = |is: bool, since: Option<Millis>| is.then(|| since.unwrap_or(now));
        let measured = Measured {
            load,
            busy: since(load.busy > busy, before.and_then(|before| before.busy)),
            idle: since(load.busy < idle, before.and_then(|before| before.idle)),
        };
        self.measured.insert(table, measured);
        let lasts = |since: Option<Millis>, ms| since.is_some_and(|at| now.since(at) >= ms);
        if self.tables.is_hot(table) {
            let entity = hot.iter().find(|(used, _)| *used == table)?.1;
            let to = self.room_for(load.busy).filter(|_| lasts(measured.idle, idle_ms))?;
            return self.decide(entity, table, to);
        }
        let entity = most_of(&load).filter(|_| lasts(measured.busy, busy_ms))?;
        let is_free = |table: &usize| hot.iter().all(|(used, _)| used != table);
        let to =
            (0..self.tables.count()).filter(|table| self.tables.is_hot(*table)).find(is_free)?;
        self.decide(entity, table, to)
    }

    fn decide(&mut self, entity: EntityKey, from: usize, to: usize) -> Option<Move> {
        self.measured.remove(&from);
        self.measured.remove(&to);
        Some((entity, to))
    }

    /// The common table whose thread is least busy, if that can be so much
    /// busier.
    fn room_for(&self, more: u32) -> Option<usize> {
        let common = self.measured.iter().filter(|(table, _)| !self.tables.is_hot(**table));
        let (table, least) = common.min_by_key(|(_, measured)| measured.load.busy)?;
        (least.load.busy + more <= self.thresholds.room).then_some(*table)
    }
}

/// The sector that weighs more than all others of its table together, if there
/// are others.
fn most_of(load: &TableLoad) -> Option<EntityKey> {
    let (entity, weight) = load.heaviest?;
    (load.sectors > 1 && weight > load.weight - weight).then_some(entity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SectorId;

    /// A model of a node: what each sector weighs and costs its thread.
    struct Model {
        hot: HotThreads,
        tables: Tables,
        /// Where each is, what it weighs, and thousandths of a thread.
        sectors: BTreeMap<EntityKey, (usize, u64, u32)>,
        now: u64,
        moves: Vec<(u64, Move)>,
    }

    fn sector(x: i64) -> EntityKey {
        EntityKey::Sector(SectorId::tactical(x, 0))
    }

    impl Model {
        fn new(common: usize, hot: usize, sectors: &[(usize, u64, u32)]) -> Model {
            let tables = Tables { common, hot };
            let sectors = (0..).map(sector).zip(sectors.iter().copied()).collect();
            let hot = HotThreads::new(tables, Thresholds::default());
            Model { hot, tables, sectors, now: 0, moves: Vec::new() }
        }

        fn load(&self, table: usize) -> TableLoad {
            let here = self.sectors.iter().filter(|(_, (at, ..))| *at == table);
            let mut load = TableLoad::default();
            for (entity, (_, weight, busy)) in here {
                load.busy = (load.busy + busy).min(1000);
                load.sectors += 1;
                load.weight += weight;
                if load.heaviest.is_none_or(|(_, most)| *weight > most) {
                    load.heaviest = Some((*entity, *weight));
                }
            }
            load
        }

        fn run(&mut self, seconds: u64) {
            for _ in 0..seconds {
                self.now += 1000;
                for table in 0..self.tables.count() {
                    let is_hot = |at: usize| self.tables.is_hot(at);
                    let hot = self.sectors.iter().filter(|(_, (at, ..))| is_hot(*at));
                    let hot: Vec<_> = hot.map(|(entity, (at, ..))| (*at, *entity)).collect();
                    let load = self.load(table);
                    let decided = self.hot.note(table, load, &hot, Millis(self.now));
                    if let Some((entity, to)) = decided {
                        self.sectors.get_mut(&entity).unwrap().0 = to;
                        self.moves.push((self.now, (entity, to)));
                    }
                }
            }
        }
    }

    #[test]
    fn the_sector_that_is_most_of_a_busy_thread_gets_its_own() {
        let mut model = Model::new(1, 2, &[(0, 500, 500), (0, 100, 100), (0, 100, 150)]);
        model.run(2);
        assert_eq!(model.moves, [], "it may be a moment's");
        model.run(1);
        assert_eq!(model.moves, [(3000, (sector(0), 1))]);
        model.run(3600);
        assert_eq!(model.moves.len(), 1);
    }

    #[test]
    fn nothing_moves_where_it_would_not_help() {
        for (why, model) in [
            ("not busy enough", Model::new(1, 1, &[(0, 500, 600), (0, 100, 100)])),
            ("it has the thread alone", Model::new(1, 1, &[(0, 500, 1000)])),
            ("no sector is most of it", Model::new(1, 1, &[(0, 500, 500), (0, 500, 500)])),
            ("there is no thread", Model::new(1, 0, &[(0, 500, 900), (0, 100, 100)])),
        ] {
            let mut model = model;
            model.run(600);
            assert_eq!(model.moves, [], "{why}");
        }
    }

    #[test]
    fn a_load_that_comes_and_goes_each_second_moves_nothing() {
        let mut model = Model::new(1, 1, &[(0, 500, 900), (0, 1, 1)]);
        for second in 0..600 {
            model.sectors.get_mut(&sector(0)).unwrap().2 = [900, 100][second % 2];
            model.run(1);
        }
        assert_eq!(model.moves, []);
    }

    #[test]
    fn it_comes_back_to_the_least_busy_thread_when_it_has_been_quiet_for_long() {
        let mut model = Model::new(2, 1, &[(0, 500, 600), (0, 10, 200), (1, 10, 100)]);
        model.run(3);
        assert_eq!(model.moves, [(3000, (sector(0), 2))]);
        model.sectors.get_mut(&sector(0)).unwrap().2 = 250;
        model.run(30);
        assert_eq!(model.moves.len(), 1, "not for 30 s yet");
        model.run(2);
        assert_eq!(model.moves[1..], [(34_000, (sector(0), 1))]);
        model.run(3600);
        assert_eq!(model.moves.len(), 2);
    }

    #[test]
    fn a_table_has_one_sector_of_those_that_want_one() {
        let busy = [(0, 500, 500), (0, 10, 300), (1, 500, 500), (1, 10, 300)];
        let mut model = Model::new(2, 1, &busy);
        model.run(60);
        assert_eq!(model.moves.len(), 1);
    }

    /// Whatever sectors weigh and cost, and not in the same proportion: while
    /// that stays as it is, each goes to a thread of its own at most once, and
    /// comes back at most once.
    #[test]
    fn under_constant_load_nothing_goes_to_and_fro() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut moved = 0;
        for case in 0..2000 {
            let (common, hot) = (1 + draw(3) as usize, 1 + draw(3) as usize);
            let mut sectors = Vec::new();
            for _ in 0..1 + draw(8) {
                let table = draw(common as u64) as usize;
                sectors.push((table, 1 + draw(1000), draw(600) as u32));
            }
            let mut model = Model::new(common, hot, &sectors);
            model.run(60);
            let settled = model.moves.len();
            moved += settled;
            model.run(600);
            let later: Vec<_> = model.moves[settled..].to_vec();
            assert!(later.len() <= sectors.len(), "case {case}, {sectors:?}: {later:?}");
            let before = model.moves.len();
            model.run(3600);
            assert_eq!(model.moves.len(), before, "case {case}, {sectors:?}: {:?}", model.moves);
        }
        assert!(moved > 500, "{moved} moves in all cases");
    }
}
