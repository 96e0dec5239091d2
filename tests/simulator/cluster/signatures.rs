//! Every node signs its part of the audit log, and whoever rewrites a log as a
//! whole, as only the signatures show, is found out. Keys are those of a toy: a
//! hash with a secret for each node.

use std::collections::BTreeMap;

use starmesh::base::{EntityKey, NodeId, PlayerId};
use starmesh::cluster::core::node::Event;
use starmesh::cluster::core::roles::{Role, Roles};
use starmesh::entity::audit::chain::{Chain, Problem};
use starmesh::entity::audit::{Decision, Doubt, Entry, Signature, Statement, root_after};
use starmesh::entity::commit::{Commit, Group, Put};
use starmesh::entity::keys;
use starmesh::store::conformance::{Process, put};
use starmesh::store::memory::Memory;
use starmesh::store::{Store, audit};

use super::Cluster;
use super::audit::Log;

/// As in the core: it signs at most so often.
const EVERY_MS: u64 = 1_000;

fn key(node: NodeId) -> [u8; 32] {
    let mut key = [7; 32];
    key[..4].copy_from_slice(&node.0.to_be_bytes());
    key
}

/// As the node does by which it is.
pub fn sign(statement: Statement) -> Signature {
    let bytes = blake3::keyed_hash(&key(statement.by), &statement.message());
    let certificate = key(statement.by);
    Signature { statement, certificate, scheme: 1, bytes: bytes.as_bytes().to_vec() }
}

/// As whoever knows all keys.
pub fn check(signature: &Signature) -> Result<(), Doubt> {
    let expected = sign(signature.statement);
    if signature.certificate != expected.certificate {
        return Err(Doubt::NoCertificate);
    }
    (signature.bytes == expected.bytes).then_some(()).ok_or(Doubt::Mismatch)
}

/// Every node's log is signed, but for what was logged after `since`.
pub fn judge(store: &Memory, since: u64) {
    for chain in audit::verify(store, &check, &[]).expect("the memory answers") {
        assert!(chain.signatures > 0, "32: nobody signed {chain:?}");
        let recent = chain.unsigned_since.is_none_or(|at| at.0 >= since);
        assert!(recent, "32: unsigned at {since}: {chain:?}");
    }
}

/// Two nodes that gave sectors to each other for over a minute.
fn busy() -> Cluster {
    let mut cluster = Cluster::of(2);
    let (_, home) = cluster.found(1);
    let sector = EntityKey::Sector(home);
    for turn in 0..36 {
        cluster.assign(sector, 1 + turn % 2);
        cluster.run(2_000);
    }
    cluster.judge();
    cluster
}

fn chain(log: &Log, node: u32) -> Chain {
    let found = log.verify().into_iter().find(|chain| chain.node == NodeId(node));
    found.expect("the node began")
}

/// The keys of the signatures over a node's log, in order.
fn signatures_of(log: &Log, node: u32) -> Vec<Vec<u8>> {
    let of = |key: &&Vec<u8>| {
        keys::parse_audit_signature(key).is_some_and(|(of, ..)| of == NodeId(node))
    };
    log.signatures.keys().filter(of).cloned().collect()
}

fn read(log: &Log, key: &[u8]) -> Signature {
    Signature::of_row(key, &log.signatures[key]).expect("a signature")
}

#[test]
fn a_log_is_signed_once_a_second_while_something_is_decided_and_not_else() {
    let mut cluster = busy();
    let log = Log::of(&cluster.store);
    for node in [1, 2] {
        let signatures = signatures_of(&log, node);
        let times: Vec<u64> =
            signatures.iter().map(|key| read(&log, key).statement.time.0).collect();
        assert!(times.len() >= 30, "{times:?}");
        assert!(times.windows(2).all(|two| two[0] + EVERY_MS <= two[1]), "{times:?}");
        assert_eq!(chain(&log, node).unsigned, 0);
    }
    // Nothing is decided: nothing is signed.
    let mut quiet = 0;
    for _ in 0..10 {
        let before = Log::of(&cluster.store);
        cluster.run(3_000);
        let after = Log::of(&cluster.store);
        let was_signed = [1, 2].iter().all(|node| chain(&before, *node).unsigned == 0);
        if was_signed && after.entries.len() == before.entries.len() {
            assert_eq!(after.signatures, before.signatures);
            quiet += 1;
        }
    }
    assert!(quiet > 5, "{quiet}");
}

