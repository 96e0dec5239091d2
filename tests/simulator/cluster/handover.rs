//! An entity goes to another node with its owner's help, and whatever happens
//! meanwhile it is somewhere, once.

use std::sync::{Arc, Mutex};

use starmesh::base::{EntityKey, Incarnation, Millis, NodeId, SectorId, Tick, UnitId};
use starmesh::cluster::core::directory::Edit;
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::loading::Asker;
use starmesh::cluster::core::message::{NodeBody, NodeMessage};
use starmesh::cluster::core::node::Event;
use starmesh::cluster::core::table::Unavailable;
use starmesh::entity::commands::CommandResult;
use starmesh::entity::commit::{Commit, CommitAnswer, CommitError};
use starmesh::entity::input::Input;
use starmesh::sim::Instruction;
use starmesh::store::memory::Memory;
use starmesh::store::worlds::Worlds;
use starmesh::store::{Changes, Cursor, LoadPage, ReadError, Store, Versioned, recovery};

use super::Cluster;

/// A cluster of three, a sector of node 1 in which a unit flies about.
fn busy() -> (Cluster, EntityKey, UnitId) {
    let mut cluster = Cluster::of(3);
    let (_, home) = cluster.found(1);
    let sector = EntityKey::Sector(home);
    cluster.assign(sector, 1);
    cluster.run_until("it is there", |cluster| cluster.owner(sector) == Some(NodeId(1)));
    let unit = cluster.units(home)[0];
    cluster.patrol(1, 1, unit, home);
    (cluster, sector, unit)
}

fn is_offer(message: &NodeMessage, sector: EntityKey) -> bool {
    matches!(message.body, NodeBody::Offer { entity, .. } if entity == sector)
}

pub fn is_accept(message: &NodeMessage, sector: EntityKey) -> bool {
    matches!(message.body, NodeBody::Accept { entity, .. } if entity == sector)
}

/// Gives a sector to a node that agrees and then hears nothing more of its owner.
fn give_unheard(cluster: &mut Cluster, sector: EntityKey, to: u32) {
    cluster.assign(sector, to);
    let agreed = |(.., message): &(u64, NodeId, NodeId, NodeMessage)| is_accept(message, sector);
    cluster.run_until("the taker agrees", |cluster| cluster.network.log.iter().any(agreed));
    cluster.network.cuts.extend((2..=3).map(|other| (NodeId(1), NodeId(other))));
    cluster.run_until("it is nobody's", |cluster| cluster.owner(sector).is_none());
}

fn is_at(sector: EntityKey, node: u32) -> impl Fn(&Cluster) -> bool {
    move |cluster| cluster.owner(sector) == Some(NodeId(node))
}

#[test]
fn a_busy_sector_goes_over_and_its_tick_goes_on() {
    let (mut cluster, sector, _) = busy();
    let before = cluster.node(1).table.entity(sector).expect("it runs").tick();
    cluster.assign(sector, 2);
    let took = cluster.run_until("it is there", is_at(sector, 2));
    assert!(took <= 1_000, "{took} ms");
    let after = cluster.node(2).table.entity(sector).expect("it runs").tick();
    assert!(after >= before && after.since(before) <= took / 100 + 5, "{before:?} {after:?}");
    let answer = cluster.order(1, 2, cluster.units(sector_of(sector))[0], Instruction::Stop);
    assert!(matches!(answer, CommandResult::Done(_)), "{answer:?}");
    cluster.judge();
}

/// Loading takes three seconds; nobody misses the sector for as long.
#[test]
fn a_sector_that_takes_long_to_load_goes_on_while_it_is_loaded() {
    let (mut cluster, sector, unit) = busy();
    cluster.node(2).slow_loads_ms = 3_000;
    cluster.assign(sector, 2);
    cluster.run_until("it is loaded there", |cluster| {
        let log = &cluster.network.log;
        log.iter().any(|(.., message)| is_accept(message, sector))
    });
    assert_eq!(cluster.owner(sector), Some(NodeId(1)));
    let took = cluster.run_until("it is there", |cluster| {
        let runs = |node| cluster.nodes[&NodeId(node)].table.entity(sector).is_some();
        runs(2) && !runs(1)
    });
    assert!(took <= 500, "{took} ms");
    assert_eq!(cluster.node(2).core.counts().ahead, 1);
    let answer = cluster.order(1, 2, unit, Instruction::Stop);
    assert!(matches!(answer, CommandResult::Done(_)), "{answer:?}");
    cluster.judge();
}

