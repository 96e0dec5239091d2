//! A session attaches to an entity before it commands it, keeps the order,
//! bounds what is unanswered, and answers each command.

use starmesh::cluster::core::attaching::{Attachment, Ticket};
use starmesh::cluster::core::table::Unavailable;
use starmesh::entity::commands::{CommandAnswer, CommandResult};
use starmesh::entity::effect::PlayerEffect;
use starmesh::gateway::session::Effect;
use starmesh::protocol::server::Ack;
use starmesh::protocol::{Answer, Arrival, EndReason, Point, ServerMessage};
use starmesh::sim::{Refusal, Refused};

use super::session_script::{ME, MY_SESSION, OWNER, Read, Script, handle, hold, place};

/// Sequence and error of each acknowledgement, which is all there is to read.
#[track_caller]
fn read_acks(script: &mut Script) -> Vec<(u32, Option<Answer>)> {
    let acks = script.read_messages().into_iter().map(|message| match message {
        ServerMessage::Ack(ack) => (ack.sequence, ack.error),
        other => panic!("not an acknowledgement: {other:?}"),
    });
    acks.collect()
}

fn attached() -> Script {
    let mut script = Script::watching(&[1]);
    script.hold(1, 1);
    script.attached(1, 0);
    script.answered(1, 1, 12);
    script.read();
    script.take_effects();
    script
}

#[test]
fn attaches_before_the_first_command_then_sends_what_waited_in_order() {
    let mut script = Script::watching(&[1]);
    script.hold(1, 1);
    script.hold(1, 2);
    let attach = Effect::Attach { entity: place(1), player: ME, session: MY_SESSION };
    assert_eq!(script.take_effects(), [attach]);
    script.attached(1, 0);
    let command = |n: u32| {
        let ticket = Ticket { attachment: Attachment(1), nth: n - 1 };
        Effect::Command { entity: place(1), at: OWNER, ticket, command: hold(n) }
    };
    assert_eq!(script.take_effects(), [command(1), command(2)]);
    script.hold(1, 3);
    assert_eq!(script.take_effects(), [command(3)]);
}

#[test]
fn an_acknowledgement_tells_effect_and_arrival() {
    let mut script = Script::watching(&[1]);
    script.hold(1, 1);
    script.attached(1, 0);
    script.answered(1, 1, 70_000);
    let read = script.read();
    let [Read::Frame(frame)] = &read[..] else { panic!("{read:?}") };
    assert_eq!((frame.header.handle, frame.header.tick), (handle(1), 4_464));
    let expected = Ack {
        sequence: 1,
        success: true,
        server_time: 1_700_000_001_000,
        entity_sequence: 77,
        effect_tick: 70_000,
        position: Some(Point { x: 1, y: 2 }),
        arrival: Some(Arrival { x: 3, y: 4, steps: 5 }),
        error: None,
    };
    assert_eq!(frame.message, ServerMessage::Ack(expected));
}

#[test]
fn a_repeat_goes_through_again() {
    let mut script = attached();
    script.hold(1, 1);
    script.hold(1, 2);
    script.hold(1, 2);
    assert_eq!(script.take_commands(), [(place(1), 1), (place(1), 2), (place(1), 2)]);
}

#[test]
fn a_foreign_handle_is_invalid() {
    let mut script = attached();
    script.hold(2, 2);
    assert_eq!(script.take_effects(), []);
    let expected = Answer::invalid("handle", "a handle that this connection was given");
    assert_eq!(read_acks(&mut script), [(2, Some(expected))]);
}

#[test]
fn a_place_is_commanded_by_its_key_too() {
    let mut script = attached();
    script.say(
        r#"{"type":"hold","place":{"sector":{"x":9,"y":4,"scale":0}},"sequence":2,"time":0,"units":[1]}"#,
    );
    let attach = Effect::Attach { entity: place(9), player: ME, session: MY_SESSION };
    assert_eq!(script.take_effects(), [attach]);
}

#[test]
fn the_33rd_unanswered_is_busy() {
    let mut script = attached();
    (2..=33).for_each(|n| script.hold(1, n));
    assert_eq!(script.take_effects().len(), 32);
    script.hold(1, 34);
    assert_eq!(read_acks(&mut script), [(34, Some(Answer::Busy {}))]);
    script.answered(1, 2, 14);
    script.hold(1, 34);
    assert_eq!(script.take_commands(), [(place(1), 34)]);
}

#[test]
fn says_why_an_entity_did_not_take_a_command() {
    for (why, answer) in [
        (Unavailable::Busy, Answer::Busy {}),
        (Unavailable::StoreAway, Answer::StoreAway {}),
        (Unavailable::NotHere, Answer::NotHere {}),
    ] {
        let mut script = attached();
        script.hold(1, 2);
        script.take_effects();
        script.rejected(1, 2, why);
        assert_eq!(read_acks(&mut script), [(2, Some(answer))]);
        script.hold(1, 2);
        assert!(matches!(script.take_effects()[..], [Effect::Attach { .. }]));
    }
}

