//! Owns the WebSocket route: handshake, the actor that reads frames, the body
//! that writes them, the options of sockets. Nothing else knows
//! actix-web-actors. Never decides anything: `session` does. Called by the
//! HTTP server. Any origin may connect: nothing is known about a browser's
//! user before the token in Connect, so another site's page gains nothing.
//!
//! The actor is its response's body and stands still while the socket is
//! full; so it only reads, and everything else happens in the connection's
//! [`Line`] beside it.

mod framing;
mod gateway;
mod line;
mod port;

use std::any::Any;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix::{Actor, ActorContext, StreamHandler};
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::Extensions;
use actix_web::error::PayloadError;
use actix_web::http::header::SEC_WEBSOCKET_PROTOCOL;
use actix_web::rt::net::TcpStream;
use actix_web::web::{self, Data, Payload as BodyStream, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use actix_web_actors::ws::{self, Message, ProtocolError, WebsocketContext, WsResponseBuilder};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use socket2::SockRef;

use self::framing::{Assembled, Assembly, Lengths};
use self::gateway::Gateway;
use self::line::Line;
use super::accounts::Accounts;
use super::http::{Kind, ProblemResponse};
use super::limits::Limits;
use super::session::Payload;
use crate::actors::entities::Entities;
use crate::config::Config;
use crate::protocol::CodecKind;
use crate::protocol::http::WEBSOCKET_PATH;

/// What the kernel keeps for a client that does not read.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// All that the sessions of a gateway share; cheap to clone.
#[derive(Clone)]
pub struct WsState(Arc<Gateway>);

impl WsState {
    /// To be made when metrics are recorded already.
    pub fn new(
        config: &Config,
        entities: Entities,
        accounts: Accounts,
        limits: Arc<Limits>,
    ) -> WsState {
        WsState(Arc::new(Gateway::new(config, entities, accounts, limits)))
    }

    /// What the sessions of this gateway need by time. Runs until dropped,
    /// once per gateway, from before the first player comes.
    pub async fn upkeep(self) {
        self.0.follow_generations().await;
    }
}

/// Adds the route. To be called before the one that answers for all paths
/// that nothing serves.
pub fn configure(services: &mut ServiceConfig, state: WsState) {
    let other = |request: HttpRequest| async move {
        ProblemResponse::method_not_allowed("GET", request.method().as_str())
    };
    let resource = web::resource(WEBSOCKET_PATH)
        .app_data(Data::new(state))
        .route(web::get().to(open))
        .default_service(web::to(other));
    services.service(resource);
}

/// For `HttpServer::on_connect`: a client that does not read holds little
/// memory here, and is cut off by the kernel after `stalled`, whatever waits.
/// Sockets are as they were when the system refuses.
pub fn tune_socket(connection: &dyn Any, stalled: Duration) {
    type Tls = actix_tls::accept::rustls_0_23::TlsStream<TcpStream>;
    let plain = connection.downcast_ref::<TcpStream>();
    let Some(socket) =
        plain.or_else(|| connection.downcast_ref::<Tls>().map(|tls| tls.get_ref().0))
    else {
        return;
    };
    let socket = SockRef::from(socket);
    let tuned = socket
        .set_send_buffer_size(SEND_BUFFER_BYTES)
        .and_then(|()| socket.set_tcp_user_timeout(Some(stalled)))
        .and_then(|()| socket.set_tcp_nodelay(true));
    if let Err(error) = tuned {
        tracing::debug!(%error, "a socket does not take its options");
    }
}

/// [`tune_socket`] as `HttpServer::on_connect` wants it.
pub fn on_connect(
    config: &Config,
) -> impl Fn(&dyn Any, &mut Extensions) + Send + Sync + Clone + 'static {
    let stalled = Duration::from_secs(config.sessions.stalled_s.u64());
    move |connection, _| tune_socket(connection, stalled)
}

async fn open(
    state: Data<WsState>,
    request: HttpRequest,
    stream: BodyStream,
) -> Result<HttpResponse, ProblemResponse> {
    let gateway = state.0.clone();
    if !gateway.takes_players {
        let detail = "this node has not the role gateway (node.roles): connect to one that has";
        return Err(ProblemResponse::new(Kind::NotReady, detail));
    }
    // A peer without an address is on a socket of this machine.
    let peer = request.peer_addr().map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip());
    gateway.limits.connect(gateway.limits.client(peer, request.headers()))?;
    let codec = negotiate(&request)?;
    let protocols = [codec.subprotocol()];
    ws::handshake_with_protocols(&request, &protocols).map_err(|error| no_upgrade(&error))?;

    let frame_max = gateway.frame_max();
    let line = Line::open(gateway, codec);
    let actor = SessionActor { line: line.clone(), assembly: Assembly::default() };
    let stream = bounded(stream, Lengths::new(frame_max), line.clone());
    let response = WsResponseBuilder::new(actor, &request, stream)
        .protocols(&protocols)
        .frame_size(frame_max)
        .start();
    let body = |inner| SessionBody { inner: Some(inner), line: line.clone() };
    match response {
        Ok(response) => Ok(response.map_body(|_, inner| body(inner)).map_into_boxed_body()),
        Err(error) => {
            line.end();
            Err(ProblemResponse::new(Kind::UpgradeRequired, error.to_string()))
        }
    }
}

