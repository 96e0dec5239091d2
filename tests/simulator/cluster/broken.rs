//! An entity that breaks whoever runs it, among several nodes: it is parked once for
//! all of them, what is for it waits with its senders, and it goes on where it belongs
//! when it is resumed.

use starmesh::base::{CompressedPosition, EntityKey, NodeId, SectorId, UnitId};
use starmesh::cluster::core::loading::LoadError;
use starmesh::cluster::core::message::{FromTable, ToTable};
use starmesh::cluster::core::node::Event;
use starmesh::entity::parked::resume_group;
use starmesh::entity::{Entity, keys};
use starmesh::sim::{Instruction, Target};
use starmesh::store::Store;

use super::Cluster;

/// Panics in a row until an entity is parked.
const BREAKS: usize = 3;

impl Cluster {
    fn parked_version(&self, entity: EntityKey) -> Option<u64> {
        let row = self.store.get(&keys::parked(entity)).expect("the memory answers");
        row.map(|row| row.version)
    }

    /// Has the table of an entity catch panics that nobody finds again, until it is
    /// parked.
    fn break_down(&mut self, entity: EntityKey) {
        for _ in 0..BREAKS {
            self.run_until("it runs, or is parked", |cluster| {
                cluster.runs_claimed(entity) || cluster.parked_version(entity).is_some()
            });
            let Some(NodeId(id)) = self.owner(entity) else { break };
            let node = self.node(id);
            let generation = node.generations[&entity];
            let at = node.table.entity(entity).expect("it runs").tick();
            node.table.handle(ToTable::Drop(entity));
            self.event(id, Event::FromTable(FromTable::Broke { entity, generation, at }));
        }
        self.run_until("it is parked", |cluster| cluster.parked_version(entity).is_some());
    }

    pub(super) fn runs_claimed(&self, entity: EntityKey) -> bool {
        let owner = self.owner(entity).and_then(|node| self.nodes.get(&node));
        let there = owner.and_then(|node| node.table.entity(entity));
        there.is_some_and(|it| it.head().claim.is_some())
    }

    /// An operator has it resumed by a node.
    pub(super) fn resume_by(&mut self, by: u32, entity: EntityKey) {
        let version = self.parked_version(entity).expect("it is parked");
        let home = NodeId(self.home(entity));
        self.event(by, Event::Rows { id: 9, group: resume_group(entity, version, home) });
        self.run_until("it is not parked", |cluster| cluster.parked_version(entity).is_none());
        self.event(by, Event::Resumed(entity));
    }

    /// Units in messages from a sector that nobody acknowledged.
    fn waiting_in(&self, sector: SectorId) -> usize {
        let key = EntityKey::Sector(sector);
        let entity = self.nodes.values().find_map(|node| node.table.entity(key));
        let count = |entity: &Entity| {
            let messages = entity.head().outbox.waiting(key);
            messages.filter(super::judge::carries_units).count()
        };
        entity.map_or(0, count)
    }

    /// A player's sector, with one beside it that is another node's, to and fro
    /// between which the first unit flies; the sectors and the units.
    fn two_sectors(&mut self) -> (SectorId, SectorId, Vec<UnitId>) {
        let (_, home) = self.found(1);
        let there = home.neighbour(1, 0).expect("a neighbour");
        let (here, other) = match self.home(EntityKey::Sector(home)) {
            1 => (1, 2),
            here => (here, 1),
        };
        assert_eq!(self.home(EntityKey::Sector(home)), here);
        self.assign(EntityKey::Sector(there), other);
        let units = self.units(home);
        self.patrol(1, 1, units[0], there);
        self.run_until("it is there", |cluster| {
            cluster.place(units[0]).is_some_and(|(_, place)| place == there)
        });
        (home, there, units)
    }

    pub(super) fn forgive(&mut self) {
        for node in self.nodes.values_mut() {
            let is_parked =
                |it: &LoadError| matches!(it, LoadError::Parked(_) | LoadError::Broken(_));
            node.unloadable.retain(|(_, error)| !is_parked(error));
        }
    }
}

fn target_in(sector: SectorId) -> Target {
    Target { sector, position: CompressedPosition { x: 1 << 30, y: 1 << 29 } }
}

