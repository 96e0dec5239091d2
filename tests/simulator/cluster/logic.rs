//! Nodes of different rules: each runs what it has by its own, and takes over what
//! others had by theirs. Invariant 8: what is replayed is replayed by a node that
//! has its logic, which changes only where an entity adopts another, directly
//! behind a snapshot.

use std::sync::Arc;

use starmesh::base::{EntityKey, NodeId, PlayerId, UnitId};
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::loading::{LoadError, Loaded};
use starmesh::cluster::core::node::Event;
use starmesh::entity::World;
use starmesh::entity::commit::{Append, Commit, CommitAnswer, CommitError};
use starmesh::entity::envelope::Logic;
use starmesh::entity::input::Input;
use starmesh::entity::kinds::Kind;
use starmesh::entity::record::{SnapshotHead, decode_record, encode_input, encode_record};
use starmesh::entity::replay::{ReplayError, replay};
use starmesh::sim::Instruction;
use starmesh::store::memory::Memory;
use starmesh::store::recovery;

use super::Cluster;

/// What a durable commit appended is of its node's logic; where that is another
/// than the entity's before, it is adopted, and directly behind a snapshot.
pub fn check_records(
    store: &Memory,
    world: &World,
    commit: &Commit,
    done: &Result<CommitAnswer, CommitError>,
) {
    let Ok(answer) = done else { return };
    let groups = (0_u32..).zip(&commit.groups);
    let accepted = groups.filter(|(index, _)| !answer.refused.contains(index));
    for append in accepted.filter_map(|(_, group)| group.append.as_ref()) {
        check_record(store, world.logic(), append);
    }
}

fn check_record(store: &Memory, own: Logic, append: &Append) {
    let (logic, record) = decode_record(&append.bytes).expect("a record");
    assert_eq!(logic, own, "8: a record of {} is of another's logic", append.entity);
    let image = recovery::image(store, append.entity).expect("the memory answers");
    let head = image.head.map(|head| SnapshotHead::decode(&head).expect("a head"));
    let before = image.records.iter().rev().find(|(sequence, _)| *sequence < append.sequence);
    let before = before.map(|(_, bytes)| decode_record(bytes).expect("a record").0);
    let before = before.or(head.map(|(logic, _)| logic));
    match record.inputs.first() {
        Some(Input::Adopt { from }) => {
            let at = head.map(|(logic, head)| (logic, head.sequence));
            let behind = Some((*from, append.sequence - 1));
            assert_eq!(at, behind, "8: {} adopts, but not behind a snapshot", append.entity);
        }
        // Nothing is before a first record, or left before one that deletes all.
        _ if append.sequence == 1 => {}
        Some(Input::Close) if before.is_none() => {}
        _ => assert_eq!(
            before,
            Some(own),
            "8: {} was not adopted by record {} {record:?}",
            append.entity,
            append.sequence
        ),
    }
}

/// What was loaded was not run by another version of the simulation.
pub fn check_loaded(
    store: &Memory,
    world: &World,
    entity: EntityKey,
    loaded: &Result<Loaded, LoadError>,
) {
    let Ok(loaded) = loaded else { return };
    let image = recovery::image(store, entity).expect("the memory answers");
    let is_other = |logic: &Logic| logic.version != world.logic().version;
    let of = |(_, bytes): &(u64, Vec<u8>)| decode_record(bytes).expect("a record").0;
    let other = image.records.iter().map(of).find(is_other);
    assert_eq!(other, None, "8: {entity} was run by a node without its logic");
    assert_eq!(loaded.adoption.is_some(), {
        let last = image.logics().pop();
        last.is_some_and(|last| last != world.logic())
    });
}

/// A cluster of two and a unit that flies about in a sector of node 1.
pub fn busy(limits: Limits) -> (Cluster, EntityKey, UnitId) {
    let mut cluster = Cluster::empty(1);
    cluster.limits = limits;
    (1..=2).for_each(|id| cluster.start(id));
    let (sector, unit) = busy_in(&mut cluster);
    (cluster, sector, unit)
}

/// Such a sector and unit in a cluster that has just started.
pub fn busy_in(cluster: &mut Cluster) -> (EntityKey, UnitId) {
    cluster.run_until("all have their share", |cluster| cluster.is_settled());
    let (_, home) = cluster.found(1);
    let sector = EntityKey::Sector(home);
    cluster.assign(sector, 1);
    cluster.run_until("it is there", |cluster| cluster.owner(sector) == Some(NodeId(1)));
    let unit = cluster.units(home)[0];
    cluster.patrol(1, 1, unit, home);
    (sector, unit)
}

pub fn limits() -> Limits {
    Limits { quiet_ms: 5_000, loads_ahead: 2, ..Limits::default() }
}

impl Cluster {
    /// A process of a node ends, and one with these rules begins.
    pub fn restart_with(&mut self, id: u32, world: &Arc<World>) {
        self.kill(id);
        self.builds.insert(id, world.clone());
        self.start(id);
    }

