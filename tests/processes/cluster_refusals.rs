//! A member that comes back with a certificate that the others do not believe, or
//! that names another cluster, and a newcomer that cannot read what the cluster
//! writes: each hears why it is refused, and so does the log of who refused it.
//! As it should be it has its place again.

use std::fs;
use std::time::{Duration, SystemTime};

use starmesh::base::NodeId;
use starmesh::cluster::certificates::identity::NodeKey;
use starmesh::cluster::certificates::{Authority, Identity, Name, Request, Subject, Validity};

use crate::cluster_support::{Cluster, expect_sound};
#[cfg(feature = "postgres")]
use crate::postgres_server;
use crate::support::wait_for;

const DAY: Duration = Duration::from_hours(24);

/// What the second node of a cluster comes back with.
struct Shown {
    authority: Authority,
    cluster: &'static str,
    validity: Validity,
}

/// The cluster's own authority, by which everything is well.
fn sound(cluster: &Cluster) -> Shown {
    let authority = Authority::load(&cluster.node(0).data().join("cluster"));
    let validity = Validity::of_node(SystemTime::now());
    Shown { authority: authority.expect("the first node has it"), cluster: "starmesh", validity }
}

/// Gives the second node this certificate, for the key it has; it believes the same
/// authority as before.
fn give(cluster: &Cluster, shown: &Shown) {
    let folder = cluster.node(1).data().join("cluster");
    let authorities = Identity::load(&folder).expect("it is a member").authorities().to_vec();
    let key = NodeKey::open(&folder).expect("its key");
    let request = Request::from_der(&key.request().expect("a request")).expect("a request");
    let name = |name: &str| name.parse::<Name>().expect("a name");
    let subject = Subject { cluster: name(shown.cluster), node: NodeId(2), name: name("b") };
    let signed = shown.authority.sign(&request, &subject, shown.validity).expect("signed");
    let identity = Identity::new(vec![signed], &key.pem(), authorities).expect("they fit");
    identity.save(&folder).expect("the folder is writable");
}

/// Starts the second node with this; both say `reason` of it, each in its own words.
fn check(cluster: &Cluster, shown: &Shown, reason: &str, own: &str, other: &str) {
    give(cluster, shown);
    let before = [0, 1].map(|index| cluster.node(index).log().len());
    let _process = cluster.node(1).spawn();
    for (index, word) in [(0, other), (1, own)] {
        let said = |line: &str| line.contains(&format!("reason={reason}")) && line.contains(word);
        let line = wait_for(&format!("{reason} in the log of node {}", index + 1), || {
            let log = cluster.node(index).log();
            log[before[index]..].lines().find(|line| said(line)).map(str::to_owned)
        });
        println!("refusals: node {}: {line}", index + 1);
    }
}

/// The second node comes back with each certificate that is no good, and then with
/// one that is.
fn check_each(mut cluster: Cluster, away: &str) {
    let (status, _) = cluster.take(1).terminate();
    assert!(status.success(), "{status}:\n{}", cluster.node(1).log());
    let now = SystemTime::now();
    let name = "starmesh".parse().expect("a name");
    let foreign = Authority::new(&name, Validity::of_authority(now)).expect("an authority");
    let foreign = Shown { authority: foreign, ..sound(&cluster) };
    check(&cluster, &foreign, "ForeignCertificate", away, "turned away");
    let past = Validity { from: now - 10 * DAY, until: now - DAY };
    let expired = Shown { validity: past, ..sound(&cluster) };
    check(&cluster, &expired, "ExpiredCertificate", "starmesh cert show", "turned away");
    let other = Shown { cluster: "other", ..sound(&cluster) };
    let named = "cluster other where starmesh was expected";
    check(&cluster, &other, "OtherCluster", away, named);
    give(&cluster, &sound(&cluster));
    cluster.restart(1);
    (0..2).for_each(|index| expect_sound(cluster.node(index)));
    cluster.stop();
}

#[test]
fn a_member_whose_certificate_is_no_good_is_refused_the_store_and_both_say_why() {
    check_each(Cluster::start(2), "the store is away");
}

#[cfg(feature = "postgres")]
#[test]
fn a_member_whose_certificate_is_no_good_gets_no_link_and_both_say_why() {
    let server = postgres_server::shared();
    check_each(Cluster::empty().on(&server.database()).of(2), "no link");
}

#[test]
fn a_newcomer_that_cannot_read_what_is_written_is_refused_and_both_say_why() {
    let cluster = Cluster::start(1);
    let line = cluster.line();
    let newcomer = cluster.home("b").with("CLUSTER__FORMAT_MAX", "1");
    let mut command = newcomer.command();
    command.env("STARMESH_CLUSTER__JOIN", &line);
    let status = newcomer.spawn_by(command).wait();
    assert!(!status.success(), "it joined:\n{}", newcomer.log());
    for home in [&newcomer, cluster.node(0)] {
        let why = "the newcomer reads formats 1, the cluster needs 2";
        let said = wait_for("why it may not join", || {
            home.log().lines().find(|line| line.contains(why)).map(str::to_owned)
        });
        println!("refusals: {said}");
    }
    assert!(fs::exists(newcomer.data().join("cluster/node.pem")).is_ok_and(|made| !made));
    cluster.stop();
}
