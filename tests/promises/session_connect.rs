//! A connection says Connect first and in time, is legal from then on, and
//! ends for a reason that it is told; of a player's sessions the newest stays.

use starmesh::base::{PlayerId, SessionId};
use starmesh::cluster::core::table::Unavailable;
use starmesh::entity::effect::PlayerEffect;
use starmesh::entity::input::Connect;
use starmesh::gateway::session::{ConnectRefused, Effect};
use starmesh::protocol::http::Secret;
use starmesh::protocol::server::{Error, Notice, Notification};
use starmesh::protocol::{Answer, EndReason, ServerMessage};

use super::session_script::{CONNECTION, ME, MY_SESSION, QUEUE, Read, Script, place};

const CONNECT: &str = r#"{"type":"connect","token":"good"}"#;

fn ended(reason: EndReason) -> ServerMessage {
    error(None, Answer::SessionEnded { reason })
}

fn error(regarding: Option<&str>, answer: Answer) -> ServerMessage {
    ServerMessage::Error(Error { regarding: regarding.map(str::to_string), answer })
}

/// The client reads one message and then the close frame.
#[track_caller]
fn check_end(script: &mut Script, last: &ServerMessage, code: u16) {
    let mut read = script.read();
    let close = read.pop().expect("a close frame");
    assert!(matches!(close, Read::Close(c, _) if c == code), "{close:?}");
    let message = read.pop().expect("a last message").frame().message;
    assert_eq!(&message, last);
}

