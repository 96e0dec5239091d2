//! What a client predicts of its own orders is what the server does, and
//! nothing of it stays: an order is predicted until the first packet after its
//! acknowledgement's tick, or until it is refused, given up or overtaken;
//! whatever the line does in between. Of a unit that nobody comes near all that
//! was acknowledged is predicted bit for bit.

mod play;

use play::{HERE, PLACE, Play, Trouble, message};
use proptest::prelude::*;
use starmesh::client::predict::PREDICTED_MAX;
use starmesh::client::{Cause, Correction};
use starmesh::protocol::server::{Ack, Error, TimeDilation};
use starmesh::protocol::{Answer, EndReason, Place, Received, ServerMessage};
use starmesh::view::predict::Units;

fn trouble() -> impl Strategy<Value = Trouble> {
    let rarely = |most| prop_oneof![Just(0), 0_u64..most];
    (rarely(15), rarely(50), rarely(300), rarely(300), rarely(200)).prop_map(
        |(cuts, losses, refusals, overtakings, unanswered)| Trouble {
            cuts,
            losses,
            refusals,
            overtakings,
            unanswered,
        },
    )
}

/// Corrections at packets of what was acknowledged, and how many were not 0.
fn shown(corrections: &[Correction]) -> (usize, usize) {
    let shown = corrections.iter().filter(|correction| correction.cause == Cause::Shown);
    let off = shown.clone().filter(|correction| correction.was != correction.is);
    (shown.count(), off.count())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn of_a_lone_unit_all_that_was_acknowledged_is_predicted_bit_for_bit(
        seed: u64, trouble in trouble(),
    ) {
        let mut play = Play::new(seed, 1, trouble);
        play.run(200);
        play.is_settled()?;
        prop_assert_eq!(shown(&play.corrections).1, 0, "{:?}", play.corrections);
    }

    #[test]
    fn nothing_of_a_prediction_stays(seed: u64, units in 2_u64..12, trouble in trouble()) {
        let mut play = Play::new(seed, units, trouble);
        play.run(200);
        play.is_settled()?;
    }
}

/// Connected and watching, nothing on its way.
fn watching(seed: u64, units: u64) -> Play {
    let mut play = Play::new(seed, units, Trouble::default());
    while !play.watches() {
        play.pass();
    }
    play
}

#[test]
fn acknowledged_orders_are_shown_where_they_were_predicted() {
    let mut play = watching(3, 1);
    play.run(400);
    let (count, off) = shown(&play.corrections);
    assert!(count > 20 && off == 0, "{count}, {off}");
    let guessed = |cause| play.corrections.iter().any(|correction| correction.cause == cause);
    assert!(guessed(Cause::Acknowledged) && guessed(Cause::Unacknowledged));
}

#[test]
fn an_order_shows_before_it_is_answered_and_not_any_more_when_it_is_refused() {
    let mut play = watching(4, 1);
    let before = play.server.units();
    play.trouble.refusals = 1_000;
    while play.core.pending(PLACE).next().is_none() {
        play.order();
    }
    let tick = play.core.tick(play.now, PLACE).unwrap() + 10;
    // Whatever it is: a unit that stands has been sent off, at last.
    while play.core.predicted(PLACE, tick) == before {
        play.order();
    }
    (0..20).for_each(|_| play.pass());
    assert_eq!(play.core.pending(PLACE).count(), 0);
    assert_eq!(play.core.predicted(PLACE, tick), before);
    let refused = |correction: &&Correction| correction.cause == Cause::Refused;
    assert!(play.corrections.iter().any(|correction| refused(&correction)));
}

#[test]
fn a_session_that_ends_leaves_nothing_predicted() {
    for ended in [false, true] {
        let mut play = watching(5, 1);
        play.trouble.unanswered = 1_000;
        (0..4).for_each(|_| assert!(play.order().is_some()));
        assert_eq!(play.core.pending(PLACE).count(), 4);
        if ended {
            let answer = Answer::SessionEnded { reason: EndReason::Superseded };
            let error = Error { regarding: None, answer };
            play.core.handle_received(play.now, &message(0, ServerMessage::Error(error)));
        } else {
            play.server.session = 6;
            play.core.handle_closed(play.now, "cut");
            (0..100).for_each(|_| play.pass());
            assert!(play.watches());
        }
        play.drain();
        assert_eq!(play.core.pending(PLACE).count(), 0);
    }
}