/// One is loaded at a time, a second each, of three that are offered: nobody says
/// that it takes what it has not loaded, which it may not be able to.
#[test]
fn what_is_offered_is_not_taken_before_it_is_loaded_however_much_is() {
    let mut cluster = Cluster::empty(1);
    cluster.limits.loads_ahead = 1;
    (1..=2).for_each(|id| cluster.start(id));
    cluster.run_until("all have their share", |cluster| cluster.is_settled());
    let mut sectors = Vec::new();
    for player in 1..=3 {
        let (_, home) = cluster.found(player);
        let sector = EntityKey::Sector(home);
        cluster.assign(sector, 1);
        cluster.run_until("it is there", is_at(sector, 1));
        let unit = cluster.units(home)[0];
        cluster.patrol(player, 1, unit, home);
        sectors.push(sector);
    }
    cluster.node(2).slow_loads_ms = 1_000;
    cluster.network.log.clear();
    let give = |entity: &EntityKey| Edit::Assign { entity: *entity, node: NodeId(2) };
    cluster.change(sectors.iter().map(give).collect());
    let began = cluster.now;
    let are_there = |cluster: &Cluster| sectors.iter().all(|sector| is_at(*sector, 2)(cluster));
    while !are_there(&cluster) {
        cluster.run(10);
        let log = &cluster.network.log;
        let taken =
            |sector: &&EntityKey| log.iter().any(|(.., message)| is_accept(message, **sector));
        let taken = sectors.iter().filter(taken).count() as u64;
        let passed = cluster.now - began;
        assert!(taken <= passed / 1_000, "{taken} taken after {passed} ms");
        assert!(passed <= 10_000, "offers that waited are forgotten");
    }
    assert_eq!(cluster.node(2).core.counts().ahead, 3);
    cluster.judge();
}

/// A store whose reads of journals take time, in which the cluster goes on: each
/// half as much as the one before, for there is half as much to read.
struct Slow {
    store: Arc<Memory>,
    cluster: Mutex<(Cluster, u64, u32)>,
}

impl Store for Slow {
    fn commit(&self, commit: &Commit) -> Result<CommitAnswer, CommitError> {
        self.store.commit(commit)
    }
    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, ReadError> {
        self.store.get(key)
    }
    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Versioned)>, ReadError> {
        self.store.scan(prefix, after, limit)
    }
    fn changes(&self, since: u64, limit: usize) -> Result<Changes, ReadError> {
        self.store.changes(since, limit)
    }
    fn load(&self, entity: EntityKey, from: Option<Cursor>) -> Result<LoadPage, ReadError> {
        let page = self.store.load(entity, from);
        let (cluster, ms, loads) = &mut *self.cluster.lock().expect("nobody panicked");
        cluster.run(*ms);
        (*ms, *loads) = (*ms / 2, *loads + 1);
        page
    }
    fn time(&self) -> Result<Millis, ReadError> {
        self.store.time()
    }
}

/// What is left to be replayed when it is given does not grow with what there was,
/// nor with how long nothing was journalled.
#[test]
fn what_is_loaded_ahead_comes_as_near_as_three_ticks_to_its_owner() {
    let (mut cluster, sector, _) = busy();
    cluster.run(20_000);
    let (store, worlds) = (cluster.store.clone(), Worlds::new(cluster.world.clone()));
    let slow = Slow { store, cluster: Mutex::new((cluster, 16_000, 0)) };
    let ahead = recovery::load_ahead(&slow, sector, &worlds).expect("it can be loaded");
    let (mut cluster, _, loads) = slow.cluster.into_inner().expect("nobody panicked");
    let owner = cluster.node(1).table.entity(sector).expect("it runs").tick();
    let behind = owner.since(ahead.replayed.entity.tick());
    assert!(behind <= 3 + 2, "{behind} ticks behind, and the row's two");
    assert!((5..=10).contains(&loads), "{loads} reads");
    // It is the same as its owner has, by the hash of its last record.
    cluster.assign(sector, 2);
    cluster.run_until("it is there", is_at(sector, 2));
    let store = cluster.store.clone();
    let asker = Asker { node: NodeId(2), incarnation: Incarnation(1), durable: Tick(0) };
    let loaded = recovery::load(&*store, sector, &worlds, asker, Some(ahead)).expect("it loads");
    assert!(loaded.was_ahead && loaded.mismatches.is_empty(), "what follows is what was");
    cluster.judge();
}

