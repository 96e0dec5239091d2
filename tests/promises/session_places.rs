//! What a client is told of the places it watches can be applied in the order
//! it comes: a handle is given before it is used, and after a loss a keyframe
//! comes first.

use starmesh::cluster::core::table::Unavailable;
use starmesh::gateway::queue::QueueLimits;
use starmesh::gateway::session::Effect;
use starmesh::protocol::{Answer, EndReason, ServerMessage};

use super::session_script::{ME, QUEUE, Read, Script, handle, place};

fn observe(x: i64) -> Effect {
    Effect::Observe { entity: place(x), player: ME }
}

/// What a client reads, in short.
fn read(script: &mut Script) -> Vec<String> {
    let short = |read: Read| match read {
        Read::Frame(frame) => {
            let about = frame.header.handle;
            match frame.message {
                ServerMessage::Subscribed(_) => format!("{about} subscribed"),
                ServerMessage::Unsubscribed(_) => format!("{about} unsubscribed"),
                ServerMessage::Error(error) => {
                    format!("{} {}", error.regarding.unwrap_or_default(), error.answer.name())
                }
                other => format!("{other:?}"),
            }
        }
        Read::Packet(header, packet) => match packet.full_tick {
            Some(tick) => format!("{} full {tick}", header.handle),
            None => format!("{} {}", header.handle, header.tick),
        },
        Read::Ping => "ping".into(),
        Read::Close(code, _) => format!("close {code}"),
    };
    script.read().into_iter().map(short).collect()
}

#[test]
fn subscribes_with_handle_keyframe_and_deltas() {
    let mut script = Script::open();
    script.subscribe(&[1, 2]);
    assert_eq!(script.take_effects(), [observe(1), observe(2)]);
    script.delta(1, 8);
    script.keyframe(1, 10);
    script.delta(1, 12);
    script.delta(1, 12);
    script.delta(1, 16);
    let expected = ["101 subscribed", "101 full 10", "101 12", "101 16"];
    assert_eq!(read(&mut script), expected);
}

#[test]
fn how_fast_a_place_is_is_told_only_while_it_is_shown() {
    let mut script = Script::open();
    script.subscribe(&[1]);
    script.pace(1, 40);
    assert_eq!(read(&mut script), [""; 0], "it has no handle yet");
    script.keyframe(1, 10);
    script.pace(1, 40);
    script.pace(2, 50);
    let expected = ["101 subscribed", "101 full 10", "TimeDilation(TimeDilation { percent: 40 })"];
    assert_eq!(read(&mut script), expected);
}

#[test]
fn one_error_answers_for_all_places_that_are_not_here() {
    let mut script = Script::open();
    script.subscribe(&[1, 2, 3]);
    script.unobserved(1, Unavailable::NotHere);
    script.unobserved(3, Unavailable::NotHere);
    assert_eq!(read(&mut script), [""; 0]);
    script.keyframe(2, 10);
    assert_eq!(read(&mut script), ["102 subscribed", "102 full 10", "subscribe notHere"]);
    script.take_effects();
    script.subscribe(&[1]);
    assert_eq!(script.take_effects(), [observe(1)], "it may be here later");
}

#[test]
fn a_session_watches_at_most_25_sectors() {
    let mut script = Script::open();
    let most: Vec<i64> = (0..25).collect();
    script.subscribe(&most);
    assert_eq!(script.take_effects().len(), 25);
    script.subscribe(&[25]);
    assert_eq!(script.take_effects(), []);
    assert_eq!(read(&mut script), ["subscribe invalid"]);
    script.subscribe(&[0, 1, 2]);
    assert_eq!(script.take_effects(), [], "they are asked for already");
}

