//! Owns what a session does about what it is told from inside the node: by
//! the accounts, the ledger, entities, the store.

use std::collections::BTreeSet;

use super::commands::Refused;
use super::watching::{Told, Unobserved};
use super::{Around, Count, Effect, Now, Session, State, Verified};
use crate::base::{EntityKey, Millis, SectorId, SessionId};
use crate::cluster::core::attaching::{Attached, Ticket};
use crate::cluster::core::table::Unavailable;
use crate::entity::commands::{CommandAnswer, CommandResult};
use crate::entity::effect::{Connected, PlayerEffect, SectorPresence};
use crate::entity::input::Connect;
use crate::gateway::queue::Class;
use crate::protocol::server::{self, Ack, Notice, Presence, PresenceEntry};
use crate::protocol::{
    Announcement, Answer, EndReason, FINGERPRINT, MessageType, Place, ServerMessage,
};
use crate::view::convert;
use crate::view::fanout::Packet;

/// Why a token gives no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectRefused {
    /// It is not valid (any more).
    Token,
    /// Whether it is valid is not known: too much to do.
    Busy,
    /// Whether it is valid is not known: the store does not answer.
    StoreAway,
}

impl Session {
    /// Whose the token is.
    pub fn handle_verified(&mut self, result: Result<Verified, ConnectRefused>, now: Now) {
        let State::Verifying { resume, .. } = self.state else { return };
        match result {
            Ok(who) => {
                let until = Millis(now.at.0.saturating_add(super::LEDGER_WITHIN_MS));
                self.state = State::Connecting { who, until };
                let (player, connection) = (who.player, self.connection);
                self.effects.push_back(Effect::Connect(Connect { player, connection, resume }));
            }
            Err(ConnectRefused::Token) => {
                let reason = EndReason::TokenRefused;
                self.refuse_connect(Answer::SessionEnded { reason }, now);
            }
            Err(ConnectRefused::Busy) => self.refuse_connect(Answer::Busy {}, now),
            Err(ConnectRefused::StoreAway) => self.refuse_connect(Answer::StoreAway {}, now),
        }
    }

    /// The ledger was not asked for a session.
    pub fn handle_connect_refused(&mut self, why: Unavailable, now: Now) {
        if let State::Connecting { .. } = self.state {
            let answer = match why {
                // A ledger that does not run is made to.
                Unavailable::NotHere | Unavailable::TooLong => Answer::Busy {},
                why => unavailable(why),
            };
            self.refuse_connect(answer, now);
        }
    }

    /// A newer Connect of the player was taken before this one was answered.
    pub fn handle_superseded(&mut self, now: Now) {
        if let State::Connecting { .. } = self.state {
            self.end(EndReason::Superseded, now);
        }
    }

    /// The account's generation is this now.
    pub fn handle_generation(&mut self, generation: u64, now: Now) {
        if let State::Connecting { who, .. } | State::Open { who, .. } = self.state
            && who.generation < generation
        {
            self.end(EndReason::GenerationOutdated, now);
        }
    }

    /// An entity says something to the player, durably.
    pub fn handle_player(&mut self, effect: PlayerEffect, now: Now) {
        match effect {
            PlayerEffect::Connected(connected) => self.handle_connected(connected, now),
            PlayerEffect::Answered(answer) => self.handle_answered(&answer, now),
            PlayerEffect::SessionEnded { session, .. } => {
                if self.session() == Some(session) {
                    self.end(EndReason::Superseded, now);
                }
            }
            PlayerEffect::Presence { session, presence, .. } => {
                if self.session() == Some(session) {
                    self.say_presence(vec![presence], now);
                }
            }
        }
    }

    /// The answer to an attachment; `None` when a newer session has sent
    /// commands there.
    pub fn handle_attached(
        &mut self,
        entity: EntityKey,
        result: Result<Option<Attached>, Unavailable>,
        around: Around<'_>,
    ) {
        if !matches!(self.state, State::Open { .. }) {
            return;
        }
        match result {
            Ok(Some(attached)) => {
                let waited = self.commands.note_attached(entity, attached);
                self.dispatch(entity, waited, around);
            }
            Ok(None) => self.end(EndReason::Superseded, around.now),
            Err(why) => {
                let answer = unavailable(why);
                for refused in self.commands.note_refused(entity, answer.may_retry()) {
                    self.say_refused(entity, refused, &answer, around.now);
                }
            }
        }
    }

