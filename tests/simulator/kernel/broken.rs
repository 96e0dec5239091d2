//! An entity that panics: what it was doing is set aside where that can be, else the
//! entity is parked, and everything else goes on. The faults are real ones: a channel
//! that is numbered to the end, so that the next message into it overflows.

use std::sync::Arc;

use starmesh::base::{
    EntityKey, Incarnation, Millis, NodeId, PlayerId, Position, StateHash, Tick, UnitId,
};
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::loading::LoadError;
use starmesh::cluster::core::message::{FromTable, ToTable};
use starmesh::cluster::core::node::Event;
use starmesh::entity::audit::{Decision, Entry};
use starmesh::entity::channel::{ChannelId, ChannelMessage};
use starmesh::entity::commit::{Append, Commit, Group, Put};
use starmesh::entity::context::Head;
use starmesh::entity::envelope::{Kind, seal};
use starmesh::entity::input::{Claim, Input};
use starmesh::entity::kinds::Kind as Sort;
use starmesh::entity::message::{Answer, Body, Request};
use starmesh::entity::parked::{Parked, resume_group};
use starmesh::entity::record::{
    RecordHeader, SnapshotHead, decode_record, encode_input, encode_record,
};
use starmesh::entity::{World, keys};
use starmesh::sim::rules::sample::FIGHTER;
use starmesh::sim::{Changes, SectorState, Surroundings, Traveller, Unit};
use starmesh::store::memory::Memory;
use starmesh::store::{Store, recovery};

use super::{NODE, Node};

/// Of the imported sector's last record.
const SEQUENCE: u64 = 7;
/// Its ledger is the one that the sector can tell nothing any more.
const UNTOLD: PlayerId = PlayerId(5);
/// Its ledger hears of it.
const HEARD: PlayerId = PlayerId(4);

/// What the imported sector has.
#[derive(Clone, Copy)]
struct Past {
    sequence: u64,
    tick: u64,
    /// The channel to the ledger of [`UNTOLD`] is numbered to the end.
    is_full: bool,
    /// There is a unit of that player, of which the ledger is to be told.
    has_unit: bool,
}

/// Puts a sector that nobody owns into the store.
fn import(node: &Node, entity: EntityKey, past: Past) {
    let (world, EntityKey::Sector(sector)) = (&*node.world, entity) else { panic!("a sector") };
    let Past { sequence, tick, is_full, has_unit } = past;
    let now = Millis(node.now);
    let mut head = Head::default();
    (head.sequence, head.tick, head.time) = (sequence, Tick(tick), now);
    if is_full {
        let waiting: Vec<(u64, Body)> = Vec::new();
        let channel = (SEQUENCE, u64::MAX, waiting, now, false);
        let channels = [(world.ledger_of(UNTOLD), channel)];
        let bytes = postcard::to_allocvec(&channels.to_vec()).expect("an outbox");
        head.outbox = postcard::from_bytes(&bytes).expect("an outbox");
    }
    let mut payload = postcard::to_allocvec(&(entity, &head)).expect("a head");
    // Its last field are ids: none of them used, instead of none at all.
    payload.truncate(payload.len() - 3);
    payload.extend(postcard::to_allocvec(&(1_u64 << 50, 1_u64 << 51, false)).expect("ids"));
    let stale = if has_unit { vec![UNTOLD] } else { Vec::new() };
    let (told, waiting) = ([(); 0].to_vec(), [(); 0].to_vec());
    payload.extend(postcard::to_allocvec(&(told, stale, waiting)).expect("a book"));
    let mut state = SectorState::new(sector);
    if has_unit {
        let unit = Unit::new(UnitId(9), FIGHTER, UNTOLD, Position { x: 9000, y: 9000 });
        let World { rules, galaxy, .. } = world;
        let around = Surroundings { rules, galaxy, open: &|_| false, step: 5 };
        let travellers = vec![Traveller { unit, queue: Vec::new() }];
        state.admit(travellers, &around, &mut Changes::default());
    }
    state.write(&mut payload);
    put(node, entity, sequence, &seal(Kind::Snapshot, world.logic(), &payload));
}

fn put(node: &Node, entity: EntityKey, sequence: u64, bytes: &[u8]) {
    let logic = node.world.logic();
    let hash = StateHash::of(bytes);
    let head = SnapshotHead { sequence, chunks: 1, bytes: bytes.len() as u64, hash };
    let chunk = Put { key: keys::chunk(entity, sequence, 0), value: Some(bytes.to_vec()) };
    let head = Put { key: keys::head(entity), value: Some(head.encode(logic)) };
    // Each time another operator.
    let commit = Commit {
        node: NodeId(1000 + sequence as u32),
        incarnation: Incarnation(1),
        number: 0,
        nonce: 7,
        tick: Tick(0),
        audit_root: [0; 32],
        groups: vec![Group { puts: vec![chunk, head], ..Group::default() }],
        is_last: false,
    };
    assert!(node.store.commit(&commit).expect("the memory answers").refused.is_empty());
}

