//! A newcomer with a join line becomes a node; without a good one it hears why
//! it does not, and so does the node that it asked.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use starmesh::base::NodeId;
use starmesh::cluster::certificates::identity::NodeKey;
use starmesh::cluster::certificates::{
    Authority, Fingerprint, Identity, JoinLine, JoinLineError, JoinSecret, Validity,
};
use starmesh::cluster::links::join::{
    Grant, JoinError, JoinRefusal, Member, MemoryDesk, Newcomer, join, join_at,
};
use starmesh::cluster::links::{Formats, Limits, Reason, Settings};

use super::links_support::{FORMATS, Raw, Realm, TestNode, limits, name, settings};

/// The first node, which lets in.
struct First {
    node: TestNode,
    desk: Arc<MemoryDesk>,
    authority: Fingerprint,
}

impl First {
    fn start() -> First {
        let realm = Realm::new("demo");
        let identity = realm.identity(1);
        let authority = realm.authority.fingerprint();
        let secret = b"the cluster's secret".to_vec();
        let desk = MemoryDesk::new(realm.authority, realm.cluster, secret, FORMATS);
        let desk = Arc::new(desk);
        let node = TestNode::with_desk(settings(identity), Some(desk.clone()));
        let address = node.address().to_string();
        desk.add_member(Member { node: NodeId(1), name: name("n1"), address });
        First { node, desk, authority }
    }

    fn line(&self) -> JoinLine {
        self.line_with(self.desk.offer().unwrap())
    }

    fn line_with(&self, secret: JoinSecret) -> JoinLine {
        JoinLine { address: self.node.address().to_string(), authority: self.authority, secret }
    }

    async fn refused(&self, line: &JoinLine, newcomer: Newcomer<'_>) -> JoinRefusal {
        match join(line, newcomer, &limits()).await {
            Err(JoinError::Refused { refusal, .. }) => refusal,
            other => panic!("{other:?}"),
        }
    }
}

fn newcomer<'a>(key: &'a NodeKey, called: &str) -> Newcomer<'a> {
    Newcomer {
        key,
        name: name(called),
        address: ":7001".into(),
        formats: FORMATS,
        build: "test".into(),
        has_store_url: false,
    }
}

async fn granted(line: &JoinLine, key: &NodeKey, called: &str) -> Grant {
    join(line, newcomer(key, called), &limits()).await.expect("it may join")
}

#[tokio::test]
async fn a_newcomer_gets_all_that_a_node_needs_and_is_linked() {
    let (first, folder) = (First::start(), tempfile::tempdir().unwrap());
    // As it is printed and typed.
    let line: JoinLine = first.line().to_string().parse().unwrap();
    let key = NodeKey::open(folder.path()).unwrap();
    let grant = granted(&line, &key, "b").await;
    assert_eq!((grant.node, grant.cluster.as_str()), (NodeId(2), "demo"));
    assert_eq!(grant.cluster_secret, b"the cluster's secret");
    grant.identity(&key).unwrap().save(folder.path()).unwrap();

    let identity = Identity::load(folder.path()).unwrap();
    assert_eq!(identity.subject().to_string(), "starmesh://demo/2/b");
    let two = TestNode::start(settings(identity));
    for Member { node, address, .. } in grant.members {
        two.links.set_peer(node, address);
    }
    assert_eq!(two.link(NodeId(1)).await.hello().name, name("n1"));
    assert_eq!(first.node.link(NodeId(2)).await.hello().name, name("b"));

    // The next one hears of it, at the address that it came from.
    let third = granted(&first.line(), &NodeKey::generate().unwrap(), "c").await;
    let addresses: Vec<String> = third.members.into_iter().map(|member| member.address).collect();
    assert_eq!(addresses, [first.node.address().to_string(), "127.0.0.1:7001".into()]);
}

#[tokio::test]
async fn a_token_serves_one_key_however_often_it_asks() {
    let first = First::start();
    let (line, key) = (first.line(), NodeKey::generate().unwrap());
    let grant = granted(&line, &key, "b").await;
    // The answer got lost: it asks again.
    let again = granted(&line, &key, "b").await;
    assert_eq!((again.node, &again.members), (grant.node, &grant.members));
    let other = NodeKey::generate().unwrap();
    let refusal = first.refused(&line, newcomer(&other, "c")).await;
    assert_eq!(refusal, JoinRefusal::UsedToken);
    let there = first.node.turned_away().await;
    assert_eq!(there.reason, Reason::NotAdmitted);
    assert_eq!(there.detail, format!("c may not join: {refusal}"));
}

#[tokio::test]
async fn a_token_of_nobody_a_name_of_another_and_an_old_build_are_refused() {
    let first = First::start();
    let key = NodeKey::generate().unwrap();
    let unknown = first.line_with(JoinSecret::random().unwrap());
    let refusal = first.refused(&unknown, newcomer(&key, "b")).await;
    assert_eq!(refusal, JoinRefusal::UnknownToken);
    let there = first.node.turned_away().await;
    assert!(there.detail.starts_with("b may not join: the token is not known"), "{there}");
    let line = first.line();
    let refusal = first.refused(&line, newcomer(&key, "n1")).await;
    assert_eq!(refusal, JoinRefusal::NameTaken(name("n1")));
    let theirs = Formats { lowest: 0, highest: 0 };
    let old = Newcomer { formats: theirs, ..newcomer(&key, "b") };
    let refusal = first.refused(&line, old).await;
    assert_eq!(refusal, JoinRefusal::Formats { theirs, ours: FORMATS });
    // None of this used the token up.
    granted(&line, &key, "b").await;
}