    /// The logic of an entity's last record, or of its snapshot.
    pub fn logic_of(&self, entity: EntityKey) -> Option<Logic> {
        let image = recovery::image(&*self.store, entity).expect("the memory answers");
        image.logics().pop()
    }

    fn speed(&self, unit: UnitId) -> Option<u32> {
        let (node, place) = self.place(unit)?;
        let entity = self.nodes.get(&node)?.table.entity(EntityKey::Sector(place))?;
        let Kind::Sector(sector) = entity.kind() else { return None };
        let unit = sector.state().units().iter().find(|it| it.id == unit)?;
        Some(unit.speed.steps())
    }
}

#[test]
fn mixed_rules_a_node_that_comes_back_with_others_adopts_what_it_had() {
    let (mut cluster, sector, unit) = busy(limits());
    let later = cluster.later.clone();
    let before = cluster.speed(unit).expect("it is there");
    cluster.restart_with(1, &later);
    cluster.run_until("it runs again", |cluster| cluster.owner(sector) == Some(NodeId(1)));
    cluster.run_until("it is claimed", |cluster| cluster.logic_of(sector) == Some(later.logic()));
    // What was ordered goes on as it began, what is ordered now goes by the new rules.
    assert_eq!(cluster.speed(unit), Some(before));
    let EntityKey::Sector(home) = sector else { panic!("{sector} is no sector") };
    cluster.patrol(1, 2, unit, home);
    assert!(cluster.speed(unit) > Some(before), "{:?}", cluster.speed(unit));
    cluster.judge();
}

/// How long it remembers is counted from the tick at which it fell asleep, whatever
/// rules it wakes by.
#[test]
fn mixed_rules_a_sector_that_slept_remembers_its_commands_for_as_long() {
    let mut cluster = Cluster::of(2);
    let (_, home) = cluster.found(1);
    let (sector, later) = (EntityKey::Sector(home), cluster.later.clone());
    let unit = cluster.units(home)[0];
    cluster.order(1, 1, unit, Instruction::Stop);
    cluster.run_until("it sleeps", |cluster| cluster.owner(sector).is_none());
    let node = cluster.home(sector);
    cluster.restart_with(node, &later);
    cluster.run_until("all have their share", |cluster| cluster.is_settled());
    cluster.run(20_000);
    cluster.event(node, Event::Wake(sector));
    cluster.run_until("it is adopted", |cluster| cluster.logic_of(sector) == Some(later.logic()));
    // With the record that gives it away comes the hash of what its owner had.
    cluster.assign(sector, 3 - node);
    cluster.run_until("it is there", |cluster| cluster.owner(sector) == Some(NodeId(3 - node)));
    cluster.judge();
}

/// What a replay says to a journal whose record behind the snapshot begins with this
/// instead of the adoption that there was.
fn replay_with_first(first: Option<Input>) -> (Cluster, u64, Result<(), ReplayError>) {
    let (mut cluster, sector, _) = busy(limits());
    let later = cluster.later.clone();
    cluster.restart_with(1, &later);
    cluster.run_until("it is claimed", |cluster| cluster.logic_of(sector) == Some(later.logic()));
    let mut image = recovery::image(&*cluster.store, sector).expect("the memory answers");
    let (_, bytes) = image.records.first_mut().expect("a claim");
    let (logic, record) = decode_record(bytes).expect("a record");
    assert!(matches!(record.inputs.first(), Some(Input::Adopt { .. })), "{record:?}");
    let inputs: Vec<Input> = first.into_iter().chain(record.inputs.into_iter().skip(1)).collect();
    let mut encoded = Vec::new();
    inputs.iter().for_each(|input| encode_input(input, &mut encoded));
    let count = u32::try_from(inputs.len()).expect("a few");
    *bytes = encode_record(&record.header, logic, count, &encoded);
    let replayed = replay(sector, &image, &cluster.known).map(|_| ());
    (cluster, record.header.sequence, replayed)
}

#[test]
fn mixed_rules_a_record_of_another_logic_that_does_not_adopt_it_is_refused() {
    let (cluster, sequence, replayed) = replay_with_first(None);
    let (had, found) = (cluster.world.logic(), cluster.later.logic());
    assert_eq!(replayed, Err(ReplayError::NotAdopted { sequence, had, found }));
}

#[test]
fn mixed_rules_an_adoption_from_a_logic_that_the_entity_does_not_have_is_refused() {
    let (had, found) = {
        let cluster = Cluster::empty(1);
        (cluster.world.logic(), cluster.later.logic())
    };
    let other = Input::Adopt { from: found };
    let (_, sequence, replayed) = replay_with_first(Some(other));
    assert_eq!(replayed, Err(ReplayError::NotAdopted { sequence, had, found }));
    // The one that it has is the one there was.
    let (_, _, replayed) = replay_with_first(Some(Input::Adopt { from: had }));
    assert_eq!(replayed, Ok(()));
}

