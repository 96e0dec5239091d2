//! Owns the players of a storm: devices with sessions at gateways of any node, that
//! give orders, say again what is not answered, at times also what is, and go to
//! another gateway or take a session over. Never knows more than a client may, but
//! for where units are. What they send and hear is late, lost and doubled as all that
//! nodes send. Invariant: a command goes to one entity for ever, and what was answered
//! is answered the same again.

use std::collections::BTreeMap;

use starmesh::base::{EntityKey, Millis, NodeId, SessionId, UnitId};
use starmesh::cluster::core::attaching::Attached;
use starmesh::cluster::core::table::Release;
use starmesh::entity::commands::{CommandAnswer, CommandResult, PlayerCommand};
use starmesh::entity::effect::PlayerEffect;
use starmesh::entity::read::Reading;
use starmesh::gateway::session::commands::{CommandTable, Taken};
use starmesh::sim::Command;

use super::Cluster;
use super::device::{Device, Line, Pending, invent, near};
use super::post::{Attachable, Mail, Post};
use crate::random::Random;
use crate::scene::Fact;

/// Unanswered commands of a session and entity.
const UNANSWERED_MAX: usize = 32;
/// A client waits for so many answers before it gives more orders.
const PENDING_MAX: usize = 8;
/// After so long who waits for a session, or to attach, asks again.
const ASK_MS: u64 = 2_000;
/// Who has none for so long comes anew.
const NEW_LINE_MS: u64 = 7_000;
/// Numbers of connections and questions that nothing else has.
const FIRST: u64 = 1 << 32;

/// What is around the players, and their chance.
pub struct Out<'o> {
    pub cluster: &'o mut Cluster,
    pub random: &'o mut Random,
}

/// All players' devices.
pub struct Clients {
    devices: Vec<Device>,
    post: Post,
    /// The last connection, and the last question to a table.
    numbers: (u64, u64),
    /// Who asked to attach to what, over which connection.
    asked: BTreeMap<u64, (u64, EntityKey)>,
    calm: bool,
    /// Answers heard a second time, and commands that were answered.
    pub again: u64,
    pub heard: u64,
}

impl Clients {
    pub fn new() -> Clients {
        Clients {
            devices: Vec::new(),
            post: Post::default(),
            numbers: (FIRST, FIRST),
            asked: BTreeMap::new(),
            calm: false,
            again: 0,
            heard: 0,
        }
    }

    /// A player's device; `session` and the last sequence used in it, if it has one.
    pub fn add(&mut self, player: u64, units: &[UnitId], session: Option<(SessionId, u32)>) {
        self.devices.push(Device::new(player, units, session));
    }

    /// From now on each waits until all is answered, and one more order of its own.
    pub fn calm(&mut self) {
        self.calm = true;
    }

    /// Who waits for something yet.
    pub fn unsettled(&self) -> Option<String> {
        let waits = |device: &&Device| {
            let open = device.line.as_ref().is_some_and(|line| line.is_open);
            !(device.retired || open && device.pending.is_empty() && device.obeyed)
        };
        let device = self.devices.iter().find(waits)?;
        let pending: Vec<_> = device.pending.iter().map(|(n, it)| (n, it.entity)).collect();
        let (player, session, obeyed) = (device.player, device.session, device.obeyed);
        Some(format!("{player} in session {session:?} waits for {pending:?}, obeyed: {obeyed}"))
    }

    /// Everything that is due by now.
    pub fn step(&mut self, out: &mut Out<'_>) {
        for (from, release) in std::mem::take(&mut out.cluster.witness.said) {
            self.route(from, release, out);
        }
        for mail in self.post.due(out.cluster.now) {
            self.deliver(mail, out);
        }
        for index in 0..self.devices.len() {
            if out.cluster.now >= self.devices[index].acts_at {
                self.devices[index].acts_at = out.cluster.now + out.random.within(50..=500);
                self.act(index, out);
            }
        }
    }

