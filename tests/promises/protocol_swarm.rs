//! The swarm finds what it is there to find: against a small server of one
//! sector it reports nothing when all is well, and desyncs and losses when
//! the server is made to lie.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use starmesh::base::{PlayerId, Position, SectorId, SessionId, Tick, UnitId};
use starmesh::protocol::client::ClientMessage;
use starmesh::protocol::http::{Secret, Tokens};
use starmesh::protocol::server::{
    Ack, Connected, Keyframe, PresenceEntry, StateDelta, Subscribed, TypeCount,
};
use starmesh::protocol::{
    Answer, ClientFrame, CodecKind, FINGERPRINT, Place, ServerFrame, ServerMessage,
};
use starmesh::sim::rules::{Rules, sample};
use starmesh::sim::{Changes, Galaxy, SectorState, Surroundings, Unit};
use starmesh::swarm::{Report, Scenario, Stats, SwarmConfig, run};
use starmesh::view::convert;
use starmesh::view::observer::{Observer, Update};
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
        let mut changes = std::mem::take(&mut self.changes);
        let around = surroundings(&self.rules, &self.galaxy, self.tick / 2);
        self.state.step(&around, &mut changes, &mut Vec::new());
        Step { tick: self.tick, state: self.state.clone(), changes, lie: self.lie }
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
    tick: u64,
    state: SectorState,
    changes: Changes,
    lie: Lie,
}

impl Step {
    fn frame(&self, update: &Update, first: bool, last_sent: u64) -> ServerFrame {
        let mut units: Vec<_> = update.units.iter().map(convert::record).collect();
        if self.lie == Lie::Shifts && update.keyframe && !first {
            units[0].position.x += 1;
        }
        if self.lie == Lie::Loses && update.keyframe && !first {
            units.retain(|unit| unit.id.0 % 10 != 2);
        }
        let tick = update.tick.0;
        let base = u16::try_from(tick - last_sent).expect("sent often");
        let message = match update.keyframe {
            true => ServerMessage::Keyframe(Keyframe { full_tick: tick, units }),
            false => {
                let removed = update.removed.clone();
                ServerMessage::StateDelta(StateDelta { base, units, removed })
            }
        };
        ServerFrame::new(HANDLE, tick, message)
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
        let frames = tokio::select! {
            message = socket.next() => {
                let Some(Ok(message)) = message else { return };
                if message.is_close() {
                    return;
                }
                assert_eq!(message.is_text(), kind.is_text(), "{message:?}");
                let frame = codec.decode_client(&message.into_data());
                answer(&world, &mut session, &frame.expect("the library writes messages"))
            }
            step = steps.recv() => observe(&mut session, &step.expect("kept up")),
        };
        for frame in frames {
            let mut bytes = Vec::new();
            codec.encode_server(&frame, &mut bytes);
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

/// A connection's player, what it sees, and the tick last sent (0: nothing).
type Session = Option<(PlayerId, Observer, u64)>;

fn answer(world: &Mutex<World>, session: &mut Session, frame: &ClientFrame) -> Vec<ServerFrame> {
    let mut world = world.lock().expect("no panic");
    let message = |message| ServerFrame::new(0, 0, message);
    match (&frame.message, session) {
        (ClientMessage::Connect(_), session) => {
            let player = world.join();
            // Not shown before it subscribes: `u64::MAX`.
            *session = Some((player, Observer::new(player), u64::MAX));
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
        (ClientMessage::Subscribe(_), Some((_, _, last_sent))) => {
            *last_sent = 0;
            let place = Place::sector(HERE);
            vec![ServerFrame::new(HANDLE, 0, ServerMessage::Subscribed(Subscribed { place }))]
        }
        (ClientMessage::KeyframeRequest(_), Some((_, observer, _))) => {
            observer.ask_keyframe();
            Vec::new()
        }
        (_, Some((player, ..))) => {
            let acks = world.carry_out(*player, frame);
            acks.into_iter().map(|ack| message(ServerMessage::Ack(ack))).collect()
        }
        (other, None) => panic!("{other:?} before Connect"),
    }
}

fn observe(session: &mut Session, step: &Step) -> Vec<ServerFrame> {
    let Some((_, observer, last_sent)) = session else { return Vec::new() };
    if *last_sent == u64::MAX {
        return Vec::new();
    }
    let rules = sample::rules().expect("tested in sim");
    let beat = step.tick.is_multiple_of(10);
    let updates = observer.observe(&step.state, &rules, Tick(step.tick), &step.changes, beat);
    let frames = updates.map(|update| {
        let frame = step.frame(&update, *last_sent == 0, *last_sent);
        *last_sent = step.tick;
        frame
    });
    frames.collect()
}

async fn register(stream: &mut TcpStream) {
    let mut request = vec![0; 16 * 1024];
    let _ = stream.read(&mut request).await.expect("open");
    let secret = || Secret("token".into());
    let tokens = Tokens {
        player: PlayerId(1),
        access_token: secret(),
        expires_in: 60,
        refresh_token: secret(),
    };
    let body = serde_json::to_string(&tokens).expect("JSON");
    let head = "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nConnection: close";
    let response = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(response.as_bytes()).await.expect("open");
}

fn play(lie: Lie) -> Report {
    play_with(lie, CodecKind::default(), None)
}

fn play_with(lie: Lie, codec: CodecKind, journal: Option<PathBuf>) -> Report {
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
            target: format!("http://{address}").parse().expect("a target"),
            codec,
            clients: 3,
            duration: Duration::from_secs(3),
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
    let report = play_with(Lie::None, CodecKind::Postcard, Some(journal.clone()));
    println!("{report}");
    assert_eq!(report.faults(), Vec::<String>::new());
    assert!(report.commands > 20 && report.acknowledged == report.commands, "{report}");
    assert!(report.effects_seen > 0 && report.keyframes > 6, "{report}");
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
        let report = play_with(Lie::None, codec, None);
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
fn finds_a_unit_that_disappeared() {
    let report = play(Lie::Loses);
    assert!(report.losses > 0, "{report}");
}
