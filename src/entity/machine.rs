//! Owns the durable entity: a deterministic state machine of a key, a head
//! that all kinds share, and a kind. Never does I/O, reads no clock, owns
//! nothing outside itself. `cluster::core::table` runs it live, `replay` from
//! its journal; both give the same bits.
//!
//! Invariant: the state is a function of the snapshot it began from, the
//! records applied since, and the tick.

mod applying;
mod skipping;

use super::channel::Verdict;
use super::commands::{Admission, CommandKey};
use super::context::{Context, Head, OpenClaim};
use super::effect::Effect;
use super::envelope::{self, EnvelopeError, Kind as EnvelopeKind, Logic};
use super::input::{Claim, Dilation, Input, InputPlace};
use super::kinds::Kind;
use super::message::Body;
use super::pace::{Pace, Rate};
use super::record::{Record, RecordHeader};
use super::workplace;
use super::world::World;
use crate::base::time::TICK_MS;
use crate::base::{EntityKey, Millis, StateHash, Tick};
pub use skipping::{Broke, Skips};

/// A durable entity.
#[derive(Clone, Debug, PartialEq)]
pub struct Entity {
    key: EntityKey,
    head: Head,
    kind: Kind,
    doing: Doing,
}

/// What an entity is at. Who caught a panic of it finds here where that was; such an
/// entity is of no other use any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Doing {
    #[default]
    Nothing,
    Step,
    /// What the passing of time ends, before a record's inputs.
    Expiring,
    Input(u32),
}

/// An entity never has so many records in one tick of 100 ms.
const NAMES_PER_TICK: u64 = 1 << 24;

/// From the record before to this one.
#[derive(Clone, Copy, Debug)]
struct Passed {
    ticks: u64,
    ms: u64,
}

/// A record that is not this entity's next; nothing was applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error("record {got} where {expected} was expected")]
    Sequence { expected: u64, got: u64 },
    #[error("a record of tick {got:?}, but the entity is at {at:?}")]
    Past { at: Tick, got: Tick },
}

/// Why bytes are not a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error("not a snapshot of {key}: {why}")]
    Payload { key: EntityKey, why: String },
}

impl Entity {
    /// The state that the galaxy's seed gives for `key`, before any record.
    /// `None` for kinds this build does not have.
    pub fn genesis(key: EntityKey, world: &World) -> Option<Entity> {
        let (head, kind) = (Head::default(), Kind::genesis(key, world)?);
        Some(Entity { key, head, kind, doing: Doing::Nothing })
    }

    pub fn key(&self) -> EntityKey {
        self.key
    }

    pub fn head(&self) -> &Head {
        &self.head
    }

    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    pub fn tick(&self) -> Tick {
        self.head.tick
    }

    /// How fast its ticks are, of those of its node.
    pub fn rate(&self) -> Rate {
        self.head.claim.map_or(Rate::FULL, |open| open.pace.rate())
    }

    /// Whether steps change nothing but the tick. While it hibernates they never do:
    /// what a snapshot does not tell is not to be found out again by other rules.
    pub fn is_idle(&self) -> bool {
        self.head.slept.is_some() || self.kind.is_idle()
    }

    /// Whether nothing will happen to it by itself but what a timer or its tick
    /// can make up for when it wakes: it may hibernate.
    pub fn may_hibernate(&self) -> bool {
        self.is_idle() && self.head.is_settled() && matches!(self.kind, Kind::Sector(_))
    }

    /// Whether it is what the seed gives, but for its place in a journal, its
    /// time and its tick: of an entity that hibernates so nothing is kept.
    pub fn is_seed(&self) -> bool {
        self.head.is_blank() && self.kind.is_seed()
    }

