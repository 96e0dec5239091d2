//! Owns one entity while it runs on a node: its state, the inputs submitted
//! for it and not yet durable, who watches it. Never sends anything; the table
//! asks it. Invariant: inputs are applied in the order they were submitted,
//! each once, and only when durable.

use std::collections::{BTreeMap, VecDeque};

use super::attaching::{Attachments, Ticket};
use super::cost::Cost;
use super::limits::Limits;
use super::message::Installed;
use super::table::CellShade;
use super::unanswered::{Noted, Unanswered};
use crate::base::{EntityKey, Millis, StateHash, Tick};
use crate::entity::Entity;
use crate::entity::channel::{Acknowledgement, ChannelMessage, Verdict};
use crate::entity::commands::{Admission, CommandAnswer, CommandKey};
use crate::entity::input::Input;
use crate::view::stage::StepDelta;

/// An entity while it runs.
#[derive(Clone, Debug)]
pub struct Cell {
    pub entity: Entity,
    generation: u64,
    /// Whether this node's claim is durable. Until then the state has the
    /// claim of the last owner, whose ticks are not ours.
    claimed: bool,
    lead: u64,
    /// The tick of its last record.
    pub recorded: Tick,
    /// Submitted, not yet durable; oldest first.
    pending: VecDeque<Input>,
    /// Of the pending messages: per sender the channel's opening and the
    /// highest number.
    pending_messages: BTreeMap<EntityKey, (u64, u64)>,
    /// Of the pending acknowledgements: per receiver the channel's opening and
    /// the highest number.
    pending_acks: BTreeMap<EntityKey, (u64, u64)>,
    /// Pending inputs for time alone.
    pending_times: usize,
    /// The pending commands.
    unanswered: Unanswered,
    /// Which sessions are attached, and what each sends next.
    pub attached: Attachments,
    /// Who follows it, if anybody does.
    pub follower: Option<Follower>,
    /// What it casts beyond its borders, and what falls on it.
    pub shade: CellShade,
    /// When its waiting messages were last carried.
    pub carried: Tick,
    journal_bytes: u64,
    snapshot_bytes: u64,
    snapshot: Snapshot,
    due: Option<Millis>,
    /// When something last happened to it.
    pub busy: Millis,
    /// When its table looks whether it is quiet, if that is noted.
    pub look: Option<Millis>,
    /// What it costs its thread.
    pub cost: Cost,
    /// A change of its rate was asked for and is not durable.
    rate_asked: bool,
    /// It hibernates as soon as that is durable, and takes nothing more.
    resting: bool,
    leave: Leave,
}

/// How far it is on its way to another node.
///
/// ```text
///   Stays ──(wanted)──> Wanted ──(its tick moves)──> Closed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    Stays,
    /// It goes with its next tick; until then it is as always.
    Wanted,
    /// It takes nothing more. At that tick, before its records, its state had
    /// that hash.
    Closed(Tick, StateHash),
}

/// What those who follow an entity were handed out.
#[derive(Clone, Debug, Default)]
pub struct Follower {
    /// The entity's tick of the last step handed out; `None` when all of it is
    /// to be handed out next.
    pub told: Option<Tick>,
    /// Of a step since, what courses do not tell.
    pub delta: Option<StepDelta>,
}

/// How far the next snapshot is.
///
/// ```text
///   None ──(journal long)──> Asked ──(allowed)──> UnderWay ──(durable, refused)──> None
///   None, Asked ──(allowed, no record since the last)──> Behind ──(record)──> UnderWay
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Snapshot {
    None,
    /// The core knows that one is due.
    Asked,
    /// It is made behind the next record.
    Behind,
    /// One after `sequence` is on its way; the journal had so many bytes then.
    UnderWay {
        sequence: u64,
        journal: u64,
    },
}

/// What a record means for the next snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotStep {
    Nothing,
    /// One is due: ask when to make it.
    Ask,
    /// Make it now.
    Make,
}

/// What becomes of a command at the door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// It waits for its commit; the answer comes then.
    Admitted,
    /// It is pending already; the answer comes with that one.
    Pending,
    /// It was applied before: this is its answer.
    Answered(CommandAnswer),
    /// Too much waits here: nothing was taken, try again later.
    Busy,
    /// It is not what its session is to send next: nothing was taken.
    AttachAgain,
}

