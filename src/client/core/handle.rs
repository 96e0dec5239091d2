//! Owns what a client does about what comes from outside: connections opened
//! and closed, frames, time.

use super::{ClientCore, Status};
use crate::base::EntityKey;
use crate::client::commands::{Due, GiveUp, Settled};
use crate::client::effect::{Effect, Event};
use crate::client::places::AskAgain;
use crate::client::predict::Correction;
use crate::protocol::blocks::Packet;
use crate::protocol::client::{ClientMessage, Connect, Empty, Ping};
use crate::protocol::server::{Ack, Connected, Error, Notice, TimeDilation};
use crate::protocol::{Answer, EndReason, Header, Received, ServerFrame, ServerMessage};
use crate::view::Applied;

/// A connection that is not open after so long is given up.
const OPEN_WITHIN_MS: u64 = 10_000;
/// A connection that said nothing for so long is asked for a Pong.
const SILENCE_MS: u64 = 5_000;
/// A connection that said nothing for so long is dead.
const DEAD_MS: u64 = 15_000;

impl ClientCore {
    /// The shell opened a connection.
    pub fn handle_opened(&mut self, now: u64) {
        if !matches!(self.status, Status::Opening { .. }) {
            return;
        }
        self.status = Status::Connecting { since: now };
        (self.heard, self.pinged) = (now, None);
        let connect = Connect { token: self.token.clone(), resume: self.session };
        self.send(0, ClientMessage::Connect(connect));
    }

    /// The connection ended, or could not be opened, for this reason.
    pub fn handle_closed(&mut self, now: u64, reason: &str) {
        if matches!(self.status, Status::Idle | Status::Ended | Status::Waiting { .. }) {
            return;
        }
        self.wait(now, reason, self.backoff());
    }

    /// The server sent this.
    pub fn handle_received(&mut self, now: u64, received: &Received) {
        match received {
            Received::Message(frame) => self.handle_frame(now, frame),
            Received::Packet(header, packet) => self.handle_packet(now, *header, packet),
        }
    }

    /// A message came in.
    pub fn handle_frame(&mut self, now: u64, frame: &ServerFrame) {
        if !matches!(self.status, Status::Connecting { .. } | Status::Open) {
            return;
        }
        (self.heard, self.pinged) = (now, None);
        let header = frame.header;
        match &frame.message {
            ServerMessage::Connected(connected) => self.handle_connected(now, connected),
            ServerMessage::Subscribed(subscribed) => {
                let place = subscribed.place.key();
                if self.places.handle_subscribed(header.handle, place) {
                    self.predict_anew(place);
                    self.tell(Event::Subscribed { place });
                } else if matches!(place, EntityKey::Sector(_)) {
                    // It left what is watched before the server's answer came.
                    self.send(header.handle, ClientMessage::Unsubscribe(Empty {}));
                }
            }
            ServerMessage::Unsubscribed(_) => {
                if let Some(place) = self.places.handle_unsubscribed(now, header.handle) {
                    self.predict_anew(place);
                    self.tell(Event::Unsubscribed { place });
                }
            }
            ServerMessage::Ack(ack) => self.handle_ack(now, ack),
            ServerMessage::Presence(presence) => {
                self.tell(Event::Presence { changed: presence.changed.clone() });
            }
            ServerMessage::Aggregate(aggregate) => {
                if let Some(place) = self.places.handle_aggregate(header.handle, aggregate) {
                    self.tell(Event::Aggregated { place });
                }
            }
            ServerMessage::TimeDilation(TimeDilation { percent }) => {
                if let Some(place) = self.places.handle_dilation(header.handle, *percent) {
                    self.tell(Event::Dilated { place, percent: *percent });
                }
            }
            ServerMessage::Pong(pong) => {
                self.tell(Event::RoundTrip { ms: now.saturating_sub(pong.time) });
            }
            ServerMessage::Error(error) => self.handle_error(now, error),
            ServerMessage::Notification(body) => self.handle_notice(now, body.notice.clone()),
        }
    }

    /// A packet of a place came in.
    pub fn handle_packet(&mut self, now: u64, header: Header, packet: &Packet) {
        if self.status == Status::Open {
            (self.heard, self.pinged) = (now, None);
            if let Some((place, cell)) = self.places.stray(header, packet) {
                self.tell(Event::Stray { place, cell });
            }
            let applied = self.places.handle_packet(now, header, packet);
            self.handle_applied(now, applied, packet.full_tick.is_some());
        }
    }

    /// Time passed. To be called at [`next_due`](Self::next_due) at the latest.
    pub fn handle_time(&mut self, now: u64) {
        match self.status {
            Status::Idle | Status::Ended => {}
            Status::Waiting { until } if until <= now => self.open(now),
            Status::Waiting { .. } => {}
            Status::Opening { since } | Status::Connecting { since } => {
                if now.saturating_sub(since) >= OPEN_WITHIN_MS {
                    self.drop_connection(now, "the server did not answer Connect");
                }
            }
            Status::Open => self.handle_time_open(now),
        }
    }

    /// When [`handle_time`](Self::handle_time) next has something to do.
    pub fn next_due(&self) -> Option<u64> {
        match self.status {
            Status::Idle | Status::Ended => None,
            Status::Waiting { until } => Some(until),
            Status::Opening { since } | Status::Connecting { since } => {
                Some(since.saturating_add(OPEN_WITHIN_MS))
            }
            Status::Open => {
                let patience = if self.pinged.is_some() { DEAD_MS } else { SILENCE_MS };
                let silence = Some(self.heard.saturating_add(patience));
                let dues = [silence, self.commands.next_due(), self.places.next_due()];
                dues.into_iter().flatten().min()
            }
        }
    }

