use super::*;
use crate::base::{PlayerId, Position, UnitId};
use crate::sim::rules::sample;
use crate::sim::{Unit, UnitTypeId};
use crate::view::CellsView;
use crate::view::fog::Mask;
use crate::view::motion::Mover;

const WEST: SectorId = SectorId::tactical(5, 5);
const EAST: SectorId = SectorId::tactical(6, 5);
const ANNA: PlayerId = PlayerId(7);
const BEN: PlayerId = PlayerId(8);

struct Theatre {
    fanout: Fanout,
    rules: Rules,
}

fn watcher(player: PlayerId) -> Watcher {
    Watcher { group: GroupId::of(player), codec: CodecKind::Postcard }
}

/// A fighter in the middle of cell (x, y); it sees 300 m.
fn ship(id: u64, owner: PlayerId, (x, y): (i32, i32)) -> Mover {
    let middle = |cell: i32| (cell << 17) + (1 << 16);
    let position = Position { x: middle(x), y: middle(y) };
    Mover::from(&Unit::new(UnitId(id), UnitTypeId(1), owner, position))
}

fn scene(tick: u64, units: &[Mover]) -> Scene {
    Scene { tick: Tick(tick), units: units.to_vec() }
}

fn step(tick: u64, appeared: &[Mover]) -> StepDelta {
    StepDelta { tick: Tick(tick), appeared: appeared.to_vec(), ..StepDelta::default() }
}

impl Theatre {
    fn new() -> Theatre {
        Theatre { fanout: Fanout::default(), rules: sample::rules().unwrap() }
    }

    fn observe(&mut self, sector: SectorId, observer: u64, player: PlayerId) {
        self.fanout.observe(sector, observer, watcher(player), &self.rules);
    }

    fn scene(&mut self, sector: SectorId, scene: &Scene) {
        self.fanout.handle_scene(sector, scene, &self.rules);
    }

    /// What `observer` was told: packets by tick, keyframes marked.
    fn told(&mut self, observer: u64) -> Vec<Packet> {
        let shown = self.fanout.drain_shown().into_iter();
        let of = shown.filter(|(to, _)| *to == observer).map(|(_, shown)| match shown {
            Shown::Packet(packet) => packet,
            other => panic!("no packet: {other:?}"),
        });
        of.collect()
    }
}

fn kinds(packets: &[Packet]) -> Vec<(u64, bool)> {
    packets.iter().map(|packet| (packet.tick.0, packet.keyframe)).collect()
}

fn view(packets: &[Packet]) -> CellsView {
    let mut view = CellsView::default();
    for packet in packets {
        let (header, told) = CodecKind::Postcard.codec().decode_packet(&packet.bytes).unwrap();
        assert_eq!(header.handle, packet.handle);
        view.handle(header.tick, &told);
    }
    view
}

#[test]
fn an_observer_begins_with_a_keyframe_and_gets_each_step_that_has_news() {
    let mut theatre = Theatre::new();
    theatre.observe(WEST, 1, ANNA);
    assert_eq!(theatre.told(1), [], "nothing is known of it yet");
    theatre.scene(WEST, &scene(10, &[ship(1, ANNA, (3, 3))]));
    theatre.fanout.handle_step(WEST, &step(12, &[ship(2, ANNA, (4, 4))]));
    theatre.fanout.handle_step(WEST, &step(14, &[]));
    theatre.fanout.handle_step(WEST, &step(16, &[ship(3, ANNA, (4, 4))]));
    let told = theatre.told(1);
    assert_eq!(kinds(&told), [(10, true), (12, false), (16, false)]);
    assert_eq!(view(&told).units().count(), 3);
}

#[test]
fn who_asks_again_gets_a_keyframe_behind_a_packet_of_its_tick() {
    let mut theatre = Theatre::new();
    theatre.observe(WEST, 1, ANNA);
    theatre.scene(WEST, &scene(10, &[ship(1, ANNA, (3, 3))]));
    theatre.observe(WEST, 1, ANNA);
    theatre.fanout.handle_step(WEST, &step(12, &[]));
    assert_eq!(kinds(&theatre.told(1)), [(10, true), (12, false), (12, true)]);
}

