//! Over a real socket: a player plays, what is no message is answered, what is
//! no WebSocket is refused, and a reader that stands still is cut off while
//! others go on.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use starmesh::client::Target;
use starmesh::config::Config;
use starmesh::gateway::server::Server;
use starmesh::protocol::client::Connect;
use starmesh::protocol::http::{Logout, Register, Secret, Tokens};
use starmesh::protocol::{
    Answer, ClientFrame, ClientMessage, CodecKind, ServerFrame, ServerMessage,
};
use starmesh::sim::rules;
use starmesh::telemetry::Recorder;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

const WITHIN: Duration = Duration::from_secs(30);
const JSON: &str = "starmesh.json.v1";

struct Node {
    server: Server,
    target: Target,
    _data: TempDir,
}

impl Node {
    async fn start() -> Node {
        let data = TempDir::new().expect("a folder");
        let settings = format!(
            "[node]\ndata = '{}'\n[http]\nlisten = '127.0.0.1:0'\nworkers = 1\n\
             [players]\nargon2_memory_kib = 8\nargon2_passes = 1\n\
             [limits]\nexempt = ['127.0.0.0/8']\nmessages_per_second = 100000\n\
             kib_per_second = 100000\n[sessions]\nstalled_s = 5\n",
            data.path().display()
        );
        let config = Config::with(&settings).expect("legal settings");
        let recorder = Recorder::detached().expect("a recorder");
        let rules = rules::file::built_in().expect("the built-in rules");
        let server = Server::start(&config, rules, recorder).await.expect("it starts");
        let target = server.url().parse().expect("an http address");
        Node { server, target, _data: data }
    }

    async fn register(&self, name: &str) -> Tokens {
        let register = Register {
            name: name.into(),
            email: format!("{name}@example.org"),
            password: Secret("correct horse".into()),
            display_name: None,
            faction: None,
        };
        self.target.register(register).await.expect("a new account")
    }

    /// A player's open session; its socket keeps `receive` bytes that nobody read.
    async fn connect(&self, name: &str, receive: Option<u32>) -> (Player, Value) {
        let token = self.register(name).await.access_token.0;
        self.log_in(&json!({ "type": "connect", "token": token }), receive).await
    }

    async fn log_in(&self, connect: &Value, receive: Option<u32>) -> (Player, Value) {
        let mut player = self.open(JSON, receive).await.expect("a WebSocket");
        player.say(connect).await;
        let connected = player.hear("connected").await;
        (player, connected)
    }

    async fn open(&self, protocol: &str, receive: Option<u32>) -> Result<Player, WsError> {
        let socket = TcpSocket::new_v4().expect("a socket");
        if let Some(bytes) = receive {
            socket.set_recv_buffer_size(bytes).expect("a small buffer");
        }
        let stream = socket.connect(self.server.addresses()[0]).await.expect("it listens");
        let uri = self.target.websocket().parse().expect("an address");
        let mut request = ClientRequestBuilder::new(uri);
        if !protocol.is_empty() {
            request = request.with_sub_protocol(protocol);
        }
        client_async(request, stream).await.map(|(socket, _)| Player { socket })
    }
}

struct Player {
    socket: WebSocketStream<TcpStream>,
}

impl Player {
    async fn say(&mut self, message: &Value) {
        self.send(Message::text(message.to_string())).await;
    }

    async fn send(&mut self, message: Message) {
        self.socket.send(message).await.expect("the socket takes it");
    }

    /// The next message of this type, or the code of the close frame.
    async fn hear(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await;
            if message["type"] == kind || message["close"].is_u64() {
                return message;
            }
        }
    }

    /// The next binary message.
    async fn frame(&mut self, kind: CodecKind) -> ServerFrame {
        loop {
            let next = timeout(WITHIN, self.socket.next()).await.expect("something is said");
            if let Message::Binary(bytes) = next.expect("it stays open").expect("frames") {
                return kind.codec().decode_server(&bytes).expect("a message");
            }
        }
    }

    async fn next(&mut self) -> Value {
        loop {
            let next =
                timeout(WITHIN, self.socket.next()).await.expect("the server says something");
            match next.expect("not before a close frame").expect("WebSocket frames") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Close(frame) => {
                    return json!({ "close": frame.map(|frame| u16::from(frame.code)) });
                }
                _ => {}
            }
        }
    }
}

