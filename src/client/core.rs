//! Owns a client's session: connecting, resuming, commands, places. Never does
//! I/O and reads no clock: time comes with each call, in milliseconds that
//! never decrease, and what is to be done is drained as effects. Called by a
//! shell (`connection`) and by tests. Invariant: every effect that one call
//! caused is in the queue when it returns; nothing happens between calls.

mod handle;
mod predicted;

use std::collections::VecDeque;

use super::commands::{CommandBook, GiveUp, Issued, Wanted};
use super::effect::{Effect, Event};
use super::places::Places;
use super::predict::Predictor;
use crate::base::draw::draw;
use crate::base::{EntityKey, SectorId, SessionId};
use crate::protocol::client::{Area, ClientMessage, Empty, Ping, Subscribe};
use crate::protocol::command::{Addressee, BatchCommand};
use crate::protocol::server::Aggregate;
use crate::protocol::{Answer, ClientFrame, Place};
use crate::view::CellsView;

/// Waits between attempts to connect: doubled each time, up to the second.
const BACKOFF_MS: (u64, u64) = (250, 5_000);

/// What can be chosen.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether a lost connection is opened again.
    pub reconnect: bool,
    /// Decides the jitter of the waits between attempts.
    pub seed: u64,
}

/// Where the client stands.
///
/// ```text
/// Idle --start--> Opening --handle_opened--> Connecting --Connected--> Open
///                    ^                            |                      |
///                    +--- time --- Waiting <------+------ closed --------+
/// Ended: from anywhere, for good.
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Idle,
    /// The shell opens a connection.
    Opening {
        since: u64,
    },
    /// Connect is sent.
    Connecting {
        since: u64,
    },
    Open,
    /// Until the next attempt.
    Waiting {
        until: u64,
    },
    Ended,
}

/// Why a command was not taken. It was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("there is no open session")]
    NotConnected,
    #[error("32 commands to this place are unanswered")]
    Full,
    #[error("only sectors and battles take commands")]
    NoPlace,
}

/// The state machine of one client.
#[derive(Debug)]
pub struct ClientCore {
    options: Options,
    token: String,
    status: Status,
    session: Option<SessionId>,
    /// Attempts to connect since the last session was open.
    attempts: u32,
    /// When something last came in, and when a Ping went out since.
    heard: u64,
    pinged: Option<u64>,
    /// Time stands still at the server.
    standstill: bool,
    last_error: Option<String>,
    commands: CommandBook,
    places: Places,
    predictor: Predictor,
    effects: VecDeque<Effect>,
}

impl ClientCore {
    /// A client that will connect with `token`.
    pub fn new(token: String, options: Options) -> ClientCore {
        ClientCore {
            options,
            token,
            status: Status::Idle,
            session: None,
            attempts: 0,
            heard: 0,
            pinged: None,
            standstill: false,
            last_error: None,
            commands: CommandBook::default(),
            places: Places::default(),
            predictor: Predictor::default(),
            effects: VecDeque::new(),
        }
    }

    pub fn status(&self) -> Status {
        self.status
    }

    /// What last went wrong with the connection.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// The session, once there was one.
    pub fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// What is known of a watched place.
    pub fn view(&self, place: EntityKey) -> Option<&CellsView> {
        self.places.view(place)
    }

    /// How much goes on in a watched place that is told by sums.
    pub fn aggregate(&self, place: EntityKey) -> Option<&Aggregate> {
        self.places.aggregate(place)
    }

    /// Commands that were neither answered nor given up.
    pub fn unanswered(&self) -> impl Iterator<Item = &Issued> {
        self.commands.unanswered()
    }

    /// When the first of them was sent, in the caller's milliseconds.
    pub fn waits_since(&self) -> Option<u64> {
        self.commands.waits_since()
    }

    /// What is to be done, in order; empties the queue.
    pub fn drain_effects(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.effects.drain(..)
    }

    /// A token to connect with from now on.
    pub fn renew_token(&mut self, token: String) {
        self.token = token;
    }

    /// Begins, or begins again after the end.
    pub fn start(&mut self, now: u64) {
        if matches!(self.status, Status::Idle | Status::Ended) {
            self.open(now);
        }
    }

    /// Ends the connection for good. The session stays resumable at the server.
    pub fn stop(&mut self) {
        if matches!(self.status, Status::Connecting { .. } | Status::Open) {
            self.send(0, ClientMessage::Disconnect(Empty {}));
        }
        self.effects.push_back(Effect::Close);
        self.status = Status::Ended;
    }

    /// Watches these sectors from now on; none beyond 25.
    pub fn subscribe(&mut self, now: u64, sectors: &[SectorId]) {
        if self.places.add(sectors) && self.status == Status::Open {
            let asked = self.places.ask_subscriptions(now);
            self.send_subscribe(&asked);
        }
    }

    /// Watches the place no longer.
    pub fn unsubscribe(&mut self, place: EntityKey) {
        self.predictor.handle_unwatched(place);
        if let Some(handle) = self.places.remove(place) {
            self.send(handle, ClientMessage::Unsubscribe(Empty {}));
        }
    }

    /// Asks for a keyframe, which is compared with the view when it comes.
    pub fn ask_keyframe(&mut self, now: u64, place: EntityKey) {
        if let Some(handle) = self.places.ask_keyframe(now, place) {
            self.send(handle, ClientMessage::KeyframeRequest(Empty {}));
        }
    }

