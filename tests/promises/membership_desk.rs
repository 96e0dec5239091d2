//! The desk lets newcomers in over the store's rows: a token makes one key a
//! node, no number and no name is given twice, whoever else admits at the same
//! time and whatever the store loses on the way.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use starmesh::actors::membership::{
    OfferError, RegisterError, StoreDesk, check_store, members, register,
};
use starmesh::actors::rows::{GroupRequest, Rows, RowsLimits};
use starmesh::base::draw::draw;
use starmesh::base::{Millis, NodeId};
use starmesh::cluster::certificates::JoinSecret;
use starmesh::cluster::certificates::identity::NodeKey;
use starmesh::cluster::links::Formats;
use starmesh::cluster::links::join::{JoinDesk, JoinRefusal, JoinRequest};
use starmesh::entity::commit::{Group, Put};
use starmesh::entity::format::FORMATS;
use starmesh::entity::keys;
use starmesh::entity::member::TokenRow;
use starmesh::store::Store;
use starmesh::store::memory::Memory;
use tokio::sync::mpsc;

use super::links_support::name;
use super::membership_support::{FROM, First, Folder, redeem, request};

const HOUR: u64 = 3_600_000;

fn key() -> NodeKey {
    NodeKey::generate().unwrap()
}

async fn secret(first: &First) -> JoinSecret {
    first.line().await.secret
}

#[tokio::test]
async fn a_token_serves_one_key_however_often_it_asks() {
    let first = First::start().await;
    let (token, key_of_b) = (secret(&first).await, key());
    let mut used_up = first.desk.subscribe();
    let asked = request(&token, &key_of_b, "b");
    let grant = redeem(&first.desk, &asked).await.unwrap();
    assert_eq!(grant.node, NodeId(2));
    assert!(used_up.has_changed().unwrap());
    used_up.borrow_and_update();
    // The answer got lost, and it was started again with another name.
    let renamed = JoinRequest { name: name("x"), ..asked };
    let again = redeem(&first.desk, &renamed).await.unwrap();
    assert_eq!((again.node, &again.members), (grant.node, &grant.members));
    assert_eq!(again.identity(&key_of_b).unwrap().subject().name, name("b"));
    let other = redeem(&first.desk, &request(&token, &key(), "c")).await;
    assert_eq!(other.unwrap_err(), JoinRefusal::UsedToken);
    assert!(!used_up.has_changed().unwrap());
}

#[tokio::test]
async fn each_refusal_has_its_reason_and_uses_nothing_up() {
    let first = First::start().await;
    let (token, key) = (secret(&first).await, key());
    let asked = request(&token, &key, "b");
    let check = async |request: &JoinRequest, expected: JoinRefusal| {
        assert_eq!(redeem(&first.desk, request).await.unwrap_err(), expected);
    };
    let unknown = JoinSecret::random().unwrap();
    check(&request(&unknown, &key, "b"), JoinRefusal::UnknownToken).await;
    check(&request(&token, &key, "a"), JoinRefusal::NameTaken(name("a"))).await;
    let (theirs, ours) = (Formats { lowest: 7, highest: 9 }, FORMATS);
    let newer = JoinRequest { formats: theirs, ..asked.clone() };
    check(&newer, JoinRefusal::Formats { theirs, ours }).await;
    let shared = JoinRequest { has_store_url: true, ..asked.clone() };
    check(&shared, JoinRefusal::NeedsNoStoreUrl(NodeId(1))).await;
    for address in ["", "host", "host:0", "host:", "a b:1", ":", &format!("{}:1", "x".repeat(300))]
    {
        let request = JoinRequest { address: address.into(), ..asked.clone() };
        let refused = redeem(&first.desk, &request).await.unwrap_err();
        assert!(matches!(refused, JoinRefusal::Request(_)), "{address} {refused}");
    }
    let unsigned = JoinRequest { key: vec![7; 100], ..asked.clone() };
    let refused = redeem(&first.desk, &unsigned).await.unwrap_err();
    assert!(matches!(refused, JoinRefusal::Request(_)), "{refused}");
    let grant = redeem(&first.desk, &asked).await.unwrap();
    assert_eq!(grant.node, NodeId(2));
}

