use super::*;
use crate::base::{NodeId, PlayerId, SectorId, SessionId, UnitId};
use crate::sim::{Command, Instruction, UnitIds};

const MAX: usize = 32;
/// The node that has all entities.
const OWNER: NodeId = NodeId(3);

fn entity(x: i64) -> EntityKey {
    EntityKey::Sector(SectorId::tactical(x, 0))
}

fn command(sequence: u32) -> PlayerCommand {
    let units = UnitIds::new(vec![UnitId(1)]).unwrap();
    let command = Command::new(units, Instruction::Stop);
    PlayerCommand { player: PlayerId(1), session: SessionId(1), sequence, command }
}

fn attached(last: u32, number: u64) -> Attached {
    Attached { last, attachment: Attachment(number), at: OWNER }
}

fn refused(sequence: u32, copies: u32) -> Refused {
    Refused { sequence, copies }
}

impl CommandTable {
    fn takes(&mut self, sequence: u32) -> Taken {
        self.take(entity(0), command(sequence), Millis(0), MAX)
    }

    /// Those sequences come and are sent on.
    fn sends(&mut self, sequences: impl IntoIterator<Item = u32>) {
        for n in sequences {
            assert_eq!(self.takes(n), Taken::Send(command(n)));
            assert!(self.take_ticket(entity(0)).is_some());
        }
    }

    fn is_rejected(&mut self, number: u64, sequence: u32) -> Vec<Refused> {
        self.note_rejected(entity(0), Attachment(number), (sequence, true))
    }
}

/// Attached under that number, with nothing unanswered.
fn open(number: u64) -> CommandTable {
    let mut table = CommandTable::default();
    assert_eq!(table.takes(1), Taken::Attach);
    assert_eq!(table.note_attached(entity(0), attached(0, number)), [command(1)]);
    assert!(table.note_answered(entity(0), 1).is_some());
    table
}

#[test]
fn attaches_before_the_first_command_and_then_goes_on_in_order() {
    let mut table = CommandTable::default();
    assert_eq!(table.takes(2), Taken::Attach);
    assert_eq!(table.takes(3), Taken::Waits);
    assert_eq!(table.takes(1), Taken::Waits);
    assert_eq!(table.takes(2), Taken::Waits, "a repeat waits with the first");
    assert_eq!(table.take_ticket(entity(0)), None);
    let sent = table.note_attached(entity(0), attached(0, 9));
    assert_eq!(sent, [command(1), command(2), command(3)]);
    assert_eq!(table.takes(4), Taken::Send(command(4)));
    let ticket = |nth| Ticket { attachment: Attachment(9), nth };
    let tickets = [0, 1].map(|nth| Some((OWNER, ticket(nth))));
    assert_eq!([(); 2].map(|()| table.take_ticket(entity(0))), tickets);
}

#[test]
fn the_33rd_unanswered_is_busy_and_a_repeat_is_not() {
    let mut table = CommandTable::default();
    for n in 1..=32 {
        assert_ne!(table.takes(n), Taken::Busy);
    }
    assert_eq!(table.takes(33), Taken::Busy);
    assert_eq!(table.takes(5), Taken::Waits);
    assert_eq!(table.take(entity(1), command(33), Millis(0), MAX), Taken::Attach);
    table.note_attached(entity(0), attached(0, 9));
    assert_eq!(table.note_answered(entity(0), 1), Some(Millis(0)));
    assert_eq!(table.note_answered(entity(0), 1), None);
    assert_eq!(table.takes(33), Taken::Send(command(33)));
}

#[test]
fn nothing_overtakes_one_that_was_busy_here() {
    let mut table = CommandTable::default();
    (1..=32).for_each(|n| _ = table.takes(n));
    assert_eq!(table.takes(33), Taken::Busy);
    table.note_attached(entity(0), attached(0, 9));
    table.note_answered(entity(0), 1);
    assert_eq!(table.takes(34), Taken::AttachAgain, "there is room, but not for this");
    assert_eq!(table.takes(33), Taken::Send(command(33)));
}

#[test]
fn repeats_do_not_count_against_limits() {
    let mut table = CommandTable::default();
    table.takes(1);
    table.note_attached(entity(0), attached(4, 9));
    assert!(!table.counts(entity(0), 4));
    assert!(table.counts(entity(0), 5));
    table.note_counted(entity(0), 5);
    assert!(!table.counts(entity(0), 5));
    table.sends([5]);
    table.is_rejected(9, 5);
    assert!(!table.counts(entity(0), 5), "it comes again and was counted");
}

#[test]
fn a_refused_attachment_frees_what_waited_and_is_asked_again() {
    let mut table = CommandTable::default();
    table.takes(1);
    table.takes(2);
    assert_eq!(table.note_refused(entity(0), true), [refused(1, 1), refused(2, 1)]);
    assert_eq!(table.takes(3), Taken::AttachAgain);
    assert_eq!(table.takes(1), Taken::Attach);
}

