use super::*;
use crate::base::{SectorId, UnitId};

const FIRST_MS: u64 = 1_000;
const NONE: [u32; 0] = [];

fn place(x: i64) -> Place {
    Place::sector(SectorId::tactical(x, 0))
}

fn wanted() -> Wanted {
    let recipients = Recipients::Units(vec![UnitId(1)]);
    Wanted { recipients, order: Order::Hold {}, queue: false, predicted: None }
}

/// So many commands to place 0, all sent at once.
fn book(commands: u32) -> CommandBook {
    let mut book = CommandBook::default();
    (0..commands).for_each(|_| _ = book.issue(FIRST_MS, place(0), wanted()).unwrap());
    book
}

fn sequences(commands: &[Issued]) -> Vec<u32> {
    commands.iter().map(|issued| issued.command.sequence).collect()
}

impl CommandBook {
    /// What is sent again because of an answer.
    fn hears(&mut self, now: u64, sequence: u32, answer: Answer) -> Vec<u32> {
        let ack = Ack::failed(sequence, 0, answer);
        assert_eq!(self.handle_ack(now, &ack), Settled::Later);
        self.sends(now)
    }

    fn sends(&mut self, now: u64) -> Vec<u32> {
        let due = self.handle_time(now);
        assert_eq!(sequences(&due.given_up), NONE);
        sequences(&due.again)
    }
}

#[test]
fn many_that_are_to_attach_again_make_one_round() {
    let mut book = book(32);
    let all: Vec<u32> = (1..=32).collect();
    for round in 0..u64::from(REPEATS_MAX) {
        let now = FIRST_MS + 600 * round;
        let mut sent = book.hears(now, 1, Answer::AttachAgain {});
        for sequence in 2..=32 {
            sent.extend(book.hears(now, sequence, Answer::AttachAgain {}));
        }
        // At once the first time, then after a while.
        sent.extend(book.sends(now + 599));
        assert_eq!(sent, all, "round {round}");
    }
}

#[test]
fn a_copy_under_way_is_waited_for() {
    let mut book = book(2);
    assert_eq!(book.hears(FIRST_MS, 1, Answer::AttachAgain {}), [1, 2]);
    // Of the first copies.
    assert_eq!(book.hears(FIRST_MS, 2, Answer::AttachAgain {}), NONE);
    // Of the second: the server refused again.
    assert_eq!(book.hears(FIRST_MS, 2, Answer::AttachAgain {}), [1, 2]);
}

#[test]
fn those_behind_a_busy_one_wait_with_it() {
    let mut book = book(3);
    assert_eq!(book.hears(FIRST_MS, 1, Answer::Busy {}), NONE);
    assert_eq!(book.hears(FIRST_MS, 2, Answer::AttachAgain {}), NONE);
    assert_eq!(book.hears(FIRST_MS, 3, Answer::AttachAgain {}), NONE);
    assert_eq!(book.next_due(), Some(FIRST_MS + BUSY_MS));
    assert_eq!(book.sends(FIRST_MS + BUSY_MS - 1), NONE);
    assert_eq!(book.sends(FIRST_MS + BUSY_MS), [1, 2, 3]);
    assert_eq!(book.next_due(), Some(FIRST_MS + BUSY_MS + ANSWER_WITHIN_MS));
}

#[test]
fn what_is_repeated_begins_with_the_first_that_is_unanswered() {
    let mut book = book(1);
    book.issue(FIRST_MS + 2_000, place(0), wanted()).unwrap();
    book.issue(FIRST_MS + 2_000, place(1), wanted()).unwrap();
    assert_eq!(book.hears(FIRST_MS + 2_500, 2, Answer::Busy {}), NONE);
    assert_eq!(book.sends(FIRST_MS + 2_500 + BUSY_MS), [1, 2]);
    // Another place has its own rounds.
    assert_eq!(book.sends(FIRST_MS + 2_000 + ANSWER_WITHIN_MS), [3]);
}

#[test]
fn one_that_is_limited_waits_alone() {
    let mut book = book(2);
    assert_eq!(book.hears(FIRST_MS, 1, Answer::Limited { after_ms: 60_000 }), NONE);
    assert_eq!(book.hears(FIRST_MS, 2, Answer::AttachAgain {}), [2]);
    assert_eq!(book.next_due(), Some(FIRST_MS + ANSWER_WITHIN_MS));
    let Settled::Answered { .. } =
        book.handle_ack(FIRST_MS, &Ack::failed(2, 0, Answer::NotHere {}))
    else {
        panic!("it was answered")
    };
    assert_eq!(book.next_due(), Some(FIRST_MS + 60_000));
    assert_eq!(book.sends(FIRST_MS + 59_999), NONE);
    assert_eq!(book.sends(FIRST_MS + 60_000), [1]);
}

#[test]
fn only_the_first_is_given_up_for_attaching_in_vain() {
    let mut book = book(3);
    let mut now = FIRST_MS;
    while now < FIRST_MS + PUT_OFF_MS {
        for sequence in 1..=3 {
            book.handle_ack(now, &Ack::failed(sequence, 0, Answer::AttachAgain {}));
        }
        now += 2_000;
        assert_eq!(book.sends(now), [1, 2, 3]);
    }
    let settled = book.handle_ack(now, &Ack::failed(1, 0, Answer::AttachAgain {}));
    assert!(matches!(settled, Settled::GaveUp { .. }), "{settled:?}");
    assert_eq!(book.hears(now, 2, Answer::AttachAgain {}), [2, 3]);
}

#[test]
fn what_is_put_off_is_tried_for_as_long_as_a_dead_node_may_take_to_be_replaced() {
    for answer in [Answer::Busy {}, Answer::AttachAgain {}] {
        let (mut book, mut now, mut sent) = (book(1), FIRST_MS, 1);
        while let Settled::Later = book.handle_ack(now, &Ack::failed(1, 0, answer.clone())) {
            assert!(now < FIRST_MS + PUT_OFF_MS, "{answer:?}: still tried");
            let due = book.next_due().unwrap();
            assert!(due - now <= BUSY_MS_MAX, "{answer:?}: not tried from {now} to {due}");
            now = due;
            assert_eq!(book.sends(now), [1]);
            sent += 1;
        }
        assert!(now >= FIRST_MS + PUT_OFF_MS, "{answer:?}: given up at {now}");
        assert!(sent <= 13, "{answer:?}: sent {sent} times");
    }
}

#[test]
fn standing_still_and_being_resumed_begin_all_patience_anew() {
    let mut book = book(1);
    let mut now = FIRST_MS + 2 * PUT_OFF_MS;
    assert_eq!(book.hears(now, 1, Answer::StoreAway {}), NONE);
    now += ANSWER_WITHIN_MS;
    for _ in 0..=REPEATS_MAX {
        assert_eq!(book.sends(now), [1]);
        assert_eq!(book.hears(now, 1, Answer::Busy {}), NONE);
        now += BUSY_MS_MAX;
    }
    now += PUT_OFF_MS;
    assert_eq!(sequences(&book.handle_resumed(now)), [1]);
    assert_eq!(book.hears(now, 1, Answer::Busy {}), NONE);
}

#[test]
fn time_that_stands_still_counts_for_nothing() {
    let mut book = book(2);
    let mut now = FIRST_MS;
    for _ in 0..20 {
        assert_eq!(book.hears(now, 1, Answer::StoreAway {}), NONE);
        assert_eq!(book.hears(now, 2, Answer::AttachAgain {}), NONE);
        now += ANSWER_WITHIN_MS;
        assert_eq!(book.sends(now), [1, 2]);
    }
}
