//! Owns invariant 27 from outside: what clients rebuilt from what they were sent
//! is what the server's state was at that tick. Replays the journals of a store
//! that nobody runs on to the ticks that clients wrote down, and compares their
//! own units, which they always see. Never starts anything; called by `audit`.

use std::collections::BTreeMap;

use serde::Deserialize;
use starmesh::base::{EntityKey, PlayerId, Tick};
use starmesh::entity::kinds::Kind;
use starmesh::entity::logics::KnownWorlds;
use starmesh::entity::record::decode_record;
use starmesh::entity::replay::{Replayed, begin};
use starmesh::protocol::{Place, UnitRecord};
use starmesh::store::recovery::image;
use starmesh::store::sled::Sled;
use starmesh::store::worlds::Worlds;
use starmesh::view::convert;

/// A client's own units in a place, as it was shown them at a tick.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    pub client: u64,
    pub player: PlayerId,
    pub place: Option<Place>,
    pub full_tick: u64,
    pub units: Vec<UnitRecord>,
}

/// How many were compared, and how many a snapshot has trimmed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rebuilt {
    pub compared: u64,
    pub trimmed: u64,
}

/// What was shown of one place, by tick.
type ByTick<'a> = BTreeMap<Tick, Vec<&'a Shown>>;

/// Compares all that was shown; panics with what differs.
pub fn compare(store: &Sled, worlds: &Worlds, shown: &[Shown]) -> Rebuilt {
    let mut places: BTreeMap<EntityKey, ByTick<'_>> = BTreeMap::new();
    for it in shown {
        let Some(place) = it.place else { continue };
        places.entry(place.key()).or_default().entry(Tick(it.full_tick)).or_default().push(it);
    }
    let mut rebuilt = Rebuilt::default();
    for (place, ticks) in places {
        compare_place(store, worlds, place, ticks, &mut rebuilt);
    }
    rebuilt
}

fn compare_place(
    store: &Sled,
    worlds: &Worlds,
    place: EntityKey,
    mut wanted: ByTick<'_>,
    rebuilt: &mut Rebuilt,
) {
    let image = image(store, place).expect("the store answers");
    let known = worlds.of_image(store, &image).expect("the store answers");
    let mut replayed = begin(place, &image, &known).expect("it can be brought back");
    // A snapshot may hold records of its last tick, which that tick did not show.
    let from = if image.head.is_some() { replayed.entity.tick().after(1) } else { Tick(0) };
    let later = wanted.split_off(&from);
    rebuilt.trimmed += wanted.values().map(|shown| shown.len() as u64).sum::<u64>();
    wanted = later;
    for it in &image.records {
        let (_, record) = decode_record(&it.1).expect("a record");
        // What is shown of a tick is without the records of it.
        while let Some(first) = wanted.first_entry().filter(|at| *at.key() <= record.header.tick) {
            let (tick, shown) = first.remove_entry();
            compare_at(&mut replayed, &known, tick, &shown, rebuilt);
        }
        let next = std::slice::from_ref(it);
        replayed.follow(next, &known).expect("it was applied before");
    }
    for (tick, shown) in wanted {
        compare_at(&mut replayed, &known, tick, &shown, rebuilt);
    }
}

fn compare_at(
    replayed: &mut Replayed,
    known: &KnownWorlds,
    tick: Tick,
    shown: &[&Shown],
    rebuilt: &mut Rebuilt,
) {
    replayed.run_to(tick, known).expect("it has run so far before");
    let entity = &replayed.entity;
    let Kind::Sector(sector) = entity.kind() else { panic!("{} was shown", entity.key()) };
    for it in shown {
        let own = sector.state().units().iter().filter(|unit| unit.owner == it.player);
        let mut own: Vec<UnitRecord> = own.map(convert::record).collect();
        own.sort_unstable_by_key(|unit| unit.id);
        assert_eq!(
            it.units,
            own,
            "invariant 27: client {} was shown {} at {tick:?} (left), its state was (right)",
            it.client,
            entity.key(),
        );
        rebuilt.compared += 1;
    }
}
