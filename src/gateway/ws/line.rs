//! Owns one connection on its worker's thread: brings to its session what
//! comes from the socket, from inside and with time, and runs the effects.
//! Never decides anything. Called by the actor that reads frames and by the
//! response body that writes them. Invariant: the session lives on while the
//! socket is full: only the body waits for room.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;

use super::framing;
use super::gateway::Gateway;
use super::port::{Port, Told};
use crate::actors::ports::ToSession;
use crate::base::{EntityKey, Millis, PlayerId};
use crate::cluster::core::table::Unavailable;
use crate::entity::World;
use crate::entity::input::Left;
use crate::gateway::queue::Queue;
use crate::gateway::session::inbox::Drained;
use crate::gateway::session::{Around, Connection, Effect, Now, Session};
use crate::protocol::CodecKind;
use crate::view::fanout::{Shown, Watcher};
use crate::view::stage::GroupId;

/// When a client may come back to a node that stops.
const BACK_AFTER_MS: u32 = 1_000;

/// One connection; cheap to clone, never leaves its thread.
#[derive(Clone)]
pub struct Line(Rc<Inner>);

struct Inner {
    gateway: Arc<Gateway>,
    port: Arc<Port>,
    number: u64,
    codec: CodecKind,
    state: RefCell<State>,
}

struct State {
    connection: Connection,
    /// Who waits for the next write: the response body.
    body: Option<Waker>,
    /// What the driver sleeps until.
    armed: Option<Millis>,
    /// The player that the roster knows this connection by.
    player: Option<PlayerId>,
    /// Nothing is written any more after what is due.
    over: bool,
    /// The socket is gone.
    gone: bool,
}

impl Line {
    /// Opens a connection and begins to drive it.
    pub fn open(gateway: Arc<Gateway>, codec: CodecKind) -> Line {
        let port = Arc::new(Port::default());
        let number = gateway.entities.ports.open(port.clone());
        let session = Session::new(gateway.session, number, codec, gateway.now().at);
        let queue = Queue::new(gateway.queue(number));
        let state = State {
            connection: Connection::new(session, queue),
            body: None,
            armed: None,
            player: None,
            over: false,
            gone: false,
        };
        let state = RefCell::new(state);
        let line = Line(Rc::new(Inner { gateway, port, number, codec, state }));
        actix_web::rt::spawn(line.clone().drive());
        line
    }

    pub fn gateway(&self) -> &Gateway {
        &self.0.gateway
    }