    /// Applies a record: first the steps up to its tick, then its inputs.
    ///
    /// # Errors
    /// When it is not the next record; nothing was changed.
    pub fn apply(
        &mut self,
        record: &Record,
        world: &World,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ApplyError> {
        self.apply_but(record, &Skips::default(), world, effects)
    }

    /// The same without the inputs that are set aside: those are answered, as far as
    /// they want an answer.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn apply_but(
        &mut self,
        record: &Record,
        skips: &Skips,
        world: &World,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ApplyError> {
        let RecordHeader { sequence, tick, time } = record.header;
        let expected = self.head.sequence + 1;
        if sequence != expected {
            return Err(ApplyError::Sequence { expected, got: sequence });
        }
        if tick < self.head.tick {
            return Err(ApplyError::Past { at: self.head.tick, got: tick });
        }
        let passed = Passed { ticks: tick.since(self.head.tick), ms: time.since(self.head.time) };
        self.run_to(tick, world, effects);
        workplace::reach(tick);
        self.head.sequence = sequence;
        self.head.time = self.head.time.max(time);
        // A claim says first what the time before it counts for; who lets go
        // leaves everything as it is.
        self.doing = Doing::Expiring;
        let lets_go = |input: &Input| matches!(input, Input::Close | Input::HandOver { .. });
        let first = record.inputs.iter().find(|input| !matches!(input, Input::Adopt { .. }));
        if !first.is_some_and(|input| matches!(input, Input::Claim(_)) || lets_go(input)) {
            self.expire(world, effects);
        }
        for (index, input) in (0..).zip(&record.inputs) {
            self.doing = Doing::Input(index);
            match input {
                input if skips.has(InputPlace { sequence, index }) => {
                    self.skip(input, world, effects);
                }
                Input::Claim(claim) => self.claim(*claim, passed, world, effects),
                input => self.apply_input(input, world, effects),
            }
        }
        self.doing = Doing::Nothing;
        Ok(())
    }

    /// Steps until the entity's tick is `tick`; does nothing if it is already.
    pub fn run_to(&mut self, tick: Tick, world: &World, effects: &mut Vec<Effect>) {
        while self.head.tick < tick {
            if self.is_idle() {
                self.head.tick = tick;
                return;
            }
            self.step(world, effects);
        }
    }

    /// One tick of 100 ms.
    pub fn step(&mut self, world: &World, effects: &mut Vec<Effect>) {
        self.doing = Doing::Step;
        self.head.tick = self.head.tick.after(1);
        workplace::reach(self.head.tick);
        self.with_kind(world, effects, |kind, ctx| kind.step(ctx));
        self.doing = Doing::Nothing;
    }

    /// What is to be done with a command, seen from the state as it is.
    pub fn judge_command(&self, command: CommandKey) -> Admission {
        self.head.commands.judge(self.key, command)
    }

    /// What must be asked for or sent again after a load, because whoever was
    /// to do it may be gone.
    pub fn unfinished(&self, effects: &mut Vec<Effect>) {
        effects.extend(self.head.outbox.waiting(self.key).map(Effect::Carry));
        if self.head.waits_for_ids() {
            effects.push(Effect::NeedIds);
        }
    }

    /// When a record for time alone is due, if nothing else comes.
    pub fn next_due(&self) -> Option<Millis> {
        let head = &self.head;
        let due = [head.outbox.next_due(), head.inbox.next_due(), head.commands.next_due()];
        due.into_iter().flatten().min()
    }

    /// The canonical bytes of the whole state, enveloped.
    pub fn snapshot(&self, world: &World) -> Vec<u8> {
        self.snapshot_of(world.logic())
    }

    /// The same of an entity that has this logic.
    pub fn snapshot_of(&self, logic: Logic) -> Vec<u8> {
        let mut out = Vec::new();
        let at = envelope::start(EnvelopeKind::Snapshot, logic, &mut out);
        super::append(&(self.key, &self.head), &mut out);
        self.kind.write(&mut out);
        envelope::finish(at, &mut out);
        out
    }

    /// The inverse of [`snapshot`](Self::snapshot).
    ///
    /// # Errors
    /// When `bytes` is no snapshot of `key` in a format this build reads.
    pub fn restore(key: EntityKey, bytes: &[u8]) -> Result<Entity, SnapshotError> {
        let wrong = |why: String| SnapshotError::Payload { key, why };
        let (_, payload) = envelope::open(EnvelopeKind::Snapshot, bytes)?;
        let ((found, head), rest) = postcard::take_from_bytes::<(EntityKey, Head)>(payload)
            .map_err(|e| wrong(e.to_string()))?;
        if found != key {
            return Err(wrong(format!("it is of {found}")));
        }
        let kind = Kind::read(key, rest).map_err(wrong)?;
        Ok(Entity { key, head, kind, doing: Doing::Nothing })
    }

    /// The hash of the canonical state.
    pub fn state_hash(&self, world: &World) -> StateHash {
        StateHash::of(&self.snapshot(world))
    }

    fn apply_input(&mut self, input: &Input, world: &World, effects: &mut Vec<Effect>) {
        match input {
            Input::Close => self.head.slept = self.head.claim.take(),
            // Its time stands still until the next claim.
            Input::HandOver { to } => {
                self.head.claim = None;
                self.head.handed = Some(*to);
            }
            Input::Park { .. } => self.head.claim = None,
            Input::Command(command) => self.apply_command(command, world, effects),
            Input::Message(message) => match self.head.inbox.judge_message(message) {
                Verdict::Apply => self.apply_message(message, world, effects),
                Verdict::Repeat(ack) => effects.push(Effect::Acknowledge(ack)),
                Verdict::Ignore => {}
            },
            Input::Acknowledged(ack) => {
                if self.head.outbox.handle_acknowledgement(*ack, self.head.time) {
                    self.with_kind(world, effects, |_, ctx| ctx.flush_backlog());
                }
            }
            Input::Adopt { .. } => {
                self.with_kind(world, effects, |kind, ctx| kind.adopted(ctx));
            }
            Input::Ids { start } => self.with_kind(world, effects, |kind, ctx| {
                ctx.add_ids(*start);
                kind.handle_ids(ctx);
            }),
            Input::Connect(connect) => {
                self.with_kind(world, effects, |kind, ctx| kind.connect(ctx, connect));
            }
            Input::Left(left) => {
                self.with_kind(world, effects, |kind, ctx| kind.left(ctx, left));
            }
            Input::Gateway(word) => {
                self.with_kind(world, effects, |kind, ctx| kind.gateway(ctx, word));
            }
            Input::Dilate(Dilation { rate, node_tick }) => {
                let tick = self.head.tick;
                if let Some(open) = &mut self.head.claim {
                    open.pace = Pace::new(tick, *node_tick, *rate);
                }
            }
            // The hash is for replay, which looks at it; time has passed above,
            // and claims were taken there; what is skipped is so from its own record on.
            Input::Hash { .. } | Input::Time | Input::Claim(_) | Input::Skip(_) => {}
        }
    }

    /// Downtime does not count: what is remembered for minutes is remembered
    /// for as long from here on, so that a retry after it is still a retry. A
    /// sleep counts as far as there were ticks in it.
    fn claim(&mut self, claim: Claim, passed: Passed, world: &World, effects: &mut Vec<Effect>) {
        let (tick, now) = (self.head.tick, self.head.time);
        if self.head.sequence == 1 {
            self.head.names_from = tick.0.saturating_mul(NAMES_PER_TICK);
        }
        let pace = Pace::new(tick, claim.node_tick, Rate::FULL);
        self.head.claim = Some(OpenClaim { claim, pace });
        self.head.handed = None;
        match self.head.slept.take() {
            Some(_) => {
                let away_ms = passed.ms.saturating_sub(passed.ticks.saturating_mul(TICK_MS));
                self.head.commands.note_woken(away_ms, now);
            }
            None => self.head.commands.note_claimed(now),
        }
        self.with_kind(world, effects, |kind, ctx| kind.claimed(ctx));
    }

    /// What the passing of time ends, at every record.
    fn expire(&mut self, world: &World, effects: &mut Vec<Effect>) {
        let now = self.head.time;
        self.head.inbox.expire(now);
        self.head.commands.expire(now);
        let idle = self.head.outbox.expire(now);
        self.with_kind(world, effects, |_, ctx| {
            for receiver in idle {
                // Else with a later record, so that the backlog never holds it twice.
                if ctx.has_room(receiver) {
                    ctx.put(receiver, Body::Close);
                }
            }
        });
    }

    fn with_kind<T>(
        &mut self,
        world: &World,
        effects: &mut Vec<Effect>,
        f: impl FnOnce(&mut Kind, &mut Context<'_>) -> T,
    ) -> T {
        let mut ctx = Context { key: self.key, world, head: &mut self.head, effects };
        f(&mut self.kind, &mut ctx)
    }
}