    /// What a node let out goes to whom it is for.
    fn route(&mut self, from: NodeId, release: Release, out: &mut Out<'_>) {
        // The cluster has one in every storm.
        let history = out.cluster.witness.history.as_mut().expect("a history");
        match release {
            Release::Read { ask, entity, reading: Reading::Applied(last), attached, .. } => {
                let Some((connection, _)) = self.asked.remove(&ask) else { return };
                let Some(device) = self.at(connection) else { return };
                // One that was deposed and does not know it yet tells what it knew; it
                // takes nothing for that any more.
                let incarnation = out.cluster.nodes.get(&from).map(|node| node.core.incarnation());
                let is_owners = history.owner(entity) == incarnation.map(|it| (from, it));
                if let Some(session) = device.session.filter(|_| is_owners) {
                    let player = device.player;
                    history.note(&Fact::Attached { entity, player, session, last });
                }
                let attached = last.zip(attached);
                let attached =
                    attached.map(|(last, attachment)| Attached { last, attachment, at: from });
                let answer = attached.map_or(Attachable::Ended, Attachable::Now);
                self.send_back(
                    from,
                    connection,
                    Mail::Attached { connection, entity, ask, answer },
                    out,
                );
            }
            Release::Player(effect) => {
                if let PlayerEffect::Answered(answer) = &effect {
                    history.note(&Fact::Heard(answer));
                    history.note(&Fact::Released(&Release::Player(effect.clone())));
                }
                for connection in self.concerned(&effect) {
                    let mail = Mail::Told { connection, effect: effect.clone() };
                    self.send_back(from, connection, mail, out);
                }
            }
            _ => {}
        }
    }

    fn at(&self, connection: u64) -> Option<&Device> {
        let has = |line: &Line| line.connection == connection;
        self.devices.iter().find(|device| device.line.as_ref().is_some_and(has))
    }

    fn index_of(&self, connection: u64) -> Option<usize> {
        let has = |line: &Line| line.connection == connection;
        self.devices.iter().position(|device| device.line.as_ref().is_some_and(has))
    }

    fn concerned(&self, effect: &PlayerEffect) -> Vec<u64> {
        let (player, session) = match effect {
            PlayerEffect::Connected(it) => return vec![it.connection],
            PlayerEffect::Answered(it) => (it.player, it.session),
            PlayerEffect::SessionEnded { player, session }
            | PlayerEffect::Presence { player, session, .. } => (*player, *session),
        };
        let devices = self.devices.iter();
        let devices = devices.filter(|it| (it.player, it.session) == (player, Some(session)));
        devices.filter_map(|device| device.line.as_ref().map(|line| line.connection)).collect()
    }

    fn send_back(&mut self, from: NodeId, connection: u64, mail: Mail, out: &mut Out<'_>) {
        let to = self.at(connection).and_then(|it| it.line.as_ref()).map(|line| line.node);
        if let Some(to) = to {
            self.post.send(out.cluster, out.random, (from, to), mail);
        }
    }

    /// To the node where an entity is thought to be.
    fn send(&mut self, index: usize, to: EntityKey, mail: Mail, out: &mut Out<'_>) {
        let Some(line) = &self.devices[index].line else { return };
        let owner = out.cluster.owner(to).filter(|_| !out.random.chance(100));
        let home = owner.or_else(|| out.cluster.directory().node_of(to));
        if let Some(node) = home {
            let mail = Mail::At { node, mail: Box::new(mail) };
            self.post.send(out.cluster, out.random, (line.node, node), mail);
        }
    }

    fn deliver(&mut self, mail: Mail, out: &mut Out<'_>) {
        match mail {
            Mail::At { node, mail } => {
                if let Some((connection, mail)) = mail.arrive(node, out.cluster) {
                    self.send_back(node, connection, mail, out);
                }
            }
            Mail::Attached { connection, entity, ask, answer } => {
                if let Some(index) = self.index_of(connection) {
                    self.attached(index, (entity, ask), answer, out);
                }
            }
            Mail::Rejected { connection, entity, ticket, sequence } => {
                let Some(index) = self.index_of(connection) else { return };
                if let Some(line) = &mut self.devices[index].line {
                    line.commands.note_rejected(entity, ticket.attachment, (sequence, true));
                }
            }
            Mail::Told { connection, effect } => {
                if let Some(index) = self.index_of(connection) {
                    self.told(index, effect, out.cluster.now);
                }
            }
            Mail::Propose { .. } | Mail::Attach { .. } | Mail::Admit { .. } => {}
        }
    }

    fn attached(
        &mut self,
        index: usize,
        (entity, ask): (EntityKey, u64),
        answer: Attachable,
        out: &mut Out<'_>,
    ) {
        let device = &mut self.devices[index];
        let Some(line) = &mut device.line else { return };
        if line.attaching.get(&entity).is_none_or(|(_, asked)| *asked != ask) {
            return;
        }
        line.attaching.remove(&entity);
        match answer {
            Attachable::Now(attached) => {
                for command in line.commands.note_attached(entity, attached) {
                    self.pass(index, entity, command, out);
                }
            }
            Attachable::Ended => device.lose_session(self.calm, out.cluster.now),
            Attachable::Later => _ = line.commands.note_refused(entity, true),
            Attachable::Never => {
                let refused = line.commands.note_refused(entity, false);
                refused.iter().for_each(|it| _ = device.pending.remove(&it.sequence));
            }
        }
    }

