//! Owns the client's socket: gives what comes to the state machine and does
//! its effects. Contains no decision about the protocol. Called by one task,
//! which waits in [`Client::next`]. Every wait has an end: connecting and
//! writing are given up after fixed times, reading when the state machine says.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::core::{ClientCore, Options};
use super::effect::{Effect, Event};
use super::http::Target;
use super::incoming::Incoming;
use crate::base::EntityKey;
use crate::protocol::server::Aggregate;
use crate::protocol::{ClientFrame, CodecKind, SERVER_MESSAGE_BYTES_MAX};
use crate::view::CellsView;

/// A connection that is not open after so long failed.
const OPEN_WITHIN: Duration = Duration::from_secs(5);
/// A write that the socket does not take within so long ends the connection.
const WRITE_WITHIN: Duration = Duration::from_secs(15);
/// tungstenite's default of 128 KiB is for servers with few connections.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// What went over the wire, payloads of messages only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub frames_in: u64,
    pub frames_out: u64,
}

/// A client with its socket.
pub struct Client {
    core: ClientCore,
    codec: CodecKind,
    target: Target,
    socket: Option<WebSocketStream<TcpStream>>,
    incoming: Incoming,
    /// Why the connection ended, told when `incoming` has been read.
    closed: Option<String>,
    events: VecDeque<Event>,
    traffic: Traffic,
    clock: Clock,
}

/// Milliseconds since the Unix epoch that never decrease.
#[derive(Clone, Copy)]
struct Clock {
    start: Instant,
    start_ms: u64,
}

impl Clock {
    fn new() -> Clock {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { start: Instant::now(), start_ms: millis(since) }
    }

    fn now(self) -> u64 {
        self.start_ms + millis(self.start.elapsed())
    }