    fn handle_connected(&mut self, now: u64, connected: &Connected) {
        if !matches!(self.status, Status::Connecting { .. }) {
            return;
        }
        self.status = Status::Open;
        self.attempts = 0;
        self.standstill = false;
        let resumed = connected.resumed && self.session == Some(connected.session);
        self.session = Some(connected.session);
        self.predictor.set_player(connected.player);
        self.tell(Event::Connected {
            session: connected.session,
            player: connected.player,
            resumed,
            fingerprint: connected.fingerprint.clone(),
            presence: connected.presence.clone(),
        });
        let asked = self.places.ask_subscriptions(now);
        self.send_subscribe(&asked);
        if resumed {
            let again = self.commands.handle_resumed(now);
            again.iter().for_each(|issued| self.send_command(issued));
        } else {
            self.predictor.handle_session_lost();
            let lost = self.commands.handle_session_lost();
            self.give_up(now, lost, &GiveUp::SessionLost);
        }
    }

    fn handle_applied(&mut self, now: u64, applied: Option<(EntityKey, Applied)>, keyframe: bool) {
        let Some((place, applied)) = applied else { return };
        let corrections = self.predict_anew(place);
        match applied {
            Applied::At(tick) => self.tell(Event::Updated { place, tick, keyframe }),
            Applied::Stale => {}
            Applied::Gap => {
                if let Some(handle) = self.places.ask_keyframe(now, place) {
                    self.send(handle, ClientMessage::KeyframeRequest(Empty {}));
                    self.tell(Event::Gap { place });
                }
            }
            Applied::Desync { tick, differences } => {
                self.tell(Event::Desync { place, tick, differences });
                self.tell(Event::Updated { place, tick, keyframe });
            }
        }
        if let Some(tick) = self.places.view(place).and_then(|view| view.tick()) {
            self.tell_corrections(place, tick, corrections);
        }
    }

    /// What is known of `place` has changed.
    fn predict_anew(&mut self, place: EntityKey) -> Vec<Correction> {
        let view = self.places.view(place);
        view.map_or(Vec::new(), |view| self.predictor.handle_view(place, view))
    }

    fn handle_ack(&mut self, now: u64, ack: &Ack) {
        match self.commands.handle_ack(now, ack) {
            Settled::Answered { command, waited_ms } => {
                let chased = match ack.error {
                    Some(Answer::Moved { place }) => self.commands.chase(now, place, &command),
                    _ => None,
                };
                let (place, view) = (command.place, self.places.view(command.place));
                let tick = self.places.tick(now, place).unwrap_or(0);
                let corrections = self.predictor.note_answered(&command, ack, tick, view);
                self.tell(Event::Answered { command, ack: ack.clone(), waited_ms });
                self.tell_corrections(place, tick, corrections);
                if let Some(command) = chased {
                    self.predict_issued(now, &command);
                    self.send_command(&command);
                    self.tell(Event::Chased { command });
                }
            }
            Settled::GaveUp { command, why } => self.give_up(now, vec![command], &why),
            Settled::Later => self.repeat_commands(now),
            Settled::Unknown => {}
        }
    }

    fn handle_error(&mut self, now: u64, error: &Error) {
        match (&error.answer, self.status) {
            (Answer::SessionEnded { reason: EndReason::TooSlow }, _) => {
                self.drop_connection(now, "the server closed a connection that read too slowly");
            }
            (Answer::SessionEnded { reason }, _) => {
                self.end(format!("session ended: {reason:?}"), Some(error.answer.clone()));
            }
            (answer, Status::Connecting { .. }) if answer.may_retry() => {
                let after = match answer {
                    Answer::Limited { after_ms } => u64::from(*after_ms),
                    _ => self.backoff(),
                };
                self.effects.push_back(Effect::Close);
                self.wait(now, &format!("put off: {}", answer.name()), after);
            }
            (answer, Status::Connecting { .. }) => {
                self.end(format!("Connect was answered {}", answer.name()), Some(answer.clone()));
            }
            _ => self.tell(Event::Refused(error.clone())),
        }
    }

    fn handle_notice(&mut self, now: u64, notice: Notice) {
        match notice {
            Notice::StoreAway {} => self.standstill = true,
            Notice::StoreBack {} => {
                self.standstill = false;
                self.commands.handle_standstill(now);
            }
            Notice::ShuttingDown { .. } | Notice::Announcement { .. } => {}
        }
        self.tell(Event::Notice(notice));
    }

    fn handle_time_open(&mut self, now: u64) {
        let silence = now.saturating_sub(self.heard);
        if silence >= DEAD_MS {
            return self.drop_connection(now, "the server said nothing for 15 seconds");
        }
        if silence >= SILENCE_MS && self.pinged.is_none() {
            self.pinged = Some(now);
            self.send(0, ClientMessage::Ping(Ping { time: now }));
        }
        if self.standstill {
            self.commands.handle_standstill(now);
        }
        self.repeat_commands(now);
        let AskAgain { keyframes, subscriptions } = self.places.handle_time(now);
        for handle in keyframes {
            self.send(handle, ClientMessage::KeyframeRequest(Empty {}));
        }
        self.send_subscribe(&subscriptions);
    }

    fn repeat_commands(&mut self, now: u64) {
        let Due { again, given_up } = self.commands.handle_time(now);
        again.iter().for_each(|issued| self.send_command(issued));
        self.give_up(now, given_up, &GiveUp::NoAnswer);
    }
}
