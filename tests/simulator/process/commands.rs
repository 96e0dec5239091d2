//! Owns what a process of the simulator does with commands: its sessions, with
//! the real one's table of commands, the mailboxes on the way to the tables, and
//! the ways back. What is refused by one table may be overtaken on its way by
//! what another takes.

use starmesh::base::{EntityKey, Millis};
use starmesh::cluster::core::attaching::{Attached, Ticket};
use starmesh::cluster::core::table::{Release, Unavailable};
use starmesh::entity::commands::PlayerCommand;
use starmesh::entity::read::{Query, Reading};
use starmesh::gateway::session::commands::{Refused, Taken};
use starmesh::sim::Command;

use super::{NODE, Process};
use crate::gateway::{Connection, ToClient};
use crate::outside::Outside;
use crate::queue::{InNode, Way};
use crate::scene::Fact;

/// Unanswered commands of a session and entity.
const UNANSWERED_MAX: usize = 32;
/// After so long who waits for an entity to be woken is told that it is busy.
const WAKE_WITHIN_MS: u64 = 3_000;

/// What goes through the mailbox of an entity's actor.
pub enum Mail {
    Admit { connection: u64, entity: EntityKey, ticket: Ticket, command: PlayerCommand },
    Attach { connection: u64, entity: EntityKey },
}

/// What comes back to a session.
pub enum Back {
    Rejected {
        entity: EntityKey,
        ticket: Ticket,
        sequence: u32,
    },
    NotAttached {
        entity: EntityKey,
    },
    /// Whoever still waits for it to be woken waits no longer.
    NotWoken {
        entity: EntityKey,
    },
}

impl Process {
    /// A client's command arrives at its session.
    pub(super) fn take_command(
        &mut self,
        connection: u64,
        (entity, sequence): (EntityKey, u32),
        command: Command,
        outside: &mut Outside,
    ) {
        let Some(known) = self.gateway.connections.get_mut(&connection) else { return };
        let (player, Some(session)) = (known.player, known.session) else { return };
        let command = PlayerCommand { player, session, sequence, command };
        match known.commands.take(entity, command, Millis(outside.now), UNANSWERED_MAX) {
            Taken::Send(command) => self.send_command(connection, entity, command, outside),
            Taken::Attach => self.mail(entity, Mail::Attach { connection, entity }, outside),
            Taken::Waits => {}
            Taken::Busy => self.refuse(connection, &[Refused { sequence, copies: 1 }], outside),
            Taken::AttachAgain => {
                outside.witness.coverage.note("command behind a refused one", 1);
                self.refuse(connection, &[Refused { sequence, copies: 1 }], outside);
            }
            Taken::Full => {
                let what = "a session refuses more than it remembers".into();
                outside.witness.note(&Fact::Never(what));
            }
        }
    }

    fn send_command(
        &mut self,
        connection: u64,
        entity: EntityKey,
        command: PlayerCommand,
        outside: &mut Outside,
    ) {
        let known = self.gateway.connections.get_mut(&connection);
        let ticket = known.and_then(|known| known.commands.take_ticket(entity));
        let Some((_, ticket)) = ticket else { return };
        self.mail(entity, Mail::Admit { connection, entity, ticket, command }, outside);
    }

    /// To the actor that the registry names now.
    fn mail(&mut self, entity: EntityKey, mail: Mail, outside: &mut Outside) {
        let table = self.table_of(entity);
        outside.send_in_node(self.id, Way::Mailbox(table), InNode::Mail(table, mail));
    }

    /// An actor takes a message out of its mailbox.
    pub(super) fn handle_mail(&mut self, table: usize, mail: Mail, outside: &mut Outside) {
        match mail {
            Mail::Admit { connection, entity, ticket, command } => {
                self.admit(table, connection, (entity, ticket), command, outside);
            }
            Mail::Attach { connection, entity } => self.attach(table, connection, entity, outside),
        }
        self.flush(table, outside);
    }

    fn admit(
        &mut self,
        table: usize,
        connection: u64,
        (entity, ticket): (EntityKey, Ticket),
        command: PlayerCommand,
        outside: &mut Outside,
    ) {
        let sequence = command.sequence;
        let admitted = self.tables[table].admit(entity, ticket, command);
        match admitted {
            Ok(()) if self.closed[table] => {
                let what = format!("{entity} took a command while time stands still");
                outside.witness.note(&Fact::Never(what));
            }
            Err(Unavailable::Busy) => outside.witness.note(&Fact::Busy("command busy")),
            Err(Unavailable::AttachAgain) => {
                outside.witness.coverage.note("command of another attachment", 1);
            }
            Err(Unavailable::NotHere) => {
                self.turned_away.entry(entity).or_default().insert((connection, sequence));
                self.wake(entity, "woken by a command", outside);
            }
            Ok(()) | Err(_) => {}
        }
        if admitted.is_err() {
            let back = Back::Rejected { entity, ticket, sequence };
            self.send_back(table, connection, back, outside);
        }
    }

