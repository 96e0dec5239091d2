//! The protocol is what docs/protocol.md says: an example of every message
//! stands there as the codec writes it, every number and name is in its table,
//! and the fingerprint changes exactly when a message does.

use std::collections::BTreeSet;

use serde_json::Value;
use starmesh::base::{FleetId, PlayerId, Position, SectorId, SessionId, Tick, UnitId};
use starmesh::protocol::client::{Area, Connect, Empty, Ping, Rectangle, Subscribe};
use starmesh::protocol::command::{
    BatchCommand, BatchItem, JoinFleet, Target, TargetCommand, UnitsCommand,
};
use starmesh::protocol::ids::RESERVED;
use starmesh::protocol::server::{
    Ack, Aggregate, Connected, Error, Notice, Notification, Pong, Presence, PresenceEntry,
    Subscribed, Sum, TimeDilation, TypeCount,
};
use starmesh::protocol::wire::Battle;
use starmesh::protocol::{
    Announcement, Answer, Arrival, ClientFrame, ClientMessage, CodecKind, Course, Destination,
    EndReason, FINGERPRINT, MessageType, Order, Place, Point, ServerFrame, ServerMessage,
    UnitRecord,
};
use starmesh::sim::{Speed, UnitState, Waypoint};
use starmesh::view::motion::Mover;
use starmesh::view::stage::{GroupId, Scene, StepDelta, Thrown};
use starmesh::view::{Stage, convert};

pub const DOCS: &str = include_str!("../../docs/protocol.md");
const HERE: SectorId = SectorId::tactical(5000, 2512);
const TIME: u64 = 1_795_000_000_000;
/// A place's tick, 84,210; its low bits are 18,674.
const TICK: u64 = 84_210;

fn target() -> Target {
    Target::Position(Destination::at(HERE, Position { x: 700_000, y: 524_288 }))
}

#[allow(clippy::too_many_lines, reason = "a list, one example after the other")]
fn client_examples() -> Vec<ClientFrame> {
    let at = |handle, message| ClientFrame::new(handle, 0, message);
    let connect = |resume| Connect { token: "eyJhbGciOi".into(), resume };
    let units = |place, sequence| UnitsCommand {
        sequence,
        time: TIME,
        place,
        predicted: None,
        units: vec![UnitId(1_048_576), UnitId(1_048_577)],
        fleet: None,
        queue: false,
    };
    let go = |sequence, queue| TargetCommand {
        sequence,
        time: TIME,
        place: None,
        predicted: None,
        units: vec![UnitId(1_048_576)],
        fleet: None,
        queue,
        target: target(),
    };
    let item = |sequence, unit, order| BatchItem {
        sequence,
        predicted: None,
        units: vec![UnitId(unit)],
        fleet: None,
        queue: false,
        order,
    };
    let fleet = Some(FleetId(4));
    let battle = Battle { host: HERE.into(), n: 1 };
    let rectangle = Rectangle { corner: HERE.into(), width: 5, height: 5 };
    vec![
        at(0, ClientMessage::Connect(connect(None))),
        at(0, ClientMessage::Connect(connect(Some(SessionId(12))))),
        at(0, ClientMessage::Disconnect(Empty {})),
        at(0, ClientMessage::Subscribe(Subscribe { area: Area::Sectors(vec![HERE.into()]) })),
        at(0, ClientMessage::Subscribe(Subscribe { area: Area::Rectangle(rectangle) })),
        at(3, ClientMessage::Unsubscribe(Empty {})),
        at(3, ClientMessage::KeyframeRequest(Empty {})),
        at(0, ClientMessage::Ping(Ping { time: TIME })),
        at(
            3,
            ClientMessage::MoveFleet(TargetCommand {
                predicted: Some(Point { x: 524_288, y: 524_288 }),
                ..go(1, false)
            }),
        ),
        at(3, ClientMessage::MoveFleet(TargetCommand { units: Vec::new(), fleet, ..go(8, true) })),
        at(3, ClientMessage::AttackMove(go(9, false))),
        at(3, ClientMessage::Patrol(go(10, true))),
        at(3, ClientMessage::Warp(go(11, false))),
        at(
            3,
            ClientMessage::JoinFleet(JoinFleet {
                sequence: 12,
                time: TIME,
                place: None,
                predicted: None,
                units: vec![UnitId(1_048_576), UnitId(1_048_577)],
                fleet: None,
                queue: false,
                into: FleetId(4),
            }),
        ),
        at(3, ClientMessage::Stop(units(None, 2))),
        at(0, ClientMessage::Hold(units(Some(Place::sector(HERE)), 3))),
        at(0, ClientMessage::Hold(units(Some(Place::Battle(battle)), 4))),
        at(
            3,
            ClientMessage::BatchCommand(BatchCommand {
                time: TIME,
                place: None,
                commands: vec![
                    item(5, 1_048_576, Order::MoveFleet { target: target() }),
                    item(6, 1_048_577, Order::Stop {}),
                    item(7, 1_048_578, Order::Hold {}),
                ],
            }),
        ),
        at(
            3,
            ClientMessage::BatchCommand(BatchCommand {
                time: TIME,
                place: None,
                commands: vec![
                    item(13, 1_048_576, Order::JoinFleet { into: FleetId(0) }),
                    item(14, 1_048_576, Order::AttackMove { target: target() }),
                    BatchItem {
                        queue: true,
                        ..item(15, 1_048_576, Order::Patrol { target: target() })
                    },
                    BatchItem {
                        units: Vec::new(),
                        fleet,
                        ..item(16, 1_048_576, Order::Warp { target: target() })
                    },
                ],
            }),
        ),
    ]
}

