//! The swarm finds what it is there to find: against a small server of one
//! sector it reports nothing when all is well, and desyncs and losses when
//! the server is made to lie.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use starmesh::base::{PlayerId, Position, SectorId, SessionId, Tick, UnitId};
use starmesh::protocol::client::ClientMessage;
use starmesh::protocol::http::{Secret, Tokens};
use starmesh::protocol::server::{Ack, Connected, PresenceEntry, Subscribed, TypeCount};
use starmesh::protocol::{
    Answer, ClientFrame, CodecKind, FINGERPRINT, Place, ServerFrame, ServerMessage,
};
use starmesh::sim::rules::{Rules, sample};
use starmesh::sim::{Changes, Galaxy, SectorState, Surroundings, Unit};
use starmesh::swarm::{Report, Scenario, Stats, SwarmConfig, run};
use starmesh::view::fog::Mask;
use starmesh::view::motion::Mover;
use starmesh::view::stage::{GroupId, Scene, StepDelta, Thrown};
use starmesh::view::{Stage, convert};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

const HERE: SectorId = SectorId::tactical(5, 5);
const HANDLE: u32 = 3;

/// What the server does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    None,
    /// Acknowledges commands and does not carry them out.
    Forgets,
    /// Keyframes after the first show the first unit one step off.
    Shifts,
    /// Leaves each player's last unit out of keyframes after the first.
    Loses,
    /// Shows the whole sector.
    Widens,
}

/// One sector, one player per connection.
struct World {
    lie: Lie,
    rules: Rules,
    galaxy: Galaxy,
    state: SectorState,
    tick: u64,
    changes: Changes,
    players: u64,
}

fn surroundings<'a>(rules: &'a Rules, galaxy: &'a Galaxy, step: u64) -> Surroundings<'a> {
    Surroundings { rules, galaxy, open: &|_| false, step }
}

impl World {
    fn join(&mut self) -> PlayerId {
        self.players += 1;
        let player = PlayerId(self.players);
        for n in 0..3 {
            let unit = Unit::new(
                UnitId(self.players * 10 + n),
                sample::FIGHTER,
                player,
                Position { x: 500_000, y: 500_000 },
            );
            self.state.insert(unit, &mut self.changes);
        }
        player
    }

    fn step(&mut self) -> Step {
        self.tick += 2;
        let tick = Tick(self.tick);
        let mut changes = std::mem::take(&mut self.changes);
        let around = surroundings(&self.rules, &self.galaxy, self.tick / 2);
        self.state.steer(&around, &mut changes);
        let movers = |ids: &BTreeSet<UnitId>| {
            let units = ids.iter().filter_map(|id| self.state.unit(*id));
            units.map(Mover::from).collect()
        };
        let changed = changes.changed.difference(&changes.appeared).copied().collect();
        let (appeared, changed) = (movers(&changes.appeared), movers(&changed));
        self.state.travel(&around, &mut changes, &mut Vec::new());
        let scene = Scene { tick, units: self.state.units().iter().map(Mover::from).collect() };
        let delta = StepDelta { tick, appeared, changed, left: Vec::new() };
        Step { scene, delta, lie: self.lie }
    }

    fn carry_out(&mut self, player: PlayerId, frame: &ClientFrame) -> Vec<Ack> {
        let commands = frame.commands().expect("decoded");
        let acks = commands.iter().map(|command| {
            let order = convert::command(command).expect("decoded");
            let before = self.state.clone();
            let around = surroundings(&self.rules, &self.galaxy, self.tick / 2);
            let result = self.state.apply_command(player, &order, &around, &mut self.changes);
            if self.lie == Lie::Forgets {
                self.state = before;
            }
            match result {
                Ok(accepted) => {
                    let (position, arrival) = convert::effect(&accepted);
                    Ack {
                        success: true,
                        error: None,
                        effect_tick: self.tick,
                        position: Some(position),
                        arrival: Some(arrival),
                        ..Ack::failed(command.sequence, 0, Answer::Busy {})
                    }
                }
                Err(refused) => Ack::failed(command.sequence, 0, convert::refusal(&refused)),
            }
        });
        acks.collect()
    }
}