/// A request of the ledger of [`HEARD`] for a unit of `player`.
fn found(node: &Node, receiver: EntityKey, number: u64, player: PlayerId) -> Event {
    let channel = ChannelId { sender: node.world.ledger_of(HEARD), receiver, opened: 1 };
    let request = Request::Found { player, units: vec![(FIGHTER, 1)] };
    let body = Body::Request { id: number, request };
    Event::FromTable(FromTable::Carry(ChannelMessage { channel, number, body }))
}

fn last_inputs(node: &Node, entity: EntityKey) -> Vec<Input> {
    let image = recovery::image(&*node.store, entity).expect("the memory answers");
    let (_, bytes) = image.records.last().expect("a record");
    decode_record(bytes).expect("a record").1.inputs
}

fn parked(node: &Node, entity: EntityKey) -> Option<Parked> {
    let row = node.store.get(&keys::parked(entity)).expect("the memory answers");
    row.map(|row| Parked::from_bytes(&row.value).expect("why it is parked"))
}

fn is_owned(node: &Node, entity: EntityKey) -> bool {
    node.store.get(&keys::owned(NODE, entity)).expect("the memory answers").is_some()
}

fn decisions(node: &Node) -> Vec<Decision> {
    let entries = node.store.scan(keys::AUDIT, None, usize::MAX).expect("the memory answers");
    let decision = |(_, row): &(Vec<u8>, starmesh::store::Versioned)| {
        Entry::from_bytes(&row.value).expect("an entry").decision
    };
    entries.iter().map(decision).collect()
}

fn units(node: &Node, entity: EntityKey) -> Vec<PlayerId> {
    let Some(Sort::Sector(sector)) = node.table.entity(entity).map(|it| it.kind()) else {
        return Vec::new();
    };
    sector.state().units().iter().map(|unit| unit.owner).collect()
}

fn node_with(past: Past) -> (Node, EntityKey) {
    let node = Node::ready(&Arc::new(Memory::new()), Limits::default());
    let sector = node.sector(1);
    import(&node, sector, past);
    (node, sector)
}

fn resume(node: &mut Node, entity: EntityKey) {
    let row = node.store.get(&keys::parked(entity)).expect("the memory answers");
    let version = row.expect("it is parked").version;
    node.event(Event::Rows { id: 77, group: resume_group(entity, version, NODE) });
    node.run_until("it is settled", |node| node.rows_done.contains(&(77, true)));
    node.event(Event::Resumed(entity));
}

const SOUND: Past = Past { sequence: SEQUENCE, tick: 10, is_full: false, has_unit: false };

#[test]
fn a_request_that_breaks_a_sector_is_refused_and_the_sector_goes_on() {
    let (mut node, sector) = node_with(Past { is_full: true, ..SOUND });
    node.event(found(&node, sector, 1, UNTOLD));
    node.event(found(&node, sector, 2, HEARD));
    node.run_until("the other one is done", |node| units(node, sector) == [HEARD]);
    assert_eq!((node.table.counts().broken, parked(&node, sector)), (1, None));
    let [(broken, place)] = node.set_aside[..] else { panic!("{:?}", node.set_aside) };
    assert_eq!(broken, sector);
    assert_eq!(node.core.counts().set_aside, 1);
    let (sequence, said) = decisions(&node)
        .into_iter()
        .find_map(|decision| match decision {
            Decision::SetAside { entity, sequence, place } if entity == sector => {
                Some((sequence, place))
            }
            _ => None,
        })
        .expect("it is in the audit log");
    assert!(said == place && sequence > place.sequence);
    let answers = |node: &Node| -> Vec<(u64, bool)> {
        let outbox = &node.table.entity(sector).expect("it runs").head().outbox;
        outbox
            .bodies()
            .filter_map(|(_, body)| match body {
                Body::Answer { id, answer } => Some((*id, *answer == Answer::Done)),
                _ => None,
            })
            .collect()
    };
    node.lose_acks = true;
    assert!(answers(&node).iter().all(|(id, done)| *done == (*id == 2)), "{:?}", answers(&node));

    // Who replays it knows before it comes to the input.
    let before = node.table.entity(sector).expect("it runs").kind().clone();
    let mut node = Node::ready(&node.store.clone(), Limits::default());
    node.run_until("it runs again", |node| node.table.entity(sector).is_some());
    assert_eq!(*node.table.entity(sector).expect("it runs").kind(), before);
    assert!(node.set_aside.is_empty() && node.table.counts().broken == 0);
}

