//! Owns an example of everything that nodes send each other, with as much in it as
//! there can be: what is left out has no golden bytes.

use std::sync::Arc;

use starmesh::actors::peers::{
    PeerAnswer, PeerMessage, PeerQuestion, ToGateway, ToOwner, ViewMessage,
};
use starmesh::actors::reports::{Busiest, NodeReport, RegionReport, SectorReport};
use starmesh::actors::ticker::Read;
use starmesh::base::{
    CompressedPosition, EntityKey, Incarnation, Millis, NodeId, PlayerId, Position, SectorId,
    SessionId, Tick, UnitId,
};
use starmesh::cluster::core::attaching::{Attachment, Ticket};
use starmesh::cluster::core::balance::{NodeTold, RestLoad, SectorLoad};
use starmesh::cluster::core::message::{NodeBody, NodeMessage};
use starmesh::cluster::core::shadows::datagram::Datagram;
use starmesh::cluster::core::shadows::{Cast, Caster};
use starmesh::cluster::core::table::Unavailable;
use starmesh::cluster::core::update::TimestampedUpdate;
use starmesh::cluster::links::{Formats, Hello};
use starmesh::entity::audit::Head;
use starmesh::entity::channel::{Acknowledgement, ChannelId, ChannelMessage};
use starmesh::entity::commands::{CommandAnswer, CommandResult, PlayerCommand};
use starmesh::entity::effect::{Connected, PlayerEffect, SectorPresence};
use starmesh::entity::input::{Connect, FromGateway, Input, Left};
use starmesh::entity::kinds::board;
use starmesh::entity::message::{Answer, Body, Notice, Request};
use starmesh::entity::read::{Beyond, Presence, Query, Ranking, Reading, Sight, UnitsQuery};
use starmesh::protocol::Announcement;
use starmesh::sim::shadow::{Border, Shadow};
use starmesh::sim::{
    Accepted, Command, Instruction, Refusal, Refused, Target, Traveller, Unit, UnitIds, UnitTypeId,
};
use starmesh::view::fog::Mask;
use starmesh::view::motion::Mover;
use starmesh::view::rollup::SectorSnapshot;
use starmesh::view::stage::{Scene, StepDelta};

const NODE: NodeId = NodeId(300);
const PLAYER: PlayerId = PlayerId(7);
const SESSION: SessionId = SessionId(9);
const SEQUENCE: u64 = 1 << 33;
const CONNECTION: u64 = 1 << 41;
const SECTOR: SectorId = SectorId { x: -3, y: 1_000, scale: 0 };
const ENTITY: EntityKey = EntityKey::Sector(SECTOR);
const LEDGER: EntityKey = EntityKey::Ledger(9);
const LEFT: Left = Left { player: PLAYER, session: SESSION, connection: CONNECTION };
const CONNECT: Connect = Connect { player: PLAYER, connection: CONNECTION, resume: Some(SESSION) };
const TICKET: Ticket = Ticket { attachment: Attachment(u64::MAX), nth: 300 };
const SNAPSHOT: SectorSnapshot = SectorSnapshot {
    unit_count: 300,
    resource_density: 1_000,
    activity_level: 255,
    last_update: Millis(1 << 40),
};

fn unit() -> Unit {
    let position = Position { x: 300, y: -5 };
    Unit { hops: 3, ..Unit::new(UnitId(1 << 40), UnitTypeId(2), PLAYER, position) }
}

fn presence() -> SectorPresence {
    SectorPresence { sector: SECTOR, counts: vec![(UnitTypeId(2), 300)], as_of: Tick(70_000) }
}

fn told() -> NodeTold {
    let sector = SectorLoad {
        players: 1,
        activity: 2,
        cost_us: 300,
        hot_since: Some(Millis(4)),
        gateways: vec![(NODE, 5)],
        ..SectorLoad::new(SECTOR, Millis(6))
    };
    NodeTold {
        directory: 300,
        leaving: 1,
        capacity: 2,
        other_us: 3,
        sectors: vec![sector],
        rest: RestLoad { count: 4, players: 5, activity: 6, cost_us: 7 },
        observed: vec![(SECTOR, 8)],
        round_trips: vec![(NODE, 9)],
    }
}

