//! An entity that ends the process of whoever runs it: three processes at most, then it
//! is parked, and all else goes on. Of what merely ran when a node was killed nothing is
//! suspected, however often that happens.

use starmesh::base::{EntityKey, NodeId, SectorId, Tick};
use starmesh::cluster::core::node::Event;
use starmesh::cluster::core::suspects::ATTEMPTS_MAX;
use starmesh::entity::attempt::{Attempt, How};
use starmesh::entity::commands::CommandResult;
use starmesh::entity::workplace::Work;
use starmesh::sim::Instruction;
use starmesh::store::recovery;

use super::Cluster;

/// What starts ended processes again takes so long, which is less than it takes others
/// to find out.
const RESTART_MS: u64 = 700;

impl Cluster {
    /// What processes that ended by an entity left on their disks; what is in the store
    /// is there no more.
    pub(super) fn note_last_words(&mut self) {
        for node in self.nodes.values_mut() {
            let stored = std::mem::take(&mut node.blamed);
            let words = self.last_words.entry(node.id).or_default();
            words.retain(|attempt| !stored.contains(attempt));
            if let Some(Work { entity, tick }) = node.ended_by {
                let (node, incarnation) = (node.id, node.core.incarnation());
                let how = How::Aborted;
                let attempt = Attempt { entity, node, incarnation, tick, how };
                words.push(attempt);
                self.ended.push(attempt);
            }
        }
        self.nodes.retain(|_, node| node.ended_by.is_none());
    }

    /// From now on whoever brings this sector's entity to a tick soon ends its process.
    fn poison(&mut self, sector: SectorId) -> EntityKey {
        let key = EntityKey::Sector(sector);
        let node = self.nodes.values().find(|node| node.table.entity(key).is_some());
        let tick = node.and_then(|node| node.table.entity(key)).expect("it runs").tick();
        self.poison = Some((key, tick.after(30)));
        self.nodes.values_mut().for_each(|node| node.poison = self.poison);
        key
    }

    /// Starts nodes that ended again and again, each after its time, until `condition`
    /// holds.
    fn run_restarting(&mut self, what: &str, count: u32, condition: impl Fn(&Cluster) -> bool) {
        let began = self.now;
        let mut down_since: Vec<Option<u64>> = vec![None; count as usize];
        while !condition(self) {
            assert!(self.now < began + 60_000, "a minute passed, but not: {what}");
            self.run(10);
            for (id, since) in (1..).zip(&mut down_since) {
                let is_down = !self.nodes.contains_key(&NodeId(id));
                let down = *since.get_or_insert(self.now);
                if !is_down {
                    *since = None;
                } else if self.now >= down + RESTART_MS {
                    self.start(id);
                    *since = None;
                }
            }
        }
    }

    fn is_parked(&self, entity: EntityKey) -> bool {
        recovery::parked_keys(&*self.store).expect("it answers").contains(&entity)
    }

    fn attempts(&self) -> Vec<Attempt> {
        recovery::attempts(&*self.store).expect("it answers")
    }

    /// A player's sector, and one beside it in which one of the units moves for ever.
    fn busy_neighbour(&mut self) -> (SectorId, SectorId) {
        let (_, home) = self.found(1);
        let there = home.neighbour(1, 0).expect("a neighbour");
        let units = self.units(home);
        self.patrol(1, 1, units[0], there);
        self.run_until("it is there", |cluster| {
            cluster.place(units[0]).is_some_and(|(_, place)| place == there)
        });
        (home, there)
    }
}

