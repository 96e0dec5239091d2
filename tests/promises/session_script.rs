//! A session whose client and whose node are the test.

use std::cell::{Cell, RefCell};

use starmesh::base::{
    EntityKey, Millis, NodeId, PlayerId, Position, SectorId, SessionId, Tick, UnitId,
};
use starmesh::cluster::core::attaching::{Attached, Attachment, Ticket};
use starmesh::cluster::core::table::Unavailable;
use starmesh::entity::commands::{CommandAnswer, CommandResult, PlayerCommand};
use starmesh::entity::effect::{Connected, PlayerEffect};
use starmesh::gateway::limits::commands::{CommandClass, CommandLimits, CommandRates};
use starmesh::gateway::limits::window::Refusal;
use starmesh::gateway::queue::{Item, Queue, QueueLimits};
use starmesh::gateway::session::{
    Around, CommandGate, Connection, Effect, Now, Payload, Session, SessionLimits, Verified,
};
use starmesh::protocol::blocks::{self, packet::Start};
use starmesh::protocol::{CodecKind, Header, Received, ServerFrame, ServerMessage};
use starmesh::sim::{Accepted, Command, Instruction};
use starmesh::view::fanout::Packet;

pub const ME: PlayerId = PlayerId(7);
pub const MY_SESSION: SessionId = SessionId(3);
/// The node that has all entities.
pub const OWNER: NodeId = NodeId(1);
pub const CONNECTION: u64 = 11;

pub fn place(x: i64) -> EntityKey {
    EntityKey::Sector(SectorId::tactical(x, 4))
}

/// The name that [`Script`] gives to [`place`]`(x)`.
pub fn handle(x: i64) -> u32 {
    u32::try_from(x).expect("small") + 100
}

const LIMITS: SessionLimits = SessionLimits {
    connect_within_ms: 5_000,
    ping_ms: 20_000,
    unanswered_max: 32,
    subscriptions_max: 25,
    message_bytes_max: 32 * 1024,
    messages_per_second: 64,
    bytes_per_second: 65_536,
};

pub const QUEUE: QueueLimits =
    QueueLimits { bytes_max: 64 * 1024, messages_max: 1_000, stalled_ms: 15_000, slot_ms: 0 };

struct Gate(RefCell<CommandLimits>);

impl CommandGate for Gate {
    fn admit(&self, _: PlayerId, class: CommandClass, now: Millis) -> Result<(), Refusal> {
        self.0.borrow_mut().admit(class, 1, now)
    }
}

pub struct Script {
    pub connection: Connection,
    gate: Gate,
    pub now: Cell<u64>,
    /// The name of the newest attachment.
    pub attachment: u64,
    /// What the shell was asked for, but for counts.
    pub effects: Vec<Effect>,
}

impl Script {
    /// A connection just opened, at 1,000 ms.
    pub fn new(queue: QueueLimits) -> Script {
        let session = Session::new(LIMITS, CONNECTION, CodecKind::Json, Millis(1_000));
        let rates = CommandRates { moves: 20, attacks: 10, trades: 30, others: 60 };
        Script {
            connection: Connection::new(session, Queue::new(queue)),
            gate: Gate(RefCell::new(CommandLimits::new(rates))),
            now: Cell::new(1_000),
            attachment: 0,
            effects: Vec::new(),
        }
    }

    /// With session 3 open, and nothing left to read.
    pub fn open() -> Script {
        Script::open_with(QUEUE)
    }

