//! Strategies for every message of both directions: any value that a message
//! may have.

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use starmesh::base::{FleetId, PlayerId, SessionId, UnitId};
use starmesh::protocol::client::{Area, Connect, Empty, Ping, Rectangle, Subscribe};
use starmesh::protocol::command::{
    BatchCommand, BatchItem, JoinFleet, Target, TargetCommand, UnitsCommand,
};
use starmesh::protocol::server::{
    Ack, Aggregate, Connected, Error, Notice, Notification, Pong, Presence, PresenceEntry,
    Subscribed, Sum, TimeDilation, TypeCount,
};
use starmesh::protocol::wire::Battle;
use starmesh::protocol::{
    Announcement, Answer, Arrival, ClientFrame, ClientMessage, Destination, EXACT_BELOW, EndReason,
    Header, Order, Place, Point, Sector, ServerFrame, ServerMessage,
};

/// Numbers as they come, and those at which encodings change.
fn number(max: u64) -> impl Strategy<Value = u64> {
    let edges = [0, 1, 23, 127, 128, 255, 256, 65_535, 65_536, u64::from(u32::MAX), 1 << 32];
    prop_oneof![0..=max, proptest::sample::select(edges.to_vec()).prop_map(move |n| n.min(max))]
}

fn exact() -> impl Strategy<Value = u64> {
    number(EXACT_BELOW - 1)
}

fn id() -> impl Strategy<Value = u64> {
    exact().prop_map(|n| n.max(1))
}

fn sequence() -> impl Strategy<Value = u32> {
    prop_oneof![1..=u32::MAX, Just(1), Just(u32::MAX)]
}

fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..40).prop_map(String::from_iter)
}

fn sector() -> impl Strategy<Value = Sector> {
    let least = -(EXACT_BELOW as i64) + 1;
    let axis = || prop_oneof![least..=-least, -200..200_i64];
    (axis(), axis(), any::<u8>()).prop_map(|(x, y, scale)| Sector { x, y, scale })
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        sector().prop_map(Place::Sector),
        (sector(), exact()).prop_map(|(host, n)| Place::Battle(Battle { host, n })),
    ]
}

fn point() -> impl Strategy<Value = Point> {
    any::<(i32, i32)>().prop_map(|(x, y)| Point { x, y })
}

fn target() -> impl Strategy<Value = Target> {
    (sector(), any::<(u32, u32)>())
        .prop_map(|(sector, (x, y))| Target::Position(Destination { sector, x, y }))
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![
        target().prop_map(|target| Order::MoveFleet { target }),
        Just(Order::Stop {}),
        Just(Order::Hold {}),
        target().prop_map(|target| Order::AttackMove { target }),
        target().prop_map(|target| Order::Patrol { target }),
        target().prop_map(|target| Order::Warp { target }),
        exact().prop_map(|into| Order::JoinFleet { into: FleetId(into) }),
    ]
}

fn units() -> impl Strategy<Value = Vec<UnitId>> {
    let many = btree_set(id(), 1..=256).prop_map(|ids| ids.into_iter().rev().map(UnitId).collect());
    prop_oneof![4 => vec(id().prop_map(UnitId), 1..2), 1 => many]
}

/// Units, or a fleet.
fn recipients() -> impl Strategy<Value = (Vec<UnitId>, Option<FleetId>)> {
    prop_oneof![
        3 => units().prop_map(|units| (units, None)),
        1 => id().prop_map(|id| (Vec::new(), Some(FleetId(id)))),
    ]
}

/// A command whose place is said by its header.
fn command() -> impl Strategy<Value = UnitsCommand> {
    let all = (sequence(), exact(), option::of(point()), recipients(), any::<bool>());
    all.prop_map(|(sequence, time, predicted, (units, fleet), queue)| UnitsCommand {
        sequence,
        time,
        place: None,
        predicted,
        units,
        fleet,
        queue,
    })
}

fn target_command() -> impl Strategy<Value = TargetCommand> {
    (command(), target()).prop_map(|(command, target)| {
        let UnitsCommand { sequence, time, place, predicted, units, fleet, queue } = command;
        TargetCommand { sequence, time, place, predicted, units, fleet, queue, target }
    })
}

