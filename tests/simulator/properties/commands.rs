//! Of one session a sequence is applied at most once and never after a higher
//! one; a repeated command is answered as it was the first time.

use std::collections::BTreeMap;

use proptest::prelude::*;
use starmesh::base::{EntityKey, Millis, PlayerId, SectorId, SessionId, Tick, UnitId};
use starmesh::entity::commands::{
    Admission, CommandAnswer, CommandResult, CommandRows, FORGET_MS, PlayerCommand, RESULTS_MAX,
};
use starmesh::sim::orders::{Refusal, Refused};
use starmesh::sim::{Command, Instruction, UnitIds};

const HERE: EntityKey = EntityKey::Sector(SectorId { x: 3, y: 4, scale: 0 });

fn command(player: u64, session: u64, sequence: u32) -> PlayerCommand {
    let units = UnitIds::new(vec![UnitId(1)]).expect("one unit");
    let command = Command::new(units, Instruction::Stop);
    PlayerCommand { player: PlayerId(player), session: SessionId(session), sequence, command }
}

/// The answer to the n-th applied command: no two are equal.
fn answer(command: &PlayerCommand, n: u64) -> CommandAnswer {
    let refused = Refused { rule: Refusal::UnknownUnit, unit: Some(UnitId(n)) };
    CommandAnswer {
        entity: HERE,
        player: command.player,
        session: command.session,
        sequence: command.sequence,
        result: CommandResult::Refused(refused),
        tick: Tick(n),
        record: n,
    }
}

proptest! {
    #[test]
    fn a_command_is_applied_once_and_in_order(
        commands in prop::collection::vec((0_u64..2, 1_u64..4, 1_u32..80), 0..300)
    ) {
        let mut rows = CommandRows::default();
        let mut last = BTreeMap::new();
        let mut answers: BTreeMap<(u64, u64, u32), CommandAnswer> = BTreeMap::new();
        for (n, (player, session, sequence)) in (1..).zip(commands) {
            let command = command(player, session, sequence);
            let newest = last.get(&player).copied().unwrap_or((0, 0));
            match rows.judge(HERE, command.key()) {
                Admission::Apply => {
                    prop_assert!((session, sequence) > newest);
                    let answer = answer(&command, n);
                    rows.note_applied(&answer, Millis(n));
                    last.insert(player, (session, sequence));
                    prop_assert!(answers.insert((player, session, sequence), answer).is_none());
                }
                Admission::Answer(said) => {
                    prop_assert!((session, sequence) <= newest);
                    let applied = answers.get(&(player, session, sequence));
                    let later = answers.range((player, session, sequence)..(player, session + 1, 0));
                    let expected = if session < newest.0 {
                        CommandResult::SessionEnded
                    } else if applied.is_some() && later.count() <= RESULTS_MAX {
                        prop_assert_eq!(Some(&said), applied);
                        continue;
                    } else {
                        CommandResult::NotHere
                    };
                    prop_assert_eq!(said.result, expected);
                }
            }
        }
    }
}

#[test]
fn a_row_is_forgotten_ten_minutes_after_its_last_command() {
    let mut rows = CommandRows::default();
    let first = command(1, 1, 5);
    rows.note_applied(&answer(&first, 1), Millis(1000));
    rows.expire(Millis(1000 + FORGET_MS - 1));
    assert_eq!(rows.last_applied(PlayerId(1), SessionId(1)), Some(5));
    assert_eq!(rows.next_due(), Some(Millis(1000 + FORGET_MS)));
    rows.expire(Millis(1000 + FORGET_MS));
    assert_eq!(rows.last_applied(PlayerId(1), SessionId(1)), Some(0));
}

#[test]
fn downtime_does_not_make_a_row_older() {
    let mut rows = CommandRows::default();
    rows.note_applied(&answer(&command(1, 1, 5), 1), Millis(1000));
    let back = Millis(1000 + 10 * FORGET_MS);
    rows.note_claimed(back);
    rows.expire(back);
    assert!(matches!(rows.judge(HERE, command(1, 1, 5).key()), Admission::Answer(_)));
}