#[tokio::test]
async fn a_token_expires_unless_it_was_used() {
    let first = First::start().await;
    let [used, late, unused] = [secret(&first).await, secret(&first).await, secret(&first).await];
    let key_of_b = key();
    let issued = first.store.time().unwrap();
    first.store.set_time(Millis(issued.0 + 24 * HOUR));
    let asked = request(&used, &key_of_b, "b");
    let grant = redeem(&first.desk, &asked).await.unwrap();
    first.store.set_time(Millis(issued.0 + 24 * HOUR + 1));
    let refused = redeem(&first.desk, &request(&late, &key(), "c")).await;
    assert_eq!(refused.unwrap_err(), JoinRefusal::ExpiredToken);
    assert_eq!(redeem(&first.desk, &asked).await.unwrap().node, grant.node);

    // Long after, a new token sweeps the unused ones away.
    first.store.set_time(Millis(issued.0 + 9 * 24 * HOUR));
    let new = secret(&first).await;
    let refused = redeem(&first.desk, &request(&unused, &key(), "c")).await;
    assert_eq!(refused.unwrap_err(), JoinRefusal::UnknownToken);
    assert_eq!(redeem(&first.desk, &asked).await.unwrap().node, grant.node);
    assert_eq!(redeem(&first.desk, &request(&new, &key(), "c")).await.unwrap().node, NodeId(3));
}

