//! Owns what every kind of entity has: place in its journal, clock, claim,
//! channels, remembered commands, ids. Kinds use it through [`Context`] and
//! touch nothing else. Invariant: a kind can neither send outside a channel
//! nor read a clock.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::channel::{Inbox, Outbox, TooLong};
use super::commands::CommandRows;
use super::effect::{Effect, PlayerEffect};
use super::input::Claim;
use super::message::{Answer, Body, Notice, Request};
use super::pace::Pace;
use super::world::World;
use crate::base::ids::ID_BLOCK;
use crate::base::{EntityKey, Millis, NodeId, PlayerId, Tick, UnitId};

/// The journalled state that all kinds share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Of the last record applied.
    pub sequence: u64,
    pub tick: Tick,
    /// The last record's; the entity's only clock.
    pub time: Millis,
    pub claim: Option<OpenClaim>,
    /// The claim that its owner closed, while it hibernates: its tick goes on
    /// by it when it wakes.
    pub slept: Option<OpenClaim>,
    /// Whom its owner gave it to, until it is claimed.
    pub handed: Option<NodeId>,
    /// What the names of its channels begin from: its tick at its first record,
    /// times 2^24. An entity that was deleted begins its journal again, and must
    /// not name a channel as it did before.
    pub names_from: u64,
    pub outbox: Outbox,
    pub inbox: Inbox,
    pub commands: CommandRows,
    /// Requests without an answer yet, and whom they were sent to.
    pub open_requests: BTreeMap<u64, EntityKey>,
    pub last_request: u64,
    /// What found its channel full, per receiver in order: one that takes
    /// nothing holds up nobody else. As long as what was asked of this entity
    /// and is not answered, and what it has to tell.
    pub backlog: BTreeMap<EntityKey, VecDeque<Body>>,
    ids: Ids,
}

/// The claim in force, and how the entity's tick follows from its node's: at
/// full rate from the claim on, until a dilation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenClaim {
    pub claim: Claim,
    pub pace: Pace,
}

impl Head {
    /// Whether ids were asked for and have not come.
    pub fn waits_for_ids(&self) -> bool {
        self.ids.asked
    }

    /// The name of a channel that is opened now, among all that it ever opened.
    pub fn opening(&self) -> u64 {
        self.names_from.saturating_add(self.sequence)
    }

    /// Whether it has nothing to say, awaits nothing and asked for nothing.
    pub fn is_settled(&self) -> bool {
        self.outbox.is_settled()
            && self.backlog.is_empty()
            && self.open_requests.is_empty()
            && !self.ids.asked
    }

    /// Whether it has no channel and remembers no command. What is left of ids
    /// counts for nothing.
    pub fn is_blank(&self) -> bool {
        self.is_settled()
            && self.outbox == Outbox::default()
            && self.inbox == Inbox::default()
            && self.commands == CommandRows::default()
    }
}

impl OpenClaim {
    /// The entity's tick when its node's is `node_tick`.
    pub fn tick_at(&self, node_tick: Tick) -> Tick {
        self.pace.tick_at(node_tick)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Ids {
    next: u64,
    end: u64,
    /// Whether a new block is on its way.
    asked: bool,
}

/// What a kind sees while something happens to it.
pub struct Context<'a> {
    pub key: EntityKey,
    pub world: &'a World,
    pub(super) head: &'a mut Head,
    pub(super) effects: &'a mut Vec<Effect>,
}

impl Context<'_> {
    /// The entity's clock.
    pub fn now(&self) -> Millis {
        self.head.time
    }

    /// The entity's tick.
    pub fn tick(&self) -> Tick {
        self.head.tick
    }

    /// Asks `to`; exactly one answer with the returned id will come.
    ///
    /// # Errors
    /// When it is too long for a message; nothing was asked.
    pub fn request(&mut self, to: EntityKey, request: Request) -> Result<u64, TooLong> {
        let id = self.head.last_request + 1;
        self.send(to, Body::Request { id, request })?;
        self.head.last_request = id;
        self.head.open_requests.insert(id, to);
        Ok(id)
    }

    /// Answers request `id` of `to`. An answer that is too long for a message
    /// becomes a refusal that says so: there is exactly one answer to each.
    pub fn answer(&mut self, to: EntityKey, id: u64, answer: Answer) {
        if let Err(error) = self.send(to, Body::Answer { id, answer }) {
            let refusal = Answer::Refused(format!("the answer is {error}"));
            self.put(to, Body::Answer { id, answer: refusal });
        }
    }

