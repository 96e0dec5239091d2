//! A client and a small server of one sector with a line between them, on
//! which things go wrong as often as a test says; what must be so whenever the
//! client says something.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;
use starmesh::base::draw::draw;
use starmesh::base::{EntityKey, PlayerId, Position, SectorId, SessionId, Tick, UnitId};
use starmesh::client::{ClientCore, Correction, Effect, Event, Options, Wanted};
use starmesh::protocol::command::{Order, Target};
use starmesh::protocol::server::{Ack, Connected, Subscribed};
use starmesh::protocol::{
    Answer, ClientFrame, ClientMessage, CodecKind, Destination, FINGERPRINT, Header, Place,
    Received, Recipients, ServerFrame, ServerMessage,
};
use starmesh::sim::rules::sample;
use starmesh::sim::{Changes, Galaxy, Rules, SectorState, Surroundings, Unit};
use starmesh::view::motion::Mover;
use starmesh::view::predict::Units;
use starmesh::view::stage::{GroupId, Scene, StepDelta, Thrown};
use starmesh::view::{Charts, Stage, convert};

pub const HERE: SectorId = SectorId::tactical(7, 5);
pub const PLACE: EntityKey = EntityKey::Sector(HERE);
pub const ANNA: PlayerId = PlayerId(7);
const TICK_MS: u64 = 100;

/// What the server does wrong or the line does to it, in thousandths of what
/// could go so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    pub cuts: u64,
    pub losses: u64,
    pub refusals: u64,
    pub overtakings: u64,
    pub unanswered: u64,
}

/// One sector, one player.
pub struct Server {
    rules: Rules,
    galaxy: Galaxy,
    state: SectorState,
    pub tick: u64,
    changes: Changes,
    pub stage: Option<Stage>,
    pub handle: u32,
    asked: bool,
    pub session: u64,
    answers: BTreeMap<u32, Ack>,
}

impl Server {
    fn new(units: u64) -> Server {
        let (mut state, mut changes) = (SectorState::new(HERE), Changes::default());
        for n in 1..=units {
            let at = Position { x: 500_000, y: 400_000 + 9_000 * n as i32 };
            state.insert(Unit::new(UnitId(n), sample::FIGHTER, ANNA, at), &mut changes);
        }
        Server {
            rules: sample::rules().unwrap(),
            galaxy: Galaxy::new(1, Galaxy::SIDE).unwrap(),
            state,
            tick: 84_000,
            changes,
            stage: None,
            handle: 0,
            asked: false,
            session: 5,
            answers: BTreeMap::new(),
        }
    }

    pub fn units(&self) -> Units {
        self.state.units().iter().map(|unit| (unit.id, convert::record(unit))).collect()
    }

    /// The next tick, and what the client is told of it.
    fn step(&mut self) -> Vec<Received> {
        self.tick += 1;
        if self.tick % 2 == 1 {
            return Vec::new();
        }
        let (open, step, tick) = (|_| false, self.tick / 2, Tick(self.tick));
        let around = Surroundings { rules: &self.rules, galaxy: &self.galaxy, open: &open, step };
        let mut changes = self.changes.drain();
        self.state.steer(&around, &mut changes);
        let movers = |ids: &mut dyn Iterator<Item = &UnitId>| -> Vec<Mover> {
            ids.filter_map(|id| self.state.unit(*id)).map(Mover::from).collect()
        };
        let changed = movers(&mut changes.changed.difference(&changes.appeared));
        let appeared = movers(&mut changes.appeared.iter());
        self.state.travel(&around, &mut changes, &mut Vec::new());
        let scene = Scene { tick, units: self.state.units().iter().map(Mover::from).collect() };
        let delta = StepDelta { tick, appeared, changed, left: Vec::new() };
        self.show(&scene, &delta)
    }

    fn show(&mut self, scene: &Scene, delta: &StepDelta) -> Vec<Received> {
        let (group, codec, handle) = (GroupId::of(ANNA), CodecKind::Postcard, self.handle);
        let mut told = Vec::new();
        if let Some(stage) = &mut self.stage {
            stage.step(delta, &Thrown::default());
            told.extend(stage.packet(group, codec, handle));
        } else if handle > 0 {
            self.stage = Some(Stage::new(HERE, scene, &self.rules));
            self.asked = true;
        }
        if std::mem::take(&mut self.asked) {
            told.extend(self.stage.as_mut().map(|stage| stage.keyframe(group, codec, handle)));
        }
        let packets = told.iter().map(|bytes| codec.codec().decode_packet(bytes).unwrap());
        packets.map(|(header, packet): (Header, _)| Received::Packet(header, packet)).collect()
    }