    pub fn open_with(queue: QueueLimits) -> Script {
        let mut script = Script::new(queue);
        script.say(r#"{"type":"connect","token":"good"}"#);
        script.verified();
        script.connected(MY_SESSION, false);
        script.read();
        script.effects.clear();
        script
    }

    /// With session 3 open and [`place`]`(x)` at tick 10, with no units.
    pub fn watching(xs: &[i64]) -> Script {
        let mut script = Script::open();
        script.watch(xs);
        script
    }

    pub fn watch(&mut self, xs: &[i64]) {
        for x in xs {
            self.subscribe(&[*x]);
            self.keyframe(*x, 10);
        }
        self.read();
        self.effects.clear();
    }

    pub fn at(&self) -> Now {
        let at = Millis(self.now.get());
        Now { at, tick: Tick(at.0 / 100), time: Millis(1_700_000_000_000 + at.0) }
    }

    /// Lets something happen to the session.
    pub fn on(&mut self, event: impl FnOnce(&mut Session, Around<'_>)) {
        let now = self.at();
        let around = Around { now, gate: &self.gate };
        let effects = self.connection.handle(now, |session| event(session, around));
        self.note(effects);
    }

    fn note(&mut self, effects: Vec<Effect>) {
        let wanted = effects.into_iter().filter(|effect| !matches!(effect, Effect::Count(_)));
        self.effects.extend(wanted);
    }

    /// The client says this.
    pub fn say(&mut self, text: &str) {
        self.on(|session, around| {
            session.handle_message(Payload::Text(text.as_bytes()), around);
        });
    }

    pub fn subscribe(&mut self, xs: &[i64]) {
        let sectors: Vec<String> =
            xs.iter().map(|x| format!(r#"{{"x":{x},"y":4,"scale":0}}"#)).collect();
        let sectors = sectors.join(",");
        self.say(&format!(r#"{{"type":"subscribe","area":{{"sectors":[{sectors}]}}}}"#));
    }

    /// The client tells unit 1 to hold, by the handle of a place.
    pub fn hold(&mut self, x: i64, sequence: u32) {
        let handle = handle(x);
        self.say(&format!(
            r#"{{"type":"hold","handle":{handle},"sequence":{sequence},"time":0,"units":[1]}}"#
        ));
    }

    pub fn verified(&mut self) {
        let who = Verified { player: ME, generation: 5 };
        self.on(|session, around| session.handle_verified(Ok(who), around.now));
    }

    pub fn connected(&mut self, session: SessionId, resumed: bool) {
        let connected = Connected {
            connection: CONNECTION,
            player: ME,
            session,
            resumed,
            presence: Vec::new(),
        };
        self.told(PlayerEffect::Connected(connected));
    }

    pub fn told(&mut self, effect: PlayerEffect) {
        self.on(|session, around| session.handle_player(effect, around.now));
    }

    pub fn attached(&mut self, x: i64, last: u32) {
        self.attachment += 1;
        let attached = Attached { last, attachment: Attachment(self.attachment), at: OWNER };
        self.on(|session, around| session.handle_attached(place(x), Ok(Some(attached)), around));
    }

    /// The entity did not take a command that was sent under the newest
    /// attachment.
    pub fn rejected(&mut self, x: i64, sequence: u32, why: Unavailable) {
        let ticket = Ticket::first(Attachment(self.attachment));
        self.on(|session, around| {
            session.handle_rejected(place(x), (ticket, sequence), why, around.now);
        });
    }

    pub fn answered(&mut self, x: i64, sequence: u32, tick: u64) {
        let accepted = Accepted {
            unit: UnitId(1),
            position: Position { x: 1, y: 2 },
            arrival: Position { x: 3, y: 4 },
            steps: 5,
        };
        self.told(PlayerEffect::Answered(CommandAnswer {
            entity: place(x),
            player: ME,
            session: MY_SESSION,
            sequence,
            result: CommandResult::Done(accepted),
            tick: Tick(tick),
            record: 77,
        }));
    }

    pub fn unobserved(&mut self, x: i64, why: Unavailable) {
        self.on(|session, around| session.handle_unobserved(place(x), why, around.now));
    }

    pub fn keyframe(&mut self, x: i64, tick: u64) {
        self.packet(x, handle(x), tick, true);
    }

    /// Under another name than it usually has.
    pub fn keyframe_as(&mut self, x: i64, handle: u32, tick: u64) {
        self.packet(x, handle, tick, true);
    }

    pub fn delta(&mut self, x: i64, tick: u64) {
        self.packet(x, handle(x), tick, false);
    }

    /// The place is told to make so many per cent of its ticks.
    pub fn pace(&mut self, x: i64, percent: u8) {
        let entity = EntityKey::Sector(SectorId::tactical(x, 4));
        self.on(|session, _| session.handle_pace(entity, handle(x), percent));
    }

    fn packet(&mut self, x: i64, handle: u32, tick: u64, keyframe: bool) {
        let header = Header { handle, tick: tick as u16 };
        let full_tick = keyframe.then_some(tick);
        let start = Start { header, full_tick, scope: 0, mask: keyframe.then_some(0) };
        let mut bytes = Vec::new();
        blocks::json::write_start(&start, &mut bytes);
        blocks::json::write_end(&mut bytes);
        let packet = Packet {
            sector: SectorId::tactical(x, 4),
            handle,
            tick: Tick(tick),
            keyframe,
            bytes: bytes.into(),
        };
        self.on(|session, around| session.handle_packet(&packet, around.now));
    }

    /// Lets time pass as a shell does, with a socket that takes nothing.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now.get() + ms;
        while let Some(due) = self.connection.next_due().filter(|due| due.0 <= end) {
            self.now.set(due.0.max(self.now.get()));
            let effects = self.connection.handle_clock(self.at());
            self.note(effects);
        }
        self.now.set(end);
    }

    /// Everything the client reads now, as the client understands it; pings
    /// and closes by name.
    pub fn read(&mut self) -> Vec<Read> {
        let mut read = Vec::new();
        loop {
            let due = self.connection.write_due();
            self.now.set(due.map_or(0, |due| due.0).max(self.now.get()));
            let (write, effects) = self.connection.take_write(self.at());
            self.note(effects);
            if write.is_empty() {
                return read;
            }
            read.extend(write.into_iter().map(Read::from));
        }
    }

    /// What the client reads, without headers.
    pub fn read_messages(&mut self) -> Vec<ServerMessage> {
        self.read().into_iter().map(|read| read.frame().message).collect()
    }

    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Place and sequence of the commands sent on, which are all effects there are.
    pub fn take_commands(&mut self) -> Vec<(EntityKey, u32)> {
        let commands = self.take_effects().into_iter().map(|effect| match effect {
            Effect::Command { entity, command, .. } => (entity, command.sequence),
            other => panic!("not a command: {other:?}"),
        });
        commands.collect()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Read {
    Frame(ServerFrame),
    Packet(Header, blocks::Packet),
    Ping,
    Close(u16, &'static str),
}

impl Read {
    pub fn frame(self) -> ServerFrame {
        match self {
            Read::Frame(frame) => frame,
            other => panic!("not a message: {other:?}"),
        }
    }
}

impl From<Item> for Read {
    fn from(item: Item) -> Read {
        match item {
            Item::Message(bytes) => received(&bytes),
            Item::Shared(bytes) => received(&bytes),
            Item::Ping => Read::Ping,
            Item::Close { code, reason } => Read::Close(code, reason),
        }
    }
}

fn received(bytes: &[u8]) -> Read {
    match CodecKind::Json.codec().receive(bytes).expect("the server speaks its protocol") {
        Received::Message(frame) => Read::Frame(frame),
        Received::Packet(header, packet) => Read::Packet(header, packet),
    }
}

/// The command that [`Script::hold`] gives.
pub fn hold(sequence: u32) -> PlayerCommand {
    let units = starmesh::sim::UnitIds::new(vec![UnitId(1)]).expect("one unit");
    PlayerCommand {
        player: ME,
        session: MY_SESSION,
        sequence,
        command: Command::new(units, Instruction::Hold),
    }
}