fn bodies() -> Vec<NodeBody> {
    let channel = ChannelId { sender: LEDGER, receiver: ENTITY, opened: SEQUENCE };
    let deliver = |body| NodeBody::Deliver(ChannelMessage { channel, number: 300, body });
    let units = vec![(UnitTypeId(2), 3)];
    let traveller = Traveller { unit: unit(), queue: vec![unit().order] };
    let lost = Input::Gateway(FromGateway::Lost { first: 1, end: CONNECTION });
    let head = Head { incarnation: Incarnation(300), number: SEQUENCE, root: [0xAB; 32] };
    vec![
        deliver(Body::Request { id: 9, request: Request::Found { player: PLAYER, units } }),
        deliver(Body::Answer { id: 9, answer: Answer::Refused("why".into()) }),
        deliver(Body::Notice(Notice::Units { travellers: vec![traveller] })),
        deliver(Body::Close),
        NodeBody::Acknowledge(Acknowledgement { channel, upto: 300 }),
        NodeBody::Offer { entity: ENTITY, version: 8 },
        NodeBody::Accept { entity: ENTITY, version: 8 },
        NodeBody::Claim { entity: ENTITY, sequence: SEQUENCE },
        NodeBody::Claimed { entity: ENTITY, sequence: SEQUENCE },
        NodeBody::Reclaim { entity: ENTITY, version: 8 },
        NodeBody::Lost { entity: LEDGER, input: lost },
        NodeBody::Signed(head),
    ]
}

fn to_owner() -> Vec<ToOwner> {
    let position = CompressedPosition { x: 1 << 30, y: 7 };
    let units = UnitIds::new(vec![UnitId(1 << 40), UnitId(5)]).expect("two units");
    let instruction = Instruction::Patrol { target: Target { sector: SECTOR, position } };
    let command = Command::new(units, instruction);
    let command = PlayerCommand { player: PLAYER, session: SESSION, sequence: 300, command };
    vec![
        ToOwner::Command { connection: CONNECTION, entity: ENTITY, ticket: TICKET, command },
        ToOwner::Connect(CONNECT),
        ToOwner::ConnectAgain(CONNECT),
        ToOwner::Held(LEFT),
        ToOwner::Left(LEFT),
        ToOwner::Began { first: CONNECTION },
        ToOwner::Wake(LEDGER),
    ]
}

fn to_gateway() -> Vec<ToGateway> {
    let (player, session, connection, sequence) = (PLAYER, SESSION, CONNECTION, 300);
    let (tick, record, entity) = (Tick(70_000), SEQUENCE, ENTITY);
    let position = unit().position;
    let accepted = Accepted { unit: unit().id, position, arrival: position, steps: 300 };
    let refused = Refused { rule: Refusal::CannotWait, unit: Some(unit().id) };
    let results = [
        CommandResult::Done(accepted),
        CommandResult::Refused(refused),
        CommandResult::NotHere,
        CommandResult::SessionEnded,
        CommandResult::Moved { unit: unit().id, place: ENTITY },
    ];
    let answered =
        |result| CommandAnswer { entity, player, session, sequence, result, tick, record };
    let answers = results.map(|result| ToGateway::Player(PlayerEffect::Answered(answered(result))));
    let connected =
        Connected { connection, player, session, resumed: true, presence: vec![presence()] };
    let why = Unavailable::StoreAway;
    let others = [
        ToGateway::Player(PlayerEffect::Connected(connected)),
        ToGateway::Player(PlayerEffect::SessionEnded { player, session }),
        ToGateway::Player(PlayerEffect::Presence { player, session, presence: presence() }),
        ToGateway::Superseded { connection },
        ToGateway::ConnectRefused { connection, why },
        ToGateway::Rejected { connection, entity, ticket: TICKET, sequence, why },
        ToGateway::Taken { player, session, connection },
        ToGateway::LedgerStarted(LEDGER),
        ToGateway::Missed,
    ];
    answers.into_iter().chain(others).collect()
}

fn views() -> Vec<ViewMessage> {
    let (sector, mover) = (SECTOR, Mover::from(&unit()));
    let scene = Scene { tick: Tick(70_000), units: vec![mover] };
    let (appeared, changed, left) = (vec![mover], vec![mover], vec![unit().id]);
    let delta = StepDelta { tick: Tick(70_001), appeared, changed, left };
    vec![
        ViewMessage::Follow { sector, on: true },
        ViewMessage::Scene { sector, scene: Arc::new(scene) },
        ViewMessage::Step { sector, delta: Arc::new(delta) },
        ViewMessage::Pace { sector, percent: 30 },
        ViewMessage::Gone { sector },
        ViewMessage::Absent { sector },
        ViewMessage::Summaries(vec![(SECTOR, Some(SNAPSHOT)), (SECTOR, None)]),
    ]
}