#[tokio::test]
async fn a_mistyped_token_is_told_before_anything_is_sent() {
    let first = First::start();
    let mut line = first.line().to_string();
    let last = line.pop().unwrap();
    line.push(if last == '0' { 'g' } else { '0' });
    let error = line.parse::<JoinLine>().unwrap_err();
    assert!(matches!(error, JoinLineError::Checksum), "{error}");
    assert_eq!(first.node.links.strangers().refused, 0);
}

#[tokio::test]
async fn a_newcomer_says_nothing_to_a_node_of_another_authority() {
    let first = First::start();
    let other = Authority::new(&name("demo"), Validity::of_authority(SystemTime::now())).unwrap();
    let line = JoinLine { authority: other.fingerprint(), ..first.line() };
    let key = NodeKey::generate().unwrap();
    let error = join(&line, newcomer(&key, "b"), &limits()).await.unwrap_err();
    assert!(matches!(error, JoinError::OtherAuthority { .. }), "{error}");
    let there = first.node.turned_away().await;
    assert_eq!(there.reason, Reason::ForeignCertificate, "{there}");
}

#[tokio::test]
async fn every_address_of_the_lines_host_is_tried() {
    let (first, other) = (First::start(), First::start());
    let (line, key) = (first.line(), NodeKey::generate().unwrap());
    let nobody = "127.0.0.1:0".parse().unwrap();
    let addresses = [other.node.address(), nobody, first.node.address()];
    let error = join_at(&addresses[..2], &line, newcomer(&key, "b"), &limits()).await.unwrap_err();
    // That somebody else is there tells more than that nobody is.
    assert!(matches!(error, JoinError::OtherAuthority { .. }), "{error}");
    let error = join_at(&addresses[1..2], &line, newcomer(&key, "b"), &limits()).await.unwrap_err();
    assert!(matches!(error, JoinError::Unreachable { .. }), "{error}");
    let grant = join_at(&addresses, &line, newcomer(&key, "b"), &limits()).await.unwrap();
    assert_eq!(grant.node, NodeId(2));
}

#[tokio::test]
async fn a_server_that_only_shows_the_authority_is_not_believed() {
    // The authority's certificate is no secret: whoever shows it must have been
    // signed by it too.
    let (ours, foreign) = (Realm::new("demo"), Realm::new("demo"));
    let own = foreign.identity(1);
    let key = own.key();
    let pem = rcgen::KeyPair::try_from(key.secret_der()).unwrap().serialize_pem();
    let authorities = vec![ours.authority.certificate().clone()];
    let liar = Identity::new(vec![own.certificate().clone()], &pem, authorities).unwrap();
    let node = TestNode::start(settings(liar));
    let line = JoinLine {
        address: node.address().to_string(),
        authority: ours.authority.fingerprint(),
        secret: JoinSecret::random().unwrap(),
    };
    let key = NodeKey::generate().unwrap();
    let error = join(&line, newcomer(&key, "b"), &limits()).await.unwrap_err();
    assert!(matches!(error, JoinError::OtherAuthority { .. }), "{error}");
}

#[tokio::test]
async fn a_node_without_a_desk_says_so() {
    let realm = Realm::new("demo");
    let node = TestNode::start(settings(realm.identity(1)));
    let line = JoinLine {
        address: node.address().to_string(),
        authority: realm.authority.fingerprint(),
        secret: JoinSecret::random().unwrap(),
    };
    let key = NodeKey::generate().unwrap();
    let error = join(&line, newcomer(&key, "b"), &limits()).await.unwrap_err();
    assert!(matches!(error, JoinError::Refused { refusal: JoinRefusal::NoDesk, .. }), "{error}");
}

#[tokio::test]
async fn a_request_that_is_none_or_too_long_or_never_comes_is_turned_away() {
    let (realm, first) = (Realm::new("demo"), First::start());
    let start = |limits| {
        let settings = Settings { limits, ..settings(realm.identity(1)) };
        TestNode::with_desk(settings, Some(first.desk.clone()))
    };
    for (sent, reason) in [
        ([&[16, 0, 0, 0][..], &[7; 16]].concat(), Reason::Malformed),
        (100_000u32.to_le_bytes().to_vec(), Reason::TooLong),
    ] {
        let node = start(limits());
        let raw = Raw::connect(&realm, None, "starmesh-join/1", node.address()).await.unwrap();
        let _stream = raw.open(&sent).await;
        assert_eq!((raw.end().await.reason, node.turned_away().await.reason), (reason, reason));
    }
    let node = start(Limits { handshake: Duration::from_millis(500), ..limits() });
    Raw::take_too_long(&realm, None, "starmesh-join/1", node.address(), &[1]).await;
    assert_eq!(node.turned_away().await.reason, Reason::TooSlow);
}