#[test]
fn a_sector_whose_step_panics_is_parked_and_others_go_on() {
    let (mut node, sector) = node_with(Past { is_full: true, has_unit: true, ..SOUND });
    node.found(2);
    node.event(Event::Wake(sector));
    node.run_until("it is parked", |node| parked(node, sector).is_some());
    assert_eq!(node.table.counts().broken, 1, "one live, the rest by the loader");
    node.run(3000);
    assert_eq!(node.table.counts().broken, 1, "nobody runs it");
    let [(broken, LoadError::Broken(wreck))] = &node.unloadable[..] else {
        panic!("{:?}", node.unloadable)
    };
    let row = parked(&node, sector).expect("it is parked");
    assert_eq!((*broken, &row.why), (sector, &wreck.why));
    assert!(row.why.contains("step to tick"), "{}", row.why);
    assert!(!is_owned(&node, sector), "the claim is ended");
    let inputs = last_inputs(&node, sector);
    assert!(matches!(inputs[..], [Input::Claim(_), Input::Park { .. }]), "{inputs:?}");
    let sequence = row.sequence;
    assert!(decisions(&node).contains(&Decision::Parked { entity: sector, sequence }));
    // Nothing else is the worse for it.
    node.found(3);
    node.event(found(&node, sector, 1, HEARD));
    node.run(3000);
    assert_eq!((node.unloadable.len(), node.core.counts().parked), (1, 1));

    // Nor is who begins anew: it finds it parked, and only when somebody asks.
    let mut node = Node::ready(&node.store.clone(), Limits::default());
    node.run(3000);
    assert_eq!((node.unloadable.len(), node.table.counts().broken), (0, 0));
    node.event(found(&node, sector, 1, HEARD));
    node.run(3000);
    assert!(matches!(node.unloadable[..], [(_, LoadError::Parked(_))]), "{:?}", node.unloadable);
    assert_eq!(parked(&node, sector), Some(row));
}

#[test]
fn what_was_parked_goes_on_when_it_is_mended_and_resumed() {
    let (mut node, sector) = node_with(Past { is_full: true, has_unit: true, ..SOUND });
    node.event(Event::Wake(sector));
    node.run_until("it is parked", |node| parked(node, sector).is_some());
    let first = parked(&node, sector).expect("it is parked");
    resume(&mut node, sector);
    node.run_until("it is parked again", |node| parked(node, sector).is_some());
    let again = parked(&node, sector).expect("it is parked");
    assert!(again.sequence > first.sequence && again.why == first.why, "{again:?}");
    assert_eq!((&node.resumed[..], node.unloadable.len()), (&[sector][..], 2));

    // Nobody but the channel is other than it was.
    let (sequence, tick) = (again.sequence, again.tick.0);
    import(&node, sector, Past { sequence, tick, is_full: false, has_unit: true });
    resume(&mut node, sector);
    node.run_until("it runs", |node| units(node, sector) == [UNTOLD]);
    node.event(found(&node, sector, 1, HEARD));
    node.run_until("what comes is applied", |node| units(node, sector).len() == 2);
    assert!(is_owned(&node, sector) && parked(&node, sector).is_none());
    assert!(decisions(&node).contains(&Decision::Resumed { entity: sector }));
    let tick = node.table.entity(sector).expect("it runs").tick();
    assert!(tick >= again.tick, "its ticks go on");
}

#[test]
fn a_resumed_entity_is_claimed_also_when_the_node_dies_before_it_hears() {
    let (mut node, sector) = node_with(Past { is_full: true, has_unit: true, ..SOUND });
    node.event(Event::Wake(sector));
    node.run_until("it is parked", |node| parked(node, sector).is_some());
    let row = parked(&node, sector).expect("it is parked");
    let (sequence, tick) = (row.sequence, row.tick.0);
    import(&node, sector, Past { sequence, tick, is_full: false, has_unit: true });
    let version =
        node.store.get(&keys::parked(sector)).expect("it answers").expect("it is").version;
    node.event(Event::Rows { id: 77, group: resume_group(sector, version, NODE) });
    node.run_until("it is settled", |node| node.rows_done.contains(&(77, true)));
    let node = Node::ready(&node.store.clone(), Limits::default());
    assert_eq!(units(&node, sector), [UNTOLD], "it runs as soon as the node is ready");
}

/// Appends records to the imported sector as a node of before did that let go of it.
fn append(node: &Node, entity: EntityKey, records: &[(u64, Vec<Input>)]) {
    let (earlier, incarnation) = (NodeId(999), Incarnation(1));
    let group = |(n, (tick, inputs)): (u64, &(u64, Vec<Input>))| {
        let (sequence, time) = (SEQUENCE + n, Millis(node.now));
        let header = RecordHeader { sequence, tick: Tick(*tick), time };
        let mut bytes = Vec::new();
        inputs.iter().for_each(|input| encode_input(input, &mut bytes));
        let count = u32::try_from(inputs.len()).expect("a few");
        let bytes = encode_record(&header, node.world.logic(), count, &bytes);
        Group { append: Some(Append { entity, sequence, bytes }), ..Group::default() }
    };
    let commit = Commit {
        node: earlier,
        incarnation,
        number: 0,
        nonce: 7,
        tick: Tick(0),
        audit_root: [0; 32],
        groups: (1..).zip(records).map(group).collect(),
        is_last: false,
    };
    assert!(node.store.commit(&commit).expect("the memory answers").refused.is_empty());
}