pub fn messages() -> Vec<PeerMessage> {
    let core = |body| PeerMessage::Core(NodeMessage { hops: 3, body });
    let update = TimestampedUpdate { data: told(), timestamp: Millis(1 << 40), server_id: NODE };
    let core = bodies().into_iter().map(core);
    core.chain(to_owner().into_iter().map(PeerMessage::ToOwner))
        .chain(to_gateway().into_iter().map(PeerMessage::ToGateway))
        .chain(views().into_iter().map(PeerMessage::View))
        .chain([PeerMessage::Load(Box::new(update))])
        .collect()
}

pub fn shadows() -> Datagram {
    let (from, units) = (SectorId::tactical(1_000, 2), [Shadow::from(&unit())].into());
    let cast = Cast::whole(from, Border::ALL[2], (Tick(300), Millis(400)), units);
    let caster = Caster { node: NodeId(5), incarnation: Incarnation(300) };
    Datagram { to: NodeId(6), caster, cast }
}

pub fn questions() -> Vec<PeerQuestion> {
    let (player, session) = (PLAYER, SESSION);
    let units = UnitsQuery {
        player,
        thrown: Mask(1 << 63),
        type_id: Some(UnitTypeId(2)),
        owner: Some(PLAYER),
        after: unit().id,
        limit: 300,
    };
    let queries = [
        Query::Applied { player, session },
        Query::Ranking { around: Some(player), limit: 300 },
        Query::Presence { player },
        Query::Sight { player },
        Query::Units(units),
        Query::Beyond,
    ];
    let read = |query| PeerQuestion::Read { entity: ENTITY, query, wake: true };
    let others = [
        PeerQuestion::Report,
        PeerQuestion::Busiest { most: 300 },
        PeerQuestion::Region(SECTOR),
        PeerQuestion::Runs(ENTITY),
        PeerQuestion::Load,
        PeerQuestion::Announce(Announcement::new("noon").expect("a line")),
    ];
    queries.map(read).into_iter().chain(others).collect()
}

fn report() -> NodeReport {
    NodeReport {
        incarnation: Incarnation(300),
        build: "starmesh 1".into(),
        store: "sled".into(),
        tick: 1,
        taking_commands: true,
        directory: 2,
        sectors: 3,
        others: 4,
        leaving: 5,
        parked: 6,
        units: 7,
        connections: 8,
        threads: vec![9, 300],
        sectors_us: 10,
        other_us: 11,
        balance: "off".into(),
    }
}

fn readings() -> Vec<Reading> {
    let place = board::Place { rank: 1, player: PLAYER, power: SEQUENCE, as_of: Millis(300) };
    let presence = Presence { sectors: vec![presence()], power: 300, as_of: Millis(400) };
    vec![
        Reading::Applied(Some(300)),
        Reading::Ranking(Ranking { places: vec![place], players: 300, heard: Millis(400) }),
        Reading::Presence(Some(presence)),
        Reading::Sight(Box::new(Sight { own: Mask(7), thrown: [((-1, 1), Mask(8)); 8] })),
        Reading::Units { units: vec![unit()], more: true },
        Reading::Beyond(vec![Beyond { sector: SECTOR, tick: Tick(300), units: 2, moving: 1 }]),
    ]
}

pub fn answers() -> Vec<PeerAnswer> {
    let read = |reading| {
        PeerAnswer::Read(Ok(Read { at: Tick(70_000), reading, attached: Some(TICKET.attachment) }))
    };
    let sector =
        SectorReport { sector: SECTOR, units: 1, activity: 2, load: 300, own_thread: true };
    let busiest = Busiest { sectors: vec![sector], total: 300, observed: vec![(SECTOR, 4)] };
    let others = [
        PeerAnswer::Read(Err(Unavailable::StoreAway)),
        PeerAnswer::Report(Box::new(report())),
        PeerAnswer::Busiest(busiest),
        PeerAnswer::Region(RegionReport { directory: 300, sectors: 1, units: 2, leaving: 3 }),
        PeerAnswer::Runs(true),
        PeerAnswer::Load(Box::new(told())),
        PeerAnswer::Announced(300),
    ];
    readings().into_iter().map(read).chain(others).collect()
}

pub fn hello() -> Hello {
    Hello {
        cluster: "starmesh".parse().expect("a name"),
        node: NODE,
        name: "a".parse().expect("a name"),
        incarnation: Incarnation(300),
        formats: Formats { lowest: 1, highest: 300 },
        expects: Some(NodeId(7)),
        build: "starmesh 1".into(),
        address: "one.example:20001".into(),
    }
}