#[test]
fn a_lost_connection_leaves_predicted_what_was_not_answered() {
    let mut play = watching(6, 1);
    play.trouble.unanswered = 1_000;
    let sequence = play.order().unwrap();
    (0..10).for_each(|_| play.pass());
    (play.server.handle, play.server.stage) = (0, None);
    play.core.handle_closed(play.now, "cut");
    play.drain();
    assert_eq!(play.core.pending(PLACE).collect::<Vec<_>>(), [sequence]);
    while !play.watches() {
        play.pass();
    }
    assert_eq!(play.core.pending(PLACE).collect::<Vec<_>>(), [sequence]);
    play.trouble.unanswered = 0;
    play.run(0);
    assert!(play.answered[&sequence].success && play.swallowed > 0);
    play.is_settled().unwrap();
}

#[test]
fn an_order_without_an_answer_is_predicted_until_it_is_given_up() {
    let mut play = watching(11, 1);
    play.trouble.unanswered = 1_000;
    play.order().unwrap();
    (0..100).for_each(|_| play.pass());
    assert_eq!(play.core.pending(PLACE).count(), 1);
    (0..50).for_each(|_| play.pass());
    play.is_settled().unwrap();
}

#[test]
fn a_place_that_is_left_is_not_predicted() {
    let mut play = watching(7, 1);
    play.order().unwrap();
    play.core.unsubscribe(PLACE);
    assert_eq!(play.core.pending(PLACE).count(), 0);
    assert_eq!(play.core.predicted(PLACE, 90_000), Units::new());
}

/// The server carried it out after the tick that was shown last.
fn done(play: &Play, sequence: u32) -> Received {
    let effect_tick = play.core.view(PLACE).and_then(|view| view.tick()).unwrap();
    let failed = Ack::failed(sequence, 0, Answer::Busy {});
    message(0, ServerMessage::Ack(Ack { success: true, error: None, effect_tick, ..failed }))
}

#[test]
fn as_many_orders_are_predicted_as_may_be_unanswered_and_the_others_are_sent() {
    let mut play = watching(8, 1);
    play.trouble.unanswered = 1_000;
    let sent: Vec<u32> = (0..PREDICTED_MAX + 8).filter_map(|_| play.order()).collect();
    assert_eq!((sent.len(), play.core.pending(PLACE).count()), (PREDICTED_MAX, PREDICTED_MAX));
    for sequence in &sent {
        let done = done(&play, *sequence);
        play.core.handle_received(play.now, &done);
    }
    // Acknowledged and not shown: there is room for as many again.
    assert!((0..8).all(|_| play.order().is_some()));
    assert_eq!(play.core.pending(PLACE).collect::<Vec<_>>(), sent);
}

#[test]
fn an_order_that_was_overtaken_goes_with_the_one_that_overtook_it() {
    let mut play = watching(10, 1);
    play.trouble.unanswered = 1_000;
    let (first, second) = (play.order().unwrap(), play.order().unwrap());
    let done = done(&play, second);
    play.core.handle_received(play.now, &done);
    play.drain();
    assert_eq!(play.core.pending(PLACE).collect::<Vec<_>>(), [first, second]);
    (0..15).for_each(|_| play.pass());
    assert_eq!(play.core.pending(PLACE).count(), 0);
}

#[test]
fn a_unit_that_moved_on_is_predicted_where_it_is_now() {
    let mut play = watching(9, 1);
    play.trouble.unanswered = 1_000;
    let first = play.order().unwrap();
    let mut ack = Ack::failed(first, 0, Answer::Moved { place: Place::sector(HERE) });
    ack.effect_tick = play.server.tick;
    play.core.handle_received(play.now, &message(0, ServerMessage::Ack(ack)));
    play.drain();
    // The same order, under the next sequence.
    assert_eq!(play.core.pending(PLACE).collect::<Vec<_>>(), [first + 1]);
    play.trouble.unanswered = 0;
    play.run(0);
    play.is_settled().unwrap();
}

#[test]
fn an_order_that_no_packet_can_show_does_not_stay() {
    let mut play = watching(12, 1);
    play.trouble.unanswered = 1_000;
    let sequence = play.order().unwrap();
    let failed = Ack::failed(sequence, 0, Answer::Busy {});
    let ack = Ack { success: true, error: None, effect_tick: u64::MAX, ..failed };
    play.core.handle_received(play.now, &message(0, ServerMessage::Ack(ack)));
    // The server here does not say such a thing: it is not looked at.
    drop(play.core.drain_effects());
    (0..15).for_each(|_| play.pass());
    assert_eq!(play.core.pending(PLACE).count(), 0);
}

#[test]
fn a_place_that_runs_slower_is_taken_to_be_less_far() {
    let mut play = watching(13, 1);
    let told = play.core.view(PLACE).and_then(|view| view.tick()).unwrap();
    let later = play.now + 900;
    assert!(play.core.tick(later, PLACE) >= Some(told + 9));
    let slower = ServerMessage::TimeDilation(TimeDilation { percent: 10 });
    play.core.handle_received(play.now, &message(play.server.handle, slower));
    assert!(play.core.tick(later, PLACE) <= Some(told + 1));
}
