//! Units that fly back and forth over a border between two entities: each
//! crossing is a message through the outbox, a record at the receiver with its
//! acknowledgement, and a record at the sender. No store, no codec.

use std::time::Duration;

use starmesh::base::{
    CompressedPosition, EntityKey, Incarnation, Millis, NodeId, PlayerId, Position, SectorId,
    SessionId, Tick, UnitId,
};
use starmesh::entity::channel::{ChannelId, ChannelMessage};
use starmesh::entity::commands::PlayerCommand;
use starmesh::entity::effect::Effect;
use starmesh::entity::input::{Claim, Input};
use starmesh::entity::message::{Body, Notice};
use starmesh::entity::record::{Record, RecordHeader};
use starmesh::entity::{Entity, World};
use starmesh::sim::rules::sample::{self, FIGHTER};
use starmesh::sim::{Command, Galaxy, Instruction, Target, Traveller, Unit, UnitIds};

use super::{OWNER, cpu};

const WEST: SectorId = SectorId::tactical(5_000, 5_000);
const EAST: SectorId = SectorId::tactical(5_001, 5_000);
const UNITS: u64 = 1_000;
/// Grid steps from the border where they turn: 40 m.
const TURN: i32 = 41_943;
const STEPS: u32 = 1_000;

pub fn run() {
    let mut pair = Pair::new();
    let mut crossings = 0;
    pair.send();
    let mut spent = Duration::ZERO;
    for _ in 0..STEPS {
        let began = cpu();
        crossings += pair.step();
        spent += cpu() - began;
    }
    let per_second = f64::from(crossings) / spent.as_secs_f64();
    println!(
        "{crossings} crossings of {UNITS} units: {per_second:.0}/s with all steps of both sectors"
    );
    assert!(crossings as u64 >= UNITS, "they cross");
}

struct Pair {
    world: World,
    entities: [Entity; 2],
    tick: u64,
}

impl Pair {
    fn new() -> Pair {
        let galaxy = Galaxy::new(2026, Galaxy::SIDE).expect("the default is in range");
        let world = World::new(galaxy, 1, sample::rules().expect("in range"));
        let entities = [WEST, EAST]
            .map(|id| Entity::genesis(EntityKey::Sector(id), &world).expect("it exists"));
        let mut pair = Pair { world, entities, tick: 0 };
        let claim = Claim { node: NodeId(1), incarnation: Incarnation(1), node_tick: Tick(0) };
        pair.record(0, vec![Input::Claim(claim)]);
        pair.record(1, vec![Input::Claim(claim)]);
        let receiver = EntityKey::Sector(WEST);
        let channel = ChannelId { sender: EntityKey::Ledger(0), receiver, opened: 1 };
        for (number, first) in (1..).zip((0..UNITS).step_by(250)) {
            let travellers = (first..first + 250).map(traveller).collect();
            let body = Body::Notice(Notice::Units { travellers });
            pair.record(0, vec![Input::Message(ChannelMessage { channel, number, body })]);
        }
        pair
    }

    /// Sends all on patrol over the border.
    fn send(&mut self) {
        for (sequence, first) in (1..).zip((0..UNITS).step_by(250)) {
            let ids = (first + 1..=first + 250).map(UnitId).collect();
            let position = Position { x: TURN, y: 524_288 };
            let target = Target { sector: EAST, position: CompressedPosition::of(position, 0) };
            let command =
                Command::new(UnitIds::new(ids).expect("250"), Instruction::Patrol { target });
            let (player, session) = (OWNER, SessionId(1));
            let command = PlayerCommand { player, session, sequence, command };
            self.record(0, vec![Input::Command(command)]);
        }
    }

    /// A step of both; how many units arrived in the other one.
    fn step(&mut self) -> u32 {
        self.tick += 2;
        let mut arrived = 0;
        for at in 0..2 {
            let mut effects = Vec::new();
            self.entities[at].run_to(Tick(self.tick), &self.world, &mut effects);
            arrived += self.deliver(at, effects);
        }
        arrived
    }

    /// Brings messages to the other entity, and what comes of it back.
    fn deliver(&mut self, from: usize, effects: Vec<Effect>) -> u32 {
        let mut arrived = 0;
        for effect in effects {
            let (to, input) = match effect {
                Effect::Carry(message)
                    if message.channel.receiver == self.entities[1 - from].key() =>
                {
                    if let Body::Notice(Notice::Units { travellers }) = &message.body {
                        arrived += u32::try_from(travellers.len()).expect("256 at most");
                    }
                    (1 - from, Input::Message(message))
                }
                // The ledger takes everything at once.
                Effect::Carry(ChannelMessage { channel, number, .. }) => {
                    let ack = starmesh::entity::channel::Acknowledgement { channel, upto: number };
                    (from, Input::Acknowledged(ack))
                }
                Effect::Acknowledge(ack) if ack.channel.sender == self.entities[1 - from].key() => {
                    (1 - from, Input::Acknowledged(ack))
                }
                _ => continue,
            };
            let effects = self.record(to, vec![input]);
            arrived += self.deliver(to, effects);
        }
        arrived
    }

    fn record(&mut self, at: usize, inputs: Vec<Input>) -> Vec<Effect> {
        let entity = &mut self.entities[at];
        let tick = entity.tick();
        let (sequence, time) = (entity.head().sequence + 1, Millis(1_000 + self.tick * 100));
        let record = Record { header: RecordHeader { sequence, tick, time }, inputs };
        let mut effects = Vec::new();
        entity.apply(&record, &self.world, &mut effects).expect("the next record");
        effects
    }
}

/// One of a column along the border.
fn traveller(n: u64) -> Traveller {
    let (row, column) = ((n % 100) as i32, (n / 100) as i32);
    let position = Position { x: (1 << 20) - TURN - 10_000 * column, y: 10_000 * row };
    let unit = Unit::new(UnitId(n + 1), FIGHTER, PlayerId(OWNER.0), position);
    Traveller { unit, queue: Vec::new() }
}