/// Kills node 1 when so many commits of its new process have reached the store;
/// one more does too, if it is `torn` from it by the kill. Whether it had adopted
/// the sector by then, and whether the sector was between snapshot and claim.
fn kill_at(point: usize, torn: bool) -> (bool, bool) {
    // Snapshots of many parts, so that there is much to be killed between.
    let (mut cluster, sector, _) =
        busy(Limits { chunk_bytes: 100, chunks_per_commit: 1, ..limits() });
    let (first, later) = (cluster.world.clone(), cluster.later.clone());
    cluster.commits_left = point;
    cluster.restart_with(1, &later);
    cluster.commits_left = usize::MAX;
    cluster.run_until("it commits so often", |cluster| {
        cluster.nodes.get(&NodeId(1)).is_none_or(|node| node.is_holding())
    });
    if torn {
        let _ = cluster.node(1).let_commits_go();
    }
    let is_adopted = cluster.logic_of(sector) == Some(later.logic());
    let image = recovery::image(&*cluster.store, sector).expect("the memory answers");
    let is_between = !is_adopted && image.head.is_some() && image.records.is_empty();
    // Who comes next may have either rules.
    let next = if point.is_multiple_of(2) { later } else { first };
    cluster.restart_with(1, &next);
    cluster.run_until("it runs again", |cluster| cluster.owner(sector).is_some());
    cluster.judge();
    (is_adopted, is_between)
}

/// Kills a node behind each of its commits in turn, and torn from the one after it,
/// until it has done what it was about to before that; `kill_at` says whether it
/// has, and whether it was halfway. Behind how many commits it was done.
pub fn kill_at_each(first: usize, kill_at: impl Fn(usize, bool) -> (bool, bool)) -> usize {
    let mut halfway = 0;
    for point in first..1_000 {
        let (is_done, is_halfway) = kill_at(point, false);
        halfway += u32::from(is_halfway);
        kill_at(point, true);
        if is_done {
            assert!(halfway > 0, "it was never killed halfway");
            return point;
        }
    }
    panic!("it was never done");
}

#[test]
fn mixed_rules_adoption_survives_a_kill_before_and_after_every_commit() {
    let commits = kill_at_each(1, kill_at);
    assert!(commits > 5, "{commits} commits are too few for all its parts");
}

#[test]
fn mixed_rules_a_busy_sector_goes_to_and_fro_and_is_loaded_ahead() {
    let (mut cluster, sector, unit) = busy(limits());
    let (first, later) = (cluster.world.clone(), cluster.later.clone());
    cluster.restart_with(2, &later);
    cluster.run_until("both know each other", |cluster| cluster.is_settled());
    for (node, world) in [(2, &later), (1, &first), (2, &later), (1, &first)] {
        let before = cluster.node(node).core.counts().ahead;
        cluster.assign(sector, node);
        let is_there = |cluster: &Cluster| cluster.owner(sector) == Some(NodeId(node));
        let took = cluster.run_until("it is there", is_there);
        assert!(took <= 1_000, "{took} ms");
        cluster
            .run_until("it is claimed", |cluster| cluster.logic_of(sector) == Some(world.logic()));
        assert_eq!(cluster.node(node).core.counts().ahead, before + 1);
        cluster.run(3_000);
    }
    assert!(cluster.place(unit).is_some());
    cluster.judge();
}

#[test]
fn mixed_rules_a_ledger_tells_the_board_what_units_are_worth_now() {
    let (mut cluster, ..) = busy(limits());
    let later = cluster.later.clone();
    let ledger = cluster.world.ledger_of(PlayerId(1));
    let power = |cluster: &Cluster| {
        let board = EntityKey::Board(0);
        let entity = cluster.nodes.values().find_map(|node| node.table.entity(board))?;
        let Kind::Board(board) = entity.kind() else { return None };
        board.power(PlayerId(1))
    };
    cluster.run_until("the board knows the player", |cluster| power(cluster).is_some());
    let before = power(&cluster);
    cluster.restart_with(2, &later);
    cluster.run_until("both know each other", |cluster| cluster.is_settled());
    cluster.assign(ledger, 2);
    cluster.run_until("it is adopted", |cluster| cluster.logic_of(ledger) == Some(later.logic()));
    cluster.run_until("the board is told", |cluster| power(cluster) > before);
    cluster.judge();
}

#[test]
fn mixed_rules_a_sector_that_sleeps_is_adopted_when_it_wakes() {
    let mut cluster = Cluster::of(2);
    let (_, home) = cluster.found(1);
    let (sector, later) = (EntityKey::Sector(home), cluster.later.clone());
    cluster.run_until("it sleeps", |cluster| {
        cluster.owner(sector).is_none() && cluster.logic_of(sector).is_some()
    });
    (1..=2).for_each(|id| cluster.restart_with(id, &later));
    cluster.run_until("all have their share", |cluster| cluster.is_settled());
    assert_eq!(cluster.logic_of(sector), Some(cluster.world.logic()), "nobody woke it");
    let node = cluster.home(sector);
    cluster.event(node, Event::Wake(sector));
    cluster.run_until("it is awake", |cluster| cluster.owner(sector) == Some(NodeId(node)));
    cluster.run_until("it is adopted", |cluster| cluster.logic_of(sector) == Some(later.logic()));
    cluster.judge();
}