    fn subscribed(&mut self) -> Received {
        (self.handle, self.stage) = (self.handle + 1, None);
        let place = Place::sector(HERE);
        message(self.handle, ServerMessage::Subscribed(Subscribed { place }))
    }

    /// Carries a command out, or answers a repeated one again.
    fn apply(&mut self, command: &starmesh::protocol::Command, refuses: bool) -> Ack {
        let sequence = command.sequence;
        if let Some(answer) = self.answers.get(&sequence) {
            return answer.clone();
        }
        let refused =
            Answer::Refused { rule: "no".into(), why: "no".into(), unit: None, state: None };
        let mut ack = Ack::failed(sequence, 0, refused);
        if self.answers.last_key_value().is_some_and(|(last, _)| *last > sequence) {
            ack.error = Some(Answer::NotHere {});
            return ack;
        }
        ack.effect_tick = self.tick;
        if !refuses {
            let (open, step) = (|_| false, self.tick / 2);
            let around =
                Surroundings { rules: &self.rules, galaxy: &self.galaxy, open: &open, step };
            let command = convert::command(command).unwrap();
            let done = self.state.apply_command(ANNA, &command, &around, &mut self.changes);
            (ack.success, ack.error) = (done.is_ok(), done.err().map(|no| convert::refusal(&no)));
        }
        self.answers.insert(sequence, ack.clone());
        ack
    }
}

pub fn message(handle: u32, message: ServerMessage) -> Received {
    Received::Message(ServerFrame::new(handle, 0, message))
}

/// A client and its server with the line between them.
pub struct Play {
    seed: u64,
    draws: u64,
    pub trouble: Trouble,
    pub now: u64,
    pub core: ClientCore,
    pub server: Server,
    up: VecDeque<(u64, ClientFrame)>,
    down: VecDeque<(u64, Received)>,
    pub corrections: Vec<Correction>,
    pub answered: BTreeMap<u32, Ack>,
    /// Orders that the server never gets.
    pub swallowed: u64,
}

