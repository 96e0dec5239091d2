//! What it costs to tell clients of a sector: bytes per moving unit and tick in
//! the scene of `wire/scene.rs`, nanoseconds per unit to encode, and the time
//! in which clients join a large view.
//!
//! `cargo bench --bench wire -- [UNITS_MAX]`
//!
//! Bytes do not depend on the machine. Times are CPU times of the one thread
//! that does all, beside wall time for joining.

#[path = "wire/scene.rs"]
mod scene;

use std::sync::Arc;
use std::time::{Duration, Instant};

use scene::{Crowd, SECTOR};
use starmesh::protocol::CodecKind;
use starmesh::protocol::blocks::packet::read_message;
use starmesh::sim::rules::sample::rules;
use starmesh::view::fog::Mask;
use starmesh::view::stage::{GroupId, Thrown};
use starmesh::view::{Applied, CellsView, Stage};

const HANDLE: u32 = 1;
const STEPS: u32 = 100;
/// Beyond the owners of the crowd's units.
const FIRST_GROUP: u64 = 1 << 40;

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let units_max = args.next().map_or(10_000, |units| units.parse().expect("a number of units"));
    bytes();
    for units in [1_000, 10_000, 100_000].into_iter().filter(|units| *units <= units_max) {
        for groups in [1, 10, 100] {
            encoding(units, groups);
        }
    }
    join(10_000, 16);
}

/// What this thread has computed so far.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split_whitespace().next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanoseconds.expect("Linux counts a thread's nanoseconds"))
}

/// So many groups that see all, from other sectors.
fn all_seeing(groups: u64) -> Thrown {
    let mut thrown = Thrown::default();
    (0..groups).for_each(|n| thrown.add(GroupId(FIRST_GROUP + n), Mask::ALL));
    thrown
}

/// A stage of the crowd that these groups have watched for a step.
fn stage(crowd: &mut Crowd, groups: u64) -> (Stage, Thrown) {
    let mut stage = Stage::new(SECTOR, &crowd.scene(), &rules().expect("the sample is in range"));
    let thrown = all_seeing(groups);
    (0..groups).for_each(|n| stage.watch(GroupId(FIRST_GROUP + n)));
    stage.step(&crowd.step(), &thrown);
    (stage, thrown)
}

fn bytes() {
    let mut crowd = Crowd::new(1_000);
    let (mut stage, thrown) = stage(&mut crowd, 1);
    let group = GroupId(FIRST_GROUP);
    let mut sums = [0; 4];
    let mut moving = 0;
    for _ in 0..STEPS {
        moving += crowd.moving();
        stage.step(&crowd.step(), &thrown);
        for (at, codec) in [CodecKind::Postcard, CodecKind::Json].into_iter().enumerate() {
            let packet = stage.packet(group, codec, HANDLE);
            sums[at] += packet.map_or(0, |packet| packet.len());
            sums[2 + at] += stage.keyframe(group, codec, HANDLE).len();
        }
    }
    let per_unit = |bytes: usize| bytes as f64 / moving as f64;
    println!("bytes per moving unit and tick      {:>10.3}", per_unit(sums[0]));
    println!("the same in JSON                    {:>10.3}", per_unit(sums[1]));
    let cell = |bytes: usize| bytes as f64 / f64::from(STEPS) / 64.0;
    println!("bytes per newly uncovered cell      {:>10.1}", cell(sums[2]));
    println!("  per unit of it                    {:>10.1}", cell(sums[2]) * 64.0 / 1000.0);
    println!("the same cell in JSON               {:>10.1}", cell(sums[3]));
}

fn encoding(units: u64, groups: u64) {
    let mut crowd = Crowd::new(units);
    let (mut stage, thrown) = stage(&mut crowd, groups);
    let steps = (1_000_000 / units).clamp(5, 200) as u32;
    let deltas: Vec<_> = (0..steps).map(|_| crowd.step()).collect();
    let (mut stepping, mut packing) = (Duration::ZERO, Duration::ZERO);
    for delta in &deltas {
        let began = cpu();
        stage.step(delta, &thrown);
        let stepped = cpu();
        for n in 0..groups {
            assert!(stage.packet(GroupId(FIRST_GROUP + n), CodecKind::Postcard, HANDLE).is_some());
        }
        stepping += stepped - began;
        packing += cpu() - stepped;
    }
    let per_unit = |time: Duration| time.as_nanos() as f64 / f64::from(steps) / units as f64;
    println!(
        "{units:>7} units, {groups:>3} groups: ns per unit {:>7.1} to follow, {:>7.1} to encode and pack",
        per_unit(stepping),
        per_unit(packing)
    );
}

fn join(units: u64, clients: u64) {
    let mut crowd = Crowd::new(units);
    let (mut stage, thrown) = stage(&mut crowd, clients);
    stage.step(&crowd.step(), &thrown);
    let (began, wall) = (cpu(), Instant::now());
    let messages: Vec<Arc<[u8]>> = (0..clients)
        .map(|n| stage.keyframe(GroupId(FIRST_GROUP + n), CodecKind::Postcard, HANDLE))
        .collect();
    let encoded = cpu() - began;
    let mut views = Vec::new();
    for message in &messages {
        let (header, packet) = read_message(message).expect("what was written is read");
        let mut view = CellsView::default();
        assert_eq!(view.handle(header.tick, &packet), Applied::At(crowd.tick));
        assert_eq!(view.units().count() as u64, units);
        views.push(view);
    }
    let (all, wall) = (cpu() - began, wall.elapsed());
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "{clients} clients join {units} units: {:.1} ms ({:.1} by the clock), {:.1} of them to encode; {} bytes each",
        ms(all),
        ms(wall),
        ms(encoded),
        messages[0].len()
    );
}