/// Desks of one cluster on one store.
async fn desks<const N: usize>(first: &First) -> [Arc<StoreDesk>; N] {
    let mut found = Vec::new();
    for _ in 0..N {
        let mut membership = first.folder.opened().await;
        found.push(membership.desk(first.rows.clone()).unwrap());
    }
    found.try_into().unwrap_or_else(|_| panic!("as many as asked for"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn desks_that_race_give_no_number_twice() {
    let first = First::start().await;
    let desks: [_; 2] = desks(&first).await;
    let mut asking = Vec::new();
    for n in 0..20 {
        let (token, desk) = (secret(&first).await, desks[n % 2].clone());
        asking.push(tokio::spawn(async move {
            redeem(&desk, &request(&token, &key(), &format!("n{n}"))).await.unwrap().node.0
        }));
    }
    let mut numbers = BTreeSet::new();
    for asked in asking {
        assert!(numbers.insert(asked.await.unwrap()), "{numbers:?}");
    }
    // None is left out either.
    assert_eq!(numbers, (2..22).collect());
    let all = members(&first.rows).await.unwrap();
    assert_eq!(all.len(), 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_that_race_for_a_token_or_a_name_have_one_winner() {
    let first = First::start().await;
    let desks: [_; 2] = desks(&first).await;
    let race = async |tokens: [JoinSecret; 8], names: [String; 8]| {
        let asking = tokens.into_iter().zip(names).enumerate().map(|(n, (token, name))| {
            let desk = desks[n % 2].clone();
            tokio::spawn(async move { redeem(&desk, &request(&token, &key(), &name)).await })
        });
        let asking: Vec<_> = asking.collect();
        let (mut granted, mut refused) = (0, Vec::new());
        for asked in asking {
            match asked.await.unwrap() {
                Ok(_) => granted += 1,
                Err(refusal) => refused.push(refusal),
            }
        }
        assert_eq!(granted, 1);
        refused
    };
    let token = secret(&first).await;
    let names = std::array::from_fn(|n| format!("n{n}"));
    let refused = race(std::array::from_fn(|_| token.clone()), names).await;
    assert_eq!(refused, vec![JoinRefusal::UsedToken; 7]);
    let mut tokens = Vec::new();
    for _ in 0..8 {
        tokens.push(secret(&first).await);
    }
    let tokens = tokens.try_into().unwrap_or_else(|_| panic!("eight tokens"));
    let refused = race(tokens, std::array::from_fn(|_| "same".to_string())).await;
    assert_eq!(refused, vec![JoinRefusal::NameTaken(name("same")); 7]);
    assert_eq!(members(&first.rows).await.unwrap().len(), 3);
}

/// What becomes of a group.
#[derive(Clone, Copy)]
enum Fate {
    Heard,
    /// Never committed, and nobody is told.
    Lost,
    /// Committed, and nobody is told.
    Unheard,
}

/// Rows over `inner`'s, whose groups meet with `fate`, by their number.
fn faulty(
    store: &Arc<dyn Store>,
    inner: Rows,
    fate: impl Fn(u64) -> Fate + Send + 'static,
) -> Rows {
    let limits = RowsLimits {
        reads_at_once: 8,
        read_timeout: Duration::from_secs(60),
        write_timeout: Duration::from_secs(60),
        writes_waiting_max: 64,
    };
    let (rows, mut queue): (Rows, mpsc::Receiver<GroupRequest>) = Rows::new(store, limits);
    tokio::spawn(async move {
        let mut count = 0;
        while let Some(GroupRequest { group, answer }) = queue.recv().await {
            count += 1;
            let fate = fate(count);
            if matches!(fate, Fate::Lost) {
                continue;
            }
            let outcome = inner.commit_group(group).await;
            if matches!(fate, Fate::Heard) {
                // Whoever asked may have gone.
                let _ = answer.send(outcome);
            }
        }
    });
    rows
}

#[tokio::test]
async fn whatever_the_store_loses_who_asks_again_is_one_node_with_one_number() {
    let seed = std::env::var("STARMESH_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_nanos() as u64
    });
    println!("STARMESH_SEED={seed}");
    let first = First::start().await;
    let store: Arc<dyn Store> = first.store.clone();
    let fate = move |count| match draw(seed, "fates of groups", &[count]) % 4 {
        0 => Fate::Lost,
        1 => Fate::Unheard,
        _ => Fate::Heard,
    };
    let rows = faulty(&store, first.rows.clone(), fate);
    let desk = first.folder.opened().await.desk(rows).unwrap();
    let mut unavailable = 0;
    for number in 2..42 {
        let (token, key) = (secret(&first).await, key());
        let asked = request(&token, &key, &format!("n{number}"));
        let grant = loop {
            match desk.redeem(asked.clone(), FROM).await {
                Ok(grant) => break grant,
                Err(JoinRefusal::Unavailable(_)) => unavailable += 1,
                Err(refusal) => panic!("{refusal}"),
            }
        };
        assert_eq!(grant.node, NodeId(number));
        assert_eq!(redeem(&desk, &asked).await.unwrap().node, NodeId(number));
    }
    assert!(unavailable > 0, "nothing was lost");
}

#[tokio::test]
async fn a_node_dropped_before_or_after_its_one_write_leaves_a_whole_store() {
    let first = First::start().await;
    let store: Arc<dyn Store> = first.store.clone();
    for (fate, number) in [(Fate::Lost, 2), (Fate::Unheard, 3)] {
        let rows = faulty(&store, first.rows.clone(), move |_| fate);
        let desk = first.folder.opened().await.desk(rows).unwrap();
        let (token, key) = (secret(&first).await, key());
        let asked = request(&token, &key, &format!("n{number}"));
        let refused = desk.redeem(asked.clone(), FROM).await.unwrap_err();
        assert!(matches!(refused, JoinRefusal::Unavailable(_)), "{refused}");
        drop(desk);
        // It is asked again where another desk is.
        assert_eq!(redeem(&first.desk, &asked).await.unwrap().node, NodeId(number));
    }
    let numbers: Vec<u32> =
        members(&first.rows).await.unwrap().into_iter().map(|member| member.node.0).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

#[tokio::test]
async fn without_its_store_a_desk_decides_nothing() {
    let folder = Folder::new("a");
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let limits = RowsLimits {
        reads_at_once: 1,
        read_timeout: Duration::from_secs(60),
        write_timeout: Duration::from_secs(60),
        writes_waiting_max: 1,
    };
    let (rows, queue) = Rows::new(&store, limits);
    drop((store, queue));
    let desk = folder.opened().await.desk(rows).unwrap();
    let token = JoinSecret::random().unwrap();
    let refused = desk.redeem(request(&token, &key(), "b"), FROM).await.unwrap_err();
    assert!(matches!(refused, JoinRefusal::Unavailable(_)), "{refused}");
    assert!(matches!(desk.offer().await, Err(OfferError::Store(_))));
}

#[tokio::test]
async fn a_node_registers_where_it_is_now_and_numbers_go_on_after_it() {
    let first = First::start().await;
    let address = async |node: u32| {
        let all = members(&first.rows).await.unwrap();
        all.into_iter().find(|member| member.node == NodeId(node)).unwrap().address
    };
    assert_eq!(address(1).await, first.membership.address);
    let mut own = first.membership.own();
    own.row.address = "elsewhere:7500".into();
    register(&first.rows, &own).await.unwrap();
    // Again it changes nothing.
    let version = |key: Vec<u8>| first.store.get(&key).unwrap().unwrap().version;
    let before = version(keys::member(NodeId(1)));
    register(&first.rows, &own).await.unwrap();
    assert_eq!(version(keys::member(NodeId(1))), before);
    assert_eq!(address(1).await, "elsewhere:7500");

    // One whose certificate was issued by hand.
    let mut seventh = own.clone();
    (seventh.node, seventh.row.name) = (NodeId(7), "g".into());
    register(&first.rows, &seventh).await.unwrap();
    let token = secret(&first).await;
    assert_eq!(redeem(&first.desk, &request(&token, &key(), "b")).await.unwrap().node, NodeId(8));
    register(&first.rows, &own).await.unwrap();
    let token = secret(&first).await;
    assert_eq!(redeem(&first.desk, &request(&token, &key(), "c")).await.unwrap().node, NodeId(9));
}

#[tokio::test]
async fn a_name_is_one_nodes_until_that_has_another() {
    let first = First::start().await;
    let own = first.membership.own();
    let mut second = own.clone();
    second.node = NodeId(2);
    let taken = |refused| matches!(refused, Err(RegisterError::NameTaken { node: NodeId(1), name }) if name == "a");
    assert!(taken(check_store(first.store.as_ref(), &second)));
    assert!(taken(register(&first.rows, &second).await));
    let mut renamed = own;
    renamed.row.name = "z".into();
    register(&first.rows, &renamed).await.unwrap();
    check_store(first.store.as_ref(), &second).unwrap();
    register(&first.rows, &second).await.unwrap();
    let names = members(&first.rows).await.unwrap();
    let names: Vec<&str> = names.iter().map(|member| member.name.as_str()).collect();
    assert_eq!(names, ["z", "a"]);
}

#[tokio::test]
async fn the_store_of_another_cluster_is_told_before_anything_is_written() {
    let first = First::start().await;
    // A first node by mistake: it was to join.
    let stranger = Folder::new("b").opened().await.own();
    for refused in
        [check_store(first.store.as_ref(), &stranger), register(&first.rows, &stranger).await]
    {
        let other = matches!(&refused, Err(RegisterError::OtherCluster { node: NodeId(1), .. }));
        assert!(other, "{refused:?}");
    }
    // One that joined finds an empty store, as its settings name another.
    let (_, joined) = first.joined("b").await;
    check_store(first.store.as_ref(), &joined.own()).unwrap();
    let empty = Memory::new();
    let refused = check_store(&empty, &joined.own());
    assert!(matches!(refused, Err(RegisterError::Unknown { node: NodeId(2) })), "{refused:?}");
    check_store(&empty, &first.membership.own()).unwrap();

    // What is left of the cluster is its secret and its store: it is made anew.
    let restored = Folder::new("a");
    let secret = first.folder.data().join("cluster.secret");
    std::fs::copy(secret, restored.data().join("cluster.secret")).unwrap();
    let restored = restored.opened().await;
    check_store(first.store.as_ref(), &restored.own()).unwrap();
    register(&first.rows, &restored.own()).await.unwrap();
}

#[tokio::test]
async fn a_damaged_row_is_no_member_and_no_token() {
    let first = First::start().await;
    let token = secret(&first).await;
    let put = async |key: Vec<u8>| {
        let puts = vec![Put { key, value: Some(b"no row".to_vec()) }];
        first.rows.commit_group(Group { checks: vec![], puts, append: None }).await.unwrap();
    };
    put(keys::member(NodeId(5))).await;
    put(keys::join_token(&token.digest())).await;
    assert_eq!(members(&first.rows).await.unwrap().len(), 1);
    let refused = first.desk.redeem(request(&token, &key(), "b"), FROM).await.unwrap_err();
    assert!(matches!(refused, JoinRefusal::Unavailable(_)), "{refused}");
    assert!(TokenRow::from_bytes(b"no row").is_err());
}