#[test]
fn what_flies_to_a_parked_sector_waits_at_the_border_and_arrives_once_when_it_is_resumed() {
    let mut cluster = Cluster::of(2);
    let (home, there, units) = cluster.two_sectors();
    let entity = EntityKey::Sector(there);
    cluster.break_down(entity);
    let target = target_in(there);
    for (sequence, unit) in (2..).zip(&units[1..]) {
        cluster.order(1, sequence, *unit, Instruction::Move { target });
    }
    cluster.run_until("they are on their way", |cluster| cluster.waiting_in(home) > 0);
    cluster.run(20_000);
    assert_eq!(cluster.owner(entity), None, "nobody runs it");
    assert!(cluster.parked_version(entity).is_some());
    for unit in &units[1..] {
        let place = cluster.place(*unit).map(|(_, place)| place);
        assert!(place.is_none_or(|place| place == home), "{unit:?} is in {place:?}");
    }
    // Another node's operator; the sector runs where it belongs.
    let by = cluster.home(EntityKey::Sector(home));
    cluster.resume_by(by, entity);
    cluster.run_until("all have arrived", |cluster| {
        let is_there = |unit: &UnitId| cluster.place(*unit).is_some_and(|it| it.1 == there);
        units[1..].iter().all(is_there)
    });
    assert_eq!(cluster.owner(entity).map(|node| node.0), Some(cluster.home(entity)));
    cluster.forgive();
    cluster.judge();
}

#[test]
fn what_is_parked_stays_so_when_its_node_dies_and_others_go_on() {
    let mut cluster = Cluster::of(3);
    let (home, there, units) = cluster.two_sectors();
    let entity = EntityKey::Sector(there);
    let owner = cluster.home(entity);
    cluster.break_down(entity);
    // A message is to ask for it, wherever it belongs then.
    let target = target_in(there);
    cluster.order(1, 2, units[1], Instruction::Move { target });
    cluster.kill(owner);
    cluster.run_until("it is declared dead", |cluster| cluster.deaths() > 0);
    cluster.run(10_000);
    assert_eq!(cluster.owner(entity), None);
    assert!(cluster.parked_version(entity).is_some());
    let found = cluster.nodes.values().flat_map(|node| &node.unloadable);
    let found: Vec<_> = found.filter(|(key, _)| *key == entity).collect();
    assert!(found.iter().all(|(_, error)| matches!(error, LoadError::Parked(_))), "{found:?}");
    assert!(found.len() <= 2, "it is looked at once by each: {found:?}");
    // Others have been claimed by who lives, and go on.
    assert!(cluster.owner(EntityKey::Sector(home)).is_some());
    cluster.start(owner);
    cluster.run_until("all have their share", |cluster| cluster.is_settled());
    let by = *cluster.nodes.keys().next().expect("somebody runs");
    cluster.resume_by(by.0, entity);
    cluster.run_until("it has arrived", |cluster| {
        cluster.place(units[1]).is_some_and(|(_, place)| place == there)
    });
    cluster.forgive();
    cluster.judge();
}

#[test]
fn a_resumed_sector_runs_also_when_its_node_begins_anew_before_it_hears() {
    let mut cluster = Cluster::of(2);
    let (_, there, _) = cluster.two_sectors();
    let entity = EntityKey::Sector(there);
    cluster.break_down(entity);
    let owner = cluster.home(entity);
    let version = cluster.parked_version(entity).expect("it is parked");
    let group = resume_group(entity, version, NodeId(owner));
    cluster.event(3 - owner, Event::Rows { id: 9, group });
    cluster.run_until("it is not parked", |cluster| cluster.parked_version(entity).is_none());
    // Neither hears of it.
    cluster.kill(owner);
    cluster.start(owner);
    cluster.run_until("it runs", |cluster| cluster.runs_claimed(entity));
    cluster.forgive();
    cluster.judge();
}

#[test]
fn all_nodes_know_what_is_parked_whosever_it_is_until_it_is_resumed() {
    let mut cluster = Cluster::of(3);
    let (_, there, _) = cluster.two_sectors();
    let entity = EntityKey::Sector(there);
    cluster.break_down(entity);
    let took = cluster.run_until("all know it", |cluster| {
        cluster.nodes.values().all(|node| node.parked == [entity])
    });
    assert!(took <= 2_000, "{took} ms");
    cluster.resume_by(1, entity);
    let took = cluster.run_until("all know that it is resumed", |cluster| {
        cluster.nodes.values().all(|node| node.parked.is_empty())
    });
    assert!(took <= 2_000, "{took} ms");
    cluster.run_until("it runs", |cluster| cluster.runs_claimed(entity));
    cluster.forgive();
    cluster.judge();
}