#[test]
fn a_row_that_is_set_back_is_noticed_by_whoever_was_told_more() {
    let mut cluster = Cluster::of(2);
    cluster.found(1);
    cluster.run(3_000);
    // The process is away, and somebody sets its row back.
    cluster.kill(2);
    let mut row = Log::of(&cluster.store).rows[&NodeId(2)].clone();
    let told = read_last(&Log::of(&cluster.store), 2).statement.head;
    assert!(cluster.node(1).other_heads.is_empty());
    row.number = told.number - 1;
    let forged = vec![put(&keys::row(NodeId(2)), &row.to_bytes())];
    Process::begun(&*cluster.store, 9).must(&*cluster.store, forged);
    cluster.run_until("it is noticed", |it| !it.nodes[&NodeId(1)].other_heads.is_empty());
    assert_eq!(cluster.node(1).other_heads, [(NodeId(2), told)]);
}

fn read_last(log: &Log, node: u32) -> Signature {
    let of = signatures_of(log, node);
    let own = |key: &&Vec<u8>| read(log, key).statement.by == NodeId(node);
    read(log, of.iter().rfind(own).expect("it signed"))
}

#[test]
fn a_successor_signs_where_the_log_of_the_dead_ended() {
    let mut cluster = Cluster::of(3);
    cluster.found(1);
    let victim = cluster.home(cluster.world.ledger_of(PlayerId(1)));
    // It decides something that it has no time to sign.
    cluster.node(victim).mute = true;
    let version = cluster.directory().version();
    cluster.assign_by(victim, EntityKey::Ledger(0), victim);
    cluster.run_until("it is durable", |it| it.directory().version() > version);
    cluster.kill(victim);
    assert!(chain(&Log::of(&cluster.store), victim).unsigned > 0);
    cluster.run_until("it is dead", |cluster| cluster.is_settled());
    cluster.run(EVERY_MS);
    let log = Log::of(&cluster.store);
    let last = signatures_of(&log, victim).pop().expect("it is signed");
    let statement = read(&log, &last).statement;
    assert_ne!(statement.by, NodeId(victim));
    assert_eq!(statement.head.root, log.rows[&NodeId(victim)].audit_root);
    assert_eq!((chain(&log, victim).unsigned, log.problem(NodeId(victim))), (0, None));
}

/// Whoever signs may fail for a while: it is not asked without a pause, and nothing
/// that was to be signed is forgotten.
#[test]
fn what_could_not_be_signed_is_asked_for_again_once_a_second() {
    let mut cluster = Cluster::of(2);
    cluster.run(EVERY_MS);
    cluster.node(2).mute = true;
    cluster.assign_by(2, EntityKey::Ledger(0), 2);
    cluster.run(300);
    cluster.kill(2);
    cluster.node(1).sign_failures = u32::MAX;
    let failed = |it: &Cluster| it.nodes[&NodeId(1)].core.counts().sign_failures;
    let before = failed(&cluster);
    cluster.run_until("it is dead", |it| it.nodes[&NodeId(1)].core.living() == [NodeId(1)]);
    cluster.run(5 * EVERY_MS);
    let failures = failed(&cluster) - before;
    assert!((3..=9).contains(&failures), "{failures} failures");
    cluster.node(1).sign_failures = 0;
    cluster.run(3 * EVERY_MS);
    let log = Log::of(&cluster.store);
    let last = signatures_of(&log, 2).pop().expect("it is signed");
    assert_eq!(read(&log, &last).statement.by, NodeId(1));
    assert_eq!((chain(&log, 1).unsigned, chain(&log, 2).unsigned), (0, 0));
}

#[test]
fn an_orderly_stop_leaves_nothing_unsigned() {
    let mut cluster = Cluster::of(1);
    cluster.found(1);
    // Only just decided: the next signature would be due in a second.
    let version = cluster.directory().version();
    cluster.assign_by(1, EntityKey::Ledger(0), 1);
    cluster.run_until("it is durable", |it| it.directory().version() > version);
    assert!(chain(&Log::of(&cluster.store), 1).unsigned > 0);
    cluster.event(1, Event::Settle);
    let took = cluster.run_until("it may end", |cluster| {
        cluster.nodes[&NodeId(1)].core.is_settled() && cluster.nodes[&NodeId(1)].core.is_signed()
    });
    assert!(took < EVERY_MS, "{took} ms");
    assert_eq!(chain(&Log::of(&cluster.store), 1).unsigned, 0);
}

#[test]
fn nothing_waits_for_a_signature_that_does_not_come() {
    let mut cluster = Cluster::of(2);
    cluster.node(1).mute = true;
    let (_, home) = cluster.found(1);
    cluster.assign(EntityKey::Sector(home), 1);
    cluster.run_until("it is given", |it| it.owner(EntityKey::Sector(home)) == Some(NodeId(1)));
    cluster.event(1, Event::Settle);
    cluster.run_until("all else is settled", |it| it.nodes[&NodeId(1)].core.is_settled());
    let took = cluster.run_until("it may end", |it| it.nodes[&NodeId(1)].core.is_signed());
    assert!(took <= 5_000, "{took} ms");
}