#[test]
fn a_handle_is_of_no_use_after_unsubscribe_or_to_others() {
    let mut script = Script::watching(&[1]);
    script.say(&format!(r#"{{"type":"unsubscribe","handle":{}}}"#, handle(1)));
    assert_eq!(script.take_effects(), [Effect::Unobserve { entity: place(1) }]);
    script.delta(1, 12);
    script.say(&format!(r#"{{"type":"unsubscribe","handle":{}}}"#, handle(1)));
    script.say(&format!(r#"{{"type":"keyframeRequest","handle":{}}}"#, handle(2)));
    let expected = ["101 unsubscribed", "unsubscribe invalid", "keyframeRequest invalid"];
    assert_eq!(read(&mut script), expected);
    assert_eq!(script.take_effects(), []);
}

#[test]
fn a_keyframe_is_asked_for_once_and_comes_between_deltas() {
    let mut script = Script::watching(&[1]);
    for _ in 0..3 {
        script.say(&format!(r#"{{"type":"keyframeRequest","handle":{}}}"#, handle(1)));
    }
    assert_eq!(script.take_effects(), [observe(1)]);
    script.delta(1, 12);
    script.keyframe(1, 12);
    script.delta(1, 14);
    assert_eq!(read(&mut script), ["101 12", "101 full 12", "101 14"]);
}

#[test]
fn a_place_that_moves_is_observed_anew_and_told_as_gone_in_the_end() {
    let mut script = Script::watching(&[1]);
    script.on(|session, around| session.handle_gone(place(1), around.now));
    assert_eq!(script.take_effects(), [observe(1)]);
    script.delta(1, 12);
    for _ in 0..10 {
        script.unobserved(1, Unavailable::NotHere);
        assert_eq!(script.take_effects(), []);
        script.pass(1_000);
        assert_eq!(script.take_effects(), [observe(1)]);
    }
    assert_eq!(read(&mut script), [""; 0]);
    script.unobserved(1, Unavailable::NotHere);
    assert_eq!(read(&mut script), ["101 unsubscribed"]);

    let mut script = Script::watching(&[1]);
    script.on(|session, around| session.handle_gone(place(1), around.now));
    script.keyframe(1, 6);
    script.delta(1, 8);
    assert_eq!(read(&mut script), ["101 subscribed", "101 full 6", "101 8"]);
}

#[test]
fn a_slow_reader_loses_updates_of_a_place_and_gets_a_keyframe_first() {
    let mut script = Script::open_with(QueueLimits { messages_max: 4, ..QUEUE });
    script.watch(&[1, 2]);
    script.delta(2, 12);
    [12, 14, 16, 18, 20].into_iter().for_each(|tick| script.delta(1, tick));
    script.delta(1, 22);
    assert_eq!(script.connection.take_dropped(), 4, "three that waited, and the one that came");
    assert_eq!(script.take_effects(), [], "no keyframe while there is no room");
    assert_eq!(read(&mut script), ["102 12"]);
    assert_eq!(script.take_effects(), [observe(1)]);
    script.delta(1, 24);
    script.keyframe(1, 26);
    script.delta(1, 28);
    assert_eq!(read(&mut script), ["101 subscribed", "101 full 26", "101 28"]);
}

#[test]
fn updates_lost_on_the_way_are_followed_by_a_keyframe() {
    let mut script = Script::watching(&[1]);
    script.on(|session, _| session.handle_updates_lost(place(1)));
    assert_eq!(script.take_effects(), [observe(1)]);
    script.delta(1, 12);
    script.keyframe(1, 14);
    assert_eq!(read(&mut script), ["101 subscribed", "101 full 14"]);
}

#[test]
fn acknowledgements_that_do_not_fit_end_the_connection_and_say_so() {
    let mut script = Script::open_with(QueueLimits { messages_max: 8, ..QUEUE });
    script.watch(&[1]);
    (0..9).for_each(|_| script.say(r#"{"type":"ping","time":1}"#));
    let read = script.read();
    let Some(Read::Close(1008, "too slow")) = read.last() else { panic!("{read:?}") };
    let Read::Frame(frame) = &read[read.len() - 2] else { panic!("{read:?}") };
    let ServerMessage::Error(error) = &frame.message else { panic!("{read:?}") };
    assert_eq!(error.answer, Answer::SessionEnded { reason: EndReason::TooSlow });
    assert_eq!(script.take_effects()[0], Effect::Unobserve { entity: place(1) });
}

#[test]
fn a_reader_that_takes_nothing_for_15_seconds_is_closed() {
    let mut script = Script::watching(&[1]);
    script.delta(1, 12);
    script.pass(14_999);
    assert_eq!(script.take_effects(), []);
    script.pass(1);
    assert!(matches!(script.take_effects()[..], [Effect::Unobserve { .. }, Effect::Left { .. }]));
    script.pass(2_000);
    assert_eq!(script.take_effects(), [Effect::Finish]);
}

#[test]
fn a_place_that_nobody_else_watched_meanwhile_has_another_handle() {
    let mut script = Script::watching(&[1]);
    script.on(|session, around| session.handle_gone(place(1), around.now));
    script.keyframe_as(1, 900, 20);
    script.delta(1, 22);
    assert_eq!(read(&mut script), ["900 subscribed", "900 full 20"]);
}

#[test]
fn packets_of_a_place_that_is_not_watched_are_not_passed_on() {
    let mut script = Script::watching(&[1]);
    script.keyframe(2, 20);
    assert_eq!(read(&mut script), [""; 0]);
    assert_eq!(script.take_effects(), []);
}