#[test]
fn observers_of_a_group_share_the_bytes_and_others_do_not_see_them() {
    let mut theatre = Theatre::new();
    (1..=2).for_each(|observer| theatre.observe(WEST, observer, ANNA));
    theatre.observe(WEST, 3, BEN);
    theatre.scene(WEST, &scene(10, &[ship(1, ANNA, (1, 1)), ship(2, BEN, (6, 6))]));
    theatre.fanout.drain_shown();
    theatre.fanout.handle_step(WEST, &step(12, &[ship(3, ANNA, (1, 1))]));
    let shown = theatre.fanout.drain_shown();
    let bytes: Vec<Arc<[u8]>> = shown
        .into_iter()
        .map(|(observer, shown)| match shown {
            Shown::Packet(packet) if observer < 3 => packet.bytes,
            other => panic!("{observer} is told {other:?}"),
        })
        .collect();
    assert_eq!(bytes.len(), 2);
    assert!(Arc::ptr_eq(&bytes[0], &bytes[1]));
}

#[test]
fn a_sector_without_a_record_is_said_each_second_of_ticks_and_not_while_they_stand_still() {
    let mut theatre = Theatre::new();
    theatre.observe(EAST, 1, ANNA);
    theatre.fanout.handle_absent(EAST, &theatre.rules);
    theatre.told(1);
    let mut said = |tick: u64| {
        theatre.fanout.handle_tick(Tick(tick), &theatre.rules);
        theatre.told(1).len()
    };
    said(1_000);
    // Not every tick is seen by whoever says which it is.
    let often: usize = (1_003..=1_300).step_by(3).map(&mut said).sum();
    assert_eq!(often, 25, "after twelve ticks each time, the first beyond ten");
    let still: usize = (0..100).map(|_| said(1_310)).sum();
    assert_eq!(still, 1);
}

#[test]
fn sight_crosses_the_border_also_into_a_sector_without_a_record() {
    for runs in [true, false] {
        let mut theatre = Theatre::new();
        theatre.observe(EAST, 1, ANNA);
        if runs {
            theatre.scene(EAST, &scene(10, &[ship(9, BEN, (0, 3))]));
        } else {
            theatre.fanout.handle_absent(EAST, &theatre.rules);
        }
        let before = view(&theatre.told(1));
        assert_eq!((before.mask(), before.units().count()), Default::default());
        // Anna's ship stands in the last column of the sector beside it.
        theatre.scene(WEST, &scene(10, &[ship(1, ANNA, (7, 3))]));
        theatre.fanout.handle_step(EAST, &step(12, &[]));
        theatre.fanout.handle_tick(Tick(1), &theatre.rules);
        let after = view(&theatre.told(1)[..]);
        if runs {
            // Of what comes behind the first keyframe alone nothing is made.
            assert_eq!(after.tick(), None);
            theatre.observe(EAST, 2, ANNA);
            let after = view(&theatre.told(2));
            assert_eq!(after.units().map(|unit| unit.id).collect::<Vec<_>>(), [UnitId(9)]);
        } else {
            assert!(after.mask().has_index(8 * 3) && !after.mask().has_index(8 * 3 + 7));
        }
    }
}

#[test]
fn one_that_is_gone_is_said_to_be_and_begins_anew_when_it_is_back() {
    let mut theatre = Theatre::new();
    theatre.observe(WEST, 1, ANNA);
    theatre.scene(WEST, &scene(10, &[ship(1, ANNA, (3, 3))]));
    theatre.fanout.drain_shown();
    theatre.fanout.handle_gone(WEST);
    assert_eq!(theatre.fanout.drain_shown(), [(1, Shown::Gone(WEST))]);
    theatre.fanout.handle_step(WEST, &step(12, &[]));
    assert_eq!(theatre.told(1), []);
    theatre.scene(WEST, &scene(20, &[ship(1, ANNA, (3, 3))]));
    assert_eq!(kinds(&theatre.told(1)), [(20, true)]);
}

/// What `observer` was told, in short.
fn short(theatre: &mut Theatre, observer: u64) -> Vec<String> {
    let shown = theatre.fanout.drain_shown().into_iter();
    let word = |shown| match shown {
        Shown::Packet(Packet { keyframe: true, .. }) => "keyframe".to_owned(),
        Shown::Packet(_) => "packet".to_owned(),
        Shown::Gone(_) => "gone".to_owned(),
        Shown::Pace { percent, .. } => format!("{percent} %"),
    };
    shown.filter(|(to, _)| *to == observer).map(|(_, shown)| word(shown)).collect()
}