#[test]
fn a_stop_and_other_roles_are_in_the_log_and_signed() {
    let mut cluster = Cluster::of(2);
    cluster.leave(2);
    let sectors = Roles::of([Role::Sector]).expect("one role");
    cluster.start_with(2, sectors);
    cluster.run_until("it is back", |cluster| cluster.is_settled());
    cluster.leave(2);
    let log = Log::of(&cluster.store);
    let of_two = |key: &[u8]| keys::parse_audit(key).is_some_and(|it| it.node == NodeId(2));
    let entries = log.entries.iter().filter(|(key, _)| of_two(key));
    let told = entries.filter_map(|(_, value)| {
        match Entry::from_bytes(value).expect("an entry").decision {
            Decision::RolesTaken { roles } => Some(roles),
            Decision::Stopping => Some(0),
            _ => None,
        }
    });
    let all = Roles::default().bits();
    assert_eq!(told.collect::<Vec<_>>(), [all, 0, sectors.bits(), 0]);
    assert_eq!((chain(&log, 2).unsigned, log.problem(NodeId(2))), (0, None));
}

/// The node that stops has a bound for all of it.
#[test]
fn a_stop_that_waited_for_the_store_waits_the_less_for_signatures() {
    let mut cluster = Cluster::of(1);
    cluster.node(1).mute = true;
    cluster.assign_by(1, EntityKey::Ledger(0), 1);
    cluster.run(500);
    cluster.node(1).hold_commits = true;
    cluster.run(300);
    let began = cluster.now;
    cluster.event(1, Event::Settle);
    cluster.run(3_000);
    let event = cluster.node(1).let_commits_go();
    cluster.event(1, event);
    cluster.run_until("it may end", |it| {
        let core = &it.nodes[&NodeId(1)].core;
        core.is_settled() && core.is_signed()
    });
    let took = cluster.now - began;
    assert!((3_000..=4_500).contains(&took), "{took} ms");
}

#[test]
fn a_forged_signature_shows() {
    let log = Log::of(&busy().store);
    let of = signatures_of(&log, 1);
    let (first, second) = (read(&log, &of[3]), read(&log, &of[4]));
    let with = |signature: Signature| {
        let mut log = log.clone();
        log.signatures.insert(of[3].clone(), signature.to_bytes());
        log.problem(NodeId(1))
    };
    // Every bit of it counts.
    for at in 0..first.bytes.len() {
        let mut forged = first.clone();
        forged.bytes[at] ^= 1;
        let found = with(forged);
        assert!(matches!(found, Some(Problem::Doubtful { doubt: Doubt::Mismatch, .. })));
    }
    // It is over something else.
    let found = with(Signature { bytes: second.bytes, ..first.clone() });
    assert!(matches!(found, Some(Problem::Doubtful { doubt: Doubt::Mismatch, .. })), "{found:?}");
    // It is of somebody whose certificate is not there.
    let found = with(Signature { certificate: [1; 32], ..first.clone() });
    let foreign = matches!(found, Some(Problem::Doubtful { doubt: Doubt::NoCertificate, .. }));
    assert!(foreign, "{found:?}");
    // It is another node's: its key says so.
    let by = Statement { by: NodeId(2), ..first.statement };
    assert!(matches!(with(sign(by)), Some(Problem::DamagedSignature(_))));
}

#[test]
fn a_signature_that_was_removed_is_missed_by_the_next() {
    let log = Log::of(&busy().store);
    let of = signatures_of(&log, 1);
    for gone in &of[..of.len() - 1] {
        let mut log = log.clone();
        log.signatures.remove(gone);
        let found = log.problem(NodeId(1));
        assert!(matches!(found, Some(Problem::SignatureMissing { .. })), "{found:?}");
    }
}

#[test]
fn a_node_whose_last_signatures_were_removed_has_too_long_a_tail() {
    let log = Log::of(&busy().store);
    let of = signatures_of(&log, 1);
    for kept in [0, 1, 2] {
        let mut log = log.clone();
        of[kept..].iter().for_each(|gone| _ = log.signatures.remove(gone));
        let found = log.problem(NodeId(1));
        let ms = match found {
            Some(Problem::Unsigned { ms, .. }) => ms,
            other => panic!("{kept} kept: {other:?}"),
        };
        assert!((60_000..100_000).contains(&ms), "{ms}");
    }
    // As long as a node may leave it.
    let mut short = log.clone();
    of[of.len() - 3..].iter().for_each(|gone| _ = short.signatures.remove(gone));
    assert_eq!(short.problem(NodeId(1)), None);
    assert!(chain(&short, 1).unsigned > 0);
}