    /// What the session lets through goes to its entity.
    fn pass(&mut self, index: usize, entity: EntityKey, command: PlayerCommand, out: &mut Out<'_>) {
        let Some(line) = &mut self.devices[index].line else { return };
        let Some((at, ticket)) = line.commands.take_ticket(entity) else { return };
        let mail = Mail::Admit { connection: line.connection, entity, ticket, command };
        if out.random.chance(100) {
            // At times it is sent wrong.
            return self.send(index, entity, mail, out);
        }
        let mail = Mail::At { node: at, mail: Box::new(mail) };
        self.post.send(out.cluster, out.random, (line.node, at), mail);
    }

    fn told(&mut self, index: usize, effect: PlayerEffect, now: u64) {
        let calm = self.calm;
        let device = &mut self.devices[index];
        match effect {
            PlayerEffect::Connected(connected) => device.connected(&connected),
            PlayerEffect::SessionEnded { session, .. } if device.session == Some(session) => {
                device.lose_session(calm, now);
            }
            PlayerEffect::Answered(answer) if device.session == Some(answer.session) => {
                self.answered(index, answer, now);
            }
            _ => {}
        }
    }

    fn answered(&mut self, index: usize, answer: CommandAnswer, now: u64) {
        let calm = self.calm;
        let device = &mut self.devices[index];
        if answer.result == CommandResult::SessionEnded {
            return device.lose_session(calm, now);
        }
        if let Some(line) = &mut device.line {
            line.commands.note_answered(answer.entity, answer.sequence);
        }
        if let Some((_, first)) = device.answered.get(&answer.sequence) {
            device.check_again(first, &answer);
            self.again += 1;
        }
        if let Some(pending) = device.pending.remove(&answer.sequence) {
            device.obeyed |= calm && matches!(answer.result, CommandResult::Done(_));
            device.answered.insert(answer.sequence, (pending.command, answer));
            self.heard += 1;
        }
    }

    fn act(&mut self, index: usize, out: &mut Out<'_>) {
        let calm = self.calm;
        let device = &mut self.devices[index];
        if device.retired {
            return;
        }
        let runs = |line: &Line| out.cluster.nodes.contains_key(&line.node);
        if device.line.as_ref().is_none_or(|line| !runs(line) || !calm && out.random.chance(15)) {
            return self.connect(index, out);
        }
        let is_open = device.line.as_ref().is_some_and(|line| line.is_open);
        if !is_open {
            return self.connect_again(index, out);
        }
        self.detach_late(index, out.cluster.now);
        self.resend_due(index, out);
        let device = &self.devices[index];
        let is_last = calm && device.pending.is_empty() && !device.obeyed;
        if is_last || !calm && out.random.chance(400) {
            self.order(index, out);
        }
        if !calm && out.random.chance(100) {
            self.repeat(index, out);
        }
    }

    /// Over another gateway; the session, if there is one, goes on.
    fn connect(&mut self, index: usize, out: &mut Out<'_>) {
        let nodes: Vec<NodeId> = out.cluster.nodes.keys().copied().collect();
        let Some(node) = out.random.pick(&nodes).copied() else { return };
        self.numbers.0 += 1;
        let connection = self.numbers.0;
        let calm = self.calm;
        let device = &mut self.devices[index];
        let (attaching, commands) = (BTreeMap::new(), CommandTable::default());
        let (since, asked, is_open) = (out.cluster.now, out.cluster.now, false);
        device.line = Some(Line { node, connection, is_open, since, asked, commands, attaching });
        // At times it does not know its session any more, and takes over.
        let resume = device.session.filter(|_| calm || out.random.chance(850));
        self.ask_for_session(index, (connection, resume, false), out);
    }

    fn connect_again(&mut self, index: usize, out: &mut Out<'_>) {
        let device = &mut self.devices[index];
        let Some(line) = &mut device.line else { return };
        if out.cluster.now < line.asked + ASK_MS {
            return;
        }
        if out.cluster.now > line.since + NEW_LINE_MS {
            // With another connection there since it is not answered.
            return self.connect(index, out);
        }
        line.asked = out.cluster.now;
        let ask = (line.connection, device.session, true);
        self.ask_for_session(index, ask, out);
    }