    /// What was asked to be observed cannot be now.
    pub fn handle_unobserved(&mut self, entity: EntityKey, why: Unavailable, now: Now) {
        match self.watching.handle_unobserved(entity, why, now.at) {
            Unobserved::Say(said) => {
                said.into_iter().for_each(|frame| self.say(Class::Control, frame));
            }
            Unobserved::NoKeyframe(why) => {
                self.say_error(Some(MessageType::KeyframeRequest), unavailable(why), now);
            }
        }
        self.say_refused_subscriptions(now);
    }

    /// What is new of a place that the session observes.
    pub fn handle_packet(&mut self, packet: &Packet, now: Now) {
        let Packet { sector, handle, tick, keyframe, bytes } = packet;
        let entity = EntityKey::Sector(*sector);
        match self.watching.handle_packet(entity, *handle, *tick, *keyframe) {
            Told::Nothing => {}
            Told::Packet { begins } => {
                begins.into_iter().for_each(|frame| self.say(Class::Control, frame));
                let class = Class::Update { place: *handle };
                self.effects.push_back(Effect::Forward { class, bytes: bytes.clone() });
            }
        }
        self.say_refused_subscriptions(now);
    }

    /// A place that the session observes is this fast from here on.
    pub fn handle_pace(&mut self, entity: EntityKey, handle: u32, percent: u8) {
        if let Some(frame) = self.watching.handle_pace(entity, handle, percent) {
            self.say(Class::Update { place: handle }, frame);
        }
    }

    /// What the session observes runs there no more: it may come up elsewhere.
    pub fn handle_gone(&mut self, entity: EntityKey, now: Now) {
        for refused in self.commands.note_gone(entity) {
            self.say_refused(entity, refused, &Answer::AttachAgain {}, now);
        }
        self.handle_updates_lost(entity);
    }

    /// Updates of a place were lost on the way to the session.
    pub fn handle_updates_lost(&mut self, entity: EntityKey) {
        if let State::Open { who, .. } = self.state
            && self.watching.handle_lost(entity)
        {
            self.effects.push_back(Effect::Observe { entity, player: who.player });
        }
    }

    /// An entity did not take a command, nor those sent behind it.
    pub fn handle_rejected(
        &mut self,
        entity: EntityKey,
        (ticket, sequence): (Ticket, u32),
        why: Unavailable,
        now: Now,
    ) {
        if !matches!(self.state, State::Open { .. }) {
            return;
        }
        let answer = unavailable(why);
        let rejected = (sequence, answer.may_retry());
        for refused in self.commands.note_rejected(entity, ticket.attachment, rejected) {
            match refused.sequence == sequence {
                true => self.say_refused(entity, refused, &answer, now),
                false => self.say_refused(entity, refused, &Answer::AttachAgain {}, now),
            }
        }
    }

    /// Time stands still, or goes on.
    pub fn handle_store_away(&mut self, away: bool, now: Now) {
        if let State::Open { .. } = self.state {
            let notice = if away { Notice::StoreAway {} } else { Notice::StoreBack {} };
            self.notify(notice, now);
        }
    }

    /// An operator says something to everybody.
    pub fn handle_announced(&mut self, text: Announcement, now: Now) {
        if let State::Open { .. } = self.state {
            self.notify(Notice::Announcement { text }, now);
        }
    }

    /// Each copy is answered: a client waits as long as one is under way.
    pub(super) fn say_refused(
        &mut self,
        entity: EntityKey,
        refused: Refused,
        answer: &Answer,
        now: Now,
    ) {
        let copies = if answer.may_retry() { refused.copies } else { 1 };
        for _ in 0..copies {
            self.say_failed(entity, refused.sequence, answer.clone(), now);
        }
    }