#[test]
fn a_tail_that_was_cut_off_is_signed() {
    let log = Log::of(&busy().store);
    let (node, mut cut) = (NodeId(1), log.clone());
    // To where it was after its first commits with entries, and nobody else
    // remembers.
    let of_node = |key: &[u8]| keys::parse_audit(key).filter(|place| place.node == node);
    let numbers: Vec<u64> =
        log.entries.keys().filter_map(|key| of_node(key)).map(|place| place.number).collect();
    let last = numbers[numbers.len() / 2];
    cut.entries.retain(|key, _| of_node(key).is_none_or(|place| place.number < last));
    let base = log.entries.iter().find(|(key, _)| of_node(key).is_some_and(|it| it.number == last));
    let base = Entry::from_bytes(base.expect("it was there").1).expect("an entry").base;
    let row = cut.rows.get_mut(&node).expect("its row");
    (row.audit_root, row.number) = (base, last - 1);
    forget_witnesses(&mut cut, node);
    let found = cut.problem(node);
    assert!(matches!(found, Some(Problem::SignedBeyond(_))), "{found:?}");
}

#[test]
fn a_log_that_was_written_anew_is_signed_otherwise() {
    let log = Log::of(&busy().store);
    let mut forged = rewritten(&log, NodeId(1));
    assert_ne!(forged.rows[&NodeId(1)].audit_root, log.rows[&NodeId(1)].audit_root);
    forget_witnesses(&mut forged, NodeId(1));
    let found = forged.problem(NodeId(1));
    assert!(matches!(found, Some(Problem::SignedOtherwise(_))), "{found:?}");
    // Without its signatures, too.
    let of = signatures_of(&forged, 1);
    of.iter().for_each(|gone| _ = forged.signatures.remove(gone));
    let found = forged.problem(NodeId(1));
    assert!(matches!(found, Some(Problem::Unsigned { .. })), "{found:?}");
}

/// A node's log with another time in each entry, as consistent as it was.
fn rewritten(log: &Log, node: NodeId) -> Log {
    let mut forged = log.clone();
    let mut commits: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (key, value) in &log.entries {
        let place = keys::parse_audit(key).expect("an entry's key");
        if place.node == node {
            commits.entry((place.incarnation, place.number)).or_default().push((place, value));
        }
    }
    let mut root = [0; 32];
    for ((incarnation, number), entries) in commits {
        let puts = entries.into_iter().map(|(place, value)| {
            let mut entry = Entry::from_bytes(value).expect("an entry");
            (entry.base, entry.time.0) = (root, entry.time.0 + 1);
            entry.put(place)
        });
        let puts: Vec<Put> = puts.collect();
        for Put { key, value } in puts.clone() {
            forged.entries.insert(key, value.expect("an entry"));
        }
        let groups = vec![Group { puts, ..Group::default() }];
        let row = &log.rows[&node];
        let (nonce, tick, audit_root) = (row.nonce, row.tick, root);
        let commit =
            Commit { node, incarnation, number, nonce, tick, is_last: false, audit_root, groups };
        root = root_after(&commit, &[]);
    }
    forged.rows.get_mut(&node).expect("its row").audit_root = root;
    forged
}

/// As if no other had written down how far a node's log had come.
fn forget_witnesses(log: &mut Log, node: NodeId) {
    log.entries.retain(|key, value| {
        let entry = Entry::from_bytes(value).expect("an entry");
        let own = keys::parse_audit(key).is_some_and(|place| place.node == node);
        own || !matches!(entry.decision, Decision::Witnessed { .. } | Decision::DeclaredDead { .. })
    });
}

#[test]
fn the_keys_of_signatures_are_the_nodes_alone() {
    let mut cluster = Cluster::of(1);
    let signatures = |cluster: &Cluster| {
        cluster.store.scan(keys::AUDIT_SIGNATURE, None, 9).expect("the memory answers")
    };
    cluster.run_until("its log is signed", |cluster| !signatures(cluster).is_empty());
    let before = signatures(&cluster);
    let (key, value) = (before[0].0.clone(), None);
    let group = Group { puts: vec![Put { key, value }], ..Group::default() };
    cluster.event(1, Event::Rows { id: 7, group });
    cluster.run(1_000);
    let after = signatures(&cluster);
    assert_eq!(after[0], before[0], "a gateway deletes none");
}