    /// Lets something happen to the session and does what it wants done.
    pub fn handle(&self, event: impl FnOnce(&mut Session, Around<'_>)) {
        let around = self.0.gateway.around();
        let effects = {
            let mut state = self.0.state.borrow_mut();
            let effects = state.connection.handle(around.now, |session| event(session, around));
            self.0.gateway.count_dropped(state.connection.take_dropped());
            effects
        };
        self.run(effects);
    }

    /// The next write, when there is one; `None` when there never will be.
    pub fn poll_write(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let now = self.0.gateway.now();
        let (items, effects, over) = {
            let mut state = self.0.state.borrow_mut();
            let (items, effects) = state.connection.take_write(now);
            state.body = Some(cx.waker().clone());
            (items, effects, state.over)
        };
        self.run(effects);
        if items.is_empty() {
            return if over { Poll::Ready(None) } else { Poll::Pending };
        }
        let written = framing::encode(items, self.0.codec.is_text());
        self.0.gateway.bytes_out.increment(written.len() as u64);
        Poll::Ready(Some(written))
    }

    /// The socket is gone, and with it this connection.
    pub fn end(&self) {
        self.handle(|session, around| session.handle_lost(around.now));
        let player = {
            let mut state = self.0.state.borrow_mut();
            state.gone = true;
            state.body = None;
            state.player.take()
        };
        self.0.gateway.entities.ports.close(self.0.number, player);
        if let Some(player) = player {
            self.0.gateway.roster.remove(player, self.0.number);
        }
        self.0.port.notify.notify_one();
    }

    /// Brings time and what comes from inside, until the connection is gone:
    /// what came before that, a session say, is still heard.
    async fn drive(self) {
        loop {
            self.handle_due();
            let notified = self.0.port.notify.notified();
            match self.arm() {
                Some(at) => _ = tokio::time::timeout_at(at.into(), notified).await,
                None => notified.await,
            }
            let gone = self.0.state.borrow().gone;
            self.handle_inside(self.0.port.drain());
            if gone {
                return;
            }
        }
    }

    /// When the driver is to be woken next.
    fn arm(&self) -> Option<Instant> {
        let mut state = self.0.state.borrow_mut();
        state.armed = state.next_due(self.0.gateway.now().at);
        state.armed.map(|at| self.0.gateway.instant(at))
    }

    fn handle_due(&self) {
        let now = self.0.gateway.now();
        let due = self.0.state.borrow().connection.next_due();
        if due.is_some_and(|due| due <= now.at) {
            let effects = self.0.state.borrow_mut().connection.handle_clock(now);
            self.run(effects);
        }
        self.0.state.borrow_mut().wake_writer(now.at);
    }

    fn handle_inside(&self, drained: Drained<Told>) {
        let world = &self.0.gateway.entities.world;
        for told in drained.messages {
            self.handle(|session, around| handle_told(session, told, world, around));
        }
        for entity in drained.lost {
            self.handle(|session, _| session.handle_updates_lost(entity));
        }
        if drained.overflowed {
            self.handle(|session, around| session.handle_too_slow(around.now));
        }
    }

    fn run(&self, effects: Vec<Effect>) {
        effects.into_iter().for_each(|effect| self.run_effect(effect));
        let now = self.0.gateway.now().at;
        let mut state = self.0.state.borrow_mut();
        state.wake_writer(now);
        // The driver must not oversleep what has become due earlier.
        let next = state.next_due(now);
        if next.is_some_and(|next| state.armed.is_none_or(|armed| next < armed)) {
            self.0.port.notify.notify_one();
        }
    }

    fn run_effect(&self, effect: Effect) {
        let (gateway, number) = (&self.0.gateway, self.0.number);
        match effect {
            Effect::Verify { token } => self.spawn_verify(token.0),
            Effect::Connect(connect) => {
                if let Err(why) = gateway.entities.connect(connect) {
                    self.handle(|session, around| session.handle_connect_refused(why, around.now));
                }
            }
            Effect::Attach { entity, player, session } => {
                let line = self.clone();
                actix_web::rt::spawn(async move {
                    let result = line.0.gateway.entities.attach(entity, player, session).await;
                    line.handle(|session, around| session.handle_attached(entity, result, around));
                });
            }
            Effect::Observe { entity, player } => {
                let group = GroupId::of(player);
                let watcher = Watcher { group, codec: self.0.codec };
                if let Err(why) = gateway.entities.observe(number, entity, watcher) {
                    self.handle(|session, around| {
                        session.handle_unobserved(entity, why, around.now);
                    });
                }
            }
            Effect::Unobserve { entity } => gateway.entities.unobserve(number, entity),
            Effect::Command { entity, at, ticket, command } => {
                gateway.entities.command(number, entity, (at, ticket), command);
            }
            Effect::Left { player, session } => {
                gateway.entities.left(Left { player, session, connection: number });
            }
            Effect::Finish => self.0.state.borrow_mut().over = true,
            Effect::Count(count) => gateway.count(count),
            // `Connection` has put these into the queue.
            Effect::Send { .. } | Effect::Forward { .. } | Effect::Ping | Effect::Close { .. } => {}
        }
    }

    fn spawn_verify(&self, token: String) {
        let line = self.clone();
        actix_web::rt::spawn(async move {
            let Inner { gateway, port, number, .. } = &*line.0;
            let result = gateway.verify(&token, *number, port.clone()).await;
            if let Ok(who) = result {
                line.note_player(who.player);
            }
            line.handle(|session, around| session.handle_verified(result, around.now));
        });
    }

    fn note_player(&self, player: PlayerId) {
        let gone = {
            let mut state = self.0.state.borrow_mut();
            state.player = Some(player);
            state.gone
        };
        // The client did not wait for it.
        if gone {
            self.0.gateway.roster.remove(player, self.0.number);
        }
    }
}

impl State {
    /// What is due now needs no alarm: the body writes it when there is room.
    fn next_due(&self, now: Millis) -> Option<Millis> {
        let write = self.connection.write_due().filter(|due| *due > now);
        let write = write.filter(|_| !self.gone);
        [self.connection.next_due(), write].into_iter().flatten().min()
    }

    fn wake_writer(&mut self, now: Millis) {
        let due = self.connection.write_due().is_some_and(|due| due <= now);
        if (due || self.over)
            && let Some(body) = self.body.take()
        {
            body.wake();
        }
    }
}

fn handle_told(session: &mut Session, told: Told, world: &World, around: Around<'_>) {
    let now = around.now;
    match told {
        Told::Generation(generation) => session.handle_generation(generation, now),
        Told::Inside(ToSession::Player(effect)) => session.handle_player(effect, now),
        Told::Inside(ToSession::Superseded) => session.handle_superseded(now),
        Told::Inside(ToSession::ConnectRefused(why)) => session.handle_connect_refused(why, now),
        Told::Shown(shown) => handle_shown(session, &shown, now),
        // The port takes it apart.
        Told::Inside(ToSession::Shown(_)) => {}
        Told::Inside(ToSession::Rejected { entity, ticket, sequence, why }) => {
            session.handle_rejected(entity, (ticket, sequence), why, now);
        }
        Told::Inside(ToSession::Parked { entity }) => {
            let ledger = session.player().map(|player| world.ledger_of(player));
            if ledger == Some(entity) {
                session.handle_connect_refused(Unavailable::Parked, now);
            }
            session.handle_unobserved(entity, Unavailable::Parked, now);
        }
        Told::Inside(ToSession::StoreAway(away)) => session.handle_store_away(away, now),
        Told::Inside(ToSession::Announced(text)) => session.handle_announced(text, now),
        Told::Inside(ToSession::ShuttingDown) => session.handle_shutdown(BACK_AFTER_MS, now),
    }
}

fn handle_shown(session: &mut Session, shown: &Shown, now: Now) {
    match shown {
        Shown::Packet(packet) => session.handle_packet(packet, now),
        Shown::Gone(sector) => session.handle_gone(EntityKey::Sector(*sector), now),
        Shown::Pace { sector, handle, percent } => {
            session.handle_pace(EntityKey::Sector(*sector), *handle, *percent);
        }
    }
}