    fn session(&self) -> Option<SessionId> {
        match self.state {
            State::Open { session, .. } => Some(session),
            _ => None,
        }
    }

    fn handle_connected(&mut self, connected: Connected, now: Now) {
        let Connected { player, session, resumed, presence, .. } = connected;
        let State::Connecting { who, .. } = self.state else {
            match self.session() {
                // Its ledger says again what the session may have missed.
                Some(open) if open == session => self.say_presence_anew(presence, now),
                // The client did not wait for it.
                _ => self.effects.push_back(Effect::Left { player, session }),
            }
            return;
        };
        self.state = State::Open { who, session };
        self.present = presence.iter().map(|presence| presence.sector).collect();
        self.effects.push_back(Effect::Count(Count::Opened));
        let presence = presence.into_iter().map(entry).collect();
        let message = ServerMessage::Connected(server::Connected {
            session,
            player,
            resumed,
            node_tick: now.tick.0,
            server_time: now.time.0,
            fingerprint: FINGERPRINT.to_string(),
            presence,
        });
        self.say_control(message, now);
    }

    /// All that the player has: what the client was told of and is not in it,
    /// the player has no more.
    fn say_presence_anew(&mut self, mut all: Vec<SectorPresence>, now: Now) {
        let now_there: BTreeSet<SectorId> = all.iter().map(|presence| presence.sector).collect();
        let gone = self.present.difference(&now_there).map(|sector| SectorPresence {
            sector: *sector,
            counts: Vec::new(),
            as_of: now.tick,
        });
        all.extend(gone);
        if !all.is_empty() {
            self.say_presence(all, now);
        }
    }

    fn say_presence(&mut self, changed: Vec<SectorPresence>, now: Now) {
        for presence in &changed {
            match presence.counts.is_empty() {
                true => self.present.remove(&presence.sector),
                false => self.present.insert(presence.sector),
            };
        }
        let changed = changed.into_iter().map(entry).collect();
        self.say_control(ServerMessage::Presence(Presence { changed }), now);
    }

    fn handle_answered(&mut self, answer: &CommandAnswer, now: Now) {
        if self.session() != Some(answer.session) {
            return;
        }
        let ack = ack(answer, now);
        self.say_ack(answer.entity, ack, answer.tick, now);
        if answer.result == CommandResult::SessionEnded {
            self.end(EndReason::Superseded, now);
        }
    }
}

/// What the client is told when an entity takes nothing.
pub(super) fn unavailable(why: Unavailable) -> Answer {
    match why {
        Unavailable::NotHere => Answer::NotHere {},
        Unavailable::Parked => Answer::Parked {},
        Unavailable::Busy => Answer::Busy {},
        Unavailable::AttachAgain => Answer::AttachAgain {},
        Unavailable::StoreAway => Answer::StoreAway {},
        Unavailable::TooLong => Answer::Invalid {
            field: "command".into(),
            expected: "one that is short enough to be kept".into(),
        },
    }
}

fn ack(answer: &CommandAnswer, now: Now) -> Ack {
    let CommandAnswer { sequence, record, tick, .. } = *answer;
    let (position, arrival, error) = match &answer.result {
        CommandResult::Done(accepted) => {
            let (position, arrival) = convert::effect(accepted);
            (Some(position), Some(arrival), None)
        }
        CommandResult::Refused(refused) => (None, None, Some(convert::refusal(refused))),
        CommandResult::NotHere => (None, None, Some(Answer::NotHere {})),
        CommandResult::Moved { place, .. } => {
            let place = Place::of(*place);
            (None, None, Some(place.map_or(Answer::NotHere {}, |place| Answer::Moved { place })))
        }
        CommandResult::SessionEnded => {
            let reason = EndReason::Superseded;
            (None, None, Some(Answer::SessionEnded { reason }))
        }
    };
    Ack {
        sequence,
        success: error.is_none(),
        server_time: now.time.0,
        entity_sequence: record,
        effect_tick: tick.0,
        position,
        arrival,
        error,
    }
}

fn entry(presence: SectorPresence) -> PresenceEntry {
    PresenceEntry { sector: presence.sector.into(), units: convert::counts(&presence.counts) }
}
