//! What the wire costs, in the scene of the wire's targets. Bytes are the same
//! on every machine, so tests may count them.

use starmesh::protocol::CodecKind;
use starmesh::sim::rules::sample::rules;
use starmesh::view::Stage;
use starmesh::view::fog::Mask;
use starmesh::view::stage::{GroupId, Thrown};

#[path = "../../../../benches/wire/scene.rs"]
#[allow(dead_code, reason = "the bench uses all of it")]
mod scene;

use scene::{Crowd, SECTOR};

const STEPS: usize = 50;
const CODECS: [CodecKind; 3] = [CodecKind::Postcard, CodecKind::MessagePack, CodecKind::Json];
const OBSERVER: GroupId = GroupId(1 << 40);

/// Bytes of all packets, and of as many keyframes.
struct Cost {
    deltas: usize,
    keyframes: usize,
}

/// In each codec, and how many units moved in all steps together.
fn play(units: u64) -> ([Cost; 3], usize) {
    let mut crowd = Crowd::new(units);
    let mut stage = Stage::new(SECTOR, &crowd.scene(), &rules().unwrap());
    let mut thrown = Thrown::default();
    thrown.add(OBSERVER, Mask::ALL);
    stage.watch(OBSERVER);
    stage.step(&crowd.step(), &thrown);
    let mut moving = 0;
    let mut costs = CODECS.map(|_| Cost { deltas: 0, keyframes: 0 });
    for _ in 0..STEPS {
        moving += crowd.moving();
        stage.step(&crowd.step(), &thrown);
        for (cost, codec) in costs.iter_mut().zip(CODECS) {
            cost.deltas += stage.packet(OBSERVER, codec, 1).unwrap().len();
            cost.keyframes += stage.keyframe(OBSERVER, codec, 1).len();
        }
    }
    (costs, moving)
}

#[test]
fn deltas_save_60_per_cent_and_columns_60_per_cent_of_json() {
    let (costs, _) = play(1_000);
    for cost in &costs {
        assert!(cost.deltas * 10 <= cost.keyframes * 4, "{} {}", cost.deltas, cost.keyframes);
    }
    let [columns, _, json] = costs;
    assert!(columns.deltas * 10 <= json.deltas * 4, "{} {}", columns.deltas, json.deltas);
    assert!(columns.keyframes * 10 <= json.keyframes * 4);
}

#[test]
fn a_moving_unit_costs_at_most_a_byte_per_tick() {
    let ([columns, ..], moving) = play(1_000);
    println!("{} bytes for {moving} moving units", columns.deltas);
    assert!(columns.deltas <= moving, "{} bytes for {moving} moving units", columns.deltas);
}

#[test]
fn large_keyframe_blocks_are_deflated() {
    use starmesh::protocol::blocks::columns::write_units;
    use starmesh::protocol::blocks::packet::deflate;
    let units: Vec<_> = Crowd::new(4_000).units.iter().map(|ship| ship.seen).collect();
    let mut body = Vec::new();
    write_units(0, &units, &mut body);
    assert!(deflate(&body[..512]).is_none());
    // Standing in rows, as fleets do.
    let rows: Vec<_> = units
        .iter()
        .map(|seen| {
            let mut seen = *seen;
            seen.unit.position = starmesh::protocol::Point::default();
            seen.unit.course = starmesh::protocol::Course::default();
            (seen.unit.heading, seen.speed, seen.unit.type_id) = (0, 0, 1);
            seen
        })
        .collect();
    let mut body = Vec::new();
    write_units(0, &rows, &mut body);
    assert!(deflate(&body).unwrap().len() < body.len() / 2);
}