    /// Measures a round trip, which an event tells; for those who show it.
    pub fn ping(&mut self, now: u64) {
        if self.status == Status::Open {
            self.send(0, ClientMessage::Ping(Ping { time: now }));
        }
    }

    /// Sends a command; its sequence.
    ///
    /// # Errors
    /// When it cannot be sent now; nothing was kept then.
    pub fn command(
        &mut self,
        now: u64,
        place: EntityKey,
        wanted: Wanted,
    ) -> Result<u32, CommandError> {
        let issued = self.issue(now, place, wanted)?;
        self.send_command(&issued);
        Ok(issued.command.sequence)
    }

    /// Sends commands to one place in one message; their sequences.
    ///
    /// # Errors
    /// When they cannot all be sent now; nothing was kept then.
    pub fn batch(
        &mut self,
        now: u64,
        place: EntityKey,
        wanted: Vec<Wanted>,
    ) -> Result<Vec<u32>, CommandError> {
        if wanted.len() > self.commands.room_at(place) {
            return Err(CommandError::Full);
        }
        let issued: Result<Vec<Issued>, _> =
            wanted.into_iter().map(|wanted| self.issue(now, place, wanted)).collect();
        let issued = issued?;
        self.send_batch(now, &issued);
        Ok(issued.iter().map(|issued| issued.command.sequence).collect())
    }

    fn issue(
        &mut self,
        now: u64,
        place: EntityKey,
        wanted: Wanted,
    ) -> Result<Issued, CommandError> {
        if self.status != Status::Open {
            return Err(CommandError::NotConnected);
        }
        let place = Place::of(place).ok_or(CommandError::NoPlace)?;
        let issued = self.commands.issue(now, place, wanted).ok_or(CommandError::Full)?;
        self.predict_issued(now, &issued);
        Ok(issued)
    }

    fn predict_issued(&mut self, now: u64, issued: &Issued) {
        let given = self.places.tick(now, issued.place).unwrap_or(0);
        self.predictor.note_issued(issued, given, self.places.view(issued.place));
    }

    fn open(&mut self, now: u64) {
        self.status = Status::Opening { since: now };
        self.effects.push_back(Effect::Open);
    }

    fn drop_connection(&mut self, now: u64, reason: &str) {
        self.effects.push_back(Effect::Close);
        self.wait(now, reason, self.backoff());
    }

    /// There is no connection any more; the next attempt comes in `ms`.
    fn wait(&mut self, now: u64, reason: &str, ms: u64) {
        self.places.handle_closed();
        self.predictor.handle_closed();
        if !self.options.reconnect {
            return self.end(reason.to_owned(), None);
        }
        self.attempts = self.attempts.saturating_add(1);
        self.last_error = Some(reason.to_owned());
        self.status = Status::Waiting { until: now.saturating_add(ms) };
        self.tell(Event::Disconnected { reason: reason.to_owned(), retry_in_ms: ms });
    }

    fn end(&mut self, reason: String, answer: Option<Answer>) {
        self.places.handle_closed();
        self.predictor.handle_session_lost();
        self.last_error = Some(reason.clone());
        self.status = Status::Ended;
        self.effects.push_back(Effect::Close);
        self.tell(Event::Ended { reason, answer });
    }

    /// Between half and all of a wait that doubles, so that the clients of a
    /// node that died do not come back together.
    fn backoff(&self) -> u64 {
        let (first, most) = BACKOFF_MS;
        let wait = (first << self.attempts.min(10)).min(most);
        wait / 2
            + draw(self.options.seed, "client backoff", &[u64::from(self.attempts)]) % (wait / 2)
    }

    fn send(&mut self, handle: u32, message: ClientMessage) {
        self.effects.push_back(Effect::Send(ClientFrame::new(handle, 0, message)));
    }

    fn send_command(&mut self, issued: &Issued) {
        let mut command = issued.command.clone();
        command.to = self.addressee(issued);
        self.effects.push_back(Effect::Send(command.frame()));
    }

    fn send_batch(&mut self, time: u64, issued: &[Issued]) {
        let Some(first) = issued.first() else { return };
        let (handle, place) = self.addressee(first).split();
        let commands = issued.iter().map(|issued| issued.command.clone().into()).collect();
        let batch = BatchCommand { time, place, commands };
        self.send(handle, ClientMessage::BatchCommand(batch));
    }

    /// By handle where this connection has one, else by the place's key.
    fn addressee(&self, issued: &Issued) -> Addressee {
        self.places.handle(issued.place).map_or(issued.command.to, Addressee::Handle)
    }

    fn send_subscribe(&mut self, sectors: &[SectorId]) {
        if !sectors.is_empty() {
            let area = Area::Sectors(sectors.iter().copied().map(Into::into).collect());
            self.send(0, ClientMessage::Subscribe(Subscribe { area }));
        }
    }

    fn give_up(&mut self, now: u64, commands: Vec<Issued>, why: &GiveUp) {
        for command in commands {
            let place = command.place;
            let tick = self.places.tick(now, place).unwrap_or(0);
            let view = self.places.view(place);
            let corrections = self.predictor.note_given_up(&command, tick, view);
            self.tell(Event::GaveUp { command, why: why.clone() });
            self.tell_corrections(place, tick, corrections);
        }
    }

    fn tell(&mut self, event: Event) {
        self.effects.push_back(Effect::Tell(event));
    }
}