#[test]
fn a_rejection_refuses_all_that_is_unanswered_and_what_comes_behind() {
    let mut table = open(9);
    table.sends([2, 3, 4, 3]);
    table.note_answered(entity(0), 2);
    assert_eq!(table.is_rejected(9, 4), [refused(3, 2), refused(4, 1)]);
    // From before the client knew: it goes on where it was.
    assert_eq!(table.takes(4), Taken::AttachAgain);
    assert_eq!(table.takes(5), Taken::AttachAgain);
    // It knows, and begins again.
    assert_eq!(table.takes(3), Taken::Attach);
    assert_eq!((table.takes(4), table.takes(5)), (Taken::Waits, Taken::Waits));
    // What is said of the old attachment was said before.
    assert_eq!(table.is_rejected(9, 3), []);
    let sent = table.note_attached(entity(0), attached(2, 10));
    assert_eq!(sent, [command(3), command(4), command(5)]);
    assert_eq!(table.is_rejected(9, 4), []);
    table.sends([6]);
}

/// The repeat of 4 was sent before its client knew, and so was that of 5.
#[test]
fn a_round_that_began_before_the_client_knew_does_not_open_in_its_middle() {
    let mut table = open(9);
    table.sends([4, 5, 4]);
    assert_eq!(table.is_rejected(9, 4), [refused(4, 2), refused(5, 1)]);
    assert_eq!(table.takes(5), Taken::AttachAgain);
    assert_eq!(table.takes(4), Taken::Attach);
    assert_eq!(table.takes(5), Taken::Waits);
}

#[test]
fn the_last_word_on_the_only_one_under_way_shuts_nothing() {
    let mut table = open(9);
    table.sends([2]);
    assert_eq!(table.note_rejected(entity(0), Attachment(9), (2, false)), [refused(2, 1)]);
    assert_eq!(table.takes(3), Taken::Attach);
    let mut table = open(9);
    table.sends([2, 3]);
    let all = table.note_rejected(entity(0), Attachment(9), (2, false));
    assert_eq!(all, [refused(2, 1), refused(3, 1)]);
    assert_eq!(table.takes(4), Taken::AttachAgain);
    assert_eq!(table.takes(3), Taken::Attach);
}

#[test]
fn a_place_that_is_gone_refuses_what_is_unanswered() {
    let mut table = open(9);
    table.sends([2, 3]);
    assert_eq!(table.note_gone(entity(0)), [refused(2, 1), refused(3, 1)]);
    assert_eq!(table.takes(4), Taken::AttachAgain);
    assert_eq!(table.takes(2), Taken::Attach);
    assert_eq!(table.note_gone(entity(1)), []);
}

#[test]
fn what_waits_for_an_attachment_waits_on_when_the_place_is_gone() {
    let mut table = open(9);
    table.sends([2, 3]);
    table.is_rejected(9, 2);
    assert_eq!((table.takes(2), table.takes(3)), (Taken::Attach, Taken::Waits));
    // It was sent nowhere, and the answer is still to come, from where it is now.
    assert_eq!(table.note_gone(entity(0)), []);
    assert_eq!(table.takes(4), Taken::Waits);
    let elsewhere = Attached { at: NodeId(4), ..attached(1, 10) };
    assert_eq!(table.note_attached(entity(0), elsewhere), [command(2), command(3), command(4)]);
    assert_eq!(table.take_ticket(entity(0)).map(|(at, _)| at), Some(NodeId(4)));
}

#[test]
fn a_late_answer_ends_the_wait_of_the_copy_that_came_behind() {
    let mut table = open(9);
    table.sends([2, 3]);
    table.is_rejected(9, 3);
    assert_eq!((table.takes(2), table.takes(3)), (Taken::Attach, Taken::Waits));
    assert!(table.note_answered(entity(0), 2).is_some());
    assert_eq!(table.note_attached(entity(0), attached(2, 10)), [command(3)]);
}

#[test]
fn commands_a_bounded_number_of_entities_at_a_time() {
    let mut table = CommandTable::default();
    let most = ENTITIES_MAX as i64;
    let mut take = |x, n| table.take(entity(x), command(n), Millis(0), MAX);
    for x in 0..most {
        assert_eq!(take(x, 1), Taken::Attach);
    }
    assert_eq!(take(most, 1), Taken::Busy);
    assert_eq!(take(most, 2), Taken::AttachAgain);
    table.note_refused(entity(3), true);
    let mut take = |x, n| table.take(entity(x), command(n), Millis(0), MAX);
    assert_eq!(take(most, 3), Taken::AttachAgain, "the first one is still missing");
    assert_eq!(take(most, 1), Taken::Attach);
}

#[test]
fn remembers_a_bounded_number_of_entities_and_says_when_it_is_full() {
    let mut table = CommandTable::default();
    let most = ROWS_MAX as i64;
    for x in 0..most {
        let taken = table.take(entity(x), command(1), Millis(0), MAX);
        assert!(matches!(taken, Taken::Attach | Taken::Busy), "{taken:?}");
    }
    assert_eq!(table.take(entity(most), command(1), Millis(0), MAX), Taken::Full);
    // One that has nothing to come again is forgotten.
    table.note_attached(entity(5), attached(1, 1));
    table.note_answered(entity(5), 1);
    assert_eq!(table.take(entity(most), command(1), Millis(0), MAX), Taken::Attach);
    assert_eq!(table.rows.len(), ROWS_MAX);
}