impl Cell {
    pub fn new(installed: Installed, at: Tick) -> Cell {
        let Installed { entity, generation, snapshot_bytes, journal_bytes } = installed;
        Cell {
            recorded: entity.tick(),
            entity,
            generation,
            claimed: false,
            lead: 0,
            pending: VecDeque::new(),
            pending_messages: BTreeMap::new(),
            pending_acks: BTreeMap::new(),
            pending_times: 0,
            unanswered: Unanswered::default(),
            attached: Attachments::default(),
            follower: None,
            shade: CellShade::default(),
            carried: at,
            journal_bytes,
            snapshot_bytes,
            snapshot: Snapshot::None,
            due: None,
            busy: Millis(0),
            look: None,
            cost: Cost::default(),
            rate_asked: false,
            resting: false,
            leave: Leave::Stays,
        }
    }

    /// Which installation this is.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The entity's tick when the node's is `node_tick`; its own while this
    /// node's claim is not durable.
    pub fn tick_at(&self, node_tick: Tick) -> Tick {
        let head = self.entity.head();
        let claim = head.claim.filter(|_| self.claimed);
        claim.map_or(head.tick, |claim| claim.tick_at(node_tick))
    }

    /// Whether the entity's tick moved with the node's to `node_tick`: with
    /// one that is dilated not every time.
    pub fn moves_at(&self, node_tick: Tick) -> bool {
        let claim = self.entity.head().claim.filter(|_| self.claimed);
        claim.is_some_and(|open| open.pace.moves_at(node_tick))
    }

    /// Whether this node owns it: it may step and be shown.
    pub fn is_claimed(&self) -> bool {
        self.claimed
    }

    /// Notes that this node's claim is applied. Its time is `lead` milliseconds ahead of the node's.
    pub fn note_claimed(&mut self, lead: u64) {
        self.claimed = true;
        self.lead = lead;
    }

    /// When it wants a record for time alone, by the node's clock.
    pub fn next_due(&self) -> Option<Millis> {
        self.entity.next_due().map(|due| Millis(due.0.saturating_sub(self.lead)))
    }

    /// Whether every tick must step it.
    pub fn is_active(&self) -> bool {
        self.claimed && !self.entity.is_idle()
    }

    /// Whether it takes nothing more, because it is about to hibernate.
    pub fn is_resting(&self) -> bool {
        self.resting
    }

    /// Another node is to get it with its next tick.
    pub fn leave_soon(&mut self) {
        self.leave = Leave::Wanted;
    }

    /// Whether another node is to get it, and it takes things still.
    pub fn leaves_soon(&self) -> bool {
        self.leave == Leave::Wanted
    }

    /// Takes nothing more from now on, for another node gets it; at `tick` it had
    /// that hash.
    pub fn leave(&mut self, tick: Tick, hash: StateHash) {
        self.leave = Leave::Closed(tick, hash);
    }

    /// What it had as it closed, if it has because another node gets it.
    pub fn left(&self) -> Option<(Tick, StateHash)> {
        match self.leave {
            Leave::Closed(tick, hash) => Some((tick, hash)),
            Leave::Stays | Leave::Wanted => None,
        }
    }

    /// Whether it takes nothing more.
    pub fn is_closed(&self) -> bool {
        self.resting || self.left().is_some()
    }

    /// Whether its rate may be changed: no change is under way.
    pub fn ask_rate(&mut self) -> bool {
        !std::mem::replace(&mut self.rate_asked, true)
    }

    /// Whether its rate is about to change.
    pub fn is_rate_asked(&self) -> bool {
        self.rate_asked
    }

    /// Notes that the change of its rate is applied; returns whether
    /// somebody follows it who has its scene, which did not say that.
    pub fn note_rate(&mut self) -> bool {
        self.rate_asked = false;
        self.follower.as_ref().is_some_and(|follower| follower.told.is_some())
    }

    /// Takes nothing more from now on.
    pub fn rest(&mut self) {
        self.resting = true;
    }