/// The client's bytes, until a frame announces more than is read: then the
/// session ends, and what still comes is thrown away, so that the client is not
/// reset before it has read why.
fn bounded(
    stream: BodyStream,
    mut lengths: Lengths,
    line: Line,
) -> impl Stream<Item = Result<Bytes, PayloadError>> {
    let mut too_long = false;
    stream.map(move |part| {
        let bytes = part?;
        if !too_long && lengths.admit(&bytes) {
            return Ok(bytes);
        }
        if !std::mem::replace(&mut too_long, true) {
            line.handle(|session, around| session.handle_bad_frame(true, around.now));
        }
        Ok(Bytes::new())
    })
}

/// The codec to speak; a client that offers none is refused like one that
/// offers only others.
fn negotiate(request: &HttpRequest) -> Result<CodecKind, ProblemResponse> {
    let header = request.headers().get(SEC_WEBSOCKET_PROTOCOL);
    let named = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
    CodecKind::negotiate(named).ok_or_else(|| {
        let detail = format!("found Sec-WebSocket-Protocol {named:?}");
        let names: Vec<_> = CodecKind::ALL.iter().map(|kind| kind.subprotocol()).collect();
        ProblemResponse::new(Kind::UnknownSubprotocol, detail).expected(names.join(" or "))
    })
}

fn no_upgrade(error: &ws::HandshakeError) -> ProblemResponse {
    ProblemResponse::new(Kind::UpgradeRequired, error.to_string())
        .expected("a WebSocket handshake of version 13")
}

/// Reads the frames of one connection.
struct SessionActor {
    line: Line,
    assembly: Assembly,
}

impl Actor for SessionActor {
    type Context = WebsocketContext<SessionActor>;
}

impl SessionActor {
    fn message(&self, text: bool, bytes: &[u8]) {
        self.line.gateway().bytes_in.increment(bytes.len() as u64);
        let payload = if text { Payload::Text(bytes) } else { Payload::Binary(bytes) };
        self.line.handle(|session, around| session.handle_message(payload, around));
    }

    fn control(&self, payload: &[u8]) {
        let bytes = payload.len();
        self.line.handle(|session, around| session.handle_control(bytes, around.now));
    }

    fn bad_frame(&self, too_long: bool, ctx: &mut WebsocketContext<SessionActor>) {
        self.line.handle(|session, around| session.handle_bad_frame(too_long, around.now));
        // What follows cannot be told apart from frames any more.
        ctx.stop();
    }
}

impl StreamHandler<Result<Message, ProtocolError>> for SessionActor {
    fn handle(&mut self, frame: Result<Message, ProtocolError>, ctx: &mut Self::Context) {
        match frame {
            Ok(Message::Text(text)) => self.message(true, text.as_bytes()),
            Ok(Message::Binary(bytes)) => self.message(false, &bytes),
            Ok(Message::Continuation(fragment)) => {
                let max = self.line.gateway().frame_max();
                match self.assembly.add(fragment, max) {
                    Assembled::More => {}
                    Assembled::Whole { text, bytes } => self.message(text, &bytes),
                    Assembled::TooLong => self.bad_frame(true, ctx),
                }
            }
            Ok(Message::Ping(payload)) => {
                ctx.pong(&payload);
                self.control(&payload);
            }
            Ok(Message::Pong(payload)) => self.control(&payload),
            Ok(Message::Close(_)) => {
                self.line.handle(|session, around| session.handle_peer_closed(around.now));
            }
            Ok(Message::Nop) => {}
            Err(ProtocolError::Overflow) => self.bad_frame(true, ctx),
            Err(ProtocolError::Io(_)) => {
                self.line.handle(|session, around| session.handle_lost(around.now));
                ctx.stop();
            }
            Err(_) => self.bad_frame(false, ctx),
        }
    }
}

/// The response's body: runs the actor, and writes what the line has to say.
/// It is polled exactly when the socket has room.
struct SessionBody {
    /// `None` when the actor has ended: the client is gone, or unreadable.
    inner: Option<BoxBody>,
    line: Line,
}

impl MessageBody for SessionBody {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        let read = this.inner.as_mut().map(|inner| Pin::new(inner).poll_next(cx));
        match read {
            Some(Poll::Ready(Some(Ok(bytes)))) => return Poll::Ready(Some(Ok(bytes))),
            Some(Poll::Ready(Some(Err(_)) | None)) => {
                this.inner = None;
                this.line.handle(|session, around| session.handle_lost(around.now));
            }
            Some(Poll::Pending) | None => {}
        }
        this.line.poll_write(cx).map(|written| written.map(Ok))
    }
}

impl Drop for SessionBody {
    fn drop(&mut self) {
        self.line.end();
    }
}