fn join() -> impl Strategy<Value = JoinFleet> {
    (command(), exact()).prop_map(|(command, into)| {
        let UnitsCommand { sequence, time, place, predicted, units, fleet, queue } = command;
        let into = FleetId(into);
        JoinFleet { sequence, time, place, predicted, units, fleet, queue, into }
    })
}

fn batch() -> impl Strategy<Value = BatchCommand> {
    let item = (option::of(point()), recipients(), any::<bool>(), order());
    let sequences = btree_set(sequence(), 1..=32);
    (exact(), sequences, vec(item, 32)).prop_map(|(time, sequences, items)| {
        let items = sequences.into_iter().zip(items);
        let commands = items.map(|(sequence, (predicted, (units, fleet), queue, order))| {
            BatchItem { sequence, predicted, units, fleet, queue, order }
        });
        BatchCommand { time, place: None, commands: commands.collect() }
    })
}

fn area() -> impl Strategy<Value = Area> {
    prop_oneof![
        vec(sector(), 1..=25).prop_map(Area::Sectors),
        (sector(), 1..=5_u8, 1..=5_u8)
            .prop_map(|(corner, width, height)| Rectangle { corner, width, height })
            .prop_map(Area::Rectangle),
    ]
}

fn connect() -> impl Strategy<Value = Connect> {
    let token = prop_oneof!["[a-zA-Z0-9_.-]{1,300}", "x{1,4096}"];
    (token, option::of(id().prop_map(SessionId)))
        .prop_map(|(token, resume)| Connect { token, resume })
}

fn client_message() -> impl Strategy<Value = ClientMessage> {
    prop_oneof![
        target_command().prop_map(ClientMessage::MoveFleet),
        target_command().prop_map(ClientMessage::AttackMove),
        target_command().prop_map(ClientMessage::Patrol),
        target_command().prop_map(ClientMessage::Warp),
        command().prop_map(ClientMessage::Stop),
        command().prop_map(ClientMessage::Hold),
        join().prop_map(ClientMessage::JoinFleet),
        batch().prop_map(ClientMessage::BatchCommand),
        exact().prop_map(|time| ClientMessage::Ping(Ping { time })),
        connect().prop_map(ClientMessage::Connect),
        Just(ClientMessage::Disconnect(Empty {})),
        area().prop_map(|area| ClientMessage::Subscribe(Subscribe { area })),
        Just(ClientMessage::Unsubscribe(Empty {})),
        Just(ClientMessage::KeyframeRequest(Empty {})),
    ]
}

/// Any frame that a client may send.
pub fn client_frame() -> impl Strategy<Value = ClientFrame> {
    let handle = prop_oneof![Just(0), 1..=u32::MAX];
    (client_message(), handle, any::<u16>(), place()).prop_map(|(mut message, handle, tick, at)| {
        let named = (handle == 0).then_some(at);
        match &mut message {
            ClientMessage::MoveFleet(body)
            | ClientMessage::AttackMove(body)
            | ClientMessage::Patrol(body)
            | ClientMessage::Warp(body) => body.place = named,
            ClientMessage::JoinFleet(body) => body.place = named,
            ClientMessage::Stop(body) | ClientMessage::Hold(body) => body.place = named,
            ClientMessage::BatchCommand(body) => body.place = named,
            _ => {}
        }
        ClientFrame { header: Header { handle, tick }, message }
    })
}

fn presence() -> impl Strategy<Value = Vec<PresenceEntry>> {
    let count = any::<(u16, u32)>().prop_map(|(type_id, count)| TypeCount { type_id, count });
    let entry = (sector(), vec(count, 0..4));
    vec(entry.prop_map(|(sector, units)| PresenceEntry { sector, units }), 0..6)
}