/// Its owner offers it for minutes and never hears that it is taken.
#[test]
fn what_was_loaded_long_ago_is_loaded_again_before_it_is_taken() {
    let (mut cluster, sector, _) = busy();
    cluster.network.weather.lost = 0;
    cluster.run(1_000);
    let incarnation = cluster.node(1).core.incarnation();
    let offer = |cluster: &mut Cluster| {
        let (sent, version) = (cluster.network.log.len(), cluster.world.logic().version);
        let message = NodeMessage { hops: 0, body: NodeBody::Offer { entity: sector, version } };
        cluster.event(2, Event::FromNode { node: NodeId(1), incarnation, message });
        let log = &cluster.network.log[sent..];
        let accepted = log.iter().any(|(.., message)| is_accept(message, sector));
        cluster.run(100);
        accepted
    };
    assert!(!offer(&mut cluster), "it is loaded first");
    for _ in 0..4 {
        assert!(offer(&mut cluster), "it is loaded");
        cluster.run(900);
    }
    cluster.run(1_000);
    assert!(!offer(&mut cluster), "it is loaded again");
    assert!(offer(&mut cluster));
    cluster.judge();
}

/// What was loaded ahead is of use only if the journal goes on behind it.
#[test]
fn a_snapshot_made_meanwhile_has_all_of_it_loaded() {
    let (mut cluster, sector, _) = busy();
    cluster.node(2).slow_loads_ms = 500;
    cluster.assign(sector, 2);
    cluster.run_until("it is being loaded", |cluster| {
        let log = &cluster.network.log;
        log.iter().any(|(.., message)| is_offer(message, sector))
    });
    cluster.run(100);
    cluster.event(1, Event::Pinned(vec![sector]));
    cluster.run_until("it is there", is_at(sector, 2));
    assert_eq!(cluster.node(2).core.counts().ahead, 0);
    cluster.judge();
}

/// The last record says the state's hash, and whoever replays it compares.
#[test]
fn the_last_record_says_the_hash_of_what_was_handed_over() {
    let (mut cluster, sector, _) = busy();
    let before = cluster.hashes(sector);
    give_unheard(&mut cluster, sector, 2);
    let after = cluster.hashes(sector);
    assert_eq!(after, before + 1, "a hash that was compared came with it");
    cluster.network.cuts.clear();
    cluster.run_until("it is there", is_at(sector, 2));
    cluster.judge();
}

#[test]
fn every_command_that_was_taken_before_is_answered_once() {
    let (mut cluster, sector, unit) = busy();
    let ticket = cluster.attach(1, sector, 1).expect("it answers");
    cluster.node(1).hold_commits = true;
    cluster.run(300);
    let command = cluster.command(1, 2, unit, Instruction::Stop);
    cluster.node(1).table.admit(sector, ticket, command.clone()).expect("there is room");
    cluster.assign_by(2, sector, 2);
    cluster.run(400);
    let event = cluster.node(1).let_commits_go();
    cluster.event(1, event);
    cluster.run_until("it is there", is_at(sector, 2));
    let answer = cluster.node(1).answer(1, 2).expect("answered by who took it").clone();
    // A retry at the new owner is the same command.
    let old = cluster.node(2).table.admit(sector, ticket, command.clone());
    assert_eq!(old, Err(Unavailable::AttachAgain), "nothing overtakes what was refused");
    let ticket = cluster.attach(2, sector, 1).expect("it answers");
    cluster.node(2).table.admit(sector, ticket, command).expect("there is room");
    cluster.event(2, Event::Clock);
    cluster.run_until("it is answered again", |cluster| {
        cluster.nodes[&NodeId(2)].answer(1, 2).is_some()
    });
    assert_eq!(cluster.node(2).answer(1, 2), Some(&answer));
    cluster.judge();
}