    fn attach(&mut self, table: usize, connection: u64, entity: EntityKey, outside: &mut Outside) {
        let Some(known) = self.gateway.connections.get(&connection) else { return };
        let (player, Some(session)) = (known.player, known.session) else { return };
        let asked =
            self.tables[table].read(connection, entity, &Query::Applied { player, session });
        match asked {
            Ok(()) => {}
            Err(Unavailable::NotHere) => {
                self.attaching.entry(entity).or_default().insert(connection);
                self.wake(entity, "woken by an attach", outside);
                let back = InNode::Back(connection, Back::NotWoken { entity });
                outside.later_in_node(self.id, WAKE_WITHIN_MS, back);
            }
            Err(_) => {
                let back = Back::NotAttached { entity };
                self.send_back(table, connection, back, outside);
            }
        }
    }

    /// It runs, or has no record: who waits to attach asks again, or is told.
    pub(super) fn end_waking(&mut self, entity: EntityKey, runs: bool, outside: &mut Outside) {
        for connection in self.attaching.remove(&entity).unwrap_or_default() {
            if runs {
                self.mail(entity, Mail::Attach { connection, entity }, outside);
            } else {
                self.not_attached(connection, entity, true, outside);
            }
        }
    }

    fn send_back(&mut self, table: usize, connection: u64, back: Back, outside: &mut Outside) {
        outside.send_in_node(self.id, Way::Back(table), InNode::Back(connection, back));
    }

    pub(super) fn handle_back(&mut self, connection: u64, back: Back, outside: &mut Outside) {
        match back {
            Back::Rejected { entity, ticket, sequence } => {
                self.rejected(connection, entity, ticket, sequence, outside);
            }
            Back::NotAttached { entity } => self.not_attached(connection, entity, false, outside),
            Back::NotWoken { entity } => {
                let waiting = self.attaching.get_mut(&entity);
                if waiting.is_some_and(|waiting| waiting.remove(&connection)) {
                    self.not_attached(connection, entity, false, outside);
                }
            }
        }
    }

    fn rejected(
        &mut self,
        connection: u64,
        entity: EntityKey,
        ticket: Ticket,
        sequence: u32,
        outside: &mut Outside,
    ) {
        let Some(known) = self.gateway.connections.get_mut(&connection) else { return };
        let all = known.commands.note_rejected(entity, ticket.attachment, (sequence, true));
        let is_later = |refused: &Refused| refused.sequence > sequence;
        let overtaking = all.iter().any(is_later);
        outside.witness.coverage.note("refused with later ones under way", overtaking.into());
        self.refuse(connection, &all, outside);
    }

    fn not_attached(
        &mut self,
        connection: u64,
        entity: EntityKey,
        never: bool,
        outside: &mut Outside,
    ) {
        let Some(known) = self.gateway.connections.get_mut(&connection) else { return };
        let client = known.client;
        for Refused { sequence, .. } in known.commands.note_refused(entity, !never) {
            let message = ToClient::Rejected { sequence, never };
            outside.send_to_client(client, connection, message);
        }
    }

    /// A place that a session observes runs there no more.
    pub(super) fn note_gone(&mut self, connection: u64, entity: EntityKey, outside: &mut Outside) {
        let known = self.gateway.connections.get_mut(&connection);
        let all = known.map(|known| known.commands.note_gone(entity)).unwrap_or_default();
        outside.witness.coverage.note("refused when its place was gone", all.len() as u64);
        self.refuse(connection, &all, outside);
    }

    /// The commands come again.
    fn refuse(&mut self, connection: u64, all: &[Refused], outside: &mut Outside) {
        let Some(known) = self.gateway.connections.get(&connection) else { return };
        for Refused { sequence, copies } in all.iter().copied() {
            for _ in 0..copies {
                let message = ToClient::Rejected { sequence, never: false };
                outside.send_to_client(known.client, connection, message);
            }
        }
    }

    /// A table released the answer to an attachment.
    pub(super) fn note_attached(&mut self, release: &Release, outside: &mut Outside) {
        let Release::Read { ask, entity, reading: Reading::Applied(last), attached, .. } = *release
        else {
            return;
        };
        let Some(known) = self.gateway.connections.get_mut(&ask) else { return };
        let &mut Connection { client, player, session: Some(session), .. } = known else { return };
        outside.witness.note(&Fact::Attached { entity, player, session, last });
        let Some((last, attachment)) = last.zip(attached) else {
            return outside.send_to_client(client, ask, ToClient::SessionEnded(session));
        };
        for command in known.commands.note_attached(entity, Attached { last, attachment, at: NODE })
        {
            self.send_command(ask, entity, command, outside);
        }
    }
}
