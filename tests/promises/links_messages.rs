//! What is sent on a link arrives once and in order, class by class; asks are
//! answered once; datagrams arrive whole or not at all and are counted.

use std::time::Duration;

use bytes::Bytes;
use starmesh::cluster::links::{AskError, Class, DatagramError, Limits, Link, SendFault};

use super::links_support::{Answers, Heard, TestNode, WITHIN, limits, numbered, pair};

#[tokio::test]
async fn messages_of_every_class_arrive_once_and_in_order_both_ways() {
    let (one, two) = pair(limits()).await;
    let ways = [(&one, &two), (&two, &one)];
    let batches = [
        (Class::Control, numbered(5_000, 20)),
        (Class::Commands, numbered(50_000, 61)),
        (Class::Bulk, numbered(200, 70_000)),
    ];
    let send = async |from: &TestNode, to| {
        let link = from.link(to).await;
        for (class, messages) in &batches {
            for message in messages {
                link.send(*class, message.clone()).await.expect("the link is up");
            }
        }
    };
    tokio::join!(send(&one, two.id), send(&two, one.id));
    for (from, to) in ways {
        for (class, messages) in &batches {
            let heard = to.host.messages(from.id, *class, messages.len()).await;
            assert!(heard == *messages, "{class}");
        }
    }
}

#[tokio::test]
async fn an_ask_is_answered_refused_or_told_that_nobody_answered() {
    let (one, two) = pair(limits()).await;
    let link = one.link(two.id).await;
    let large = Bytes::from(vec![7; 5 << 20]);
    for (class, body) in [(Class::Commands, Bytes::from_static(b"a")), (Class::Bulk, large)] {
        assert!(link.ask(class, body.clone(), WITHIN).await == Ok(body), "{class}");
    }
    let ask = || link.ask(Class::Control, Bytes::from_static(b"b"), WITHIN);
    two.host.state().answers = Answers::Refuse;
    assert_eq!(ask().await, Err(AskError::Refused("not today".into())));
    two.host.state().answers = Answers::Drop;
    assert!(matches!(ask().await, Err(AskError::Unanswered(_))));
    assert_eq!(one.status(two.id).unwrap().asks_waiting, 0);
}

#[tokio::test]
async fn an_ask_ends_by_its_time_and_a_late_answer_reaches_nobody() {
    let (one, two) = pair(limits()).await;
    two.host.state().answers = Answers::Hold;
    let link = one.link(two.id).await;
    let short = Duration::from_millis(1);
    let late = link.ask(Class::Commands, Bytes::from_static(b"late"), short);
    let late = tokio::time::timeout(WITHIN, late).await.expect("it ends");
    assert_eq!(late, Err(AskError::TimedOut));
    two.host.until("the ask", |host| !host.held.is_empty()).await;
    two.host.state().answers = Answers::Echo;
    let held = two.host.state().held.pop().unwrap();
    held.answer(Bytes::from_static(b"too late")).await.unwrap();
    let next = link.ask(Class::Commands, Bytes::from_static(b"next"), WITHIN).await;
    assert_eq!(next, Ok(Bytes::from_static(b"next")));
    assert_eq!(one.status(two.id).unwrap().asks_timed_out, 1);
}

#[tokio::test]
async fn no_more_asks_are_open_than_the_limit_on_either_side() {
    let few = Limits { asks_max: 3, ..limits() };
    let (one, two) = pair(few).await;
    two.host.state().answers = Answers::Hold;
    let link = one.link(two.id).await;
    let ask = |link: &Link| {
        let link = link.clone();
        tokio::spawn(
            async move { link.ask(Class::Commands, Bytes::from_static(b"x"), WITHIN).await },
        )
    };
    let open: Vec<_> = (0..3).map(|_| ask(&link)).collect();
    two.host.until("three asks", |host| host.held.len() == 3).await;
    assert_eq!(ask(&link).await.unwrap(), Err(AskError::TooMany { max: 3 }));
    // Those that the asker gave up are still open where they are answered.
    open.into_iter().for_each(|ask| ask.abort());
    let refused = loop {
        match ask(&link).await.unwrap() {
            // The aborted ones go in a moment.
            Err(AskError::TooMany { .. }) => tokio::task::yield_now().await,
            other => break other,
        }
    };
    assert!(matches!(refused, Err(AskError::Refused(_))), "{refused:?}");
    assert_eq!(two.status(one.id).unwrap().asks_refused, 1);
}

#[tokio::test]
async fn asks_end_with_their_link() {
    let (one, two) = pair(limits()).await;
    two.host.state().answers = Answers::Hold;
    let link = one.link(two.id).await;
    let asking = link.clone();
    let ask =
        tokio::spawn(
            async move { asking.ask(Class::Commands, Bytes::from_static(b"x"), WITHIN).await },
        );
    two.host.until("the ask", |host| !host.held.is_empty()).await;
    two.links.stop().await;
    let ended = tokio::time::timeout(WITHIN, ask).await.expect("it ends");
    assert_eq!(ended.unwrap(), Err(AskError::Down));
    let message = Bytes::from_static(b"y");
    let error = link.try_send(Class::Control, message.clone()).unwrap_err();
    assert_eq!((error.fault, error.message), (SendFault::Down, message));
}

#[tokio::test]
async fn datagrams_arrive_whole_and_those_without_room_are_counted() {
    let (one, two) = pair(limits()).await;
    let link = one.link(two.id).await;
    let max = link.datagram_max();
    assert!(max >= 1_000, "{max}");
    let sent = Bytes::from(vec![9; max]);
    link.try_datagram(sent.clone()).unwrap();
    two.host
        .until("a datagram", |host| host.heard.contains(&Heard::Datagram(one.id, sent.clone())))
        .await;
    let long = link.try_datagram(Bytes::from(vec![9; 60_000]));
    assert!(matches!(long, Err(DatagramError::TooLong { got: 60_000, .. })), "{long:?}");
    // Nothing is written between two of these: this thread does not wait.
    let mut full = 0;
    for _ in 0..2_000 {
        full += usize::from(link.try_datagram(sent.clone()) == Err(DatagramError::Full));
    }
    assert!(full > 0);
    let status = one.status(two.id).unwrap();
    assert_eq!(status.datagrams_sent, 2_001 - full as u64);
    assert_eq!(status.datagrams_dropped, 1 + full as u64);
}