/// What a step left behind, before later commands change it.
struct Step {
    scene: Scene,
    delta: StepDelta,
    lie: Lie,
}

impl Step {
    /// What the group sees from elsewhere.
    fn thrown(&self, group: GroupId) -> Thrown {
        let mut thrown = Thrown::default();
        if self.lie == Lie::Widens {
            thrown.add(group, Mask::ALL);
        }
        thrown
    }

    /// The keyframe of this step, as it is or not.
    fn keyframe(&self, player: PlayerId, codec: CodecKind, stage: &mut Stage) -> Vec<u8> {
        let keyframe = stage.keyframe(GroupId::of(player), codec, HANDLE);
        if matches!(self.lie, Lie::None | Lie::Forgets | Lie::Widens) {
            return keyframe.to_vec();
        }
        let mut keyframe: Value = serde_json::from_slice(&keyframe).expect("lies are in JSON");
        for block in keyframe["blocks"].as_array_mut().expect("blocks") {
            let units = block["content"]["keyframe"]["units"].as_array_mut().expect("units");
            match self.lie {
                Lie::Shifts => {
                    let x = units[0]["position"]["x"].as_i64().expect("a number");
                    units[0]["position"]["x"] = (x + 1).into();
                }
                _ => units.retain(|unit| unit["id"].as_u64().is_some_and(|id| id % 10 != 2)),
            }
        }
        keyframe.to_string().into_bytes()
    }
}

/// Serves `world` on a port of its own until the runtime ends.
async fn serve(lie: Lie) -> SocketAddr {
    let world = Arc::new(Mutex::new(World {
        lie,
        rules: sample::rules().expect("tested in sim"),
        galaxy: Galaxy::new(1, Galaxy::SIDE).expect("in range"),
        state: SectorState::new(HERE),
        tick: 0,
        changes: Changes::default(),
        players: 0,
    }));
    let (steps, _) = tokio::sync::broadcast::channel::<Arc<Step>>(64);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (stepped, ticking) = (steps.clone(), world.clone());
    tokio::spawn(async move {
        let mut ticker = tokio::time::interval(Duration::from_millis(20));
        loop {
            ticker.tick().await;
            let step = ticking.lock().expect("no panic").step();
            drop(stepped.send(Arc::new(step)));
        }
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, world.clone(), steps.clone()));
        }
    });
    address
}

async fn connection(
    mut stream: TcpStream,
    world: Arc<Mutex<World>>,
    steps: tokio::sync::broadcast::Sender<Arc<Step>>,
) {
    let mut start = [0; 4];
    while stream.peek(&mut start).await.expect("open") < 4 {}
    if &start == b"POST" {
        return register(&mut stream).await;
    }
    let mut path = [0; 14];
    while stream.peek(&mut path).await.expect("open") < path.len() {}
    if &path == b"GET /api/rules" {
        return rules(&mut stream).await;
    }
    let mut kind = CodecKind::default();
    // The library's callback has an error type of this size.
    #[allow(clippy::result_large_err, reason = "the signature is tungstenite's")]
    let protocol = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        let offered = request.headers()["sec-websocket-protocol"].to_str().expect("ASCII");
        kind = CodecKind::negotiate(offered).expect("one of ours");
        let name = kind.subprotocol().parse().expect("ASCII");
        response.headers_mut().insert("sec-websocket-protocol", name);
        Ok(response)
    };
    let mut socket =
        tokio_tungstenite::accept_hdr_async(stream, protocol).await.expect("a WebSocket");
    let codec = kind.codec();
    let mut steps = steps.subscribe();
    let mut session: Session = None;
    loop {
        let messages = tokio::select! {
            message = socket.next() => {
                let Some(Ok(message)) = message else { return };
                if message.is_close() {
                    return;
                }
                assert_eq!(message.is_text(), kind.is_text(), "{message:?}");
                let frame = codec.decode_client(&message.into_data());
                let frame = frame.expect("the library writes messages");
                let frames = answer(&world, &mut session, &frame);
                let encode = |frame| {
                    let mut bytes = Vec::new();
                    codec.encode_server(frame, &mut bytes);
                    bytes
                };
                frames.iter().map(encode).collect()
            }
            step = steps.recv() => observe(&mut session, &step.expect("kept up"), kind),
        };
        for bytes in messages {
            let message = match kind.is_text() {
                true => Message::text(String::from_utf8(bytes).expect("JSON")),
                false => Message::binary(bytes),
            };
            if socket.send(message).await.is_err() {
                return;
            }
        }
    }
}

