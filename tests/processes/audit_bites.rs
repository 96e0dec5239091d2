//! What tests find out by the audit, shown with data of which something was
//! changed afterwards: a check that cannot fail would be none.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use starmesh::base::{EntityKey, Incarnation, NodeId, SectorId};
use starmesh::entity::commit::{Append, Commit, Group, NodeRow, Put};
use starmesh::entity::input::Input;
use starmesh::entity::keys;
use starmesh::entity::record::{Record, decode_record, encode_record};
use starmesh::store::Store;
use starmesh::store::recovery::{cluster, image};
use starmesh::store::sled::{Options, Sled};

use crate::audit::audit_told;
use crate::support::Home;
use crate::swarm::{Swarm, Told};

/// What the audit says, if it finds something.
fn found(data: &Path, told: &Told) -> Option<String> {
    let said = catch_unwind(AssertUnwindSafe(|| _ = audit_told(data, told))).err()?;
    let text = said.downcast_ref::<String>().cloned();
    Some(text.or_else(|| said.downcast_ref::<&str>().map(|it| (*it).to_owned())).expect("a text"))
}

fn expect_found(data: &Path, told: &Told, invariant: u32, what: &str) {
    let said = found(data, told).unwrap_or_else(|| panic!("{invariant} was not found"));
    let (names, says) = (format!("invariant {invariant}: "), said.contains(what));
    assert!(said.contains(&names) && says, "expected {names}{what}, found: {said}");
}

#[test]
fn the_audit_finds_what_is_not_as_clients_were_told() {
    let mut home = Home::new();
    let node = home.start();
    let mut swarm = Swarm::start(&home, 4, 1);
    swarm.wait_for_everybody(0);
    swarm.wait_for_successes(0, 20);
    let mut told = swarm.told();
    assert!(node.terminate().0.success(), "{}", home.log());
    let data = home.data();
    assert_eq!(found(data, &told), None, "it is as it should be");

    let success = told.answered.iter().position(|it| it.ack.success).expect("a success");
    told.answered[success].ack.effect_tick += 1;
    expect_found(data, &told, 12, "is kept as");
    told.answered[success].ack.effect_tick -= 1;
    let sequence = std::mem::replace(&mut told.answered[success].ack.sequence, 1_000_000);
    expect_found(data, &told, 12, "in no record");
    told.answered[success].ack.sequence = sequence;

    let shown = told.shown.iter().rposition(|it| !it.units.is_empty()).expect("units");
    told.shown[shown].units[0].position.x += 1;
    expect_found(data, &told, 27, "was shown");
    told.shown[shown].units[0].position.x -= 1;
    let unit = told.shown[shown].units.remove(0);
    expect_found(data, &told, 27, "was shown");
    told.shown[shown].units.insert(0, unit);
    assert_eq!(found(data, &told), None, "it is again");

    let place = told.shown[shown].place.expect("a place").key();
    change(data, |_, _| vec![put(keys::parked(place), Some(Vec::new()))]);
    expect_found(data, &told, 22, "is parked");
    // By now whoever had it began anew twice, and did not claim it.
    change(data, |_, _| vec![put(keys::parked(place), None)]);
    expect_found(data, &told, 22, "was left with");
}

#[test]
fn the_audit_finds_a_unit_that_is_nowhere_and_one_that_is_twice() {
    let mut home = Home::new();
    let node = home.start();
    let mut swarm = Swarm::start(&home, 2, 1);
    swarm.wait_for_everybody(0);
    let told = swarm.told();
    assert!(node.terminate().0.success(), "{}", home.log());
    let data = home.data();
    let place = told.shown.iter().rfind(|it| !it.units.is_empty()).and_then(|it| it.place);
    let place = place.expect("a place").key();
    let EntityKey::Sector(sector) = place else { panic!("{place} was shown") };
    let elsewhere = EntityKey::Sector(SectorId::tactical(sector.x + 7, sector.y));

    // What came to the place came to another one, too: units, then commands.
    let is_command = |input: &Input| matches!(input, Input::Command(_));
    change(data, |store, _| copied(store, place, elsewhere, is_command));
    expect_found(data, &told, 13, "is in two places");
    change(data, |_, node| gone(node, elsewhere));
    change(data, |store, _| copied(store, place, elsewhere, |_| false));
    expect_found(data, &told, 12, "applied twice");
    change(data, |_, node| gone(node, elsewhere));
    change(data, |_, node| gone(node, place));
    let told = Told { answered: Vec::new(), shown: Vec::new(), ..told };
    expect_found(data, &told, 13, "players with units");
}

/// The records of `from`, up to one with such an input, as those of `to`; without
/// hashes, which are of the state with its place.
fn copied(
    store: &Sled,
    from: EntityKey,
    to: EntityKey,
    until: impl Fn(&Input) -> bool,
) -> Vec<Group> {
    let ends = |bytes: &[u8]| decode_record(bytes).expect("a record").1.inputs.iter().any(&until);
    let records = image(store, from).expect("the store answers").records;
    let records = records.into_iter().take_while(|(_, bytes)| !ends(bytes));
    let append = |(sequence, bytes): (u64, Vec<u8>)| {
        let (logic, Record { header, inputs }) = decode_record(&bytes).expect("a record");
        let kept = inputs.iter().filter(|input| !matches!(input, Input::Hash { .. }));
        let kept: Vec<Vec<u8>> =
            kept.map(|input| postcard::to_stdvec(input).expect("an input")).collect();
        let count = kept.len().try_into().expect("a few");
        let bytes = encode_record(&header, logic, count, &kept.concat());
        Append { entity: to, sequence, bytes }
    };
    records.map(|it| Group { append: Some(append(it)), ..Group::default() }).collect()
}

/// Nothing of it was ever there.
fn gone(node: NodeId, entity: EntityKey) -> Vec<Group> {
    vec![put(keys::head(entity), None), put(keys::owned(node, entity), None)]
}

/// Changes what a stopped node kept, as its next incarnation.
fn change(data: &Path, groups: impl FnOnce(&Sled, NodeId) -> Vec<Group>) {
    let store = Sled::open(&data.join("store"), Options::default()).expect("the store opens");
    let read = cluster(&store, 0).expect("the store answers").rows.remove(0);
    let NodeRow { incarnation, nonce, tick, audit_root, .. } = read.row;
    let commit = Commit {
        node: read.node,
        incarnation: Incarnation(incarnation.0 + 1),
        number: 0,
        nonce: nonce + 1,
        tick,
        is_last: false,
        audit_root,
        groups: groups(&store, read.node),
    };
    let committed = store.commit(&commit).expect("the store takes it");
    assert!(committed.refused.is_empty(), "{committed:?}");
}

fn put(key: Vec<u8>, value: Option<Vec<u8>>) -> Group {
    Group { puts: vec![Put { key, value }], ..Group::default() }
}