    fn ask_for_session(
        &mut self,
        index: usize,
        (connection, resume, again): (u64, Option<SessionId>, bool),
        out: &mut Out<'_>,
    ) {
        let player = self.devices[index].player;
        let ledger = out.cluster.world.ledger_of(player);
        let mail = Mail::connect(ledger, player, connection, resume, again);
        self.send(index, ledger, mail, out);
    }

    /// Who waited too long to attach asks anew with the next command.
    fn detach_late(&mut self, index: usize, now: u64) {
        let Some(line) = &mut self.devices[index].line else { return };
        let late = line.attaching.extract_if(.., |_, (since, _)| now > *since + ASK_MS);
        for (entity, _) in late.collect::<Vec<_>>() {
            line.commands.note_refused(entity, true);
        }
    }

    /// Says again what is not answered: all for an entity, in order.
    fn resend_due(&mut self, index: usize, out: &mut Out<'_>) {
        let pending = self.devices[index].pending.values();
        let due = pending.filter(|it| out.cluster.now >= it.due).map(|it| it.entity);
        let due: std::collections::BTreeSet<EntityKey> = due.collect();
        due.into_iter().for_each(|entity| self.resend(index, entity, out));
    }

    fn resend(&mut self, index: usize, entity: EntityKey, out: &mut Out<'_>) {
        let pending = &mut self.devices[index].pending;
        let all = pending.iter_mut().filter(|(_, pending)| pending.entity == entity);
        let mut commands = Vec::new();
        for (sequence, pending) in all {
            pending.due = out.cluster.now + out.random.within(300..=3_000);
            commands.push((*sequence, pending.command.clone()));
        }
        for (sequence, command) in commands {
            self.say(index, entity, (sequence, command), out);
        }
    }

    /// A command arrives at its session.
    fn say(
        &mut self,
        index: usize,
        entity: EntityKey,
        (sequence, command): (u32, Command),
        out: &mut Out<'_>,
    ) {
        let device = &mut self.devices[index];
        let (Some(line), Some(session)) = (&mut device.line, device.session) else { return };
        let command = PlayerCommand { player: device.player, session, sequence, command };
        match line.commands.take(entity, command, Millis(out.cluster.now), UNANSWERED_MAX) {
            Taken::Send(command) => self.pass(index, entity, command, out),
            Taken::Attach => {
                self.numbers.1 += 1;
                let ask = self.numbers.1;
                line.attaching.insert(entity, (out.cluster.now, ask));
                self.asked.insert(ask, (line.connection, entity));
                let sender = (device.player, session);
                let mail = Mail::Attach { connection: line.connection, entity, ask, sender };
                self.send(index, entity, mail, out);
            }
            // It comes again.
            Taken::Waits | Taken::Busy | Taken::AttachAgain | Taken::Full => {}
        }
    }

    fn order(&mut self, index: usize, out: &mut Out<'_>) {
        let device = &self.devices[index];
        let Some(session) = device.session.filter(|_| device.pending.len() < PENDING_MAX) else {
            return;
        };
        let Some(unit) = out.random.pick(&device.units).copied() else { return };
        let history = out.cluster.witness.history.as_mut().expect("a history");
        let Some(place) = history.place(unit) else { return };
        // At times it is behind: the unit has gone.
        let is_lost = !self.calm && out.random.chance(100);
        let to = if is_lost { near(place, out.random) } else { place };
        let (entity, command) = (EntityKey::Sector(to), invent(unit, place, out.random));
        let device = &mut self.devices[index];
        device.sequence += 1;
        let (sequence, player) = (device.sequence, device.player);
        let sent = PlayerCommand { player, session, sequence, command: command.clone() };
        history.note(&Fact::Commanded { entity, command: &sent });
        let due = out.cluster.now + out.random.within(300..=3_000);
        device.pending.insert(sequence, Pending { entity, command: command.clone(), due });
        self.say(index, entity, (sequence, command), out);
    }

    /// Says once more what was answered, and all behind it.
    fn repeat(&mut self, index: usize, out: &mut Out<'_>) {
        let answered: Vec<u32> = self.devices[index].answered.keys().copied().collect();
        let Some(sequence) = out.random.pick(&answered).copied() else { return };
        let (command, answer) = self.devices[index].answered[&sequence].clone();
        self.say(index, answer.entity, (sequence, command), out);
        self.resend(index, answer.entity, out);
    }
}
