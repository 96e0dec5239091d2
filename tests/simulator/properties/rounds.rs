//! A client's book of commands and a session's table of them, between them a
//! connection that keeps the order, behind them an owner that for half a second
//! refuses, moves and is slow: every command is carried out, in order, and none
//! is given up.

use std::collections::{BTreeMap, BTreeSet};

use starmesh::base::{EntityKey, Millis, NodeId, PlayerId, SectorId, SessionId, Tick, UnitId};
use starmesh::client::commands::{CommandBook, Due, Issued, Settled, Wanted};
use starmesh::cluster::core::attaching::{Attached, Attachment, Attachments, Ticket};
use starmesh::entity::commands::{
    Admission, CommandAnswer, CommandResult, CommandRows, PlayerCommand,
};
use starmesh::gateway::session::commands::{CommandTable, Refused, Taken};
use starmesh::protocol::command::{Order, Recipients};
use starmesh::protocol::server::Ack;
use starmesh::protocol::{Answer, Place};
use starmesh::sim::orders::{Refusal, Refused as Rule};
use starmesh::sim::{Command, Instruction, UnitIds};

use crate::random::Random;

const HERE: EntityKey = EntityKey::Sector(SectorId { x: 3, y: 4, scale: 0 });
const SENDER: (PlayerId, SessionId) = (PlayerId(1), SessionId(1));
/// The owner makes trouble for so long.
const TROUBLE_MS: u64 = 500;
/// By then all is answered.
const END_MS: u64 = 10_000;
const COMMANDS: u32 = 60;

/// Where something is on its way to, in order on each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    ToSession,
    ToClient,
    ToTable(usize),
    FromTable(usize),
}

#[derive(Clone, Debug)]
enum Message {
    Command(u32),
    Admit(Ticket, PlayerCommand),
    Attach,
    Rejected(Ticket, u32, Answer),
    NotAttached,
    Attached(Attached),
    Done(u32),
    Ack(u32, Option<Answer>),
}

/// The whole way of a command.
struct Run {
    seed: u64,
    random: Random,
    now: u64,
    queue: BTreeMap<(u64, u64), (Way, Message)>,
    last: BTreeMap<Way, u64>,
    order: u64,
    book: CommandBook,
    session: CommandTable,
    attached: Attachments,
    rows: CommandRows,
    attachment: u64,
    /// Where the entity is, and where the registry says it is.
    table: usize,
    registry: usize,
    applied: Vec<u32>,
    answered: BTreeSet<u32>,
    issued: u32,
    /// Copies sent, of all commands.
    sent: u32,
    overtakings: u32,
}

impl Run {
    fn new(seed: u64) -> Run {
        Run {
            seed,
            random: Random::new(seed),
            now: 0,
            queue: BTreeMap::new(),
            last: BTreeMap::new(),
            order: 0,
            book: CommandBook::default(),
            session: CommandTable::default(),
            attached: Attachments::default(),
            rows: CommandRows::default(),
            attachment: 0,
            table: 0,
            registry: 0,
            applied: Vec::new(),
            answered: BTreeSet::new(),
            issued: 0,
            sent: 0,
            overtakings: 0,
        }
    }

    fn is_trouble(&self) -> bool {
        self.now < TROUBLE_MS
    }

    /// Takes `ms`, at times much longer, but overtakes nothing on its way.
    fn push(&mut self, way: Way, ms: u64, message: Message) {
        let slow = if self.is_trouble() && self.random.chance(50) { 60 } else { 3 };
        let at = self.now + ms + self.random.below(slow);
        let last = self.last.entry(way).or_default();
        *last = at.max(*last);
        self.order += 1;
        self.queue.insert((*last, self.order), (way, message));
    }

    fn run(&mut self) {
        while self.now < END_MS {
            self.issue();
            if self.is_trouble() && self.random.chance(10) {
                (self.table, self.attached) = (1 - self.table, Attachments::default());
            } else if self.random.chance(200) {
                self.registry = self.table;
            }
            let due = self.book.handle_time(self.now);
            self.send(due);
            while let Some((&(at, order), _)) = self.queue.first_key_value()
                && at <= self.now
            {
                let (way, message) = self.queue.remove(&(at, order)).expect("it is the first");
                self.handle(way, message);
            }
            self.now += 1;
        }
    }

    fn issue(&mut self) {
        if self.issued == COMMANDS || !self.random.chance(120) {
            return;
        }
        let recipients = Recipients::Units(vec![UnitId(1)]);
        let wanted = Wanted { recipients, order: Order::Hold {}, queue: false, predicted: None };
        let place = Place::of(HERE).expect("a sector is a place");
        if let Some(issued) = self.book.issue(self.now, place, wanted) {
            self.issued += 1;
            self.send(Due { again: vec![issued], given_up: Vec::new() });
        }
    }

    fn send(&mut self, due: Due) {
        let (seed, now, given_up) = (self.seed, self.now, &due.given_up);
        assert!(given_up.is_empty(), "seed {seed}: {given_up:?} at {now}");
        for Issued { command, .. } in due.again {
            self.sent += 1;
            self.push(Way::ToSession, 5, Message::Command(command.sequence));
        }
    }

