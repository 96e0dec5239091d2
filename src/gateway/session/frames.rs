//! Owns what a session does about what its client says.

use super::commands::{Refused, Taken};
use super::rate::{Pace, limited};
use super::{Around, Effect, Ending, Now, Session, State};
use crate::base::{EntityKey, Millis};
use crate::entity::commands::PlayerCommand;
use crate::gateway::limits::commands::CommandClass;
use crate::gateway::queue::Class;
use crate::protocol::client::{ClientMessage, Connect, Empty, Ping, Subscribe};
use crate::protocol::command::{Addressee, Command};
use crate::protocol::http::Secret;
use crate::protocol::legality::verdict;
use crate::protocol::server::{Ack, Pong};
use crate::protocol::{
    Answer, ClientFrame, DecodeError, EndReason, MessageType, ServerFrame, ServerMessage, Verdict,
};
use crate::sim;
use crate::view::convert;

/// A whole message as it came.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    Text(&'a [u8]),
    Binary(&'a [u8]),
}

impl<'a> Payload<'a> {
    fn bytes(self) -> &'a [u8] {
        match self {
            Payload::Text(bytes) | Payload::Binary(bytes) => bytes,
        }
    }
}

impl Session {
    /// The client gave a sign of life.
    fn handle_alive(&mut self, now: Now) {
        self.heard = now.at;
        self.pinged = None;
    }

    /// The client sent a ping or pong of so many bytes, which counts as a
    /// message but for its answer.
    pub fn handle_control(&mut self, bytes: usize, now: Now) {
        self.handle_alive(now);
        if !self.is_closing() && self.rate.admit(bytes as u64, now.at) == Pace::Flood {
            self.end(EndReason::Violation, now);
        }
    }

    /// The client sent a message.
    pub fn handle_message(&mut self, payload: Payload<'_>, around: Around<'_>) {
        let now = around.now;
        self.handle_alive(now);
        if self.is_closing() {
            return;
        }
        let pace = self.rate.admit(payload.bytes().len() as u64, now.at);
        if pace == Pace::Flood {
            return self.end(EndReason::Violation, now);
        }
        let frame = match self.decode(payload) {
            Ok(frame) => frame,
            Err(error) => return self.handle_malformed(payload.bytes(), &error, now),
        };
        match verdict(frame.message.kind(), self.legality()) {
            Verdict::Ignored => {}
            Verdict::Illegal => self.end(EndReason::Violation, now),
            Verdict::Allowed => match pace {
                Pace::TooFast(answer) => self.refuse(&frame, &answer, now),
                Pace::Kept | Pace::Flood => self.handle_frame(&frame, around),
            },
        }
    }

    fn decode(&self, payload: Payload<'_>) -> Result<ClientFrame, DecodeError> {
        if matches!(payload, Payload::Text(_)) != self.codec.is_text() {
            let expected = if self.codec.is_text() { "a text frame" } else { "a binary frame" };
            return Err(DecodeError::Field { field: "message".into(), expected: expected.into() });
        }
        let (bytes, max) = (payload.bytes().len(), self.limits.message_bytes_max);
        if bytes > max {
            return Err(DecodeError::TooLong { bytes, max });
        }
        self.codec.codec().decode_client(payload.bytes())
    }

    /// Before Connect there is nobody to talk on with.
    fn handle_malformed(&mut self, bytes: &[u8], error: &DecodeError, now: Now) {
        let regarding = match error {
            DecodeError::Field { .. } => self.codec.codec().client_kind(bytes),
            DecodeError::TooLong { .. }
            | DecodeError::InflatesTooLong { .. }
            | DecodeError::Malformed { .. } => None,
        };
        self.say_error(regarding, error.answer(), now);
        if let State::AwaitingConnect { .. } = self.state {
            self.close(Ending::Ended(EndReason::Violation), now);
        }
    }

    /// Answers a frame without carrying it out.
    fn refuse(&mut self, frame: &ClientFrame, answer: &Answer, now: Now) {
        let commands = frame.commands().unwrap_or_default();
        if commands.is_empty() {
            return self.say_error(Some(frame.message.kind()), answer.clone(), now);
        }
        for command in commands {
            self.refuse_command(command.sequence, answer.clone(), now);
        }
    }

    /// Answers a command that belongs to no entity this session knows of.
    fn refuse_command(&mut self, sequence: u32, answer: Answer, now: Now) {
        let ack = ServerMessage::Ack(Ack::failed(sequence, now.time.0, answer));
        self.say(Class::Ack, ServerFrame::new(0, now.tick.0, ack));
    }

    fn handle_frame(&mut self, frame: &ClientFrame, around: Around<'_>) {
        let (handle, now) = (frame.header.handle, around.now);
        match &frame.message {
            ClientMessage::Connect(connect) => self.handle_connect(connect, now),
            ClientMessage::Disconnect(Empty {}) => self.close(Ending::Left, now),
            ClientMessage::Ping(Ping { time }) => {
                let pong = Pong { time: *time, server_time: now.time.0 };
                self.say_control(ServerMessage::Pong(pong), now);
            }
            ClientMessage::Subscribe(subscribe) => self.handle_subscribe(subscribe, now),
            ClientMessage::Unsubscribe(Empty {}) => self.handle_unsubscribe(handle, now),
            ClientMessage::KeyframeRequest(Empty {}) => self.handle_keyframe_request(handle, now),
            ClientMessage::MoveFleet(_)
            | ClientMessage::Stop(_)
            | ClientMessage::Hold(_)
            | ClientMessage::AttackMove(_)
            | ClientMessage::Patrol(_)
            | ClientMessage::Warp(_)
            | ClientMessage::JoinFleet(_)
            | ClientMessage::BatchCommand(_) => self.handle_commands(frame, around),
        }
    }

