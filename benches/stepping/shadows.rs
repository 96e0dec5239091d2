//! What it costs that sectors know of units near their borders: to cast them, to put
//! them into datagrams and read those, and to take what was cast.

use std::sync::Arc;

use starmesh::base::draw::draw;
use starmesh::base::geometry::SECTOR_STEPS;
use starmesh::base::{Incarnation, Millis, NodeId, PlayerId, Position, SectorId, Tick, UnitId};
use starmesh::cluster::core::shadows::{Cast, Caster, Shadows, datagram};
use starmesh::sim::rules::sample::{self, FIGHTER};
use starmesh::sim::shadow::{Border, Shadow, cast, reach};
use starmesh::sim::{Changes, Course, SectorState, Unit};

use super::cpu;

const HERE: SectorId = SectorId::tactical(5_000, 5_000);
const CASTER: Caster = Caster { node: NodeId(2), incarnation: Incarnation(9) };
/// Units cast in all for each row.
const CAST: u64 = 4_000_000;

/// Units all over a sector, which move.
fn sector(units: u64) -> SectorState {
    let mut sector = SectorState::new(HERE);
    for id in 1..=units {
        let at = |axis| {
            (draw(3, "shadows", &[id, axis]) % u64::from(SECTOR_STEPS.unsigned_abs())) as i32
        };
        let mut unit = Unit::new(
            UnitId((1 << 30) + id),
            FIGHTER,
            PlayerId(id % 100 + 1),
            Position { x: at(0), y: at(1) },
        );
        unit.hops = (id % 7) as u32;
        unit.course = Course { velocity: (3_000 - at(2) % 6_000, at(3) % 6_000), remaining: 9 };
        sector.insert(unit, &mut Changes::default());
    }
    sector
}

pub fn run() {
    let reach = reach(&sample::rules().expect("sample rules"));
    println!("what sectors know of units near their borders");
    println!("  units  told  ns to cast a unit  ns to take  bytes  datagrams  ns to put and read");
    for units in [100, 1_000, 10_000] {
        row(units, reach);
    }
}

fn row(units: u64, reach: i32) {
    let sector = sector(units);
    let rounds = CAST / units / 4;
    let began = cpu();
    let mut told = 0;
    for _ in 0..rounds {
        told += cast(&sector, &[], reach).iter().map(Vec::len).sum::<usize>() as u64;
    }
    let casting = (cpu() - began).as_nanos() as f64 / (rounds * units) as f64;
    let casts: Vec<Cast> = Border::ALL
        .into_iter()
        .zip(cast(&sector, &[], reach))
        .map(|(border, units)| {
            let units: Arc<[Shadow]> = units.into();
            Cast::whole(HERE, border, (Tick(2), Millis(200)), units)
        })
        .collect();
    let shadows = told / rounds;
    let mut held = vec![Shadows::default(); casts.len()];
    let began = cpu();
    for round in 1..=rounds {
        for (cast, held) in casts.iter().zip(&mut held) {
            let later = Cast { tick: Tick(2 * round), ..cast.clone() };
            assert!(held.take(&later, Tick(2 * round)));
        }
    }
    let taking = (cpu() - began).as_nanos() as f64 / (rounds * shadows) as f64;
    let began = cpu();
    let (mut bytes, mut datagrams) = (0, 0);
    for _ in 0..rounds {
        for cast in &casts {
            for datagram in datagram::split(CASTER, NodeId(3), cast) {
                bytes += datagram.len();
                datagrams += 1;
                datagram::read(&datagram).expect("one of ours");
            }
        }
    }
    let carrying = (cpu() - began).as_nanos() as f64 / (rounds * shadows) as f64;
    println!(
        "  {units:5}  {shadows:4}  {casting:17.1}  {taking:10.1}  {:5.1}  {:9.1}  {carrying:18.1}",
        bytes as f64 / (rounds * shadows) as f64,
        f64::from(datagrams) / rounds as f64,
    );
}