/// A connection's player, what it sees since it subscribed, and whether it
/// wants a keyframe.
type Session = Option<(PlayerId, Shown, bool)>;

enum Shown {
    Nothing,
    Begins,
    Goes(Box<Stage>),
}

fn answer(world: &Mutex<World>, session: &mut Session, frame: &ClientFrame) -> Vec<ServerFrame> {
    let mut world = world.lock().expect("no panic");
    let message = |message| ServerFrame::new(0, 0, message);
    match (&frame.message, session) {
        (ClientMessage::Connect(_), session) => {
            let player = world.join();
            *session = Some((player, Shown::Nothing, false));
            vec![message(ServerMessage::Connected(Connected {
                session: SessionId(1),
                player,
                resumed: false,
                node_tick: world.tick,
                server_time: 0,
                fingerprint: FINGERPRINT.into(),
                presence: vec![PresenceEntry {
                    sector: HERE.into(),
                    units: vec![TypeCount { type_id: 1, count: 3 }],
                }],
            }))]
        }
        (ClientMessage::Subscribe(_), Some((_, shown, _))) => {
            *shown = Shown::Begins;
            let place = Place::sector(HERE);
            vec![ServerFrame::new(HANDLE, 0, ServerMessage::Subscribed(Subscribed { place }))]
        }
        (ClientMessage::KeyframeRequest(_), Some((player, shown, asks))) => {
            if let Shown::Goes(stage) = shown {
                stage.beat(GroupId::of(*player));
            }
            *asks = true;
            Vec::new()
        }
        (_, Some((player, ..))) => {
            let acks = world.carry_out(*player, frame);
            acks.into_iter().map(|ack| message(ServerMessage::Ack(ack))).collect()
        }
        (other, None) => panic!("{other:?} before Connect"),
    }
}

fn observe(session: &mut Session, step: &Step, codec: CodecKind) -> Vec<Vec<u8>> {
    let Some((player, shown, asks)) = session else { return Vec::new() };
    let group = GroupId::of(*player);
    match shown {
        Shown::Nothing => Vec::new(),
        Shown::Begins => {
            let rules = sample::rules().expect("tested in sim");
            let mut stage = Stage::new(HERE, &step.scene, &rules);
            stage.look(&step.thrown(group));
            let keyframe = stage.keyframe(group, codec, HANDLE).to_vec();
            *shown = Shown::Goes(Box::new(stage));
            vec![keyframe]
        }
        Shown::Goes(stage) => {
            stage.step(&step.delta, &step.thrown(group));
            let packet = stage.packet(group, codec, HANDLE);
            let asks = std::mem::take(asks);
            let keyframe = asks.then(|| step.keyframe(*player, codec, stage));
            packet.map(|bytes| bytes.to_vec()).into_iter().chain(keyframe).collect()
        }
    }
}

/// The content of the game as a node serves it.
async fn rules(stream: &mut TcpStream) {
    let rules = sample::rules().expect("tested in sim");
    let document = starmesh::gateway::http::rules::document(&rules);
    respond(stream, "200 OK", &serde_json::to_string(&document).expect("JSON")).await;
}

