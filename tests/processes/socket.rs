//! Owns a plain WebSocket, JSON in and out, for tests that say what no client
//! library would: the same sequence twice, one player on two connections.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use starmesh::client::{CallError, Target};
use starmesh::protocol::http::{Login, Register, Secret, Tokens};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::PATIENCE;
use crate::swarm::Answered;

/// Of every account that is registered here.
pub const PASSWORD: &str = "correct horse";

/// Makes the account and gives its access token.
pub async fn register(target: &Target, name: &str) -> String {
    try_register(target, name).await.expect("an account").access_token.0
}

/// Makes the account, if the node answers.
pub async fn try_register(target: &Target, name: &str) -> Result<Tokens, CallError> {
    let register = Register {
        name: name.to_owned(),
        email: format!("{name}@example.org"),
        password: Secret(PASSWORD.to_owned()),
        display_name: None,
        faction: None,
    };
    target.register(register).await
}

/// Logs the account in and gives its access token, if it can be opened.
pub async fn log_in(target: &Target, name: &str) -> Option<String> {
    let login = Login { name: name.to_owned(), password: Secret(PASSWORD.to_owned()) };
    target.log_in(login).await.ok().map(|tokens| tokens.access_token.0)
}

/// Whether the account can still be opened.
pub async fn can_log_in(target: &Target, name: &str) -> bool {
    log_in(target, name).await.is_some()
}

/// A connection with an open session.
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
    /// What the server said first.
    pub connected: Value,
}

impl Socket {
    pub async fn connect(target: &Target, token: &str, resume: Option<u64>) -> Socket {
        let stream = TcpStream::connect(target.authority()).await.expect("a node that listens");
        Socket::over(stream, target, token, resume).await
    }