fn aggregate() -> Aggregate {
    let sum = |x, unit_count, resource_density, activity_level, last_update| Sum {
        sector: SectorId { x, y: 156, scale: 4 }.into(),
        unit_count,
        resource_density,
        activity_level,
        last_update,
    };
    Aggregate {
        unit_count: 2_000,
        resource_density: 512,
        activity_level: 3,
        last_update: TIME,
        as_of: TIME + 900,
        children: vec![sum(312, 2_000, 498, 3, TIME), sum(313, 0, 526, 0, 0)],
    }
}

fn record() -> UnitRecord {
    UnitRecord {
        id: UnitId(1_048_576),
        type_id: 1,
        owner: PlayerId(7),
        hops: 0,
        position: Point { x: 524_288, y: 524_288 },
        course: Course { vx: 12_551, vy: 0, steps: 14 },
        heading: 0,
        health: 65_535,
        state: 1,
    }
}

fn presence() -> PresenceEntry {
    PresenceEntry {
        sector: HERE.into(),
        units: vec![TypeCount { type_id: 1, count: 4 }, TypeCount { type_id: 2, count: 2 }],
    }
}

fn answers() -> Vec<Answer> {
    let ended = |reason| Answer::SessionEnded { reason };
    vec![
        Answer::AttachAgain {},
        Answer::Moved { place: Place::sector(SectorId::tactical(5001, 2512)) },
        Answer::NotHere {},
        Answer::Busy {},
        Answer::StoreAway {},
        Answer::Parked {},
        Answer::Limited { after_ms: 2_500 },
        Answer::invalid("units[1]", "an id from 1, below 2^53"),
        Answer::Refused {
            rule: "in_transit".into(),
            why: "the unit is in transit and takes no commands until it arrives".into(),
            unit: Some(UnitId(1_048_576)),
            state: Some(8),
        },
        ended(EndReason::Superseded),
        ended(EndReason::TokenRefused),
        ended(EndReason::GenerationOutdated),
        ended(EndReason::Violation),
        ended(EndReason::TooSlow),
    ]
}

fn server_examples() -> Vec<ServerFrame> {
    let node = |message| ServerFrame::new(0, 90_001, message);
    let place = |message| ServerFrame::new(3, TICK, message);
    let mut all = vec![
        node(ServerMessage::Connected(Connected {
            session: SessionId(12),
            player: PlayerId(7),
            resumed: false,
            node_tick: 90_001,
            server_time: TIME,
            fingerprint: "the server's".into(),
            presence: vec![presence()],
        })),
        place(ServerMessage::Subscribed(Subscribed { place: Place::sector(HERE) })),
        node(ServerMessage::Ack(Ack {
            sequence: 1,
            success: true,
            server_time: TIME,
            entity_sequence: 311,
            effect_tick: TICK,
            position: Some(Point { x: 524_288, y: 524_288 }),
            arrival: Some(Arrival { x: 700_002, y: 524_288, steps: 14 }),
            error: None,
        })),
        place(ServerMessage::Unsubscribed(Empty {})),
        node(ServerMessage::Presence(Presence {
            changed: vec![presence(), PresenceEntry { units: Vec::new(), ..presence() }],
        })),
        ServerFrame::new(4, 90_001, ServerMessage::Aggregate(aggregate())),
        place(ServerMessage::TimeDilation(TimeDilation { percent: 40 })),
        node(ServerMessage::Pong(Pong { time: TIME, server_time: TIME + 3 })),
        node(ServerMessage::Error(Error {
            regarding: Some("subscribe".into()),
            answer: Answer::invalid("area", "1 to 25 sectors"),
        })),
    ];
    let text = Announcement::new("Node 2 restarts at noon").expect("one line");
    let notices = [
        Notice::StoreAway {},
        Notice::StoreBack {},
        Notice::ShuttingDown { after_ms: 1_000 },
        Notice::Announcement { text },
    ];
    let notices = notices.into_iter().map(|notice| Notification { notice });
    all.extend(notices.map(|notice| node(ServerMessage::Notification(notice))));
    let acks = answers().into_iter().map(|error| Ack::failed(2, TIME, error));
    all.extend(acks.map(|ack| node(ServerMessage::Ack(ack))));
    all
}