#[test]
fn an_entity_that_ends_processes_ends_three_and_is_parked_and_all_else_goes_on() {
    let mut cluster = Cluster::of(3);
    let (home, there) = cluster.busy_neighbour();
    let units = cluster.units(home);
    // So that it does not hibernate.
    cluster.patrol(1, 2, units[1], home);
    let entity = cluster.poison(there);
    cluster.run_restarting("it is parked", 3, |cluster| cluster.is_parked(entity));
    let ended: Vec<_> = cluster.ended.iter().map(|it| (it.node, it.incarnation)).collect();
    assert_eq!(ended.len(), ATTEMPTS_MAX, "26: {ended:?}");
    cluster.run_restarting("all others run", 3, |cluster| {
        cluster.nodes.len() == 3 && cluster.owner(EntityKey::Sector(home)).is_some()
    });
    cluster.run(10_000);
    assert_eq!(cluster.ended.len(), ATTEMPTS_MAX);
    assert_eq!((cluster.owner(entity), cluster.attempts()), (None, Vec::new()));
    let result = cluster.order(1, 3, units[1], Instruction::Stop);
    assert!(matches!(result, CommandResult::Done(_)), "{result:?}");
    // It was mended.
    cluster.poison = None;
    cluster.nodes.values_mut().for_each(|node| node.poison = None);
    cluster.resume_by(1, entity);
    cluster.run_until("it runs", |cluster| cluster.runs_claimed(entity));
    cluster.run(3_000);
    assert!(!cluster.is_parked(entity));
    cluster.forgive();
    cluster.judge();
}

#[test]
fn what_a_watchdog_said_is_known_to_whoever_takes_over_though_nobody_comes_back() {
    let mut cluster = Cluster::of(4);
    let (_, there) = cluster.busy_neighbour();
    let entity = EntityKey::Sector(there);
    for times in 1..=ATTEMPTS_MAX {
        cluster.run_until("it runs", |cluster| cluster.runs_claimed(entity));
        let node = cluster.owner(entity).expect("it runs");
        let its = &cluster.nodes[&node];
        let tick = its.table.entity(entity).expect("it runs").tick();
        let incarnation = its.core.incarnation();
        let attempt = Attempt { entity, node, incarnation, tick, how: How::Silent };
        cluster.event(node.0, Event::Blame(attempt));
        cluster.run_until("it is stored", |cluster| cluster.attempts().len() == times);
        cluster.kill(node.0);
    }
    cluster.run_until("it is parked", |cluster| cluster.is_parked(entity));
    cluster.run(5_000);
    assert_eq!((cluster.nodes.len(), cluster.owner(entity)), (1, None));
}

#[test]
fn of_nodes_that_are_killed_again_and_again_nothing_is_suspected() {
    let mut cluster = Cluster::of(2);
    let (home, there) = cluster.busy_neighbour();
    for _ in 0..10 {
        cluster.kill(1);
        cluster.kill(2);
        cluster.start(1);
        cluster.start(2);
        cluster.run(300);
    }
    let runs = |cluster: &Cluster, sector| cluster.runs_claimed(EntityKey::Sector(sector));
    cluster.run_until("both run", |cluster| runs(cluster, home) && runs(cluster, there));
    assert_eq!(cluster.attempts(), []);
    assert_eq!(recovery::parked_keys(&*cluster.store).expect("it answers"), []);
    cluster.judge();
}

#[test]
fn what_ended_processes_and_then_passes_is_suspected_no_more() {
    let mut cluster = Cluster::of(2);
    let (_, there) = cluster.busy_neighbour();
    let entity = cluster.poison(there);
    cluster.run_restarting("two ended", 2, |cluster| cluster.ended.len() == ATTEMPTS_MAX - 1);
    cluster.poison = None;
    cluster.nodes.values_mut().for_each(|node| node.poison = None);
    cluster.run_restarting("it has passed", 2, |cluster| {
        cluster.runs_claimed(entity) && cluster.attempts().is_empty()
    });
    let tick = cluster.ended.iter().map(|attempt| attempt.tick).max().expect("two");
    let owner = cluster.owner(entity).expect("it runs");
    let now = cluster.nodes[&owner].table.entity(entity).expect("it runs").tick();
    assert!(now >= Tick(tick.0 + 10), "{now:?} is five steps beyond {tick:?}");
    assert_eq!(cluster.last_words.values().flatten().count(), 0);
    cluster.run_until("both run", |cluster| cluster.nodes.len() == 2);
    cluster.judge();
}