    /// As a client does where ledgers change their node: again for as long as it is
    /// told to try again.
    pub async fn connect_again(target: &Target, token: &str, resume: Option<u64>) -> Socket {
        let began = Instant::now();
        loop {
            let stream = TcpStream::connect(target.authority()).await.expect("a node that listens");
            let mut socket = Socket::ask(stream, target, token, resume).await;
            let told = socket.next().await.expect("an answer");
            if told["type"] == "connected" {
                socket.connected = told;
                return socket;
            }
            let again = ["busy", "storeAway", "attachAgain"].map(|why| json!({ why: {} }));
            let is_put_off = again.contains(&told["answer"]);
            assert!(is_put_off && began.elapsed() < PATIENCE, "{told}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Orders as that says, too.
    pub async fn order_again(&mut self, sector: &Value, sequence: u32, unit: &Value) -> Value {
        let began = Instant::now();
        loop {
            let answered = timeout(PATIENCE, self.order(sector, sequence, unit)).await;
            let ack = answered.expect("an answer in time");
            if ack["success"] == true {
                return ack;
            }
            let again = ["busy", "storeAway", "attachAgain"].map(|why| json!({ why: {} }));
            let is_put_off = again.contains(&ack["error"]);
            assert!(is_put_off && began.elapsed() < PATIENCE, "{ack}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// On a connection that takes only so many bytes while nothing is read.
    pub async fn narrow(target: &Target, token: &str, bytes: u32) -> Socket {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(bytes).expect("a buffer may be small");
        let address = target.authority().parse().expect("an address of this machine");
        let stream = socket.connect(address).await.expect("a node that listens");
        Socket::over(stream, target, token, None).await
    }

    async fn over(stream: TcpStream, target: &Target, token: &str, resume: Option<u64>) -> Socket {
        let mut socket = Socket::ask(stream, target, token, resume).await;
        socket.connected = socket.wait_for("connected").await;
        socket
    }

    /// Asks for a session and waits for no answer.
    async fn ask(stream: TcpStream, target: &Target, token: &str, resume: Option<u64>) -> Socket {
        let uri = target.websocket().parse().expect("a target's address");
        let request = ClientRequestBuilder::new(uri).with_sub_protocol("starmesh.json.v1");
        let (stream, _) = client_async(request, stream).await.expect("a WebSocket");
        let mut socket = Socket { stream, connected: Value::Null };
        socket.send(json!({ "type": "connect", "token": token, "resume": resume })).await;
        socket
    }

    pub fn session(&self) -> u64 {
        self.connected["session"].as_u64().expect("a session")
    }

    /// A sector in which the player has units.
    pub fn sector(&self) -> Value {
        self.connected["presence"][0]["sector"].clone()
    }

    /// An acknowledgement as an audit takes it.
    pub fn answered(&self, sector: &Value, ack: &Value) -> Answered {
        let mut ack = ack.clone();
        // The header, which every message has.
        let fields = ack.as_object_mut().expect("an acknowledgement is an object");
        ["type", "handle", "tick"].iter().for_each(|name| _ = fields.remove(*name));
        let answered = json!({
            "client": 0, "player": self.connected["player"], "session": self.session(),
            "place": { "sector": sector }, "ack": ack,
        });
        serde_json::from_value(answered).expect("an answer")
    }

    pub async fn send(&mut self, message: Value) {
        self.stream.send(Message::text(message.to_string())).await.expect("an open socket");
    }

    /// Sends, whether anybody takes it or not; whether the socket is open.
    pub async fn try_send(&mut self, message: Value) -> bool {
        let sent = self.stream.send(Message::text(message.to_string()));
        // What does not fit any more is not waited for.
        timeout(Duration::from_millis(200), sent).await.is_ok_and(|sent| sent.is_ok())
    }

    /// The next message; `None` when the server closed the connection.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            let message = timeout(PATIENCE, self.stream.next()).await.expect("a message in time");
            match message?.ok()? {
                Message::Text(text) => {
                    return Some(serde_json::from_str(&text).expect("messages are JSON"));
                }
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// The next message of this type; others are passed over.
    pub async fn wait_for(&mut self, kind: &str) -> Value {
        let mut passed = Vec::new();
        while let Some(message) = self.next().await {
            if message["type"] == kind {
                return message;
            }
            passed.push(message);
        }
        panic!("closed, and no {kind} among {passed:#?}");
    }

    /// Watches the sector; the player's own units in it.
    pub async fn watch(&mut self, sector: &Value) -> Vec<Value> {
        self.send(json!({ "type": "subscribe", "area": { "sectors": [sector] } })).await;
        let keyframe = self.wait_for("keyframe").await;
        self.own_units(&keyframe)
    }

    /// The player's units in a keyframe.
    pub fn own_units(&self, keyframe: &Value) -> Vec<Value> {
        let player = &self.connected["player"];
        let blocks = keyframe["blocks"].as_array().expect("a keyframe has blocks");
        let units =
            blocks.iter().flat_map(|block| block["content"]["keyframe"]["units"].as_array());
        let units = units.flatten().filter(|unit| unit["owner"] == *player);
        let mut units: Vec<Value> = units.cloned().collect();
        units.sort_by_key(|unit| unit["id"].as_u64());
        units
    }

    /// Orders the unit to a corner of the sector and waits for no answer.
    pub async fn send_order(&mut self, sector: &Value, sequence: u32, unit: &Value) {
        self.send(order(sector, sequence, unit)).await;
    }

    /// Orders the unit to a corner of the sector; the answer.
    pub async fn order(&mut self, sector: &Value, sequence: u32, unit: &Value) -> Value {
        self.send_order(sector, sequence, unit).await;
        let ack = self.wait_for("ack").await;
        assert_eq!(ack["sequence"], sequence, "{ack}");
        ack
    }
}

/// An order to a unit to fly to a corner of the sector.
pub fn order(sector: &Value, sequence: u32, unit: &Value) -> Value {
    let corner = json!({ "sector": sector, "x": 1_u64 << 28, "y": 1_u64 << 28 });
    json!({
        "type": "moveFleet", "sequence": sequence, "time": 0,
        "place": { "sector": sector }, "units": [unit["id"]],
        "target": { "position": corner },
    })
}

/// What an acknowledgement says of its command. The rest is of the connection
/// and the moment it was sent.
pub fn of_command(ack: &Value) -> [&Value; 7] {
    let fields =
        ["sequence", "success", "entitySequence", "effectTick", "position", "arrival", "error"];
    fields.map(|field| &ack[field])
}
