//! Who does not belong is refused, and both sides know why.

use std::time::{Duration, SystemTime};

use starmesh::base::{Incarnation, NodeId};
use starmesh::cluster::certificates::{Identity, Subject, Validity};
use starmesh::cluster::links::{By, End, Formats, Reason, Settings};

use super::links_support::{Heard, Raw, Realm, Recorded, TestNode, hello, name, settings, written};

/// Node 1 dials node 2: both know this reason, and no link was ever up.
async fn check(one: Settings, two: Settings, reason: Reason, said: &str) -> (TestNode, TestNode) {
    let (one, two) = (TestNode::start(one), TestNode::start(two));
    one.dial(&two);
    let (here, there) = (one.refused_by(two.id).await, two.turned_away().await);
    for (end, by) in [(&here, By::Peer), (&there, By::Us)] {
        assert_eq!((end.reason, end.by), (reason, by), "{here} {there}");
    }
    assert!(here.detail.contains(said) || there.detail.contains(said), "{here} {there}");
    assert!(one.host.state().heard.is_empty() && two.host.state().heard.is_empty());
    (one, two)
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let (ours, foreign) = (Realm::new("demo"), Realm::new("demo"));
    let (one, two) = (
        TestNode::start(settings(foreign.identity(1))),
        TestNode::start(settings(ours.identity(2))),
    );
    one.dial(&two);
    // Here it is the one that dials that does not believe, and says so.
    let here = one.refused_by(two.id).await;
    assert_eq!((here.reason, here.by), (Reason::ForeignCertificate, By::Us), "{here}");
    let there = two.turned_away().await;
    assert_eq!((there.reason, there.by), (Reason::ForeignCertificate, By::Peer), "{there}");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_also_by_the_one_that_is_dialled() {
    let (ours, foreign) = (Realm::new("demo"), Realm::new("demo"));
    // Believes both, and was signed by the other.
    let subject = foreign.subject(1);
    let stranger = foreign.identity_of(&subject, Validity::of_node(SystemTime::now()));
    let two = TestNode::start(settings(ours.identity(2)));
    let raw = Raw::connect(&ours, Some(&stranger), "starmesh-link/1", two.address()).await;
    let here = match raw {
        Ok(raw) => raw.end().await,
        Err(error) => End::from(&error),
    };
    assert_eq!((here.reason, here.by), (Reason::ForeignCertificate, By::Peer), "{here}");
    let there = two.turned_away().await;
    assert_eq!((there.reason, there.by), (Reason::ForeignCertificate, By::Us), "{there}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let realm = Realm::new("demo");
    let now = SystemTime::now();
    let day = Duration::from_hours(24);
    let past = Validity { from: now - 10 * day, until: now - day };
    let expired = realm.identity_of(&realm.subject(1), past);
    let two = settings(realm.identity(2));
    check(settings(expired), two, Reason::ExpiredCertificate, "starmesh cert show").await;
}

/// On a busy machine one may expire before the link is up: then there is more time.
#[tokio::test]
async fn a_link_does_not_outlive_the_certificate_that_was_shown() {
    let realm = Realm::new("demo");
    for seconds in [3, 12, 50] {
        let now = SystemTime::now();
        let until = now + Duration::from_secs(seconds);
        let validity = Validity { from: now - Duration::from_hours(24), until };
        let one = TestNode::start(settings(realm.identity_of(&realm.subject(1), validity)));
        let two = TestNode::start(settings(realm.identity(2)));
        one.dial(&two);
        let refused = one.refused_by(two.id).await;
        assert_eq!((refused.reason, refused.by), (Reason::ExpiredCertificate, By::Peer));
        let was_up = one.status(two.id).expect("a peer").links > 0;
        if was_up {
            assert!(SystemTime::now() >= until, "it was valid");
            let ended = |recorded: &Recorded| {
                recorded.heard.contains(&Heard::Down(one.id, Reason::ExpiredCertificate))
            };
            return two.host.until("the link ends", ended).await;
        }
    }
    panic!("the link was never up in time");
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_yet_is_refused() {
    let realm = Realm::new("demo");
    let now = SystemTime::now();
    let day = Duration::from_hours(24);
    let future = Validity { from: now + day, until: now + 10 * day };
    let early = realm.identity_of(&realm.subject(1), future);
    let two = settings(realm.identity(2));
    check(settings(early), two, Reason::ExpiredCertificate, "not valid at this time").await;
}

#[tokio::test]
async fn another_cluster_of_the_same_authority_is_refused() {
    let realm = Realm::new("demo");
    let subject = Subject { cluster: name("other"), ..realm.subject(1) };
    let other = realm.identity_of(&subject, Validity::of_node(SystemTime::now()));
    let said = "cluster other where demo was expected";
    check(settings(other), settings(realm.identity(2)), Reason::OtherCluster, said).await;
}

#[tokio::test]
async fn versions_that_have_nothing_in_common_are_refused() {
    let realm = Realm::new("demo");
    let newer = Settings {
        formats: Formats { lowest: 3, highest: 4 },
        build: "9.0.0".into(),
        ..settings(realm.identity(1))
    };
    let said = "node 1 (9.0.0) reads formats 3 to 4, node 2 (test) reads 1 to 2";
    check(newer, settings(realm.identity(2)), Reason::Formats, said).await;
}

#[tokio::test]
async fn versions_that_have_one_in_common_are_linked() {
    let realm = Realm::new("demo");
    let formats = Formats { lowest: 2, highest: 3 };
    let newer = TestNode::start(Settings { formats, ..settings(realm.identity(1)) });
    let two = TestNode::start(settings(realm.identity(2)));
    newer.dial(&two);
    assert_eq!(newer.link(two.id).await.hello().formats.common(formats), Some(2));
}

#[tokio::test]
async fn a_node_at_the_address_of_another_is_refused() {
    let realm = Realm::new("demo");
    let (one, three) = (
        TestNode::start(settings(realm.identity(1))),
        TestNode::start(settings(realm.identity(3))),
    );
    one.links.set_peer(NodeId(2), three.address().to_string());
    let here = one.refused_by(NodeId(2)).await;
    let there = three.turned_away().await;
    for (end, by) in [(&here, By::Peer), (&there, By::Us)] {
        assert_eq!((end.reason, end.by), (Reason::OtherNode, by), "{end}");
        assert_eq!(end.detail, "node 2 was dialled, this is node 3");
    }
}

#[tokio::test]
async fn a_node_that_says_it_is_another_than_its_certificate_says_is_refused() {
    let realm = Realm::new("demo");
    let two = TestNode::start(settings(realm.identity(2)));
    let own = realm.identity(7);
    let raw = Raw::connect(&realm, Some(&own), "starmesh-link/1", two.address()).await.unwrap();
    let _stream = raw.open(&written(&hello(&realm, 1))).await;
    let (here, there) = (raw.end().await, two.turned_away().await);
    assert_eq!((here.reason, there.reason), (Reason::OtherNode, Reason::OtherNode));
    assert_eq!(there.detail, "node 1 shows the certificate of node 7");
    assert_eq!(here.detail, there.detail);
}

#[tokio::test]
async fn a_certificate_that_names_no_node_is_refused() {
    let realm = Realm::new("demo");
    let two = TestNode::start(settings(realm.identity(2)));
    let no_node = of_no_node(&realm);
    let raw = Raw::connect_with(&realm, Some(no_node), "starmesh-link/1", two.address()).await;
    let raw = raw.unwrap();
    let _stream = raw.open(&written(&hello(&realm, 1))).await;
    let (here, there) = (raw.end().await, two.turned_away().await);
    assert_eq!((here.reason, there.reason), (Reason::OtherNode, Reason::OtherNode));
    assert_eq!(there.detail, "the certificate names no node");
}

/// A sound certificate of the authority that is not a node's.
fn of_no_node(realm: &Realm) -> super::links_support::Shown {
    let folder = tempfile::tempdir().unwrap();
    realm.authority.save(folder.path()).unwrap();
    let [certificate, key] =
        ["ca.pem", "ca.key"].map(|file| std::fs::read_to_string(folder.path().join(file)).unwrap());
    let key = rcgen::KeyPair::from_pem(&key).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&certificate, key).unwrap();
    let own = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["node.starmesh".into()]).unwrap();
    let signed = params.signed_by(&own, &issuer).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(own.serialize_der());
    (vec![signed.der().clone()], key.into())
}

#[tokio::test]
async fn a_dead_incarnation_is_refused_until_it_starts_anew() {
    let realm = Realm::new("demo");
    let (one, two) = (settings(realm.identity(1)), TestNode::start(settings(realm.identity(2))));
    two.host.state().dead.insert((NodeId(1), Incarnation(1)));
    let dead = TestNode::start(one.clone());
    dead.dial(&two);
    let (here, there) = (dead.refused_by(two.id).await, two.turned_away().await);
    assert_eq!((here.reason, there.reason), (Reason::DeadIncarnation, Reason::DeadIncarnation));
    assert!(two.host.state().heard.is_empty());
    dead.links.stop().await;
    let anew = TestNode::start(Settings { incarnation: Incarnation(2), ..one });
    anew.dial(&two);
    anew.link(two.id).await;
}

#[tokio::test]
async fn a_link_to_a_node_that_was_declared_dead_is_closed_with_that_reason() {
    let (one, two) = super::links_support::pair(super::links_support::limits()).await;
    let dead = End::us(Reason::DeadIncarnation, "declared dead at tick 7");
    one.host.state().dead.insert((two.id, Incarnation(1)));
    two.host.state().dead.insert((one.id, Incarnation(1)));
    one.links.forget_peer(two.id, dead);
    let why = two.refused_by(one.id).await;
    assert_eq!((why.reason, why.by), (Reason::DeadIncarnation, By::Peer));
    assert_eq!(why.detail, "declared dead at tick 7");
}

/// An identity is checked when it is made, not when it is used.
#[test]
fn a_key_of_another_makes_no_identity() {
    let realm = Realm::new("demo");
    let folder = tempfile::tempdir().unwrap();
    let identity = realm.identity(1);
    let other = starmesh::cluster::certificates::identity::NodeKey::open(folder.path()).unwrap();
    let chain = vec![identity.certificate().clone()];
    let made = Identity::new(chain, &other.pem(), identity.authorities().to_vec());
    assert_eq!(made.unwrap_err().to_string(), "the certificate does not belong to its private key");
}