#[test]
fn an_owner_that_dies_before_its_last_record_has_handed_over_nothing() {
    let (mut cluster, sector, _) = busy();
    cluster.node(1).hold_commits = true;
    cluster.assign_by(2, sector, 2);
    cluster.run(400);
    cluster.kill(1);
    cluster.run_until("its successor runs it", is_at(sector, 2));
    cluster.start(1);
    cluster.judge();
}

#[test]
fn an_owner_that_dies_right_after_it_leaves_nothing_without_an_owner() {
    let (mut cluster, sector, _) = busy();
    give_unheard(&mut cluster, sector, 2);
    cluster.kill(1);
    cluster.network.cuts.clear();
    cluster.run_until("it runs", |cluster| cluster.owner(sector).is_some());
    cluster.start(1);
    cluster.judge();
}

#[test]
fn a_taker_that_dies_before_it_claims_leaves_it_to_its_successor() {
    let (mut cluster, sector, _) = busy();
    give_unheard(&mut cluster, sector, 2);
    cluster.kill(2);
    cluster.network.cuts.clear();
    cluster.run_until("it runs", |cluster| cluster.owner(sector).is_some());
    cluster.start(2);
    cluster.judge();
}

#[test]
fn a_taker_that_starts_again_finds_what_it_was_given() {
    let (mut cluster, sector, _) = busy();
    give_unheard(&mut cluster, sector, 2);
    cluster.kill(2);
    cluster.start(2);
    cluster.run_until("it runs", is_at(sector, 2));
    cluster.judge();
}

#[test]
fn a_claim_is_asked_for_until_it_is_answered() {
    let (mut cluster, sector, _) = busy();
    give_unheard(&mut cluster, sector, 2);
    cluster.run(5_000);
    assert_eq!(cluster.owner(sector), None);
    cluster.network.cuts.clear();
    let took = cluster.run_until("it runs", is_at(sector, 2));
    assert!(took <= 1_500, "{took} ms");
    cluster.run(3_000);
    let sent = cluster.network.log.len();
    cluster.run(3_000);
    let claims = cluster.network.log[sent..].iter();
    let claims = claims.filter(|(.., message)| matches!(message.body, NodeBody::Claim { .. }));
    assert_eq!(claims.count(), 0, "it was answered");
    cluster.judge();
}

/// The taker began to load it before it was given, and hears that it was while it
/// loads: what it then reads is that another owns it.
#[test]
fn one_that_is_given_while_it_is_loaded_is_loaded_again() {
    let (mut cluster, sector, _) = busy();
    cluster.assign(sector, 2);
    let agreed = |(.., message): &(u64, NodeId, NodeId, NodeMessage)| is_accept(message, sector);
    cluster.run_until("the taker agrees", |cluster| cluster.network.log.iter().any(agreed));
    // Some giver before said so, late: its answer comes when the sector is given.
    cluster.network.weather.slow_ms = 300;
    let claim = NodeBody::Claim { entity: sector, sequence: 0 };
    let message = NodeMessage { hops: 0, body: claim };
    let incarnation = cluster.node(3).core.incarnation();
    cluster.event(2, Event::FromNode { node: NodeId(3), incarnation, message });
    cluster.run_until("it runs", is_at(sector, 2));
    cluster.judge();
}

#[test]
fn one_that_belongs_to_a_node_that_does_not_answer_stays_where_it_is() {
    let (mut cluster, sector, unit) = busy();
    cluster.network.cuts.insert((NodeId(1), NodeId(2)));
    cluster.assign(sector, 2);
    let before = cluster.position(unit);
    cluster.run(10_000);
    assert_eq!(cluster.owner(sector), Some(NodeId(1)));
    assert_ne!(cluster.position(unit), before, "and goes on");
    cluster.network.cuts.clear();
    cluster.run_until("it is there", is_at(sector, 2));
    cluster.judge();
}