    /// Takes a command in, or says why not; with `is_full` too much waits for all
    /// entities here together. What is admitted is to be submitted.
    pub fn admit_command(
        &mut self,
        ticket: Ticket,
        command: CommandKey,
        is_full: bool,
        limits: &Limits,
    ) -> Door {
        let sender = (command.player, command.session);
        let has_room = !self.is_full(limits);
        let Some(expected) = self.attached.expected(sender, ticket) else {
            return Door::AttachAgain;
        };
        if is_full {
            return Door::Busy;
        }
        // The state is this node's to show: before its claim is durable nobody
        // is attached.
        let door = match self.entity.judge_command(command) {
            Admission::Answer(answer) => Door::Answered(answer),
            Admission::Apply => match self.unanswered.note(command, has_room) {
                Noted::New => Door::Admitted,
                Noted::Known => Door::Pending,
                Noted::Full => Door::Busy,
            },
        };
        if door != Door::Busy {
            expected.take();
        }
        door
    }

    /// What to do with a message, counting those that are pending as applied.
    pub fn judge_message(&self, message: &ChannelMessage) -> Verdict {
        let channel = message.channel;
        match self.pending_messages.get(&channel.sender) {
            Some((opened, last)) if *opened == channel.opened => {
                if message.number == last + 1 {
                    Verdict::Apply
                } else {
                    Verdict::Ignore
                }
            }
            _ => self.entity.head().inbox.judge_message(message),
        }
    }

    /// Whether an acknowledgement would change anything, counting those that
    /// are pending as applied.
    pub fn expects_ack(&self, ack: &Acknowledgement) -> bool {
        let pending = self.pending_acks.get(&ack.channel.receiver);
        let is_pending = pending
            .is_some_and(|(opened, upto)| *opened == ack.channel.opened && ack.upto <= *upto);
        !is_pending && self.entity.head().outbox.expects(ack)
    }

    /// Whether an input for time alone is pending.
    pub fn is_time_pending(&self) -> bool {
        self.pending_times > 0
    }

    /// Notes that `input` was submitted.
    pub fn push(&mut self, input: Input) {
        match &input {
            Input::Message(message) => {
                let channel = message.channel;
                self.pending_messages.insert(channel.sender, (channel.opened, message.number));
            }
            Input::Acknowledged(ack) => {
                let channel = ack.channel;
                self.pending_acks.insert(channel.receiver, (channel.opened, ack.upto));
            }
            Input::Time => self.pending_times += 1,
            _ => {}
        }
        self.pending.push_back(input);
    }

    /// The oldest `count` submitted inputs, which are durable now; `None`, and
    /// nothing is taken, when so many were never submitted.
    pub fn pop(&mut self, count: u32) -> Option<Vec<Input>> {
        let count = usize::try_from(count).ok().filter(|count| *count <= self.pending.len())?;
        let inputs: Vec<Input> = self.pending.drain(..count).collect();
        inputs.iter().for_each(|input| self.forget_pending(input));
        Some(inputs)
    }

    fn forget_pending(&mut self, input: &Input) {
        match input {
            Input::Message(message) => {
                let last = (message.channel.opened, message.number);
                if self.pending_messages.get(&message.channel.sender) == Some(&last) {
                    self.pending_messages.remove(&message.channel.sender);
                }
            }
            Input::Acknowledged(ack) => {
                let last = (ack.channel.opened, ack.upto);
                if self.pending_acks.get(&ack.channel.receiver) == Some(&last) {
                    self.pending_acks.remove(&ack.channel.receiver);
                }
            }
            Input::Time => self.pending_times -= 1,
            Input::Command(command) => self.unanswered.forget(command.key()),
            _ => {}
        }
    }

    /// Inputs that wait for a commit.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Whether no more inputs from outside are taken before a commit.
    pub fn is_full(&self, limits: &Limits) -> bool {
        self.pending.len() >= limits.inputs_per_entity
    }

    /// Counts a record. A snapshot is due when the journal behind the last one
    /// is twice its size, and worth it.
    pub fn note_record(&mut self, bytes: u64, limits: &Limits) -> SnapshotStep {
        self.journal_bytes += bytes;
        let limit = limits.journal_bytes_min.max(self.snapshot_bytes.saturating_mul(2));
        match self.snapshot {
            Snapshot::Behind => SnapshotStep::Make,
            Snapshot::None if self.journal_bytes > limit => {
                self.snapshot = Snapshot::Asked;
                SnapshotStep::Ask
            }
            Snapshot::None | Snapshot::Asked | Snapshot::UnderWay { .. } => SnapshotStep::Nothing,
        }
    }

