//! Owns one connection's session: what it may say, what it is told, what it
//! watches and commands. Never does I/O and reads no clock: time comes with
//! each call, what is to be done is drained as effects. Called by the shell
//! (`gateway::ws`) through [`Connection`]. Invariant: before a valid token and
//! the ledger's answer nothing reaches an entity, after the end nothing does.

pub mod commands;
mod connection;
mod effect;
mod frames;
pub mod inbox;
mod inside;
mod rate;
mod watching;

use std::collections::{BTreeSet, VecDeque};

use self::commands::CommandTable;
use self::rate::Rate;
use self::watching::Watching;
use super::limits::commands::CommandClass;
use super::limits::window::Refusal;
use super::queue::Class;
use crate::base::{EntityKey, Millis, PlayerId, SectorId, SessionId, Tick};
use crate::protocol::server::{Ack, Error};
use crate::protocol::{
    Answer, CodecKind, EndReason, MessageType, ServerFrame, ServerMessage, SessionState,
};

pub use self::connection::Connection;
pub use self::effect::{Count, Effect, Ending};
pub use self::frames::Payload;
pub use self::inside::ConnectRefused;

/// The ledger's answer to Connect takes at most so long.
const LEDGER_WITHIN_MS: u64 = 30_000;
/// After a close frame the client has so long to answer it.
const CLOSE_WITHIN_MS: u64 = 2_000;
/// A client that is silent for so many pings is gone.
const PINGS_UNANSWERED: u64 = 3;

/// Bounds of a session, from the settings.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    pub connect_within_ms: u64,
    /// Silence after which a client is pinged.
    pub ping_ms: u64,
    /// Unanswered commands per entity.
    pub unanswered_max: usize,
    pub subscriptions_max: usize,
    /// The longest message; at most what the codecs read.
    pub message_bytes_max: usize,
    pub messages_per_second: u64,
    pub bytes_per_second: u64,
}

/// The time a call is made at.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Of a clock that never goes back; only differences count.
    pub at: Millis,
    /// The node's tick.
    pub tick: Tick,
    /// The server's clock, since the Unix epoch.
    pub time: Millis,
}

/// Who a valid token belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    pub player: PlayerId,
    /// The account's generation; when it rises, the session ends.
    pub generation: u64,
}

/// What counts a player's commands over all connections.
pub trait CommandGate {
    /// Counts a command.
    ///
    /// # Errors
    /// When it is more than the player may give now; nothing is counted.
    fn admit(&self, player: PlayerId, class: CommandClass, now: Millis) -> Result<(), Refusal>;
}

/// What a session asks of its surroundings while it handles a call.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    pub now: Now,
    pub gate: &'a dyn CommandGate,
}

/// Where a session stands.
///
/// ```text
/// AwaitingConnect --Connect--> Verifying --token valid--> Connecting --Connected--> Open
///        |                         |                          |                      |
///        +------ too late, illegal, refused, left, superseded, too slow, ... --------+
///                                          |
///                                       Closing --client's close, 2 s--> Over
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    AwaitingConnect {
        until: Millis,
    },
    /// Whose token it is has been asked.
    Verifying {
        resume: Option<SessionId>,
        until: Millis,
    },
    /// The player's ledger has been asked.
    Connecting {
        who: Verified,
        until: Millis,
    },
    Open {
        who: Verified,
        session: SessionId,
    },
    /// The last message is on its way.
    Closing {
        until: Millis,
    },
    Over,
}

/// The state machine of one connection.
#[derive(Debug)]
pub struct Session {
    limits: SessionLimits,
    /// The gateway's number of this connection.
    connection: u64,
    codec: CodecKind,
    state: State,
    /// When the client last sent anything, and when it was last pinged since.
    heard: Millis,
    pinged: Option<Millis>,
    rate: Rate,
    commands: CommandTable,
    watching: Watching,
    /// Sectors in which the client knows that the player has something.
    present: BTreeSet<SectorId>,
    effects: VecDeque<Effect>,
}

