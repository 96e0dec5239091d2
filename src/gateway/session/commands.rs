//! Owns a session's commands until they are answered: to which entities it is
//! attached, what waits for that, what is unanswered. Never sends; the session
//! does. Invariants: an entity is sent a command only while attached; at most
//! so many of one entity are unanswered; what waits for an attachment goes on
//! in order of sequence, each once.

use std::collections::BTreeMap;

use crate::base::{EntityKey, Millis};
use crate::entity::commands::PlayerCommand;

/// Entities of which a session remembers something.
const ENTITIES_MAX: usize = 64;
/// After so long an unanswered command is no longer counted: its client has
/// given it up long before.
const FORGET_MS: u64 = 60_000;

/// What is to be done with a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Send it now.
    Send(PlayerCommand),
    /// It waits: ask for the last sequence applied.
    Attach,
    /// It waits for what was asked before.
    Waits,
    /// Too many are unanswered; it was not taken.
    Busy,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Attachment {
    #[default]
    None,
    Asked,
    Attached,
}

#[derive(Clone, Debug, Default)]
struct Row {
    attachment: Attachment,
    /// Sequence and arrival of each command that is not answered.
    unanswered: BTreeMap<u32, Millis>,
    /// Of those, the ones that wait for the attachment.
    waiting: BTreeMap<u32, PlayerCommand>,
    /// The highest sequence that was counted against the player's limits.
    counted: u32,
}

/// The commands of one session, by entity.
#[derive(Clone, Debug, Default)]
pub struct CommandTable {
    rows: BTreeMap<EntityKey, Row>,
}

impl CommandTable {
    /// Takes a command that came at `now`.
    pub fn take(
        &mut self,
        entity: EntityKey,
        command: PlayerCommand,
        now: Millis,
        unanswered_max: usize,
    ) -> Taken {
        if !self.rows.contains_key(&entity) && !self.make_room() {
            return Taken::Busy;
        }
        let row = self.rows.entry(entity).or_default();
        let sequence = command.sequence;
        row.unanswered.retain(|_, since| now.since(*since) < FORGET_MS);
        if row.unanswered.len() >= unanswered_max && !row.unanswered.contains_key(&sequence) {
            return Taken::Busy;
        }
        row.unanswered.entry(sequence).or_insert(now);
        if row.attachment == Attachment::Attached {
            return Taken::Send(command);
        }
        row.waiting.insert(sequence, command);
        match std::mem::replace(&mut row.attachment, Attachment::Asked) {
            Attachment::None => Taken::Attach,
            Attachment::Asked | Attachment::Attached => Taken::Waits,
        }
    }

    /// Notes that the entity has applied all up to `last`; what waited, in order.
    pub fn note_attached(&mut self, entity: EntityKey, last: u32) -> Vec<PlayerCommand> {
        let Some(row) = self.rows.get_mut(&entity) else { return Vec::new() };
        row.attachment = Attachment::Attached;
        row.counted = row.counted.max(last);
        std::mem::take(&mut row.waiting).into_values().collect()
    }

    /// The attachment was refused; the sequences that waited for it.
    pub fn note_refused(&mut self, entity: EntityKey) -> Vec<u32> {
        let Some(row) = self.rows.get_mut(&entity) else { return Vec::new() };
        row.attachment = Attachment::None;
        let refused: Vec<u32> = std::mem::take(&mut row.waiting).into_keys().collect();
        refused.iter().for_each(|sequence| _ = row.unanswered.remove(sequence));
        refused
    }

    /// The entity is no longer where it was attached; what is unanswered.
    pub fn note_gone(&mut self, entity: EntityKey) -> Vec<u32> {
        let row = self.rows.remove(&entity);
        row.map(|row| row.unanswered.into_keys().collect()).unwrap_or_default()
    }

    /// The next command attaches anew.
    pub fn detach(&mut self, entity: EntityKey) {
        if let Some(row) = self.rows.get_mut(&entity)
            && row.attachment == Attachment::Attached
        {
            row.attachment = Attachment::None;
        }
    }

    /// Whether a command counts against the player's limits: it is no repeat.
    pub fn counts(&self, entity: EntityKey, sequence: u32) -> bool {
        self.rows.get(&entity).is_none_or(|row| sequence > row.counted)
    }