    fn instant(self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms.saturating_sub(self.start_ms))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Client {
    /// A client that connects to `target` at the first [`next`](Self::next),
    /// and speaks `codec` there.
    pub fn new(target: Target, codec: CodecKind, token: String, options: Options) -> Client {
        let clock = Clock::new();
        let mut core = ClientCore::new(token, options);
        core.start(clock.now());
        Client {
            core,
            codec,
            target,
            socket: None,
            incoming: Incoming::default(),
            closed: None,
            events: VecDeque::new(),
            traffic: Traffic::default(),
            clock,
        }
    }

    /// The state machine, to look at and to give commands to; what it wants
    /// done is done in the next [`next`](Self::next).
    pub fn core(&mut self) -> &mut ClientCore {
        &mut self.core
    }

    /// What is known of a watched place.
    pub fn view(&self, place: EntityKey) -> Option<&CellsView> {
        self.core.view(place)
    }

    /// How much goes on in a watched place that is told by sums.
    pub fn aggregate(&self, place: EntityKey) -> Option<&Aggregate> {
        self.core.aggregate(place)
    }

    /// The time its calls take.
    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// What happens next, or `None` at `until`.
    pub async fn next(&mut self, until: Instant) -> Option<Event> {
        loop {
            self.run_effects().await;
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if let Some(received) = self.incoming.pop() {
                self.core.handle_received(self.clock.now(), &received);
            } else if let Some(reason) = self.closed.take() {
                self.socket = None;
                self.core.handle_closed(self.clock.now(), &reason);
            } else if !self.wait(until).await {
                return None;
            }
        }
    }

    /// Ends the connection and waits until it is closed.
    pub async fn stop(&mut self) {
        self.core.stop();
        self.run_effects().await;
    }

    /// Waits for the socket or for time; whether before `until`.
    async fn wait(&mut self, until: Instant) -> bool {
        let due = self.core.next_due().map_or(until, |ms| self.clock.instant(ms).min(until));
        let read = match &mut self.socket {
            Some(socket) => timeout_at(due, socket.next()).await.ok(),
            None => {
                tokio::time::sleep_until(due).await;
                None
            }
        };
        match read {
            Some(message) => self.handle_read(message),
            None => {
                self.core.handle_time(self.clock.now());
                return due < until;
            }
        }
        self.read_ready();
        true
    }

    /// Takes what the socket has without waiting.
    fn read_ready(&mut self) {
        while self.closed.is_none() && self.incoming.has_room() {
            let Some(socket) = &mut self.socket else { return };
            match socket.next().now_or_never() {
                Some(message) => self.handle_read(message),
                None => return,
            }
        }
    }

    fn handle_read(&mut self, message: Option<Result<Message, WsError>>) {
        let text;
        let bytes = match &message {
            Some(Ok(Message::Text(bytes))) => bytes.as_bytes(),
            Some(Ok(Message::Binary(bytes))) => &bytes[..],
            Some(Ok(Message::Close(frame))) => {
                text = frame.as_ref().map_or("closed".to_owned(), |f| format!("closed: {f}"));
                self.closed = Some(text);
                return;
            }
            Some(Ok(_)) => return,
            Some(Err(error)) => return self.closed = Some(error.to_string()),
            None => return self.closed = Some("closed without a word".to_owned()),
        };
        self.traffic.bytes_in += bytes.len() as u64;
        self.traffic.frames_in += 1;
        match self.codec.codec().receive(bytes) {
            // There is room: one frame was read since that was asked.
            Ok(received) => drop(self.incoming.admit(received)),
            Err(error) => self.closed = Some(format!("unreadable message: {error}")),
        }
    }

    async fn run_effects(&mut self) {
        loop {
            let effects: Vec<Effect> = self.core.drain_effects().collect();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Open => self.open().await,
                    Effect::Send(frame) => self.feed(&frame).await,
                    Effect::Close => self.close().await,
                    Effect::Tell(event) => self.events.push_back(event),
                }
            }
            self.flush().await;
        }
    }

    async fn open(&mut self) {
        (self.socket, self.closed) = (None, None);
        self.incoming.clear();
        let opened = timeout(OPEN_WITHIN, connect(&self.target, self.codec)).await;
        let opened = opened.unwrap_or_else(|_| Err("not open after 5 s".to_owned()));
        match opened {
            Ok(socket) => {
                self.socket = Some(socket);
                self.core.handle_opened(self.clock.now());
            }
            Err(reason) => self.core.handle_closed(self.clock.now(), &reason),
        }
    }

    async fn feed(&mut self, frame: &ClientFrame) {
        let Some(socket) = &mut self.socket else { return };
        let mut bytes = Vec::with_capacity(256);
        self.codec.codec().encode_client(frame, &mut bytes);
        self.traffic.bytes_out += bytes.len() as u64;
        self.traffic.frames_out += 1;
        // A codec of text frames writes UTF-8; other bytes go as they are.
        let message = match String::from_utf8(bytes) {
            Ok(text) if self.codec.is_text() => Message::text(text),
            Ok(text) => Message::binary(text.into_bytes()),
            Err(error) => Message::binary(error.into_bytes()),
        };
        let fed = timeout(WRITE_WITHIN, socket.feed(message)).await;
        self.note_written(fed);
    }

    async fn flush(&mut self) {
        let Some(socket) = &mut self.socket else { return };
        let flushed = timeout(WRITE_WITHIN, socket.flush()).await;
        self.note_written(flushed);
    }

    async fn close(&mut self) {
        if let Some(mut socket) = self.socket.take() {
            // Told as a courtesy: whether it arrives changes nothing.
            drop(timeout(Duration::from_secs(1), socket.close(None)).await);
        }
        self.closed = None;
        self.incoming.clear();
    }

    fn note_written<E>(&mut self, written: Result<Result<(), WsError>, E>) {
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.closed = Some(error.to_string()),
            Err(_) => self.closed = Some("the socket took nothing for 15 s".to_owned()),
        }
    }
}

async fn connect(target: &Target, codec: CodecKind) -> Result<WebSocketStream<TcpStream>, String> {
    let uri = target.websocket().parse().map_err(|error| format!("{target}: {error}"))?;
    let request = ClientRequestBuilder::new(uri).with_sub_protocol(codec.subprotocol());
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(1024 * 1024)
        .max_message_size(Some(SERVER_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(SERVER_MESSAGE_BYTES_MAX));
    let stream = TcpStream::connect(target.authority()).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let opened = client_async_with_config(request, stream, Some(config)).await;
    opened.map(|(socket, _)| socket).map_err(|error| error.to_string())
}