#[test]
fn connects_by_token_then_ledger() {
    let mut script = Script::new(QUEUE);
    script.say(r#"{"type":"connect","token":"good","resume":3}"#);
    assert_eq!(script.take_effects(), [Effect::Verify { token: Secret("good".into()) }]);
    script.verified();
    let resume = Some(MY_SESSION);
    let connect = Connect { player: ME, connection: CONNECTION, resume };
    assert_eq!(script.take_effects(), [Effect::Connect(connect)]);
    script.connected(MY_SESSION, true);
    let messages = script.read_messages();
    let [ServerMessage::Connected(connected)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((connected.session, connected.player, connected.resumed), (MY_SESSION, ME, true));
    assert_eq!(script.take_effects(), []);
}

#[test]
fn closes_a_connection_that_does_not_say_connect_in_time() {
    let mut script = Script::new(QUEUE);
    script.pass(4_999);
    assert_eq!(script.read(), []);
    script.pass(1);
    check_end(&mut script, &ended(EndReason::Violation), 1008);
    script.pass(2_000);
    assert_eq!(script.take_effects(), [Effect::Finish]);
    assert!(script.connection.session().is_over());
}

#[test]
fn closes_whoever_says_something_else_first() {
    let mut script = Script::new(QUEUE);
    script.say(r#"{"type":"ping","time":1}"#);
    check_end(&mut script, &ended(EndReason::Violation), 1008);
    script.say(CONNECT);
    assert_eq!(script.take_effects(), [], "what comes after the end is not read");
}

#[test]
fn names_the_field_of_a_malformed_connect_and_closes() {
    let mut script = Script::new(QUEUE);
    script.say(r#"{"type":"connect"}"#);
    let answer = Answer::invalid("token", "the field to be there");
    check_end(&mut script, &error(Some("connect"), answer), 1008);
}

#[test]
fn an_error_names_the_message_it_is_about_as_far_as_that_can_be_read() {
    let mut script = Script::open();
    let too_long = format!("{}{}", r#"{"type":"ping","time":1}"#, " ".repeat(32 * 1024));
    for (said, regarding, field) in [
        (r#"{"type":"subscribe","area":{"sectors":[]}}"#, Some("subscribe"), "area"),
        (r#"{"type":"fly"}"#, None, "type"),
        ("nonsense", None, "message"),
        (&too_long, None, "message"),
    ] {
        script.say(said);
        let messages = script.read_messages();
        let [ServerMessage::Error(error)] = &messages[..] else { panic!("{messages:?}") };
        let Answer::Invalid { field: found, .. } = &error.answer else { panic!("{error:?}") };
        assert_eq!((error.regarding.as_deref(), found.as_str()), (regarding, field));
    }
}

#[test]
fn a_second_connect_ends_the_session() {
    let mut script = Script::open();
    script.say(CONNECT);
    check_end(&mut script, &ended(EndReason::Violation), 1008);
    assert_eq!(script.take_effects(), [Effect::Left { player: ME, session: MY_SESSION }]);
}

#[test]
fn says_why_a_token_gives_no_session() {
    let refused = EndReason::TokenRefused;
    for (why, answer, code) in [
        (ConnectRefused::Token, Answer::SessionEnded { reason: refused }, 1008),
        (ConnectRefused::Busy, Answer::Busy {}, 1013),
        (ConnectRefused::StoreAway, Answer::StoreAway {}, 1013),
    ] {
        let mut script = Script::new(QUEUE);
        script.say(CONNECT);
        script.on(|session, around| session.handle_verified(Err(why), around.now));
        check_end(&mut script, &error(Some("connect"), answer), code);
    }
}

#[test]
fn a_ledger_that_is_away_or_silent_is_told() {
    let mut script = Script::new(QUEUE);
    script.say(CONNECT);
    script.verified();
    let why = Unavailable::StoreAway;
    script.on(|session, around| session.handle_connect_refused(why, around.now));
    check_end(&mut script, &error(Some("connect"), Answer::StoreAway {}), 1013);

    let mut script = Script::new(QUEUE);
    script.say(CONNECT);
    script.verified();
    let why = Unavailable::Parked;
    script.on(|session, around| session.handle_connect_refused(why, around.now));
    check_end(&mut script, &error(Some("connect"), Answer::Parked {}), 1013);

    let mut script = Script::new(QUEUE);
    script.say(CONNECT);
    script.verified();
    script.pass(30_000);
    check_end(&mut script, &error(Some("connect"), Answer::Busy {}), 1013);
    // The answer comes after all: nobody has that session now.
    script.connected(SessionId(4), false);
    let left = Effect::Left { player: ME, session: SessionId(4) };
    assert!(script.take_effects().contains(&left));
}

#[test]
fn a_newer_session_ends_the_older_which_says_nothing_to_the_ledger() {
    let mut script = Script::watching(&[1]);
    let stranger = PlayerEffect::SessionEnded { player: ME, session: SessionId(2) };
    script.told(stranger);
    assert_eq!(script.read(), [], "an older one than this ended");
    script.told(PlayerEffect::SessionEnded { player: ME, session: MY_SESSION });
    check_end(&mut script, &ended(EndReason::Superseded), 1008);
    assert_eq!(script.take_effects(), [Effect::Unobserve { entity: place(1) }]);
}

#[test]
fn a_connect_that_a_newer_one_overtakes_ends_at_once() {
    let mut script = Script::new(QUEUE);
    script.say(CONNECT);
    script.verified();
    script.take_effects();
    script.on(|session, around| session.handle_superseded(around.now));
    check_end(&mut script, &ended(EndReason::Superseded), 1008);
    assert_eq!(script.take_effects(), [], "it never had a session");

    let mut script = Script::open();
    script.on(|session, around| session.handle_superseded(around.now));
    assert_eq!(script.read(), [], "an open session hears of its own end from its ledger");
}

#[test]
fn a_raised_generation_ends_the_session() {
    let mut script = Script::open();
    script.on(|session, around| session.handle_generation(5, around.now));
    assert_eq!(script.read(), []);
    script.on(|session, around| session.handle_generation(6, around.now));
    check_end(&mut script, &ended(EndReason::GenerationOutdated), 1008);
    assert_eq!(script.take_effects(), [Effect::Left { player: ME, session: MY_SESSION }]);
}

#[test]
fn a_lost_connection_lets_go_of_all_it_held() {
    let mut script = Script::watching(&[1, 2]);
    script.on(|session, around| session.handle_lost(around.now));
    let expected = [
        Effect::Unobserve { entity: place(1) },
        Effect::Unobserve { entity: place(2) },
        Effect::Left { player: ME, session: MY_SESSION },
        Effect::Finish,
    ];
    assert_eq!(script.take_effects(), expected);
    // What was asked and comes back late.
    script.keyframe(1, 10);
    assert_eq!(script.take_effects(), []);
    script.connected(SessionId(4), false);
    assert_eq!(script.take_effects(), [Effect::Left { player: ME, session: SessionId(4) }]);
}

#[test]
fn a_silent_client_is_pinged_then_closed() {
    let mut script = Script::open();
    script.pass(20_000);
    assert_eq!(script.read(), [Read::Ping]);
    script.pass(39_999);
    assert_eq!(script.read(), []);
    script.pass(1);
    assert_eq!(script.read(), [Read::Close(1008, "silent")]);

    let mut script = Script::open();
    for _ in 0..10 {
        script.pass(20_000);
        assert_eq!(script.read(), [Read::Ping]);
        script.on(|session, around| session.handle_control(0, around.now));
    }
}

#[test]
fn a_flood_of_messages_or_pings_ends_the_session() {
    let mut script = Script::open();
    // Connect was one.
    for _ in 0..254 {
        script.on(|session, around| session.handle_control(0, around.now));
    }
    assert_eq!(script.read(), []);
    script.say(r#"{"type":"ping","time":1}"#);
    let messages = script.read_messages();
    let [ServerMessage::Error(error)] = &messages[..] else { panic!("{messages:?}") };
    assert!(matches!(error.answer, Answer::Limited { .. }), "{error:?}");
    script.say(r#"{"type":"ping","time":1}"#);
    check_end(&mut script, &ended(EndReason::Violation), 1008);
}

#[test]
fn malformed_messages_of_an_open_session_are_answered_each() {
    let mut script = Script::open();
    script.say("nonsense");
    script.say(r#"{"type":"ping","time":-1}"#);
    script.say(r#"{"type":"ping","time":8}"#);
    let messages = script.read_messages();
    let [ServerMessage::Error(first), ServerMessage::Error(second), ServerMessage::Pong(pong)] =
        &messages[..]
    else {
        panic!("{messages:?}")
    };
    assert!(matches!(&first.answer, Answer::Invalid { field, .. } if field == "message"));
    assert_eq!(second.answer, Answer::invalid("time", "u64"));
    assert_eq!(pong.time, 8);
}

#[test]
fn says_that_time_stands_still_and_that_the_node_stops() {
    let mut script = Script::open();
    script.on(|session, around| session.handle_store_away(true, around.now));
    script.on(|session, around| session.handle_store_away(false, around.now));
    let notice = |notice| ServerMessage::Notification(Notification { notice });
    let told = script.read_messages();
    assert_eq!(told, [notice(Notice::StoreAway {}), notice(Notice::StoreBack {})]);
    script.on(|session, around| session.handle_shutdown(1_000, around.now));
    check_end(&mut script, &notice(Notice::ShuttingDown { after_ms: 1_000 }), 1001);
}

#[test]
fn presence_is_told_to_its_session_only() {
    let mut script = Script::open();
    for session in [SessionId(2), MY_SESSION] {
        let presence = starmesh::entity::effect::SectorPresence {
            sector: starmesh::base::SectorId::tactical(1, 4),
            counts: vec![(starmesh::sim::UnitTypeId(2), 3)],
            as_of: starmesh::base::Tick(5),
        };
        script.told(PlayerEffect::Presence { player: PlayerId(7), session, presence });
    }
    let messages = script.read_messages();
    let [ServerMessage::Presence(presence)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(presence.changed[0].units[0].count, 3);
}

#[test]
fn a_session_that_is_given_again_is_told_what_the_player_has_and_has_no_more() {
    let mut script = Script::open();
    let presence = |x, count| starmesh::entity::effect::SectorPresence {
        sector: starmesh::base::SectorId::tactical(x, 4),
        counts: vec![(starmesh::sim::UnitTypeId(2), count)],
        as_of: starmesh::base::Tick(5),
    };
    let (player, session) = (PlayerId(7), MY_SESSION);
    script.told(PlayerEffect::Presence { player, session, presence: presence(1, 3) });
    script.read_messages();
    let connection = CONNECTION;
    let presence = vec![presence(2, 4)];
    let resumed = true;
    script.told(PlayerEffect::Connected(starmesh::entity::effect::Connected {
        connection,
        player,
        session,
        resumed,
        presence,
    }));
    let messages = script.read_messages();
    let [ServerMessage::Presence(presence)] = &messages[..] else { panic!("{messages:?}") };
    let units: Vec<usize> = presence.changed.iter().map(|entry| entry.units.len()).collect();
    assert_eq!(units, [1, 0], "what is there, and what is not any more");
    assert!(script.effects.is_empty(), "nothing else happens: {:?}", script.effects);
}