fn answer() -> impl Strategy<Value = Answer> {
    let reason = prop_oneof![
        Just(EndReason::Superseded),
        Just(EndReason::TokenRefused),
        Just(EndReason::GenerationOutdated),
        Just(EndReason::Violation),
        Just(EndReason::TooSlow),
    ];
    prop_oneof![
        Just(Answer::AttachAgain {}),
        place().prop_map(|place| Answer::Moved { place }),
        Just(Answer::NotHere {}),
        Just(Answer::Busy {}),
        Just(Answer::StoreAway {}),
        Just(Answer::Parked {}),
        any::<u32>().prop_map(|after_ms| Answer::Limited { after_ms }),
        (text(), text()).prop_map(|(field, expected)| Answer::Invalid { field, expected }),
        (text(), text(), option::of(id()), any::<Option<u8>>()).prop_map(
            |(rule, why, unit, state)| Answer::Refused { rule, why, unit: unit.map(UnitId), state }
        ),
        reason.prop_map(|reason| Answer::SessionEnded { reason }),
    ]
}

fn ack() -> impl Strategy<Value = Ack> {
    let arrival = any::<(i32, i32, u16)>().prop_map(|(x, y, steps)| Arrival { x, y, steps });
    let whole = (any::<u32>(), any::<bool>(), number(u64::MAX), number(u64::MAX), number(u64::MAX));
    (whole, option::of(point()), option::of(arrival), option::of(answer())).prop_map(
        |(
            (sequence, success, server_time, entity_sequence, effect_tick),
            position,
            arrival,
            error,
        )| {
            Ack {
                sequence,
                success,
                server_time,
                entity_sequence,
                effect_tick,
                position,
                arrival,
                error,
            }
        },
    )
}

fn connected() -> impl Strategy<Value = Connected> {
    (id(), id(), any::<bool>(), number(u64::MAX), number(u64::MAX), text(), presence()).prop_map(
        |(session, player, resumed, node_tick, server_time, fingerprint, presence)| Connected {
            session: SessionId(session),
            player: PlayerId(player),
            resumed,
            node_tick,
            server_time,
            fingerprint,
            presence,
        },
    )
}

fn notice() -> impl Strategy<Value = Notice> {
    prop_oneof![
        Just(Notice::StoreAway {}),
        Just(Notice::StoreBack {}),
        any::<u32>().prop_map(|after_ms| Notice::ShuttingDown { after_ms }),
        "[^\\pC\\pZ]{1,500}".prop_map(|text| Notice::Announcement {
            text: Announcement::new(&text).expect("one line"),
        }),
    ]
}

fn sum() -> impl Strategy<Value = Sum> {
    (sector(), any::<(u32, u16, u8)>(), number(u64::MAX)).prop_map(
        |(sector, (unit_count, resource_density, activity_level), last_update)| Sum {
            sector,
            unit_count,
            resource_density,
            activity_level,
            last_update,
        },
    )
}

fn aggregate() -> impl Strategy<Value = Aggregate> {
    (sum(), number(u64::MAX), vec(sum(), 0..5)).prop_map(|(sum, as_of, children)| Aggregate {
        unit_count: sum.unit_count,
        resource_density: sum.resource_density,
        activity_level: sum.activity_level,
        last_update: sum.last_update,
        as_of,
        children,
    })
}

fn server_message() -> impl Strategy<Value = ServerMessage> {
    let error =
        (option::of(text()), answer()).prop_map(|(regarding, answer)| Error { regarding, answer });
    prop_oneof![
        (exact(), number(u64::MAX))
            .prop_map(|(time, server_time)| ServerMessage::Pong(Pong { time, server_time })),
        ack().prop_map(ServerMessage::Ack),
        connected().prop_map(ServerMessage::Connected),
        place().prop_map(|place| ServerMessage::Subscribed(Subscribed { place })),
        Just(ServerMessage::Unsubscribed(Empty {})),
        presence().prop_map(|changed| ServerMessage::Presence(Presence { changed })),
        aggregate().prop_map(ServerMessage::Aggregate),
        any::<u8>().prop_map(|percent| ServerMessage::TimeDilation(TimeDilation { percent })),
        error.prop_map(ServerMessage::Error),
        notice().prop_map(|notice| ServerMessage::Notification(Notification { notice })),
    ]
}

/// Any frame that a server may send.
pub fn server_frame() -> impl Strategy<Value = ServerFrame> {
    (server_message(), any::<(u32, u16)>()).prop_map(|(message, (handle, tick))| ServerFrame {
        header: Header { handle, tick },
        message,
    })
}