impl Session {
    /// A connection that was opened at `now` and has to say Connect.
    pub fn new(limits: SessionLimits, connection: u64, codec: CodecKind, now: Millis) -> Session {
        let until = Millis(now.0.saturating_add(limits.connect_within_ms));
        Session {
            limits,
            connection,
            codec,
            state: State::AwaitingConnect { until },
            heard: now,
            pinged: None,
            rate: Rate::new(limits.messages_per_second, limits.bytes_per_second),
            commands: CommandTable::default(),
            watching: Watching::default(),
            present: BTreeSet::new(),
            effects: VecDeque::new(),
        }
    }

    /// Whether nothing will happen any more.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// The player, once its token is known to be valid.
    pub fn player(&self) -> Option<PlayerId> {
        match self.state {
            State::Connecting { who, .. } | State::Open { who, .. } => Some(who.player),
            _ => None,
        }
    }

    /// What is to be done next; `None` when all is done.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Time passed. To be called at [`next_due`](Self::next_due) at the latest.
    pub fn handle_clock(&mut self, now: Now) {
        match self.state {
            State::Over => {}
            State::Closing { until } if until <= now.at => self.finish(),
            State::AwaitingConnect { until } if until <= now.at => {
                self.end(EndReason::Violation, now);
            }
            State::Verifying { until, .. } | State::Connecting { until, .. } if until <= now.at => {
                self.refuse_connect(Answer::Busy {}, now);
            }
            State::Open { .. } => self.handle_silence(now),
            _ => {}
        }
    }

    /// When [`handle_clock`](Self::handle_clock) next has something to do.
    pub fn next_due(&self) -> Option<Millis> {
        match self.state {
            State::Over => None,
            State::Closing { until }
            | State::AwaitingConnect { until }
            | State::Verifying { until, .. }
            | State::Connecting { until, .. } => Some(until),
            State::Open { .. } => {
                let silence = match self.pinged {
                    None => self.limits.ping_ms,
                    Some(_) => self.limits.ping_ms.saturating_mul(PINGS_UNANSWERED),
                };
                Some(Millis(self.heard.0.saturating_add(silence)))
            }
        }
    }

    /// Lost places to observe anew: to be called when the queue has room.
    pub fn handle_room(&mut self, now: Now) {
        let State::Open { who, .. } = self.state else { return };
        for entity in self.watching.drain_lost(now.at) {
            self.effects.push_back(Effect::Observe { entity, player: who.player });
        }
    }

    /// When a lost place is to be asked for again, if there is room.
    pub fn room_due(&self) -> Option<Millis> {
        self.watching.next_due()
    }

    /// Updates of the place with this handle were dropped from the queue.
    pub fn handle_dropped(&mut self, handle: u32) {
        self.watching.handle_dropped(handle);
    }

    /// The client takes nothing: there is no room for what may not be dropped,
    /// or nothing left for too long.
    pub fn handle_too_slow(&mut self, now: Now) {
        self.end(EndReason::TooSlow, now);
    }

    /// Frames that are no WebSocket's, or too long.
    pub fn handle_bad_frame(&mut self, too_long: bool, now: Now) {
        if !self.is_closing() {
            let expected = if too_long { "a shorter message" } else { "WebSocket frames" };
            self.say_error(None, Answer::invalid("message", expected), now);
            self.close(Ending::BadFrame { too_long }, now);
        }
    }

    /// The client sent a close frame.
    pub fn handle_peer_closed(&mut self, now: Now) {
        self.close(Ending::Left, now);
        self.finish();
    }

    /// The socket is gone.
    pub fn handle_lost(&mut self, now: Now) {
        self.release(Ending::Lost, true);
        if let State::Over = self.state {
            return;
        }
        self.state = State::Closing { until: now.at };
        self.finish();
    }

    /// The node stops; the client may come back after so long.
    pub fn handle_shutdown(&mut self, after_ms: u32, now: Now) {
        if self.is_closing() {
            return;
        }
        let notice = crate::protocol::server::Notice::ShuttingDown { after_ms };
        self.notify(notice, now);
        self.close(Ending::ShuttingDown, now);
    }

    fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing { .. } | State::Over)
    }

    fn legality(&self) -> SessionState {
        match self.state {
            State::AwaitingConnect { .. } => SessionState::AwaitingConnect,
            State::Verifying { .. } | State::Connecting { .. } => SessionState::Connecting,
            State::Open { .. } => SessionState::Open,
            State::Closing { .. } | State::Over => SessionState::Closing,
        }
    }

    fn handle_silence(&mut self, now: Now) {
        let silence = now.at.since(self.heard);
        let patience = self.limits.ping_ms.saturating_mul(PINGS_UNANSWERED);
        if silence >= patience {
            self.close(Ending::Silent, now);
        } else if silence >= self.limits.ping_ms && self.pinged.is_none() {
            self.pinged = Some(now.at);
            self.effects.push_back(Effect::Ping);
        }
    }

    /// The session ends for a reason the client is told.
    fn end(&mut self, reason: EndReason, now: Now) {
        if !self.is_closing() {
            self.say_error(None, Answer::SessionEnded { reason }, now);
            self.close(Ending::Ended(reason), now);
        }
    }

    /// There is no session for this Connect.
    fn refuse_connect(&mut self, answer: Answer, now: Now) {
        let ending = match answer {
            Answer::SessionEnded { reason } => Ending::Ended(reason),
            _ => Ending::ConnectRefused,
        };
        self.say_error(Some(MessageType::Connect), answer, now);
        self.close(ending, now);
    }

    fn close(&mut self, ending: Ending, now: Now) {
        if self.is_closing() {
            return;
        }
        self.release(ending, ending != Ending::Ended(EndReason::Superseded));
        self.state = State::Closing { until: Millis(now.at.0.saturating_add(CLOSE_WITHIN_MS)) };
        self.effects.push_back(Effect::Close { code: ending.code(), reason: ending.name() });
    }

    fn finish(&mut self) {
        if self.state != State::Over {
            self.state = State::Over;
            self.effects.push_back(Effect::Finish);
        }
    }

    /// Lets go of everything an open session holds. A session that a newer
    /// connection has taken over is not `left`: it is not this one's any more.
    fn release(&mut self, ending: Ending, left: bool) {
        for entity in self.watching.entities() {
            self.effects.push_back(Effect::Unobserve { entity });
        }
        self.watching = Watching::default();
        self.commands = CommandTable::default();
        let State::Open { who, session } = self.state else { return };
        if left {
            self.effects.push_back(Effect::Left { player: who.player, session });
        }
        self.effects.push_back(Effect::Count(Count::Closed { reason: ending.name() }));
    }

    fn say(&mut self, class: Class, frame: ServerFrame) {
        self.effects.push_back(Effect::Send { class, frame });
    }

    /// About no place: the header has the node's tick.
    fn say_control(&mut self, message: ServerMessage, now: Now) {
        self.say(Class::Control, ServerFrame::new(0, now.tick.0, message));
    }

    fn say_error(&mut self, regarding: Option<MessageType>, answer: Answer, now: Now) {
        let regarding = regarding.map(|kind| kind.name().to_string());
        self.say_control(ServerMessage::Error(Error { regarding, answer }), now);
    }

    fn notify(&mut self, notice: crate::protocol::server::Notice, now: Now) {
        let notification = crate::protocol::server::Notification { notice };
        self.say_control(ServerMessage::Notification(notification), now);
    }

    /// A command is answered; `ack` says how.
    fn say_ack(&mut self, entity: EntityKey, ack: Ack, effect_tick: Tick, now: Now) {
        let came = self.commands.note_answered(entity, ack.sequence);
        let outcome = ack.error.as_ref().map_or("done", Answer::name);
        let waited_ms = came.map(|came| now.at.since(came));
        self.effects.push_back(Effect::Count(Count::Answered { outcome, waited_ms }));
        let handle = self.watching.handle(entity);
        let tick = if handle == 0 { now.tick } else { effect_tick };
        self.say(Class::Ack, ServerFrame::new(handle, tick.0, ServerMessage::Ack(ack)));
    }

    /// A command was not taken; nothing happened.
    fn say_failed(&mut self, entity: EntityKey, sequence: u32, answer: Answer, now: Now) {
        let ack = Ack::failed(sequence, now.time.0, answer);
        self.say_ack(entity, ack, Tick(0), now);
    }
}