    fn handle_connect(&mut self, connect: &Connect, now: Now) {
        let until = Millis(now.at.0.saturating_add(super::LEDGER_WITHIN_MS));
        self.state = State::Verifying { resume: connect.resume, until };
        let token = Secret(connect.token.clone());
        self.effects.push_back(Effect::Verify { token });
    }

    fn handle_subscribe(&mut self, subscribe: &Subscribe, now: Now) {
        let State::Open { who, .. } = self.state else { return };
        let sectors = subscribe.area.sectors();
        let entities: Vec<EntityKey> =
            sectors.into_iter().map(|sector| EntityKey::Sector(sector.into())).collect();
        let max = self.limits.subscriptions_max;
        match self.watching.subscribe(&entities, max) {
            Some(wanted) => {
                let observe = |entity| Effect::Observe { entity, player: who.player };
                self.effects.extend(wanted.into_iter().map(observe));
            }
            None => {
                let answer = Answer::invalid("area", format!("at most {max} sectors at a time"));
                self.say_error(Some(MessageType::Subscribe), answer, now);
            }
        }
    }

    fn handle_unsubscribe(&mut self, handle: u32, now: Now) {
        let Some(entity) = self.watching.unsubscribe(handle) else {
            return self.say_unknown_handle(MessageType::Unsubscribe, now);
        };
        self.effects.push_back(Effect::Unobserve { entity });
        let message = ServerMessage::Unsubscribed(Empty {});
        self.say(Class::Control, ServerFrame::new(handle, 0, message));
        self.say_refused_subscriptions(now);
    }

    fn handle_keyframe_request(&mut self, handle: u32, now: Now) {
        let State::Open { who, .. } = self.state else { return };
        match self.watching.ask_keyframe(handle, now.at) {
            Some((entity, true)) => {
                self.effects.push_back(Effect::Observe { entity, player: who.player });
            }
            Some((_, false)) => {}
            None => self.say_unknown_handle(MessageType::KeyframeRequest, now),
        }
    }

    fn say_unknown_handle(&mut self, kind: MessageType, now: Now) {
        self.say_error(Some(kind), unknown_handle(), now);
    }

    fn handle_commands(&mut self, frame: &ClientFrame, around: Around<'_>) {
        // A decoded frame names its place once, see `ClientFrame::commands`.
        let Ok(commands) = frame.commands() else { return };
        let mut ready = Vec::new();
        let mut to = None;
        for command in &commands {
            let Some(entity) = self.addressee(command.to) else {
                self.refuse_command(command.sequence, unknown_handle(), around.now);
                continue;
            };
            to = Some(entity);
            ready.extend(self.take_command(entity, command, around.now));
        }
        if let Some(entity) = to {
            self.dispatch(entity, ready, around);
        }
    }

    fn addressee(&self, to: Addressee) -> Option<EntityKey> {
        match to {
            Addressee::Handle(handle) => self.watching.entity(handle),
            Addressee::Place(place) => Some(place.key()),
        }
    }

    /// Takes a command in; it comes back if it is to be sent now.
    fn take_command(
        &mut self,
        entity: EntityKey,
        command: &Command,
        now: Now,
    ) -> Option<PlayerCommand> {
        let State::Open { who, session } = self.state else { return None };
        let sequence = command.sequence;
        let command = match convert::command(command) {
            Ok(command) => PlayerCommand { player: who.player, session, sequence, command },
            Err(invalid) => {
                self.refuse_command(sequence, convert::invalid(&invalid), now);
                return None;
            }
        };
        match self.commands.take(entity, command, now.at, self.limits.unanswered_max) {
            Taken::Send(command) => return Some(command),
            Taken::Attach => {
                let player = who.player;
                self.effects.push_back(Effect::Attach { entity, player, session });
            }
            Taken::Waits => {}
            Taken::Busy => self.refuse_command(sequence, Answer::Busy {}, now),
            Taken::AttachAgain => self.refuse_command(sequence, Answer::AttachAgain {}, now),
            Taken::Full => self.end(EndReason::TooSlow, now),
        }
        None
    }

    /// Sends commands to an entity that the session is attached to. From the
    /// first one on that is too much, all are put off: sent later in their
    /// order, they are still applied; overtaken they never would be.
    pub(super) fn dispatch(
        &mut self,
        entity: EntityKey,
        commands: Vec<PlayerCommand>,
        around: Around<'_>,
    ) {
        let mut put_off: Option<Answer> = None;
        for command in commands {
            let sequence = command.sequence;
            if put_off.is_none() && self.commands.counts(entity, sequence) {
                let class = class_of(&command.command);
                let admitted = around.gate.admit(command.player, class, around.now.at);
                put_off = admitted.err().map(limited);
            }
            if let Some(answer) = &put_off {
                let copies = self.commands.note_put_off(entity, sequence);
                let refused = Refused { sequence, copies };
                self.say_refused(entity, refused, answer, around.now);
            } else if let Some((at, ticket)) = self.commands.take_ticket(entity) {
                self.commands.note_counted(entity, sequence);
                self.effects.push_back(Effect::Command { entity, at, ticket, command });
            }
        }
    }

    /// One Error for each Subscribe of which not all places are here.
    pub(super) fn say_refused_subscriptions(&mut self, now: Now) {
        for why in self.watching.drain_refused() {
            let answer = super::inside::unavailable(why);
            self.say_error(Some(MessageType::Subscribe), answer, now);
        }
    }
}

fn unknown_handle() -> Answer {
    Answer::invalid("handle", "a handle that this connection was given")
}

fn class_of(command: &sim::Command) -> CommandClass {
    match command.what.target() {
        Some(_) => CommandClass::Move,
        None => CommandClass::Other,
    }
}