    /// Notes that it was counted.
    pub fn note_counted(&mut self, entity: EntityKey, sequence: u32) {
        if let Some(row) = self.rows.get_mut(&entity) {
            row.counted = row.counted.max(sequence);
        }
    }

    /// A command is answered; when it came.
    pub fn note_answered(&mut self, entity: EntityKey, sequence: u32) -> Option<Millis> {
        self.rows.get_mut(&entity)?.unanswered.remove(&sequence)
    }

    /// Room for one more entity, by forgetting one with nothing unanswered.
    fn make_room(&mut self) -> bool {
        if self.rows.len() < ENTITIES_MAX {
            return true;
        }
        let idle = |row: &Row| row.unanswered.is_empty() && row.attachment != Attachment::Asked;
        let victim = self.rows.iter().find(|(_, row)| idle(row)).map(|(entity, _)| *entity);
        victim.is_some_and(|entity| self.rows.remove(&entity).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{PlayerId, SectorId, SessionId, UnitId};
    use crate::sim::{Command, Instruction, UnitIds};

    const MAX: usize = 32;

    fn entity(x: i64) -> EntityKey {
        EntityKey::Sector(SectorId::tactical(x, 0))
    }

    fn command(sequence: u32) -> PlayerCommand {
        let units = UnitIds::new(vec![UnitId(1)]).unwrap();
        let command = Command::new(units, Instruction::Stop);
        PlayerCommand { player: PlayerId(1), session: SessionId(1), sequence, command }
    }

    #[test]
    fn attaches_before_the_first_command_and_then_goes_on_in_order() {
        let mut table = CommandTable::default();
        let mut take = |n| table.take(entity(0), command(n), Millis(0), MAX);
        assert_eq!(take(2), Taken::Attach);
        assert_eq!(take(3), Taken::Waits);
        assert_eq!(take(1), Taken::Waits);
        assert_eq!(take(2), Taken::Waits, "a repeat waits with the first");
        let sent = table.note_attached(entity(0), 0);
        assert_eq!(sent, [command(1), command(2), command(3)]);
        let next = table.take(entity(0), command(4), Millis(0), MAX);
        assert_eq!(next, Taken::Send(command(4)));
    }

    #[test]
    fn the_33rd_unanswered_is_busy_and_a_repeat_is_not() {
        let mut table = CommandTable::default();
        for n in 1..=32 {
            assert_ne!(table.take(entity(0), command(n), Millis(0), MAX), Taken::Busy);
        }
        assert_eq!(table.take(entity(0), command(33), Millis(0), MAX), Taken::Busy);
        assert_eq!(table.take(entity(0), command(5), Millis(0), MAX), Taken::Waits);
        assert_eq!(table.take(entity(1), command(33), Millis(0), MAX), Taken::Attach);
        table.note_attached(entity(0), 0);
        assert_eq!(table.note_answered(entity(0), 1), Some(Millis(0)));
        assert_eq!(table.note_answered(entity(0), 1), None);
        let freed = table.take(entity(0), command(33), Millis(0), MAX);
        assert_eq!(freed, Taken::Send(command(33)));
    }

    #[test]
    fn repeats_do_not_count_against_limits() {
        let mut table = CommandTable::default();
        table.take(entity(0), command(1), Millis(0), MAX);
        table.note_attached(entity(0), 4);
        assert!(!table.counts(entity(0), 4));
        assert!(table.counts(entity(0), 5));
        table.note_counted(entity(0), 5);
        assert!(!table.counts(entity(0), 5));
    }

    #[test]
    fn a_refused_attachment_frees_what_waited_and_is_asked_again() {
        let mut table = CommandTable::default();
        table.take(entity(0), command(1), Millis(0), MAX);
        table.take(entity(0), command(2), Millis(0), MAX);
        assert_eq!(table.note_refused(entity(0)), [1, 2]);
        assert_eq!(table.take(entity(0), command(1), Millis(0), MAX), Taken::Attach);
    }

    #[test]
    fn remembers_a_bounded_number_of_entities() {
        let mut table = CommandTable::default();
        let most = ENTITIES_MAX as i64;
        for x in 0..most {
            assert_eq!(table.take(entity(x), command(1), Millis(0), MAX), Taken::Attach);
        }
        assert_eq!(table.take(entity(most), command(1), Millis(0), MAX), Taken::Busy);
        table.note_refused(entity(3));
        assert_eq!(table.take(entity(most), command(1), Millis(0), MAX), Taken::Attach);
    }
}