#[test]
fn what_somebody_applied_before_is_not_left_out_where_it_panics_now() {
    for is_hashed in [false, true] {
        let (mut node, sector) = node_with(Past { is_full: true, ..SOUND });
        let claim = Claim { node: NodeId(999), incarnation: Incarnation(1), node_tick: Tick(0) };
        let Event::FromTable(FromTable::Carry(broken)) = found(&node, sector, 1, UNTOLD) else {
            panic!("a message")
        };
        let hash = Input::Hash { tick: Tick(14), hash: StateHash::of(b"of an earlier build") };
        let behind = if is_hashed { hash } else { Input::Time };
        let records = [
            (11, vec![Input::Claim(claim), Input::Message(broken)]),
            (14, vec![behind]),
            (15, vec![Input::Close]),
        ];
        append(&node, sector, &records);
        node.event(Event::Wake(sector));
        node.run_until("it is known", |node| {
            parked(node, sector).is_some() || !node.set_aside.is_empty()
        });
        assert_eq!(parked(&node, sector).is_some(), is_hashed);
        assert_eq!(node.set_aside.is_empty(), is_hashed);
    }
}

#[test]
fn what_is_parked_again_goes_on_no_earlier_than_it_was_seen() {
    let (mut node, sector) = node_with(Past { is_full: true, has_unit: true, ..SOUND });
    // By a build that ran it until then; it was resumed since.
    let claim = Claim { node: NodeId(999), incarnation: Incarnation(1), node_tick: Tick(0) };
    let inputs = vec![Input::Claim(claim), Input::Park { until: Tick(60) }];
    append(&node, sector, &[(10, inputs)]);
    node.event(Event::Wake(sector));
    node.run_until("it is parked again", |node| parked(node, sector).is_some());
    let inputs = last_inputs(&node, sector);
    let is_kept =
        matches!(inputs[..], [Input::Claim(_), Input::Park { until }] if until == Tick(60));
    assert!(is_kept, "{inputs:?}");
}

/// Has the table of an entity catch a panic that nobody finds again.
fn shake(node: &mut Node, entity: EntityKey) {
    let claim = node.table.entity(entity).and_then(|it| it.head().claim);
    let at = claim.expect("it is claimed").tick_at(node.core.tick());
    shake_at(node, entity, at);
}

/// The same, at that tick of the entity's.
fn shake_at(node: &mut Node, entity: EntityKey, at: Tick) {
    let generation = node.generations[&entity];
    node.table.handle(ToTable::Drop(entity));
    node.event(Event::FromTable(FromTable::Broke { entity, generation, at }));
    let is_back = |node: &Node| {
        node.table.entity(entity).is_some_and(|it| it.head().claim.is_some())
            || !node.unloadable.is_empty()
    };
    node.run_until("it is back, or reported", is_back);
}

#[test]
fn an_entity_that_breaks_three_times_without_progress_is_parked() {
    let mut node = Node::ready(&Arc::new(Memory::new()), Limits::default());
    node.found(1);
    node.run(5000);
    let sector = node.sector(1);
    for _ in 0..5 {
        // It makes its steps in between.
        shake(&mut node, sector);
        node.run(3000);
    }
    assert!(node.unloadable.is_empty(), "{:?}", node.unloadable);
    (0..3).for_each(|_| shake(&mut node, sector));
    node.run_until("it is parked", |node| parked(node, sector).is_some());
    let why = parked(&node, sector).expect("it is parked").why;
    assert!(why.contains("3 times"), "{why}");
    // It was sound all the time.
    resume(&mut node, sector);
    node.run_until("it runs", |node| node.table.entity(sector).is_some());
    node.run(1000);
    assert!(matches!(node.command(1), starmesh::entity::commands::CommandResult::Done(_)));
}

#[test]
fn what_breaks_at_one_tick_is_parked_however_long_it_ran_before() {
    let mut node = Node::ready(&Arc::new(Memory::new()), Limits::default());
    node.found(1);
    let sector = node.sector(1);
    let at = node.table.entity(sector).expect("it runs").tick();
    for _ in 0..3 {
        assert!(parked(&node, sector).is_none());
        // What made it no step is no progress, in however many seconds.
        node.run(3000);
        shake_at(&mut node, sector, at);
    }
    node.run_until("it is parked", |node| parked(node, sector).is_some());
}
