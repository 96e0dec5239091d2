//! Between two nodes there is one connection, whoever dialled it and however
//! often, and another as soon as one has gone.

use bytes::Bytes;
use starmesh::base::{Incarnation, NodeId};
use starmesh::cluster::links::{Class, Limits, Reason, Settings};

use super::links_support::{
    Heard, Raw, Realm, TestNode, hello, limits, nodes, numbered, pair, settings, written,
};

fn ups(node: &TestNode) -> usize {
    node.host.state().heard.iter().filter(|heard| matches!(heard, Heard::Up(..))).count()
}

#[tokio::test]
async fn two_nodes_that_dial_each_other_at_once_keep_one_connection() {
    for _ in 0..20 {
        let [one, two] = nodes(limits());
        one.dial(&two);
        two.dial(&one);
        let (here, there) = (one.link(two.id).await, two.link(one.id).await);
        // Both hold the same: what is said on it arrives.
        here.send(Class::Control, Bytes::from_static(b"a")).await.unwrap();
        there.send(Class::Control, Bytes::from_static(b"b")).await.unwrap();
        assert_eq!(two.host.messages(one.id, Class::Control, 1).await.len(), 1);
        assert_eq!(one.host.messages(two.id, Class::Control, 1).await.len(), 1);
        let held = [&one, &two].map(|node| node.host.state().links.len());
        assert_eq!(held, [1, 1]);
        assert_eq!((ups(&one), ups(&two)), (1, 1));
    }
}

#[tokio::test]
async fn a_peer_that_restarts_is_linked_in_its_new_incarnation() {
    let realm = Realm::new("demo");
    let one = TestNode::start(settings(realm.identity(1)));
    let mut two = TestNode::start(settings(realm.identity(2)));
    one.dial(&two);
    for incarnation in 2..5 {
        let link = one.link(two.id).await;
        link.send(Class::Commands, Bytes::from_static(b"x")).await.unwrap();
        two.host.messages(one.id, Class::Commands, 1).await;
        let listen = two.address();
        two.links.stop().await;
        let incarnation = Incarnation(incarnation);
        let settings = Settings { incarnation, listen, ..settings(realm.identity(2)) };
        two = TestNode::start_anew(settings).await;
        let up =
            |one: &TestNode| one.links.link(NodeId(2)).filter(|l| l.incarnation() == incarnation);
        let anew = one.until("the new incarnation", up).await;
        assert!(!anew.is_same(&link) && !link.is_up());
    }
    // Up and down came in turns, each with its incarnation.
    let heard = one.host.state().heard.clone();
    let turns: Vec<Heard> = (1..5)
        .flat_map(|n| [Heard::Up(two.id, Incarnation(n)), Heard::Down(two.id, Reason::Stopping)])
        .take(heard.len())
        .collect();
    assert_eq!(heard, turns);
}

#[tokio::test]
async fn a_new_incarnation_takes_the_place_of_a_link_that_nobody_closed() {
    let realm = Realm::new("demo");
    let two = TestNode::start(settings(realm.identity(2)));
    // Node 1 is killed: it says nothing more, and nothing of its end.
    let own = realm.identity(1);
    let dead = Raw::connect(&realm, Some(&own), "starmesh-link/1", two.address()).await.unwrap();
    let _streams = dead.be_node(&hello(&realm, 1)).await;
    two.link(NodeId(1)).await;
    let anew = TestNode::start(Settings { incarnation: Incarnation(2), ..settings(own) });
    anew.dial(&two);
    anew.link(two.id).await;
    let up =
        |two: &TestNode| two.links.link(NodeId(1)).filter(|l| l.incarnation() == Incarnation(2));
    two.until("the new incarnation", up).await;
    assert_eq!(dead.end().await.reason, Reason::Duplicate);
    let expected = [
        Heard::Up(NodeId(1), Incarnation(1)),
        Heard::Down(NodeId(1), Reason::Duplicate),
        Heard::Up(NodeId(1), Incarnation(2)),
    ];
    assert_eq!(two.host.state().heard, expected);
}

#[tokio::test]
async fn an_older_incarnation_does_not_take_the_place_of_a_newer_one() {
    let realm = Realm::new("demo");
    let two = TestNode::start(settings(realm.identity(2)));
    let own = realm.identity(1);
    let newer = Settings { incarnation: Incarnation(5), ..settings(own.clone()) };
    let newer = TestNode::start(newer);
    newer.dial(&two);
    let link = two.link(NodeId(1)).await;
    let old = Raw::connect(&realm, Some(&own), "starmesh-link/1", two.address()).await.unwrap();
    let _stream = old.open(&written(&hello(&realm, 1))).await;
    assert_eq!(old.end().await.reason, Reason::DeadIncarnation);
    assert!(link.is_up());
}

#[tokio::test]
async fn a_peer_that_says_nothing_any_more_is_down_and_dialled_again() {
    let realm = Realm::new("demo");
    let quick = Limits {
        idle: std::time::Duration::from_millis(300),
        keep_alive: std::time::Duration::from_millis(50),
        ..limits()
    };
    let two = TestNode::start(Settings { limits: quick, ..settings(realm.identity(2)) });
    let own = realm.identity(1);
    // A thread that stands still may lose it too early: then once more.
    let silent = loop {
        let to = two.address();
        let Ok(raw) = Raw::connect(&realm, Some(&own), "starmesh-link/1", to).await else {
            continue;
        };
        if let Some(streams) = raw.try_be_node(&hello(&realm, 1)).await {
            break (raw, streams);
        }
    };
    let was_up = Heard::Up(NodeId(1), Incarnation(1));
    two.host.until("a link", |host| host.heard.contains(&was_up)).await;
    silent.0.fall_silent();
    let down = Heard::Down(NodeId(1), Reason::Lost);
    two.host.until("the end of the link", |host| host.heard.contains(&down)).await;
    let one = TestNode::start(Settings { limits: quick, ..settings(own) });
    two.dial(&one);
    two.until("a link again", |two| two.status(one.id)?.state.is_up().then_some(())).await;
}

#[tokio::test]
async fn a_link_that_stays_carries_each_message_once_while_others_come_and_go() {
    let realm = Realm::new("demo");
    let [one, two] = [1, 2].map(|id| TestNode::start(settings(realm.identity(id))));
    one.dial(&two);
    let link = one.link(two.id).await;
    let messages = numbered(2_000, 100);
    for (n, message) in messages.iter().enumerate() {
        link.send(Class::Commands, message.clone()).await.unwrap();
        if n % 500 == 0 {
            let other = TestNode::start(settings(realm.identity(3)));
            other.dial(&two);
            other.link(two.id).await;
            other.links.stop().await;
        }
    }
    assert!(two.host.messages(one.id, Class::Commands, 2_000).await == messages);
    assert!(link.is_up());
}

#[tokio::test]
async fn what_waits_when_a_link_goes_is_counted_as_lost() {
    let (one, two) = pair(limits()).await;
    let link = one.link(two.id).await;
    // Nothing is written in between: this thread does not wait.
    for message in numbered(100, 10_000) {
        link.try_send(Class::Bulk, message).unwrap();
    }
    one.links.forget_peer(two.id, starmesh::cluster::links::End::us(Reason::Stopping, "enough"));
    let lost = one.until("the end", |one| {
        let status = one.status(two.id)?;
        (!status.state.is_up()).then_some(status.classes.bulk)
    });
    let lost = lost.await;
    assert_eq!(lost.messages_sent + lost.messages_lost, 100, "{lost:?}");
    assert!(lost.messages_lost > 0);
    assert_eq!(lost.queued.messages, 0);
}
