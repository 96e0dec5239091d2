//! What comes from nobody in particular costs little: it has a place for a
//! while, and is turned away. What a peer sends against the rules ends its own
//! link and no other.

use std::net::UdpSocket;
use std::time::Duration;

use starmesh::base::NodeId;
use starmesh::cluster::links::{By, Class, Limits, Reason, Settings};

use super::links_support::{
    HERE, Heard, Raw, Realm, TestNode, hello, limits, numbered, pair, settings, written,
};

#[tokio::test]
async fn a_frame_that_is_too_long_ends_that_link_only() {
    let realm = Realm::new("demo");
    let generous = |class: Class| {
        let mut limits = limits();
        limits.classes[class].message_max *= 4;
        limits
    };
    let one = Settings { limits: generous(Class::Control), ..settings(realm.identity(1)) };
    let one = TestNode::start(one);
    let [two, three] = [2, 3].map(|id| TestNode::start(settings(realm.identity(id))));
    one.dial(&two);
    three.dial(&two);
    let (bad, good) = (one.link(two.id).await, three.link(two.id).await);
    let fits = limits().classes.control.message_max;
    let [longest] = numbered(1, fits).try_into().unwrap();
    bad.send(Class::Control, longest).await.unwrap();
    two.host.messages(one.id, Class::Control, 1).await;
    let [long] = numbered(1, fits + 100).try_into().unwrap();
    bad.send(Class::Control, long).await.unwrap();
    for node in [&one, &two] {
        let peer = if node.id == one.id { two.id } else { one.id };
        let is_down = Heard::Down(peer, Reason::TooLong);
        node.host.until("the end of that link", |host| host.heard.contains(&is_down)).await;
    }
    assert!(good.is_up());
    good.send(Class::Control, numbered(1, 9)[0].clone()).await.unwrap();
    two.host.messages(three.id, Class::Control, 1).await;
}

#[tokio::test]
async fn a_peer_that_sends_nonsense_after_its_hello_loses_its_link() {
    let realm = Realm::new("demo");
    let two = TestNode::start(settings(realm.identity(2)));
    let own = realm.identity(1);
    let raw = Raw::connect(&realm, Some(&own), "starmesh-link/1", two.address()).await.unwrap();
    let mut streams = raw.be_node(&hello(&realm, 1)).await;
    two.link(NodeId(1)).await;
    streams[1].0.write_all(&[1, 0, 0, 0, 99]).await.unwrap();
    let end = raw.end().await;
    assert_eq!((end.reason, end.by), (Reason::Malformed, By::Peer));
    assert_eq!(end.detail, "commands: a frame of kind 99, which does not exist");
}

#[tokio::test]
async fn garbage_on_the_socket_costs_nothing_and_others_go_on() {
    let (one, two) = pair(limits()).await;
    let socket = UdpSocket::bind(HERE).unwrap();
    for n in 0..3_000u32 {
        let length = 1 + (n as usize * 37) % 1_400;
        let first = [0x00, 0x40, 0xc0, 0xff][n as usize % 4];
        let mut garbage: Vec<u8> = (0..length).map(|at| (at as u32 * n) as u8).collect();
        garbage[0] = first;
        socket.send_to(&garbage, two.address()).unwrap();
    }
    let link = one.link(two.id).await;
    link.send(Class::Control, numbered(1, 9)[0].clone()).await.unwrap();
    two.host.messages(one.id, Class::Control, 1).await;
    let strangers = two.links.strangers();
    assert_eq!((strangers.now, strangers.refused), (0, 0), "{strangers:?}");
}

#[tokio::test]
async fn a_hello_that_is_none_or_too_long_or_never_comes_is_turned_away() {
    let realm = Realm::new("demo");
    let own = realm.identity(1);
    let check = async |sent: Vec<u8>, reason| {
        let two = TestNode::start(settings(realm.identity(2)));
        let raw = Raw::connect(&realm, Some(&own), "starmesh-link/1", two.address()).await.unwrap();
        let _stream = raw.open(&sent).await;
        assert_eq!((raw.end().await.reason, two.turned_away().await.reason), (reason, reason));
        two.until("an empty place", |two| (two.links.strangers().now == 0).then_some(())).await;
    };
    let sound = written(&hello(&realm, 1));
    check([&[0][..], &[16, 0, 0, 0], &[7; 16]].concat(), Reason::Malformed).await;
    check([&[0][..], &u32::MAX.to_le_bytes()].concat(), Reason::TooLong).await;
    check([&[2][..], &sound[1..]].concat(), Reason::Malformed).await;
    check(vec![9], Reason::Malformed).await;

    let quick = Limits { handshake: Duration::from_millis(500), ..limits() };
    let two = TestNode::start(Settings { limits: quick, ..settings(realm.identity(2)) });
    let half = &sound[..sound.len() - 1];
    Raw::take_too_long(&realm, Some(&own), "starmesh-link/1", two.address(), half).await;
    assert_eq!(two.turned_away().await.reason, Reason::TooSlow);
    two.until("an empty place", |two| (two.links.strangers().now == 0).then_some(())).await;
}

#[tokio::test]
async fn a_link_without_a_certificate_is_refused_on_both_sides() {
    let realm = Realm::new("demo");
    let two = TestNode::start(settings(realm.identity(2)));
    let raw = Raw::connect(&realm, None, "starmesh-link/1", two.address()).await.unwrap();
    let (here, there) = (raw.end().await, two.turned_away().await);
    assert_eq!((here.reason, there.reason), (Reason::NoCertificate, Reason::NoCertificate));
}

#[tokio::test]
async fn strangers_have_so_many_places_and_a_member_comes_in_when_one_is_free() {
    let realm = Realm::new("demo");
    let few = Limits { strangers_max: 4, strangers_per_address: 4, ..limits() };
    let two = TestNode::start(Settings { limits: few, ..settings(realm.identity(2)) });
    let mut strangers = Vec::new();
    for _ in 0..4 {
        let raw = Raw::connect(&realm, None, "starmesh-join/1", two.address()).await;
        strangers.push(raw.unwrap());
    }
    let one_more = Raw::connect(&realm, None, "starmesh-join/1", two.address()).await;
    assert!(one_more.is_err());
    let status = two.links.strangers();
    assert_eq!(status.now, 4);
    assert!(status.crowded >= 1);
    let one = TestNode::start(settings(realm.identity(1)));
    one.dial(&two);
    let busy = one.until("a failure", |one| match one.status(two.id)?.state {
        starmesh::cluster::links::LinkState::Down { why } => why,
        _ => None,
    });
    assert_eq!(busy.await.reason, Reason::Busy);
    strangers.pop();
    one.link(two.id).await;
}