#[test]
fn observers_are_told_how_fast_a_place_is_behind_keyframes_and_whenever_it_says_so() {
    let mut theatre = Theatre::new();
    theatre.observe(WEST, 1, ANNA);
    theatre.scene(WEST, &scene(10, &[ship(1, ANNA, (3, 3))]));
    theatre.fanout.handle_pace(WEST, 100);
    assert_eq!(short(&mut theatre, 1), ["keyframe"], "it makes all of its ticks");
    theatre.fanout.handle_pace(WEST, 40);
    theatre.fanout.handle_pace(WEST, 40);
    assert_eq!(short(&mut theatre, 1), ["40 %", "40 %"]);
    theatre.observe(WEST, 2, ANNA);
    assert_eq!(short(&mut theatre, 2), ["keyframe", "40 %"]);
    theatre.observe(WEST, 1, ANNA);
    theatre.fanout.handle_step(WEST, &step(12, &[]));
    assert_eq!(short(&mut theatre, 1), ["packet", "keyframe", "40 %"]);
    theatre.fanout.handle_pace(WEST, 100);
    theatre.fanout.handle_pace(WEST, 100);
    assert_eq!(short(&mut theatre, 2), ["100 %"]);
    theatre.fanout.handle_pace(WEST, 50);
    theatre.fanout.handle_gone(WEST);
    theatre.scene(WEST, &scene(20, &[]));
    assert_eq!(short(&mut theatre, 1), ["50 %", "gone", "keyframe"], "a new owner");
}

#[test]
fn what_a_sector_reveals_is_forgotten_with_it() {
    let mut theatre = Theatre::new();
    // Beyond the eastern sector, which is followed for it all the time.
    theatre.observe(SectorId::tactical(7, 5), 2, BEN);
    theatre.observe(WEST, 1, ANNA);
    theatre.scene(WEST, &scene(10, &[ship(1, ANNA, (7, 3))]));
    theatre.scene(EAST, &scene(10, &[ship(9, BEN, (0, 3))]));
    theatre.fanout.unobserve(WEST, 1);
    // The ship may be anywhere by now.
    theatre.observe(EAST, 1, ANNA);
    theatre.scene(WEST, &scene(90, &[]));
    theatre.fanout.handle_step(EAST, &step(90, &[]));
    let view = view(&theatre.told(1));
    assert_eq!((view.tick(), view.mask(), view.units().count()), (Some(90), Mask::NONE, 0));
}

#[test]
fn one_that_is_gone_reveals_nothing_around_it() {
    let mut theatre = Theatre::new();
    theatre.observe(EAST, 1, ANNA);
    theatre.scene(WEST, &scene(10, &[ship(1, ANNA, (7, 3))]));
    theatre.scene(EAST, &scene(10, &[ship(9, BEN, (0, 3))]));
    let mut told = theatre.told(1);
    assert!(view(&told).mask().has_index(8 * 3));
    theatre.fanout.handle_gone(WEST);
    (6..20).for_each(|n| theatre.fanout.handle_step(EAST, &step(2 * n, &[])));
    told.extend(theatre.told(1));
    assert_eq!((view(&told).mask(), view(&told).units().count()), (Mask::NONE, 0));
}

#[test]
fn a_sector_is_followed_while_it_or_one_beside_it_is_observed() {
    let mut theatre = Theatre::new();
    theatre.observe(WEST, 1, ANNA);
    theatre.observe(EAST, 1, ANNA);
    let begun = theatre.fanout.drain_follow();
    assert_eq!(begun.len(), 12, "two sectors, and ten around them");
    assert!(begun.iter().all(|(_, on)| *on));
    theatre.fanout.unobserve(WEST, 1);
    let ended = theatre.fanout.drain_follow();
    assert!(ended.len() == 3 && ended.iter().all(|(sector, on)| !on && sector.x == 4));
    theatre.fanout.unobserve(EAST, 1);
    assert_eq!(theatre.fanout.drain_follow().len(), 9);
    assert!(theatre.fanout.is_empty());
}

#[test]
fn a_handle_is_never_used_again() {
    let mut theatre = Theatre::new();
    let mut handles = Vec::new();
    for observer in [1, 2] {
        theatre.observe(WEST, observer, ANNA);
        theatre.scene(WEST, &scene(10, &[]));
        handles.push(theatre.told(observer)[0].handle);
        theatre.fanout.unobserve(WEST, observer);
    }
    assert!(handles[0] != 0 && handles[1] != 0 && handles[0] != handles[1]);
}