#[actix::test]
async fn a_player_connects_watches_orders_and_sees_it_done() {
    let node = Node::start().await;
    let (mut player, connected) = node.connect("ada", None).await;
    assert_eq!(connected["resumed"], false);
    let sector = connected["presence"][0]["sector"].clone();

    player.say(&json!({ "type": "subscribe", "area": { "sectors": [sector] } })).await;
    let handle = player.hear("subscribed").await["handle"].clone();
    let keyframe = player.hear("keyframe").await;
    assert_eq!(keyframe["handle"], handle);
    let blocks = keyframe["blocks"].as_array().expect("blocks");
    let cells = blocks.iter().map(|block| &block["content"]["keyframe"]["units"]);
    let units: Vec<Value> =
        cells.flat_map(|units| units.as_array().expect("units").clone()).collect();
    assert_eq!(units.len(), 8);

    let target = json!({ "position": { "sector": sector, "x": 1u32 << 29, "y": 1u32 << 29 } });
    player
        .say(&json!({
            "type": "moveFleet", "handle": handle, "sequence": 1, "time": 0,
            "units": [units[0]["id"]], "target": target,
        }))
        .await;
    let ack = player.hear("ack").await;
    assert_eq!((&ack["success"], &ack["sequence"]), (&json!(true), &json!(1)), "{ack}");
    // The ack tells of the end of a course; the place tells of its beginning.
    assert_ne!(ack["arrival"]["steps"], 0, "{ack}");
    let mut moved = Value::Null;
    while moved.is_null() {
        let delta = player.hear("stateDelta").await;
        let tick = delta["tick"].as_u64().expect("a header");
        assert!(tick <= ack["effectTick"].as_u64().expect("a tick") + 20, "no effect: {delta}");
        let blocks = delta["blocks"].as_array().expect("blocks");
        let mut updates = blocks.iter().map(|block| &block["content"]["update"]["changed"][0]);
        moved = updates.find(|changed| !changed.is_null()).cloned().unwrap_or_default();
    }
    assert_eq!(moved["unitId"], units[0]["id"]);
    assert_ne!(moved["course"]["steps"], 0);

    player.say(&json!({ "type": "disconnect" })).await;
    assert_eq!(player.hear("").await["close"], 1000);
    node.server.stop().await;
}