    /// A snapshot may be made. Returns whether there is something new to be in
    /// it; else it is made behind the next record.
    pub fn allow_snapshot(&mut self) -> bool {
        let is_worth = self.claimed && self.journal_bytes > 0;
        if !is_worth {
            self.snapshot = Snapshot::Behind;
        }
        is_worth
    }

    /// Notes that a snapshot after `sequence` is on its way.
    pub fn note_snapshot_begun(&mut self, sequence: u64) {
        self.snapshot = Snapshot::UnderWay { sequence, journal: self.journal_bytes };
    }

    /// Notes that it is durable, with so many bytes, or was refused.
    pub fn note_snapshot_ended(&mut self, ended: u64, bytes: Option<u64>) {
        let Snapshot::UnderWay { sequence, journal } = self.snapshot else { return };
        if sequence != ended {
            return;
        }
        self.snapshot = Snapshot::None;
        if let Some(bytes) = bytes {
            self.journal_bytes -= journal;
            self.snapshot_bytes = bytes;
        }
    }

    /// The timer that is noted for it.
    pub fn due(&self) -> Option<Millis> {
        self.due
    }

    /// Notes when the entity wants a record for time alone.
    pub fn set_due(&mut self, due: Option<Millis>) {
        self.due = due;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{PlayerId, SessionId, UnitId};
    use crate::cluster::core::attaching::Attachment;
    use crate::entity::World;
    use crate::entity::commands::PlayerCommand;
    use crate::sim::rules::sample;
    use crate::sim::{Command, Galaxy, Instruction, UnitIds};

    fn cell() -> Cell {
        let galaxy = Galaxy::new(1, Galaxy::SIDE_MIN).unwrap();
        let world = World::new(galaxy, 1, sample::rules().unwrap());
        let sector = EntityKey::Sector(galaxy.start_place(0));
        let entity = Entity::genesis(sector, &world).unwrap();
        let installed = Installed { entity, generation: 1, snapshot_bytes: 0, journal_bytes: 0 };
        Cell::new(installed, Tick(0))
    }

    fn command(sequence: u32) -> PlayerCommand {
        let units = UnitIds::new(vec![UnitId(1)]).unwrap();
        let (player, session) = (PlayerId(1), SessionId(1));
        let command = Command::new(units, Instruction::Stop);
        PlayerCommand { player, session, sequence, command }
    }

    /// Of a session that attaches for each.
    fn admit(cell: &mut Cell, sequence: u32) -> Door {
        let (command, ticket) = (command(sequence), Ticket::first(Attachment(1)));
        cell.attached.attach((command.player, command.session), ticket.attachment, 1);
        cell.admit_command(ticket, command.key(), false, &Limits::default())
    }

    #[test]
    fn admits_a_command_that_a_pending_one_overtook() {
        let mut cell = cell();
        assert_eq!(admit(&mut cell, 5), Door::Admitted);
        // Its record will say that it is never applied.
        assert_eq!(admit(&mut cell, 4), Door::Admitted);
        assert_eq!(admit(&mut cell, 4), Door::Pending);
        assert_eq!(admit(&mut cell, 5), Door::Pending);
    }

    #[test]
    fn leaves_at_most_32_commands_of_a_session_unanswered() {
        let mut cell = cell();
        for sequence in 1..=32 {
            assert_eq!(admit(&mut cell, sequence), Door::Admitted);
            cell.push(Input::Command(command(sequence)));
        }
        assert_eq!(admit(&mut cell, 33), Door::Busy);
        assert_eq!(cell.pop(1).unwrap().len(), 1);
        assert_eq!(admit(&mut cell, 33), Door::Admitted);
    }

    #[test]
    fn gives_nothing_of_more_inputs_than_were_submitted() {
        let mut cell = cell();
        cell.push(Input::Time);
        assert_eq!(cell.pop(2), None);
        assert_eq!(cell.pop(1), Some(vec![Input::Time]));
    }
}