    /// Tells `to`.
    ///
    /// # Errors
    /// When it is too long for a message; nothing was told.
    pub fn notify(&mut self, to: EntityKey, notice: Notice) -> Result<(), TooLong> {
        self.send(to, Body::Notice(notice))
    }

    /// Whether something sent to `to` now would travel at once. Who can wait
    /// and say it all in one later asks this first.
    pub fn has_room(&self, to: EntityKey) -> bool {
        !self.head.backlog.contains_key(&to) && self.head.outbox.has_room(to)
    }

    /// Where `unit` is on its way to and who owns it, while the message that
    /// carries it is not acknowledged.
    pub fn traveller(&self, unit: UnitId) -> Option<(EntityKey, PlayerId)> {
        let backlog = self.head.backlog.iter();
        let backlog = backlog.flat_map(|(to, bodies)| bodies.iter().map(move |body| (*to, body)));
        self.head.outbox.bodies().chain(backlog).find_map(|(to, body)| {
            let Body::Notice(Notice::Units { travellers }) = body else { return None };
            let found = travellers.iter().find(|traveller| traveller.unit.id == unit)?;
            Some((to, found.unit.owner))
        })
    }

    /// Tells a player's session.
    pub fn tell(&mut self, effect: PlayerEffect) {
        self.effects.push(Effect::Player(effect));
    }

    /// Tells observers.
    pub fn show(&mut self, delta: crate::view::stage::StepDelta) {
        self.effects.push(Effect::Stepped(delta));
    }

    /// `count` new ids, the first of them; `None` when the block is used up,
    /// and then a new one is on its way: try when ids arrive.
    pub fn take_ids(&mut self, count: u64) -> Option<u64> {
        let Ids { next, end, asked } = self.head.ids;
        match next.checked_add(count) {
            Some(after) if after <= end => {
                self.head.ids.next = after;
                Some(next)
            }
            _ => {
                if !asked {
                    self.head.ids.asked = true;
                    self.effects.push(Effect::NeedIds);
                }
                None
            }
        }
    }

    pub(super) fn add_ids(&mut self, start: u64) {
        self.head.ids = Ids { next: start, end: start.saturating_add(ID_BLOCK), asked: false };
    }

    fn send(&mut self, to: EntityKey, body: Body) -> Result<(), TooLong> {
        body.check_length()?;
        self.put(to, body);
        Ok(())
    }

    /// Sends what is short enough, now or when there is room.
    pub(super) fn put(&mut self, to: EntityKey, body: Body) {
        let mut waiting = self.head.backlog.remove(&to).unwrap_or_default();
        waiting.push_back(body);
        self.send_waiting(to, waiting);
    }

    /// Sends what waited for room.
    pub(super) fn flush_backlog(&mut self) {
        for (to, waiting) in std::mem::take(&mut self.head.backlog) {
            self.send_waiting(to, waiting);
        }
    }

    /// Sends to one receiver, in order; keeps what still finds no room, so
    /// that nothing overtakes.
    fn send_waiting(&mut self, to: EntityKey, mut waiting: VecDeque<Body>) {
        let (opening, now) = (self.head.opening(), self.head.time);
        while let Some(body) = waiting.front() {
            match self.head.outbox.send(self.key, to, opening, now, body.clone()) {
                Ok(message) => self.effects.push(Effect::Carry(message)),
                // What comes here is short enough.
                Err(_) => {
                    self.head.backlog.insert(to, waiting);
                    return;
                }
            }
            waiting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Galaxy;
    use crate::sim::rules::sample;

    #[test]
    fn an_answer_that_is_too_long_becomes_a_refusal() {
        let galaxy = Galaxy::new(1, Galaxy::SIDE_MIN).unwrap();
        let world = World::new(galaxy, 1, sample::rules().unwrap());
        let (mut head, mut effects) = (Head::default(), Vec::new());
        let (key, to) = (EntityKey::Ledger(0), EntityKey::Ledger(1));
        let mut ctx = Context { key, world: &world, head: &mut head, effects: &mut effects };
        ctx.answer(to, 7, Answer::Refused("a".repeat(100_000)));
        let [Effect::Carry(message)] = effects.as_slice() else { panic!("{effects:?}") };
        let Body::Answer { id: 7, answer: Answer::Refused(why) } = &message.body else {
            panic!("{message:?}")
        };
        assert!(why.contains("at most 65536"), "{why}");
    }
}