#[actix::test]
async fn what_is_no_message_gets_its_own_error() {
    let node = Node::start().await;
    let (mut player, _) = node.connect("ben", None).await;
    player.send(Message::text("nonsense")).await;
    assert_eq!(player.hear("error").await["answer"]["invalid"]["field"], "message");
    player.send(Message::binary(vec![1, 2, 3])).await;
    let expected = json!({ "invalid": { "field": "message", "expected": "a text frame" } });
    assert_eq!(player.hear("error").await["answer"], expected);
    player.send(Message::text(" ".repeat(70_000))).await;
    let expected = json!({ "invalid": { "field": "message", "expected": "at most 65536 bytes" } });
    assert_eq!(player.hear("error").await["answer"], expected);
    // The session goes on, also with a message in two fragments.
    let fragment = |text: &'static str, code, last| {
        Message::Frame(Frame::message(text, OpCode::Data(code), last))
    };
    player.send(fragment(r#"{"type":"ping","#, Data::Text, false)).await;
    player.send(fragment(r#""time":5}"#, Data::Continue, true)).await;
    assert_eq!(player.hear("pong").await["time"], 5);

    player.send(Message::text(" ".repeat(140_000))).await;
    assert_eq!(player.hear("").await["close"], 1009);
    node.server.stop().await;
}

#[actix::test]
async fn a_frame_too_long_is_refused_when_it_is_announced() {
    let node = Node::start().await;
    let (mut player, _) = node.connect("hana", None).await;
    // A text frame of a tebibyte, of which nothing comes but its head.
    let head = b"\x81\xff\0\0\x01\0\0\0\0\0\0\0\0\0";
    player.socket.get_mut().write_all(head).await.expect("the socket takes it");
    assert_eq!(player.hear("").await["close"], 1009);
    node.server.stop().await;
}

#[actix::test]
async fn an_unknown_subprotocol_or_none_is_refused_with_a_problem() {
    let node = Node::start().await;
    for offered in ["chat.v9", ""] {
        let Err(WsError::Http(response)) = node.open(offered, None).await else {
            panic!("nobody here speaks {offered:?}");
        };
        assert_eq!(response.status(), 400);
        let body = response.body().as_deref().unwrap_or_default();
        let problem: Value = serde_json::from_slice(body).expect("a problem document");
        assert_eq!(problem["type"], "/problems/unknown-subprotocol");
        let known = CodecKind::ALL.iter().map(|kind| kind.subprotocol()).collect::<Vec<_>>();
        assert_eq!(problem["expected"], known.join(" or "));
    }
    node.server.stop().await;
}

#[actix::test]
async fn a_session_speaks_the_codec_it_was_opened_with() {
    let node = Node::start().await;
    let token = node.register("edda").await.access_token.0;
    let offers = [
        ("starmesh.json.v1, starmesh.postcard.v1", CodecKind::Postcard),
        ("chat.v9, starmesh.msgpack.v1", CodecKind::MessagePack),
    ];
    for (offered, kind) in offers {
        let mut player = node.open(offered, None).await.expect("a WebSocket");
        let connect = Connect { token: token.clone(), resume: None };
        let mut bytes = Vec::new();
        let connect = ClientFrame::new(0, 0, ClientMessage::Connect(connect));
        kind.codec().encode_client(&connect, &mut bytes);
        player.send(Message::binary(bytes)).await;
        let connected = player.frame(kind).await;
        assert!(matches!(connected.message, ServerMessage::Connected(_)), "{connected:?}");
        player.say(&json!({ "type": "ping", "time": 1 })).await;
        let ServerMessage::Error(error) = player.frame(kind).await.message else {
            panic!("text is not of {kind}");
        };
        assert_eq!(error.answer, Answer::invalid("message", "a binary frame"));
    }
    node.server.stop().await;
}

#[actix::test]
async fn a_reader_that_stands_still_is_cut_off_and_others_go_on() {
    let node = Node::start().await;
    let (mut still, _) = node.connect("carl", Some(4_096)).await;
    let (mut other, _) = node.connect("dora", None).await;
    assert_eq!(node.server.summary().connections, 2);

    // It says ping after ping and reads no pong, until nothing moves any more.
    let ping = json!({ "type": "ping", "time": 1 }).to_string();
    let flood = async {
        while timeout(Duration::from_secs(1), still.socket.send(Message::text(ping.as_str())))
            .await
            .is_ok_and(|sent| sent.is_ok())
        {}
    };
    timeout(WITHIN, flood).await.expect("its socket fills");

    let cut = async {
        let mut time = 0;
        while node.server.summary().connections == 2 {
            time += 1;
            other.say(&json!({ "type": "ping", "time": time })).await;
            assert_eq!(other.hear("pong").await["time"], time);
        }
    };
    timeout(WITHIN, cut).await.expect("it is cut off");
    other.say(&json!({ "type": "disconnect" })).await;
    assert_eq!(other.hear("").await["close"], 1000);
    drop(still);
    node.server.stop().await;
}

#[actix::test]
async fn a_resumed_session_goes_on_and_the_older_connection_ends() {
    let node = Node::start().await;
    let token = node.register("finn").await.access_token.0;
    let connect = json!({ "type": "connect", "token": token });
    let (mut first, connected) = node.log_in(&connect, None).await;
    let session = &connected["session"];
    let resume = json!({ "type": "connect", "token": token, "resume": session });
    let (_second, connected) = node.log_in(&resume, None).await;
    assert_eq!((&connected["session"], &connected["resumed"]), (session, &json!(true)));
    let error = first.hear("error").await;
    assert_eq!(error["answer"]["sessionEnded"]["reason"], "superseded");
    assert_eq!(first.hear("").await["close"], 1008);

    // And a new one ends the resumed.
    let (_third, connected) = node.log_in(&connect, None).await;
    assert_eq!(connected["session"], session.as_u64().expect("a number") + 1);
    node.server.stop().await;
}

#[actix::test]
async fn logging_out_everywhere_ends_open_sessions() {
    let node = Node::start().await;
    let tokens = node.register("gwen").await;
    let connect = json!({ "type": "connect", "token": tokens.access_token.0 });
    let (mut player, _) = node.log_in(&connect, None).await;
    let logout = Logout { refresh_token: tokens.refresh_token, everywhere: true };
    node.target.log_out(logout).await.expect("it is logged out");
    let asked = Instant::now();
    let error = player.hear("error").await;
    println!("ended {} ms after the answer", asked.elapsed().as_millis());
    assert_eq!(error["answer"]["sessionEnded"]["reason"], "generationOutdated");
    assert_eq!(player.hear("").await["close"], 1008);

    let mut refused = node.open(JSON, None).await.expect("a WebSocket");
    refused.say(&connect).await;
    assert_eq!(refused.next().await["answer"]["sessionEnded"]["reason"], "tokenRefused");
    node.server.stop().await;
}

#[actix::test]
async fn a_node_that_stops_says_so() {
    let node = Node::start().await;
    let (mut player, _) = node.connect("eve", None).await;
    let told = async {
        let notice = player.hear("notification").await;
        assert!(notice["notice"]["shuttingDown"].is_object(), "{notice}");
        assert_eq!(player.hear("").await["close"], 1001);
        // Answers the close frame, so that the node need not wait for it.
        let _ = player.socket.close(None).await;
    };
    tokio::join!(node.server.stop(), told);
}