/// A Keyframe of a place with two units, of which one is cloaked, and the
/// StateDelta of the next step, in which the other turns and a third comes.
fn packets(kind: CodecKind) -> Vec<Vec<u8>> {
    let mover = |record: UnitRecord| Mover::from(&convert::unit(&record));
    let cloaked = UnitRecord {
        id: UnitId(1_048_577),
        course: Course::default(),
        state: UnitState::CLOAKED.0,
        ..record()
    };
    let scene = Scene { tick: Tick(TICK), units: vec![mover(record()), mover(cloaked)] };
    let rules = starmesh::sim::rules::sample::rules().expect("tested in sim");
    let mut stage = Stage::new(HERE, &scene, &rules);
    let group = GroupId::of(record().owner);
    let keyframe = stage.keyframe(group, kind, 3).to_vec();
    let mut turned = convert::unit(&record());
    turned.speed = Speed::try_from(10_000).expect("a speed");
    turned.aim(Waypoint { x: 1_500, y: 900 }, 0);
    let third = UnitRecord { id: UnitId(1_048_580), ..record() };
    let delta = StepDelta {
        tick: Tick(TICK + 2),
        appeared: vec![mover(third)],
        changed: vec![Mover::from(&turned)],
        left: Vec::new(),
    };
    stage.step(&delta, &Thrown::default());
    let delta = stage.packet(group, kind, 3).expect("there is something to tell").to_vec();
    for bytes in [&keyframe, &delta] {
        assert!(kind.codec().decode_packet(bytes).is_ok());
    }
    vec![keyframe, delta]
}

/// All examples as a codec writes them, a client's first, packets last.
pub fn bytes(kind: CodecKind) -> Vec<Vec<u8>> {
    let codec = kind.codec();
    let client = client_examples().into_iter().map(|frame| {
        let mut bytes = Vec::new();
        codec.encode_client(&frame, &mut bytes);
        assert_eq!(codec.decode_client(&bytes).as_ref(), Ok(&frame));
        bytes
    });
    let server = server_examples().into_iter().map(|frame| {
        let mut bytes = Vec::new();
        codec.encode_server(&frame, &mut bytes);
        assert_eq!(codec.decode_server(&bytes).as_ref(), Ok(&frame));
        bytes
    });
    client.chain(server).chain(packets(kind)).collect()
}

/// All examples as JSON.
pub fn texts() -> Vec<String> {
    let text = |bytes| String::from_utf8(bytes).expect("JSON is UTF-8");
    bytes(CodecKind::Json).into_iter().map(text).collect()
}

/// The JSON blocks of the documentation.
fn documented() -> Vec<Value> {
    let blocks = DOCS.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    let values = blocks.map(|block| {
        let read = serde_json::from_str(block);
        read.unwrap_or_else(|error| panic!("no JSON in docs/protocol.md: {error}\n{block}"))
    });
    values.collect()
}

/// Bytes as people write them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn fingerprint() -> String {
    let mut hashed = String::new();
    for (number, name) in MessageType::ALL.iter().map(|kind| (kind.number(), kind.name())) {
        hashed.push_str(&format!("{number} {name}\n"));
    }
    hashed.push_str(&texts().join("\n"));
    for kind in [CodecKind::Postcard, CodecKind::MessagePack] {
        let examples = bytes(kind).into_iter().map(|bytes| hex(&bytes)).collect::<Vec<_>>();
        hashed.push_str(&format!("\n{kind}\n{}", examples.join("\n")));
    }
    starmesh::base::StateHash::of(hashed.as_bytes()).to_string()
}

#[test]
fn every_message_is_read_back_as_it_was_written() {
    let names: BTreeSet<String> = texts()
        .iter()
        .map(|text| serde_json::from_str::<Value>(text).expect("JSON")["type"].to_string())
        .collect();
    assert_eq!(names.len(), MessageType::ALL.len(), "an example of each type, not only {names:?}");
}

#[test]
fn the_documentation_shows_every_message_as_it_is_written() {
    let documented = documented();
    for text in texts() {
        let mut value: Value = serde_json::from_str(&text).expect("JSON");
        // Answers are documented by themselves, in one table.
        if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
            value = error.clone();
        }
        assert!(documented.contains(&value), "docs/protocol.md lacks this example:\n{text}");
    }
}

#[test]
fn the_documentation_lists_every_number_and_name() {
    let known = MessageType::ALL.iter().map(|kind| (kind.number(), kind.name()));
    for (number, name) in known.chain(RESERVED.iter().copied()) {
        let row = format!("| 0x{number:02x} | `{name}` |");
        assert!(DOCS.to_lowercase().contains(&row.to_lowercase()), "docs/protocol.md lacks {row}");
    }
}

#[test]
fn the_fingerprint_is_that_of_the_messages() {
    let now = fingerprint();
    assert_eq!(FINGERPRINT, now, "messages changed: put this into protocol/fingerprint.rs");
    assert!(DOCS.contains(&now), "messages changed: revise docs/protocol.md, then its fingerprint");
}

#[test]
fn no_example_stands_twice() {
    let texts = texts();
    let unique: BTreeSet<&String> = texts.iter().collect();
    assert_eq!(unique.len(), texts.len(), "each example counts");
}