#[test]
fn one_that_came_back_is_not_loaded_a_second_time() {
    let (mut cluster, sector, _) = busy();
    cluster.assign(sector, 2);
    cluster.run_until("it is there", is_at(sector, 2));
    // Nobody has said yet that it was claimed, when it comes back.
    cluster.network.log.clear();
    cluster.network.weather.late_ms = 400;
    for (node, to) in [(2, 1), (1, 2), (2, 1)] {
        cluster.assign_by(node, sector, to);
        cluster.run_until("it is there", is_at(sector, to));
    }
    cluster.run(5_000);
    cluster.judge();
}

#[test]
fn one_that_is_given_to_and_fro_stays_whole() {
    let (mut cluster, sector, unit) = busy();
    for round in 0..20 {
        let to = 1 + (round + 1) % 3;
        cluster.assign(sector, to);
        if round % 3 == 0 {
            // The next change comes before this one is through.
            continue;
        }
        cluster.run_until("it is there", is_at(sector, to));
    }
    cluster.judge();
    assert!(cluster.place(unit).is_some());
}

#[test]
fn a_node_that_is_to_be_left_gives_away_all_it_has_and_gets_something_again() {
    let (mut cluster, sector, unit) = busy();
    cluster.change(vec![Edit::Drain { node: NodeId(1), on: true }]);
    let has_nothing = |cluster: &Cluster| {
        let directory = cluster.directory();
        let is_named = directory.entries().any(|(_, node)| node == NodeId(1));
        !is_named && cluster.nodes[&NodeId(1)].table.counts().entities == 0
    };
    cluster.run_until("node 1 has nothing", has_nothing);
    cluster.run_until("another has it", |cluster| cluster.owner(sector).is_some());
    assert_ne!(cluster.owner(sector), Some(NodeId(1)));
    let answer = cluster.order(1, 2, unit, Instruction::Stop);
    assert!(matches!(answer, CommandResult::Done(_)), "{answer:?}");
    // It lives all the same, and no other has a share less than before.
    assert_eq!(cluster.node(2).core.living(), [1, 2, 3].map(NodeId));
    cluster.change(vec![Edit::Drain { node: NodeId(1), on: false }]);
    cluster.run_until("node 1 has its share again", |cluster| {
        cluster.directory().entries().any(|(_, node)| node == NodeId(1))
    });
    cluster.run(2_000);
    cluster.judge();
}

/// As many as there are of a busy node: it is left within seconds.
#[test]
fn a_node_with_a_thousand_sectors_is_left_in_two_seconds() {
    let mut cluster = Cluster::empty(1);
    cluster.limits.loads_ahead = Limits::default().loads_ahead;
    (1..=2).for_each(|id| cluster.start(id));
    cluster.run_until("all have their share", |cluster| cluster.is_settled());
    let (_, home) = cluster.found(1);
    let victim = cluster.home(EntityKey::Sector(home));
    let around = (-30..30).flat_map(|y| (-30..30).map(move |x| (x, y)));
    let around = around.filter_map(|(x, y)| home.neighbour(x, y)).map(EntityKey::Sector);
    let sectors: Vec<EntityKey> =
        around.filter(|sector| cluster.home(*sector) == victim).take(1_000).collect();
    assert_eq!(sectors.len(), 1_000);
    for sector in &sectors {
        cluster.event(victim, Event::Propose(*sector, Input::Time));
    }
    let runs = |cluster: &Cluster, node: u32| {
        let table = &cluster.nodes[&NodeId(node)].table;
        sectors.iter().filter(|sector| table.entity(**sector).is_some()).count()
    };
    cluster.run_until("all run", |cluster| runs(cluster, victim) == sectors.len());
    cluster.change(vec![Edit::Drain { node: NodeId(victim), on: true }]);
    let other = 3 - victim;
    let took =
        cluster.run_until("all run elsewhere", |cluster| runs(cluster, other) == sectors.len());
    assert!(took <= 2_000, "{took} ms");
    cluster.judge();
}

fn sector_of(entity: EntityKey) -> SectorId {
    match entity {
        EntityKey::Sector(sector) => sector,
        other => panic!("{other} is no sector"),
    }
}
