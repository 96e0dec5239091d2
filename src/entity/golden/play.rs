//! Owns the writing of a golden journal: an entity that is given records, and
//! the lines that come of it. Never reads one.

use super::Worlds;
use crate::base::{EntityKey, Incarnation, Millis, NodeId, PlayerId, SessionId, StateHash, Tick};
use crate::entity::channel::{Acknowledgement, ChannelId, ChannelMessage};
use crate::entity::input::{Claim, Connect, Dilation, FromGateway, Input, InputPlace, Left};
use crate::entity::machine::Skips;
use crate::entity::message::Body;
use crate::entity::pace::Rate;
use crate::entity::record::{Record, RecordHeader, SnapshotHead, encode_input, encode_record};
use crate::entity::{Entity, World};

/// A journal in the making.
pub struct Play<'a> {
    pub name: &'static str,
    pub key: EntityKey,
    pub records: Vec<Record>,
    /// Sequences of the snapshots.
    pub snapshots: Vec<u64>,
    pub lines: Vec<(String, String)>,
    worlds: &'a Worlds,
    /// The one whose logic the entity has.
    world: &'a World,
    entity: Entity,
}

impl<'a> Play<'a> {
    pub fn new(name: &'static str, key: EntityKey, worlds: &'a Worlds) -> Play<'a> {
        let world = &*worlds.first;
        // All plays are of entities that the smallest galaxy has.
        let entity = Entity::genesis(key, world).expect("it exists");
        let (records, snapshots) = (Vec::new(), Vec::new());
        let lines = vec![(format!("{name}/key"), super::to_hex(&key.to_bytes()))];
        Play { name, key, records, snapshots, lines, worlds, world, entity }
    }

    /// The next record, and the hash of the state after it.
    pub fn record(&mut self, tick: u64, time: u64, inputs: Vec<Input>) {
        self.record_but(&Skips::default(), tick, time, inputs);
    }

    /// The same of an entity that leaves some inputs out.
    fn record_but(&mut self, skips: &Skips, tick: u64, time: u64, inputs: Vec<Input>) {
        let sequence = self.entity.head().sequence + 1;
        let header = RecordHeader { sequence, tick: Tick(tick), time: Millis(time) };
        let mut encoded = Vec::new();
        inputs.iter().for_each(|input| encode_input(input, &mut encoded));
        // A few dozen.
        let count = u32::try_from(inputs.len()).unwrap_or(u32::MAX);
        let bytes = encode_record(&header, self.world.logic(), count, &encoded);
        self.line("record", sequence, super::to_hex(&bytes));
        let record = Record { header, inputs };
        // Plays go forward.
        let applied = self.entity.apply_but(&record, skips, self.world, &mut Vec::new());
        applied.expect("the next record");
        let hash = self.entity.state_hash(self.world);
        self.line("state", sequence, hash.to_string());
        self.records.push(record);
    }

    /// A snapshot after the last record, and its head.
    pub fn snapshot(&mut self) {
        let sequence = self.entity.head().sequence;
        let bytes = self.entity.snapshot(self.world);
        let head = SnapshotHead {
            sequence,
            chunks: 1,
            bytes: bytes.len() as u64,
            hash: StateHash::of(&bytes),
        };
        self.line("snapshot", sequence, super::to_hex(&bytes));
        self.line("head", sequence, super::to_hex(&head.encode(self.world.logic())));
        self.snapshots.push(sequence);
    }

    /// The journalled hash of the state after the step to `tick`.
    pub fn hash(&mut self, tick: u64) -> Input {
        self.entity.run_to(Tick(tick), self.world, &mut Vec::new());
        Input::Hash { tick: Tick(tick), hash: self.entity.state_hash(self.world) }
    }

    /// From its tick on the entity makes so many tenths of its node's ticks.
    pub fn dilate(tenths: u8, node_tick: u64) -> Input {
        // Plays say 1 to 10.
        let rate = Rate::try_from(tenths).expect("a rate");
        Input::Dilate(Dilation { rate, node_tick: Tick(node_tick) })
    }

    /// Another node claims it, and gateways say what they have.
    pub fn gateways(&mut self, tick: u64, time: u64) {
        let claim = Claim { node: NodeId(3), incarnation: Incarnation(5), node_tick: Tick(99) };
        let (player, session) = (PlayerId(1), SessionId(2));
        let connect = |connection| {
            let resume = Some(session);
            Input::Gateway(FromGateway::ConnectAgain(Connect { player, connection, resume }))
        };
        let held = |session, connection| {
            Input::Gateway(FromGateway::Held(Left { player, session, connection }))
        };
        let lost = Input::Gateway(FromGateway::Lost { first: 1, end: 1 << 41 });
        let words = [connect(4), held(session, 4), held(SessionId(1), 3), lost, connect(9)];
        self.record(tick, time, [Input::Claim(claim)].into_iter().chain(words).collect());
        self.snapshot();
    }

    /// A node with other rules claims it directly behind its snapshot.
    pub fn adopt(&mut self, tick: u64, time: u64) {
        let adopt = Input::Adopt { from: self.world.logic() };
        self.world = &self.worlds.adopted;
        let claim = Claim { node: NodeId(4), incarnation: Incarnation(1), node_tick: Tick(7) };
        self.record(tick, time, vec![adopt, Input::Claim(claim)]);
        self.snapshot();
    }

    /// It breaks by that input, which is set aside; then it is parked, and resumed.
    pub fn set_aside(&mut self, tick: u64, time: u64, input: Input) {
        let place = InputPlace { sequence: self.entity.head().sequence + 1, index: 1 };
        let mut skips = Skips::default();
        skips.insert(place);
        self.record_but(&skips, tick, time, vec![Input::Time, input]);
        let claim = |incarnation| {
            let incarnation = Incarnation(incarnation);
            Input::Claim(Claim { node: NodeId(4), incarnation, node_tick: Tick(9) })
        };
        self.record(tick, time + 100, vec![claim(2), Input::Skip(place)]);
        let until = Tick(tick + 4);
        self.record(tick + 1, time + 200, vec![claim(3), Input::Park { until }]);
        self.record(tick + 4, time + 900, vec![claim(4)]);
    }

    /// A message from `sender` on the channel that it opened at `opened`.
    pub fn message(&self, sender: EntityKey, opened: u64, number: u64, body: Body) -> Input {
        let channel = ChannelId { sender, receiver: self.key, opened };
        Input::Message(ChannelMessage { channel, number, body })
    }

    /// `receiver` applied what this sent on the channel opened at `opened`.
    pub fn acknowledged(&self, receiver: EntityKey, opened: u64, upto: u64) -> Input {
        let channel = ChannelId { sender: self.key, receiver, opened };
        Input::Acknowledged(Acknowledgement { channel, upto })
    }

    fn line(&mut self, what: &str, sequence: u64, value: String) {
        self.lines.push((format!("{}/{what}/{sequence}", self.name), value));
    }
}