    fn handle(&mut self, way: Way, message: Message) {
        match message {
            Message::Command(sequence) => self.take(sequence),
            Message::Admit(ticket, command) => self.admit(way, ticket, &command),
            Message::Attach => self.attach(way),
            Message::Rejected(ticket, sequence, answer) => {
                let rejected = (sequence, true);
                let all = self.session.note_rejected(HERE, ticket.attachment, rejected);
                self.overtakings += u32::from(all.iter().any(|one| one.sequence > sequence));
                for one in all {
                    let is_it = one.sequence == sequence;
                    let answer = if is_it { answer.clone() } else { Answer::AttachAgain {} };
                    self.refuse(one, &answer);
                }
            }
            Message::NotAttached => {
                let all = self.session.note_refused(HERE, true);
                all.into_iter().for_each(|one| self.refuse(one, &Answer::Busy {}));
            }
            Message::Attached(attached) => {
                let waited = self.session.note_attached(HERE, attached);
                waited.into_iter().for_each(|command| self.forward(command));
            }
            Message::Done(sequence) => {
                self.session.note_answered(HERE, sequence);
                self.push(Way::ToClient, 5, Message::Ack(sequence, None));
            }
            Message::Ack(sequence, error) => self.hear(sequence, error),
        }
    }

    fn take(&mut self, sequence: u32) {
        let units = UnitIds::new(vec![UnitId(1)]).expect("one unit");
        let command = Command::new(units, Instruction::Stop);
        let command = PlayerCommand { player: SENDER.0, session: SENDER.1, sequence, command };
        let one = Refused { sequence, copies: 1 };
        match self.session.take(HERE, command, Millis(self.now), 32) {
            Taken::Send(command) => self.forward(command),
            Taken::Attach => self.push(Way::ToTable(self.registry), 0, Message::Attach),
            Taken::Waits => {}
            Taken::Busy => self.refuse(one, &Answer::Busy {}),
            Taken::AttachAgain => self.refuse(one, &Answer::AttachAgain {}),
            Taken::Full => panic!("one entity is too many"),
        }
    }

    fn forward(&mut self, command: PlayerCommand) {
        let (_, ticket) = self.session.take_ticket(HERE).expect("it is attached");
        self.push(Way::ToTable(self.registry), 0, Message::Admit(ticket, command));
    }

    fn refuse(&mut self, one: Refused, answer: &Answer) {
        for _ in 0..one.copies {
            let ack = Message::Ack(one.sequence, Some(answer.clone()));
            self.push(Way::ToClient, 5, ack);
        }
    }

    fn admit(&mut self, way: Way, ticket: Ticket, command: &PlayerCommand) {
        let Way::ToTable(table) = way else { return };
        let sequence = command.sequence;
        let refused = match () {
            () if table != self.table => Some(Answer::Busy {}),
            () if self.attached.expected(SENDER, ticket).is_none() => Some(Answer::AttachAgain {}),
            () if self.is_trouble() && self.random.chance(100) => Some(Answer::Busy {}),
            () => None,
        };
        if let Some(answer) = refused {
            let rejected = Message::Rejected(ticket, sequence, answer);
            return self.push(Way::FromTable(table), 0, rejected);
        }
        self.attached.expected(SENDER, ticket).expect("it is, as was seen").take();
        if let Admission::Apply = self.rows.judge(HERE, command.key()) {
            self.apply(sequence);
        }
        self.push(Way::FromTable(table), 10, Message::Done(sequence));
    }

    fn apply(&mut self, sequence: u32) {
        self.applied.push(sequence);
        let rule = Rule { rule: Refusal::UnknownUnit, unit: None };
        let answer = CommandAnswer {
            entity: HERE,
            player: SENDER.0,
            session: SENDER.1,
            sequence,
            result: CommandResult::Refused(rule),
            tick: Tick(1),
            record: 1,
        };
        self.rows.note_applied(&answer, Millis(self.now));
    }

    fn attach(&mut self, way: Way) {
        let Way::ToTable(table) = way else { return };
        if table != self.table {
            return self.push(Way::FromTable(table), 0, Message::NotAttached);
        }
        self.attachment += 1;
        let attachment = Attachment(self.attachment);
        self.attached.attach(SENDER, attachment, 4);
        let last = self.rows.last_applied(SENDER.0, SENDER.1).expect("there is no newer session");
        let attached = Attached { last, attachment, at: NodeId(1) };
        self.push(Way::FromTable(table), 10, Message::Attached(attached));
    }

    fn hear(&mut self, sequence: u32, error: Option<Answer>) {
        let done = error.is_none();
        let ack = Ack { success: done, error, ..Ack::failed(sequence, 0, Answer::Busy {}) };
        match self.book.handle_ack(self.now, &ack) {
            Settled::Answered { .. } => assert!(self.answered.insert(sequence)),
            Settled::GaveUp { command, why } => {
                let (seed, now, sequence) = (self.seed, self.now, command.command.sequence);
                panic!("seed {seed}: {sequence} is given up at {now}: {why:?}")
            }
            Settled::Later => {
                let due = self.book.handle_time(self.now);
                self.send(due);
            }
            Settled::Unknown => {}
        }
    }
}

#[test]
fn every_command_is_carried_out_in_order_whatever_is_refused_on_its_way() {
    let (mut overtakings, mut sent) = (0, 0);
    for seed in 1..=400 {
        let mut run = Run::new(seed);
        run.run();
        let all: Vec<u32> = (1..=COMMANDS).collect();
        assert_eq!(run.applied, all, "seed {seed}");
        assert_eq!(run.answered.into_iter().collect::<Vec<u32>>(), all, "seed {seed}");
        overtakings += run.overtakings;
        sent += run.sent;
    }
    assert!(overtakings > 400, "only {overtakings} were refused with later ones under way");
    let each = f64::from(sent) / f64::from(400 * COMMANDS);
    assert!(each < 6.0, "each command was sent {each} times");
}