#[test]
fn behind_a_command_that_was_refused_nothing_gets_through_until_it_comes_again() {
    let mut script = attached();
    (2..=4).for_each(|n| script.hold(1, n));
    script.take_effects();
    script.rejected(1, 2, Unavailable::Busy);
    script.rejected(1, 3, Unavailable::AttachAgain);
    let again = || Some(Answer::AttachAgain {});
    assert_eq!(read_acks(&mut script), [(2, Some(Answer::Busy {})), (3, again()), (4, again())]);
    // Sent before the client knew.
    script.hold(1, 5);
    assert_eq!(read_acks(&mut script), [(5, again())]);
    assert_eq!(script.take_effects(), []);
    (2..=5).for_each(|n| script.hold(1, n));
    assert!(matches!(script.take_effects()[..], [Effect::Attach { .. }]));
    script.attached(1, 1);
    assert_eq!(script.take_commands(), [2, 3, 4, 5].map(|n| (place(1), n)));
    // One of those had got through, and the answer was on its way.
    script.answered(1, 2, 14);
    assert!(matches!(read_acks(&mut script)[..], [(2, None)]));
}

#[test]
fn an_attachment_that_is_refused_answers_what_waited() {
    let mut script = Script::watching(&[1]);
    script.hold(1, 1);
    script.hold(1, 2);
    let why = Err(Unavailable::StoreAway);
    script.on(|session, around| session.handle_attached(place(1), why, around));
    let away = || Some(Answer::StoreAway {});
    assert_eq!(read_acks(&mut script), [(1, away()), (2, away())]);
}

#[test]
fn a_place_that_goes_away_wants_what_is_unanswered_again() {
    let mut script = attached();
    script.hold(1, 2);
    script.hold(1, 3);
    script.take_effects();
    script.on(|session, around| session.handle_gone(place(1), around.now));
    assert_eq!(script.take_effects(), [Effect::Observe { entity: place(1), player: ME }]);
    let again = || Some(Answer::AttachAgain {});
    assert_eq!(read_acks(&mut script), [(2, again()), (3, again())]);
    script.hold(1, 2);
    assert!(matches!(script.take_effects()[..], [Effect::Attach { .. }]));
}

#[test]
fn refusals_name_their_rule() {
    let mut script = attached();
    script.hold(1, 2);
    let rule = Refusal::NotYourUnit;
    script.told(PlayerEffect::Answered(CommandAnswer {
        entity: place(1),
        player: ME,
        session: MY_SESSION,
        sequence: 2,
        result: CommandResult::Refused(Refused { rule, unit: None }),
        tick: starmesh::base::Tick(14),
        record: 8,
    }));
    assert_eq!(read_acks(&mut script), [(2, Some(Answer::refused(rule.code(), rule.to_string())))]);
}

#[test]
fn an_entity_that_knows_a_newer_session_ends_this_one() {
    let mut script = Script::watching(&[1]);
    script.hold(1, 1);
    script.on(|session, around| session.handle_attached(place(1), Ok(None), around));
    let read = script.read();
    assert_eq!(read.last(), Some(&Read::Close(1008, "superseded")));
    let reason = EndReason::Superseded;
    let Read::Frame(frame) = &read[0] else { panic!("{read:?}") };
    let ServerMessage::Error(error) = &frame.message else { panic!("{read:?}") };
    assert_eq!(error.answer, Answer::SessionEnded { reason });
}

#[test]
fn from_the_first_command_too_many_on_a_batch_is_put_off() {
    let mut script = attached();
    let moves = |first: u32| {
        let item = |n: u32| {
            let target = r#"{"position":{"sector":{"x":1,"y":4,"scale":0},"x":1,"y":1}}"#;
            format!(
                r#"{{"sequence":{n},"units":[1],"order":{{"moveFleet":{{"target":{target}}}}}}}"#
            )
        };
        let items: Vec<String> = (first..first + 15).map(item).collect();
        format!(
            r#"{{"type":"batchCommand","handle":{},"time":0,"commands":[{}]}}"#,
            handle(1),
            items.join(",")
        )
    };
    script.say(&moves(2));
    assert_eq!(script.take_effects().len(), 15);
    script.say(&moves(17));
    assert_eq!(script.take_effects().len(), 5, "20 moves a minute");
    let acks = read_acks(&mut script);
    let limited = |ack: &(u32, Option<Answer>)| matches!(ack.1, Some(Answer::Limited { .. }));
    assert!(acks.len() == 10 && acks.iter().all(limited), "{acks:?}");
    // A repeat of what was counted is free.
    script.say(&moves(2));
    assert_eq!(script.take_effects().len(), 15);
}

#[test]
fn commands_beyond_the_pace_are_answered_with_a_wait() {
    let mut script = attached();
    (2..=20).for_each(|n| {
        script.hold(1, n);
        script.answered(1, n, 20);
    });
    script.read();
    (0..64).for_each(|_| script.say(r#"{"type":"ping","time":1}"#));
    script.read();
    script.take_effects();
    script.hold(1, 21);
    assert_eq!(script.take_effects(), []);
    let acks = read_acks(&mut script);
    assert!(matches!(acks[..], [(21, Some(Answer::Limited { .. }))]), "{acks:?}");
}