impl Play {
    pub fn new(seed: u64, units: u64, trouble: Trouble) -> Play {
        let mut core = ClientCore::new("token".into(), Options { reconnect: true, seed });
        core.predict_with(Arc::new(Charts::new(sample::rules().unwrap()).unwrap()));
        core.subscribe(0, &[HERE]);
        core.start(0);
        Play {
            seed,
            draws: 0,
            trouble,
            now: 0,
            core,
            server: Server::new(units),
            up: VecDeque::new(),
            down: VecDeque::new(),
            corrections: Vec::new(),
            answered: BTreeMap::new(),
            swallowed: 0,
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.draws += 1;
        draw(self.seed, "test prediction", &[self.draws]) % end
    }

    fn happens(&mut self, thousandths: u64) -> bool {
        thousandths > 0 && self.below(1_000) < thousandths
    }

    pub fn watches(&self) -> bool {
        self.core.view(PLACE).is_some_and(|view| view.tick().is_some())
    }

    /// 100 ms of everything.
    pub fn pass(&mut self) {
        self.now += TICK_MS;
        self.core.handle_time(self.now);
        self.drain();
        let told = self.server.step();
        if !told.is_empty() && self.happens(self.trouble.losses) {
            let again = self.server.subscribed();
            self.tell(again);
        } else {
            told.into_iter().for_each(|told| self.tell(told));
        }
        while self.up.front().is_some_and(|(due, _)| *due <= self.now) {
            let (_, frame) = self.up.pop_front().unwrap();
            self.serve(&frame);
        }
        while self.down.front().is_some_and(|(due, _)| *due <= self.now) {
            let (_, received) = self.down.pop_front().unwrap();
            self.core.handle_received(self.now, &received);
            self.drain();
        }
        if self.happens(self.trouble.cuts) {
            self.up.clear();
            self.down.clear();
            (self.server.handle, self.server.stage) = (0, None);
            self.core.handle_closed(self.now, "cut");
            self.drain();
        }
    }

    /// Behind all that is on its way down.
    fn tell(&mut self, received: Received) {
        let due = self.now + self.below(3) * TICK_MS;
        let last = self.down.back().map_or(0, |(due, _)| *due);
        self.down.push_back((due.max(last), received));
    }

    fn serve(&mut self, frame: &ClientFrame) {
        match &frame.message {
            ClientMessage::Connect(connect) => {
                let resumed = connect.resume == Some(SessionId(self.server.session));
                self.tell(message(
                    0,
                    ServerMessage::Connected(Connected {
                        session: SessionId(self.server.session),
                        player: ANNA,
                        resumed,
                        node_tick: 0,
                        server_time: 0,
                        fingerprint: FINGERPRINT.into(),
                        presence: Vec::new(),
                    }),
                ));
            }
            ClientMessage::Subscribe(_) => {
                let subscribed = self.server.subscribed();
                self.tell(subscribed);
            }
            ClientMessage::KeyframeRequest(_) => self.server.asked = true,
            _ => {
                for command in frame.commands().unwrap() {
                    if self.happens(self.trouble.unanswered) {
                        self.swallowed += 1;
                        continue;
                    }
                    let refuses = self.happens(self.trouble.refusals);
                    let ack = self.server.apply(&command, refuses);
                    self.tell(message(0, ServerMessage::Ack(ack)));
                }
            }
        }
    }

    pub fn drain(&mut self) {
        let effects: Vec<Effect> = self.core.drain_effects().collect();
        for effect in effects {
            match effect {
                Effect::Open => self.core.handle_opened(self.now),
                Effect::Send(frame) => {
                    let last = self.up.back().map_or(0, |(due, _)| *due);
                    let due = (self.now + self.below(6) * TICK_MS).max(last);
                    let overtakes = self.happens(self.trouble.overtakings);
                    if overtakes && !self.up.is_empty() {
                        self.up.push_front((self.now, frame));
                    } else {
                        self.up.push_back((due, frame));
                    }
                }
                Effect::Close => {}
                Effect::Tell(event) => return_to(self, event),
            }
        }
        // `handle_opened` has more to send.
        let more: Vec<Effect> = self.core.drain_effects().collect();
        for effect in more {
            if let Effect::Send(frame) = effect {
                self.up.push_back((self.now, frame));
            }
        }
    }

    /// A move, mostly; its sequence, if it could be sent.
    pub fn order(&mut self) -> Option<u32> {
        let units = self.server.state.units().len() as u64;
        let (first, count) = (self.below(units), 1 + self.below(units));
        let ids = (0..count).map(|n| UnitId((first + n) % units + 1)).collect();
        let mut axis = || 50_000 + self.below(900_000) as i32;
        let target = Target::Position(Destination::at(HERE, Position { x: axis(), y: axis() }));
        let order = match self.below(6) {
            0 => Order::Stop {},
            1 => Order::Hold {},
            2 => Order::AttackMove { target },
            _ => Order::MoveFleet { target },
        };
        let wanted =
            Wanted { recipients: Recipients::Units(ids), order, queue: false, predicted: None };
        let sequence = self.core.command(self.now, PLACE, wanted).ok();
        self.drain();
        sequence
    }

    /// Orders for `ticks`, now and then; then time for all to be answered.
    pub fn run(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.pass();
            if self.watches() && self.happens(150) {
                self.order();
            }
        }
        self.trouble = Trouble::default();
        // Four attempts of three seconds, after as long a wait to connect.
        (0..300).for_each(|_| self.pass());
    }

    pub fn is_settled(&self) -> Result<(), TestCaseError> {
        let tick = self.core.view(PLACE).and_then(|view| view.tick());
        prop_assert!(tick.is_some());
        prop_assert_eq!(self.core.pending(PLACE).count(), 0);
        let tick = self.server.tick;
        prop_assert_eq!(self.core.predicted(PLACE, tick), self.server.units());
        Ok(())
    }
}

/// What the client says, and what must be so whenever it says something.
fn return_to(play: &mut Play, event: Event) {
    match event {
        Event::Answered { command, ack, .. } => {
            let sequence = command.command.sequence;
            let shown = play.core.view(PLACE).and_then(|view| view.tick());
            if ack.success && shown.is_some_and(|tick| tick <= ack.effect_tick) {
                let left = play.core.pending(PLACE).any(|left| left == sequence);
                assert!(left, "order {sequence} is not left at tick {shown:?}: {ack:?}");
            }
            play.answered.insert(sequence, ack);
        }
        Event::Corrected { corrections, .. } => play.corrections.extend(corrections),
        Event::Connected { resumed: false, .. } => play.answered.clear(),
        Event::Updated { tick, .. } => {
            // A packet after its acknowledgement's tick: it may not be left.
            for sequence in play.core.pending(PLACE) {
                let answer = play.answered.get(&sequence);
                let late = answer.is_some_and(|ack| !ack.success || ack.effect_tick < tick);
                assert!(!late, "order {sequence} is left at tick {tick}: {answer:?}");
            }
        }
        Event::Desync { .. } | Event::Stray { .. } => panic!("{event:?}"),
        _ => {}
    }
}