async fn register(stream: &mut TcpStream) {
    let secret = || Secret("token".into());
    let tokens = Tokens {
        player: PlayerId(1),
        access_token: secret(),
        expires_in: 60,
        refresh_token: secret(),
    };
    let body = serde_json::to_string(&tokens).expect("JSON");
    respond(stream, "201 Created", &body).await;
}

async fn respond(stream: &mut TcpStream, status: &str, body: &str) {
    let mut request = vec![0; 16 * 1024];
    let _ = stream.read(&mut request).await.expect("open");
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close");
    let response = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(response.as_bytes()).await.expect("open");
}

fn play(lie: Lie) -> Report {
    play_with(lie, CodecKind::Json, 3, None)
}

fn play_with(lie: Lie, codec: CodecKind, seconds: u64, journal: Option<PathBuf>) -> Report {
    let scenario = r#"
        description = "many orders, quickly"
        [orders]
        interval_ms_min = 20
        interval_ms_max = 60
        units_max = 2
        margin_m = 50
        weight_move = 4
        weight_stop = 1
        weight_hold = 1
        weight_batch = 2
        [checks]
        keyframe_interval_ms = 500
    "#;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let address = serve(lie).await;
        let config = SwarmConfig {
            targets: vec![format!("http://{address}").parse().expect("a target")],
            codec,
            clients: 3,
            duration: Duration::from_secs(seconds),
            ramp: Duration::from_millis(300),
            scenario_name: "test".into(),
            scenario: Scenario::read("test", scenario).expect("playable"),
            seed: 1,
            players: "p".into(),
            reconnect: false,
            journal,
        };
        let (_stop, stopped) = watch::channel(false);
        run(config, Arc::new(Stats::new()), stopped).await.expect("no journal to open")
    })
}

#[test]
fn finds_nothing_when_the_server_is_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = folder.path().join("journal.jsonl");
    let report = play_with(Lie::None, CodecKind::Postcard, 3, Some(journal.clone()));
    println!("{report}");
    assert_eq!(report.faults(), Vec::<String>::new());
    assert!(report.commands > 20 && report.acknowledged == report.commands, "{report}");
    assert!(report.effects_seen > 0 && report.keyframes > 6, "{report}");
    assert!(report.predictions_shown.units > 0 && report.predictions_guessed.units > 0, "{report}");
    assert!(report.errors.is_empty(), "{report}");
    let text = std::fs::read_to_string(journal).expect("written");
    let kinds: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON lines"))
        .map(|entry| entry["kind"].as_str().expect("each has a kind").to_owned())
        .collect();
    let answered = kinds.iter().filter(|kind| *kind == "answered").count() as u64;
    assert_eq!(answered, report.acknowledged, "all that was acknowledged is in the oracle log");
    assert!(kinds.iter().any(|kind| kind == "units"));
}

#[test]
fn finds_nothing_in_the_other_codecs_either() {
    for codec in [CodecKind::MessagePack, CodecKind::Json] {
        let report = play_with(Lie::None, codec, 3, None);
        assert_eq!(report.faults(), Vec::<String>::new(), "{codec}");
        assert!(report.acknowledged > 20 && report.errors.is_empty(), "{codec}: {report}");
    }
}

#[test]
fn finds_acknowledged_commands_without_effect() {
    let report = play(Lie::Forgets);
    assert!(report.losses > 0 && report.desyncs == 0, "{report}");
}

#[test]
fn finds_a_state_that_is_one_step_off() {
    assert!(play(Lie::Shifts).desyncs > 0);
}

#[test]
fn finds_a_mask_that_is_wider_than_what_units_see() {
    // What is shown is judged when it is known what was seen for some seconds, and
    // some seconds later.
    let report = play_with(Lie::Widens, CodecKind::Json, 15, None);
    assert!(report.unseen > 0 && report.losses == 0, "{report}");
}

#[test]
fn finds_a_unit_that_disappeared() {
    let report = play(Lie::Loses);
    assert!(report.desyncs > 0, "{report}");
}
