//! Invariant 19: what hibernates and wakes n ticks later is what was stepped n
//! times, with and without units, from even and from odd ticks.

use starmesh::base::{EntityKey, Incarnation, Millis, NodeId, PlayerId, SessionId, Tick, UnitId};
use starmesh::entity::channel::{Acknowledgement, ChannelId, ChannelMessage};
use starmesh::entity::commands::PlayerCommand;
use starmesh::entity::input::{Claim, Input};
use starmesh::entity::message::{Body, Notice, Request};
use starmesh::entity::record::{Record, RecordHeader};
use starmesh::entity::{Entity, World};
use starmesh::sim::rules::sample::{self, FIGHTER, FREIGHTER};
use starmesh::sim::{Command, Galaxy, Instruction, UnitIds};

use crate::random::Random;

/// Long enough for units to come to rest.
const REST_TICKS: u64 = 400;

fn world() -> World {
    let galaxy = Galaxy::new(1, Galaxy::SIDE_MIN).expect("a small galaxy");
    World::new(galaxy, 1, sample::rules().expect("sample rules"))
}

fn apply(entity: &mut Entity, tick: u64, inputs: Vec<Input>, world: &World) {
    let sequence = entity.head().sequence + 1;
    let header = RecordHeader { sequence, tick: Tick(tick), time: Millis(tick * 100) };
    entity.apply(&Record { header, inputs }, world, &mut Vec::new()).expect("the next record");
}

fn claim(tick: u64) -> Input {
    let (node, incarnation, node_tick) = (NodeId(1), Incarnation(1), Tick(tick));
    Input::Claim(Claim { node, incarnation, node_tick })
}

/// A sector in which nothing happens at `tick` any more.
fn at_rest(units: u32, tick: u64, world: &World) -> Entity {
    let key = EntityKey::Sector(world.galaxy.start_place(0));
    let ledger = EntityKey::Ledger(0);
    let mut entity = Entity::genesis(key, world).expect("it exists");
    apply(&mut entity, 0, vec![claim(0)], world);
    if units > 0 {
        let counts = vec![(FIGHTER, units), (FREIGHTER, 1)];
        let request = Request::Found { player: PlayerId(1), units: counts };
        let channel = ChannelId { sender: ledger, receiver: key, opened: 1 };
        let body = Body::Request { id: 1, request };
        let found = Input::Message(ChannelMessage { channel, number: 1, body });
        apply(&mut entity, 1, vec![found, Input::Ids { start: 1 }], world);
        let sent: Vec<ChannelMessage> = entity.head().outbox.waiting(key).collect();
        let last = sent.last().expect("an answer");
        let ack = Acknowledgement { channel: last.channel, upto: last.number };
        apply(&mut entity, 3, vec![Input::Acknowledged(ack)], world);
    }
    entity.run_to(Tick(tick), world, &mut Vec::new());
    assert!(entity.may_hibernate(), "{entity:?}");
    entity
}

#[test]
fn a_sector_is_what_the_seed_gives_until_it_has_a_channel_or_a_command_or_a_unit() {
    let world = world();
    let sector = world.galaxy.start_place(0);
    let mut entity = Entity::genesis(EntityKey::Sector(sector), &world).expect("it exists");
    apply(&mut entity, 0, vec![claim(0)], &world);
    assert!(entity.may_hibernate() && entity.is_seed());
    let channel = |sender| ChannelId { sender, receiver: entity.key(), opened: 1 };
    let presence = Notice::Units { travellers: Vec::new() };
    let body = Body::Notice(presence);
    let message = ChannelMessage { channel: channel(EntityKey::Ledger(0)), number: 1, body };
    let units = UnitIds::new(vec![UnitId(7)]).expect("one unit");
    let (player, session, sequence) = (PlayerId(1), SessionId(1), 1);
    let command = Command::new(units, Instruction::Stop);
    let refused = Input::Command(PlayerCommand { player, session, sequence, command });
    for input in [Input::Message(message), refused] {
        let mut changed = entity.clone();
        apply(&mut changed, 2, vec![input], &world);
        assert!(changed.may_hibernate() && !changed.is_seed(), "{changed:?}");
    }
    let with_units = at_rest(1, REST_TICKS, &world);
    assert!(with_units.may_hibernate() && !with_units.is_seed());
}

#[test]
fn a_sector_that_slept_is_one_that_was_stepped() {
    let world = world();
    for seed in 1..=200 {
        let mut random = Random::new(seed);
        let units = random.below(5) as u32;
        let tick = REST_TICKS + random.below(2);
        let ticks = random.below(300);
        let mut slept = at_rest(units, tick, &world);
        let mut stepped = slept.clone();
        apply(&mut slept, tick, vec![Input::Close], &world);
        apply(&mut slept, tick + ticks, vec![claim(tick + ticks)], &world);
        (0..ticks).for_each(|_| stepped.step(&world, &mut Vec::new()));
        let said = format!("seed {seed}: {units} units, {ticks} ticks from {tick}");
        assert_eq!(slept.tick(), stepped.tick(), "{said}");
        assert_eq!(slept.kind(), stepped.kind(), "{said}");
        assert_eq!(slept.head().outbox, stepped.head().outbox, "{said}");
        assert_eq!(slept.head().inbox, stepped.head().inbox, "{said}");
        // From its bytes too, as a load finds it.
        let restored = Entity::restore(slept.key(), &slept.snapshot(&world)).expect("a snapshot");
        assert_eq!(restored.snapshot(&world), slept.snapshot(&world), "{said}");
    }
}
