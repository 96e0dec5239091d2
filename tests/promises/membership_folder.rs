//! What is in a data folder decides who a node is: a fresh one makes a cluster,
//! one with a join line joins, one of a member stays what it is; and whatever a
//! start was cut off at, the next one goes on from there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

use starmesh::actors::membership::{MembershipError, StorePlace};
use starmesh::base::NodeId;
use starmesh::cluster::certificates::identity::NodeKey;
use starmesh::cluster::certificates::{Authority, Identity, Request, Subject, Validity};
use starmesh::cluster::links::Settings;
use starmesh::cluster::links::join::{JoinError, JoinRefusal, Member};
use starmesh::cluster::secret::SecretError;

use super::links_support::{TestNode, name, settings};
use super::membership_support::{First, Folder, STORE_URL};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// What others must not read they cannot.
fn check_private(folder: &Folder, files: &[&str]) {
    for file in files {
        assert_eq!(mode(&folder.data().join(file)), 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_fresh_folder_becomes_the_first_node_and_stays_it() {
    let folder = Folder::new("a");
    let made = folder.opened().await;
    assert_eq!(made.identity.subject().to_string(), "starmesh://starmesh/1/a");
    assert_eq!((made.node, &made.store), (NodeId(1), &StorePlace::Own));
    assert!(made.authority.is_some() && made.members.is_empty());
    assert_eq!(made.address, made.listen.to_string());
    let files = ["ca.key", "ca.pem", "node.key", "node.pem", "port"];
    let mut expected: Vec<String> = files.iter().map(|file| format!("cluster/{file}")).collect();
    expected.push("cluster.secret".into());
    expected.sort();
    assert_eq!(folder.files(), expected);
    check_private(&folder, &["cluster.secret", "cluster/ca.key", "cluster/node.key"]);
    let again = folder.opened().await;
    assert_eq!(again.identity.certificate(), made.identity.certificate());
    assert_eq!((again.listen, again.address), (made.listen, made.address));
}

#[tokio::test]
async fn what_a_folder_is_wins_over_the_settings() {
    let mut folder = Folder::new("a");
    let made = folder.opened().await;
    folder.name = "z".into();
    folder.more = "name = 'other'".into();
    let again = folder.opened().await;
    assert_eq!(again.identity.subject(), made.identity.subject());
}

#[tokio::test]
async fn a_first_start_that_was_cut_off_anywhere_goes_on_with_what_it_made() {
    let folder = Folder::new("a");
    let made = folder.opened().await;
    let order = ["port", "../cluster.secret", "ca.key", "ca.pem", "node.key", "node.pem"];
    for kept in 0..order.len() {
        for gone in &order[kept..] {
            fs::remove_file(folder.file(gone)).unwrap();
        }
        // A file that was being written.
        fs::write(folder.file(&format!("{}.1", order[kept])), "half").unwrap();
        let before: Vec<Vec<u8>> =
            order[..kept].iter().map(|file| fs::read(folder.file(file)).unwrap()).collect();
        let again = folder.opened().await;
        let after: Vec<Vec<u8>> =
            order[..kept].iter().map(|file| fs::read(folder.file(file)).unwrap()).collect();
        assert!(before == after, "cut off before {}", order[kept]);
        assert_eq!(again.identity.subject(), made.identity.subject());
        let authority = again.authority.unwrap();
        assert_eq!(again.identity.authorities(), [authority.certificate().clone()]);
        Identity::load(&folder.data().join("cluster")).unwrap();
    }
}

#[tokio::test]
async fn a_folder_of_an_older_version_becomes_the_first_node() {
    let folder = Folder::new("a");
    fs::create_dir(folder.data().join("store")).unwrap();
    let made = folder.opened().await;
    assert_eq!((made.node, made.store), (NodeId(1), StorePlace::Own));
}

#[tokio::test]
async fn a_newcomer_joins_over_the_network_and_needs_the_line_no_more() {
    let first = First::start().await;
    // As it is printed and typed.
    let (mut folder, joined) = first.joined("b").await;
    assert_eq!(joined.identity.subject().to_string(), "starmesh://starmesh/2/b");
    let place = StorePlace::Of { node: NodeId(1), address: first.membership.address.clone() };
    assert_eq!(joined.store, place);
    assert!(joined.authority.is_none());
    let a = Member { node: NodeId(1), name: name("a"), address: first.membership.address.clone() };
    assert_eq!(joined.members, std::slice::from_ref(&a));
    let secrets = [&first.folder, &folder].map(|folder| fs::read(folder.file("../cluster.secret")));
    let [Ok(theirs), Ok(ours)] = secrets else { panic!("no secret") };
    assert_eq!(theirs, ours);
    check_private(&folder, &["cluster.secret", "cluster/node.key"]);

    // Each believes the other.
    let listen = joined.listen;
    let two = TestNode::start(Settings { listen, ..settings(joined.identity.clone()) });
    two.links.set_peer(NodeId(1), a.address.clone());
    assert_eq!(two.link(NodeId(1)).await.hello().name, name("a"));
    assert_eq!(first.node.link(NodeId(2)).await.hello().name, name("b"));

    // The used line does no harm, and none is needed.
    for line in [folder.join.clone(), String::new()] {
        folder.join = line;
        let again = folder.opened().await;
        assert_eq!(again.identity.certificate(), joined.identity.certificate());
        assert_eq!((&again.store, &again.members), (&place, &joined.members));
        assert_eq!((again.listen, again.address), (joined.listen, joined.address.clone()));
    }

    // The members it heard of since, and the address that the store has now.
    let moved = Member { address: "127.0.0.1:7999".into(), ..a };
    let third = Member { node: NodeId(3), name: name("c"), address: "h:1".into() };
    joined.memory.remember(&[moved.clone(), third.clone()]).unwrap();
    let again = folder.opened().await;
    assert_eq!(again.members, [moved.clone(), third]);
    assert_eq!(again.store, StorePlace::Of { node: NodeId(1), address: moved.address });

    // The next one hears of it.
    let (_, third) = first.joined("c").await;
    let known: Vec<(NodeId, &str)> =
        third.members.iter().map(|member| (member.node, member.address.as_str())).collect();
    let addresses = [first.membership.address.as_str(), &joined.address];
    assert_eq!(known, [(NodeId(1), addresses[0]), (NodeId(2), addresses[1])]);
}

#[tokio::test]
async fn a_line_of_another_cluster_is_refused_in_a_members_folder() {
    let (first, other) = (First::start().await, First::start().await);
    let (mut folder, _) = first.joined("b").await;
    let line = other.line().await;
    folder.join = line.to_string();
    match folder.open().await {
        Err(error @ MembershipError::OtherCluster { .. }) => {
            let text = error.to_string();
            assert!(text.contains("starmesh://starmesh/2/b"), "{text}");
            assert!(text.contains(&line.authority.to_string()), "{text}");
        }
        opened => panic!("{opened:?}"),
    }
    // Nothing changed.
    folder.join.clear();
    assert_eq!(folder.opened().await.node, NodeId(2));
}

#[tokio::test]
async fn one_who_is_refused_hears_why_and_joins_with_the_next_try() {
    let first = First::start().await;
    let mut folder = Folder::joining("a", &first.line().await);
    match folder.open().await {
        Err(MembershipError::Join(JoinError::Refused {
            refusal: JoinRefusal::NameTaken(taken),
            ..
        })) => assert_eq!(taken, name("a")),
        opened => panic!("{opened:?}"),
    }
    assert_eq!(folder.files(), ["cluster/node.key", "cluster/port"]);
    // The token was not used up.
    folder.name = "b".into();
    assert_eq!(folder.opened().await.node, NodeId(2));
    let mut used = Folder::new("c");
    used.join = folder.join.clone();
    match used.open().await {
        Err(MembershipError::Join(JoinError::Refused {
            refusal: JoinRefusal::UsedToken, ..
        })) => {}
        opened => panic!("{opened:?}"),
    }
}

#[tokio::test]
async fn a_join_that_was_cut_off_anywhere_ends_as_the_same_node() {
    let first = First::start().await;
    let (mut folder, joined) = first.joined("b").await;
    let order = ["port", "node.key", "members.json", "../cluster.secret", "ca.pem", "node.pem"];
    let key = folder.text("node.key");
    // Its key is on disk before it asks: without it nothing was asked.
    for kept in 2..order.len() {
        for gone in &order[kept..] {
            fs::remove_file(folder.file(gone)).unwrap();
        }
        if kept > 2 {
            // Without the line it is not made the first node of another cluster.
            let line = std::mem::take(&mut folder.join);
            let without = folder.open().await;
            folder.join = line;
            let refused = matches!(without, Err(MembershipError::HalfJoined { .. }));
            assert!(refused, "{kept}: {without:?}");
        }
        let again = folder.opened().await;
        assert_eq!(again.identity.subject(), joined.identity.subject(), "{kept}");
        assert_eq!(folder.text("node.key"), key);
        assert_eq!((&again.store, &again.members), (&joined.store, &joined.members));
    }
}

#[tokio::test]
async fn nobody_joins_from_a_folder_that_has_something_to_lose() {
    let first = First::start().await;
    let line = first.line().await;
    let galaxy = Folder::joining("b", &line);
    fs::create_dir(galaxy.data().join("store")).unwrap();
    let opened = galaxy.open().await;
    assert!(matches!(opened, Err(MembershipError::OwnGalaxy { .. })), "{opened:?}");

    let authority = Folder::joining("b", &line);
    fs::create_dir(authority.data().join("cluster")).unwrap();
    fs::write(authority.file("ca.key"), "a key").unwrap();
    let opened = authority.open().await;
    assert!(matches!(opened, Err(MembershipError::OwnAuthority { .. })), "{opened:?}");

    let secret = Folder::joining("b", &line);
    fs::write(secret.data().join("cluster.secret"), [7; 32]).unwrap();
    let opened = secret.open().await;
    let other = matches!(opened, Err(MembershipError::Secret(SecretError::Other { .. })));
    assert!(other, "{opened:?}");
    // None of them used the line up.
    assert_eq!(Folder::joining("b", &line).opened().await.node, NodeId(2));
}

#[tokio::test]
async fn certificates_of_ones_own_are_used_as_they_are() {
    let (ca, validity) = (tempfile::tempdir().unwrap(), Validity::days(SystemTime::now(), 30));
    let authority = Authority::new(&name("own"), validity).unwrap();
    authority.save(ca.path()).unwrap();
    let issue = |folder: &Folder, number| {
        let cluster = folder.data().join("cluster");
        fs::create_dir(&cluster).unwrap();
        let key = NodeKey::open(&cluster).unwrap();
        let request = Request::from_der(&key.request().unwrap()).unwrap();
        let subject = Subject { cluster: name("own"), node: NodeId(number), name: name("x") };
        let signed = authority.sign(&request, &subject, validity).unwrap();
        let authorities = vec![authority.certificate().clone()];
        Identity::new(vec![signed], &key.pem(), authorities).unwrap().save(&cluster).unwrap();
        (subject, folder.text("node.pem"))
    };
    let mut folder = Folder::new("b");
    let (subject, certificate) = issue(&folder, 7);
    // Where the store is nobody has said.
    let opened = folder.open().await;
    assert!(matches!(opened, Err(MembershipError::NoStore { .. })), "{opened:?}");
    folder.store_url = STORE_URL.into();
    let opened = folder.opened().await;
    assert_eq!((opened.identity.subject(), &opened.store), (&subject, &StorePlace::Own));
    assert!(opened.authority.is_none());
    assert_eq!(folder.text("node.pem"), certificate);

    let folder = Folder::new("a");
    issue(&folder, 1);
    let opened = folder.opened().await;
    assert_eq!((opened.node, opened.store), (NodeId(1), StorePlace::Own));
}

#[tokio::test]
async fn an_authority_of_ones_own_makes_the_first_node() {
    let (folder, validity) = (Folder::new("a"), Validity::days(SystemTime::now(), 30));
    let authority = Authority::new(&name("starmesh"), validity).unwrap();
    fs::create_dir(folder.data().join("cluster")).unwrap();
    authority.save(&folder.data().join("cluster")).unwrap();
    let opened = folder.opened().await;
    assert_eq!(opened.identity.authorities(), [authority.certificate().clone()]);
    assert_eq!(opened.authority.unwrap().fingerprint(), authority.fingerprint());
}

#[tokio::test]
async fn a_newcomer_must_be_able_to_reach_the_store() {
    let refused = |opened: Result<_, MembershipError>| match opened {
        Err(MembershipError::Join(JoinError::Refused { refusal, .. })) => refusal,
        opened => panic!("{:?}", opened.map(|_: starmesh::actors::membership::Membership| ())),
    };
    let first = First::start().await;
    let mut folder = Folder::joining("b", &first.line().await);
    folder.store_url = STORE_URL.into();
    let refusal = refused(folder.open().await);
    assert_eq!(refusal, JoinRefusal::NeedsNoStoreUrl(NodeId(1)));

    let mut shared = Folder::new("a");
    shared.store_url = STORE_URL.into();
    let first = First::start_in(shared).await;
    let mut folder = Folder::joining("b", &first.line().await);
    assert_eq!(refused(folder.open().await), JoinRefusal::NeedsStoreUrl);
    folder.store_url = STORE_URL.into();
    assert_eq!(folder.opened().await.store, StorePlace::Own);
    // It is told again when the setting gets lost.
    folder.store_url.clear();
    let opened = folder.open().await;
    assert!(matches!(opened, Err(MembershipError::NeedsStoreUrl)), "{opened:?}");
}

#[tokio::test]
async fn what_is_advertised_is_in_the_line_and_what_others_dial() {
    let mut folder = Folder::new("a");
    folder.more = "advertise = 'localhost'".into();
    let first = First::start_in(folder).await;
    let port = first.membership.listen.port();
    assert_eq!(first.membership.address, format!("localhost:{port}"));
    assert_eq!(first.line().await.address, first.membership.address);
    let (_, joined) = first.joined("b").await;
    assert_eq!(joined.members[0].address, first.membership.address);
}
