//! What sectors of two nodes know of each other's units near their border, and what
//! [storms](super::storm) hold it to.

use std::collections::{BTreeMap, BTreeSet};

use starmesh::base::{CompressedPosition, EntityKey, NodeId, Position, SectorId, UnitId};
use starmesh::cluster::core::node::Event;
use starmesh::cluster::core::roles::{Role, Roles};
use starmesh::cluster::core::shadows::{Cast, Seen};
use starmesh::entity::Entity;
use starmesh::entity::kinds::Kind;
use starmesh::sim::shadow::{Border, Shadow, cast, reach};
use starmesh::sim::{Instruction, SectorState, Target};

use super::Cluster;
use super::node::Node;

/// What is not said again for three world ticks is gone; and until the next one, and
/// until the row says that.
const GONE_MS: u64 = 3 * 200 + 200 + 200;

/// What is compared of a unit: its hops, and where it stands if it does.
type Shade = (u32, Option<Position>);

fn shade(shadow: &Shadow) -> Shade {
    (shadow.hops, (!shadow.is_moving()).then_some(shadow.position))
}

fn state(entity: &Entity) -> Option<&SectorState> {
    match entity.kind() {
        Kind::Sector(sector) => Some(sector.state()),
        _ => None,
    }
}

/// The sectors of scale 0 that a node runs.
fn sectors(node: &Node) -> impl Iterator<Item = SectorId> {
    node.table.keys().filter_map(|key| match key {
        EntityKey::Sector(sector) if sector.scale == 0 => Some(sector),
        _ => None,
    })
}

impl Cluster {
    fn shadows(&self, node: u32, sector: SectorId) -> Vec<Seen> {
        self.nodes.get(&NodeId(node)).map(|it| it.table.shadows(sector)).unwrap_or_default()
    }

    fn sees(&self, node: u32, sector: SectorId, unit: UnitId) -> Option<Seen> {
        self.shadows(node, sector).into_iter().find(|seen| seen.shadow.id == unit)
    }

    /// Flies there and stands: thousandths of the sector's side.
    fn go(&mut self, sequence: u32, unit: UnitId, sector: SectorId, (x, y): (u64, u64)) {
        let axis = |thousandths: u64| (thousandths * (1 << 32) / 1_000) as u32;
        let target = Target { sector, position: CompressedPosition { x: axis(x), y: axis(y) } };
        self.order(1, sequence, unit, Instruction::Move { target });
    }

    /// Somebody looks, so that it goes on however quiet it is; or nobody does any more.
    fn watch(&mut self, node: u32, sector: SectorId, on: bool) {
        let (table, key) = (&mut self.node(node).table, EntityKey::Sector(sector));
        match on {
            true => table.follow(key).expect("it runs"),
            false => table.unfollow(key),
        }
    }

    fn stands_in(&self, unit: UnitId, sector: SectorId) -> bool {
        let nodes = self.nodes.values();
        let mut states = nodes.filter_map(|it| state(it.table.entity(EntityKey::Sector(sector))?));
        states.any(|it| it.unit(unit).is_some_and(|unit| !unit.course.is_moving()))
    }

    /// What a sector should know of those around it, that run anywhere.
    fn expected(&self, sector: SectorId) -> BTreeMap<UnitId, Shade> {
        let reach = reach(&self.world.rules);
        let mut expected: BTreeMap<UnitId, Shade> = BTreeMap::new();
        for (at, border) in Border::ALL.into_iter().enumerate() {
            let from = sector.neighbour((-border.dx).into(), (-border.dy).into());
            let Some(from) = from.and_then(|from| self.running(from)) else { continue };
            for shadow in &cast(from, &[], reach)[at] {
                let known = expected.entry(shadow.id).or_insert_with(|| shade(shadow));
                if known.0 < shadow.hops {
                    *known = shade(shadow);
                }
            }
        }
        let own = self.running(sector);
        expected.retain(|unit, _| own.is_none_or(|own| own.unit(*unit).is_none()));
        expected
    }

    fn running(&self, sector: SectorId) -> Option<&SectorState> {
        let key = EntityKey::Sector(sector);
        self.nodes.values().find_map(|node| state(node.table.entity(key)?))
    }
}

/// Node 1 runs where a player begins and node 2 the sector east of it, in which one of
/// the units stands, far from all borders.
fn scene(nodes: u32) -> (Cluster, [SectorId; 2], [UnitId; 2]) {
    let (mut cluster, home, east) = Cluster::with_border(nodes);
    let units = cluster.units(home);
    let (one, other) = (units[0], units[1]);
    cluster.watch(1, home, true);
    cluster.go(1, one, east, (500, 500));
    cluster.run_until("it is there", |cluster| cluster.stands_in(one, east));
    cluster.watch(2, east, true);
    cluster.go(2, other, home, (500, 500));
    cluster.run_until("it is there", |cluster| cluster.stands_in(other, home));
    (cluster, [home, east], [one, other])
}

#[test]
fn units_near_a_border_are_known_beyond_it_on_another_node() {
    let (mut cluster, [home, east], [_, unit]) = scene(2);
    assert_eq!(cluster.sees(2, east, unit), None, "too far from the border");
    cluster.go(3, unit, home, (900, 500));
    cluster.run_until("it is seen", |cluster| cluster.sees(2, east, unit).is_some());
    let seen = cluster.sees(2, east, unit).expect("just now");
    assert!(seen.shadow.is_moving() && seen.from == home, "{seen:?}");
    cluster.run_until("it stands", |cluster| {
        cluster.sees(2, east, unit).is_some_and(|seen| !seen.shadow.is_moving())
    });
    let seen = cluster.sees(2, east, unit).expect("just now").shadow;
    let own = *cluster.running(home).and_then(|it| it.unit(unit)).expect("there it stands");
    assert_eq!((seen.position, seen.health), (own.position, own.health));
    assert_eq!((seen.owner, seen.type_id, seen.hops), (own.owner, own.type_id, own.hops));
    cluster.go(4, unit, home, (500, 500));
    cluster.run_until("it is too far", |cluster| cluster.sees(2, east, unit).is_none());
    assert!(cluster.stands_in(unit, home) || cluster.running(home).is_some());
}

#[test]
fn what_crosses_is_seen_from_where_it_was_and_never_twice() {
    let (mut cluster, [home, east], [_, unit]) = scene(2);
    let hops = |cluster: &Cluster| cluster.running(home).and_then(|it| Some(it.unit(unit)?.hops));
    let before = hops(&cluster).expect("it is there");
    cluster.go(3, unit, east, (100, 500));
    let (mut as_shadow, mut as_unit) = (0, 0);
    for _ in 0..12_000 {
        cluster.run(10);
        let is_there = cluster.running(east).is_some_and(|it| it.unit(unit).is_some());
        let is_shade = cluster.sees(2, east, unit).is_some();
        assert!(!(is_there && is_shade), "it is there and beyond the border");
        let was_seen = as_shadow > 0;
        assert!(is_there || is_shade || !was_seen || as_unit > 0, "it is nowhere for a moment");
        (as_shadow, as_unit) = (as_shadow + u32::from(is_shade), as_unit + u32::from(is_there));
        if let Some(seen) = cluster.sees(1, home, unit) {
            assert_eq!(seen.shadow.hops, before + 1);
            assert!(as_shadow > 100 && as_unit > 0, "it was seen coming");
            return;
        }
    }
    panic!("it was never seen from where it was");
}

#[test]
fn without_a_link_a_coordinator_hands_shadows_on() {
    let (mut cluster, [home, east], [_, unit]) = scene(3);
    cluster.go(3, unit, home, (900, 500));
    cluster.run_until("it is seen", |cluster| cluster.sees(2, east, unit).is_some());
    assert_eq!(cluster.network.datagrams.handed_on, 0, "there is a link");
    cluster.network.cuts.insert((NodeId(1), NodeId(2)));
    for _ in 0..1_000 {
        cluster.run(10);
        assert!(cluster.sees(2, east, unit).is_some(), "it was gone for a moment");
    }
    assert!(cluster.network.datagrams.handed_on > 40);
    // Nodes without that role hand on nothing.
    cluster.leave(3);
    cluster.start_with(3, Roles::of([Role::Gateway]).expect("one"));
    cluster.run(2_000);
    assert_eq!(cluster.sees(2, east, unit), None);
    cluster.network.cuts.clear();
    cluster.run_until("it is seen", |cluster| cluster.sees(2, east, unit).is_some());
}

#[test]
fn what_nobody_says_again_is_gone_after_three_world_ticks() {
    let (mut cluster, [home, east], [_, unit]) = scene(2);
    cluster.go(3, unit, home, (900, 500));
    cluster.run_until("it stands", |cluster| {
        cluster.sees(2, east, unit).is_some_and(|seen| !seen.shadow.is_moving())
    });
    // A fifth of what is said gets lost, and nobody misses it for long.
    cluster.network.weather.lost = 200;
    let mut missed = 0;
    for _ in 0..1_000 {
        cluster.run(10);
        missed += u32::from(cluster.sees(2, east, unit).is_none());
    }
    assert!(missed < 50, "{missed} of 1,000 times");
    cluster.network.weather.lost = 1_000;
    let took = cluster.run_until("it is gone", |cluster| cluster.sees(2, east, unit).is_none());
    assert!(took <= GONE_MS, "{took} ms");
}

#[test]
fn a_sector_that_sleeps_wakes_when_somebody_comes_and_not_for_who_stands() {
    let (mut cluster, [home, east], [one, unit]) = scene(2);
    let far = |cluster: &Cluster| cluster.owner(EntityKey::Sector(east)).is_none();
    cluster.watch(2, east, false);
    cluster.run_until("the east sleeps", far);
    cluster.go(3, unit, home, (900, 500));
    cluster.run_until("the east wakes", |cluster| !far(cluster));
    assert!(cluster.running(east).is_some_and(|it| it.unit(unit).is_none()), "nobody came yet");
    cluster.run_until("the east sleeps again", far);
    assert!(cluster.stands_in(unit, home), "it stands in sight");
    for _ in 0..3_000 {
        cluster.run(10);
        assert!(far(&cluster), "who stands wakes nobody");
    }
    // Where there is no record nobody is woken.
    let south = home.neighbour(1, -1).expect("a neighbour");
    cluster.go(4, unit, home, (900, 100));
    cluster.run_until("the east wakes", |cluster| !far(cluster));
    cluster.run_until("it stands", |cluster| cluster.stands_in(unit, home));
    assert_eq!(cluster.owner(EntityKey::Sector(south)), None);
    assert!(cluster.stands_in(one, east));
}

#[test]
fn who_comes_by_warp_and_stands_is_seen_by_who_sleeps() {
    let (mut cluster, [home, east], [_, unit]) = scene(2);
    let far = |cluster: &Cluster| cluster.owner(EntityKey::Sector(east)).is_none();
    cluster.watch(2, east, false);
    cluster.run_until("the east sleeps", far);
    let position = CompressedPosition { x: u32::MAX / 10 * 9, y: u32::MAX / 2 };
    cluster.order(1, 3, unit, Instruction::Warp { target: Target { sector: home, position } });
    let is_home =
        move |cluster: &Cluster| cluster.running(home).is_some_and(|it| it.unit(unit).is_some());
    cluster.run_until("it left", |cluster| !is_home(cluster));
    assert!(far(&cluster));
    cluster.run_until("the east wakes", |cluster| !far(cluster));
    assert!(cluster.stands_in(unit, home));
}

#[test]
fn a_sector_knows_who_is_near_until_it_is_handed_over_and_soon_after() {
    let (mut cluster, [home, east], [_, unit]) = scene(3);
    cluster.go(3, unit, home, (900, 500));
    cluster.run_until("it is seen", |cluster| cluster.sees(2, east, unit).is_some());
    // The directory names the third while the second runs it, and for long.
    cluster.node(3).slow_loads_ms = 3_000;
    cluster.assign(EntityKey::Sector(east), 3);
    let mut waited = 0;
    while cluster.nodes[&NodeId(2)].table.entity(EntityKey::Sector(east)).is_some() {
        cluster.run(10);
        let runs = cluster.nodes[&NodeId(2)].table.entity(EntityKey::Sector(east)).is_some();
        assert!(!runs || cluster.sees(2, east, unit).is_some(), "after {waited} ms");
        waited += 10;
        assert!(waited < 60_000, "it is never handed over");
    }
    assert!(waited > 2_000, "{waited} ms");
    cluster.run_until("it runs there", |cluster| {
        cluster.owner(EntityKey::Sector(east)) == Some(NodeId(3))
    });
    let took = cluster.run_until("it is seen", |cluster| cluster.sees(3, east, unit).is_some());
    assert!(took <= GONE_MS, "{took} ms");
}

#[test]
fn a_unit_in_a_corner_is_known_to_three_sectors_of_three_nodes() {
    let (mut cluster, [home, east], [one, unit]) = scene(3);
    let (north, corner) = (home.neighbour(0, 1).expect("one"), home.neighbour(1, 1).expect("one"));
    cluster.assign(EntityKey::Sector(north), 3);
    cluster.assign(EntityKey::Sector(corner), 3);
    // Somebody is in each, so that it runs.
    let third = *cluster.units(home).iter().find(|it| **it != unit).expect("three units");
    cluster.go(3, one, corner, (500, 500));
    cluster.run_until("it is there", |cluster| cluster.stands_in(one, corner));
    cluster.watch(3, corner, true);
    cluster.go(4, third, north, (500, 500));
    cluster.run_until("it is there", |cluster| cluster.stands_in(third, north));
    cluster.watch(3, north, true);
    cluster.go(5, unit, home, (900, 900));
    cluster.run_until("it is there", |cluster| cluster.stands_in(unit, home));
    cluster.run(1_000);
    for (node, sector) in [(2, east), (3, north), (3, corner)] {
        let seen = cluster.sees(node, sector, unit).expect("it is near");
        assert_eq!((seen.from, seen.shadow.is_moving()), (home, false), "{sector}");
    }
}

#[test]
fn a_sector_sleeps_no_sooner_than_nobody_moves_beyond_its_borders() {
    let (mut cluster, [home, east], [_, unit]) = scene(2);
    let far = |cluster: &Cluster| cluster.owner(EntityKey::Sector(east)).is_none();
    cluster.go(3, unit, home, (900, 100));
    cluster.run_until("it stands", |cluster| cluster.stands_in(unit, home));
    let position = CompressedPosition { x: u32::MAX / 10 * 9, y: u32::MAX / 10 * 9 };
    let target = Target { sector: home, position };
    cluster.order(1, 4, unit, Instruction::Patrol { target });
    cluster.watch(2, east, false);
    for _ in 0..3_000 {
        cluster.run(10);
        assert!(!far(&cluster), "it sleeps while somebody goes to and fro");
    }
    cluster.order(1, 5, unit, Instruction::Stop);
    cluster.run_until("it sleeps", far);
}

#[test]
fn what_an_incarnation_cast_that_has_ended_is_not_heeded() {
    let (mut cluster, [home, east], [_, unit]) = scene(3);
    cluster.go(3, unit, home, (900, 500));
    cluster.run_until("it is seen", |cluster| cluster.sees(2, east, unit).is_some());
    let caster = cluster.node(1).core.caster();
    let mut seen = cluster.sees(2, east, unit).expect("just now");
    cluster.kill(1);
    cluster.run_until("it was declared dead", |cluster| cluster.deaths() > 0);
    cluster.run(1_000);
    seen.shadow.hops += 1;
    let border = Border { dx: 1, dy: 0 };
    let ghost =
        Cast::whole(home, border, (seen.tick.after(1_000_000), seen.time), [seen.shadow].into());
    let casts = vec![(caster, ghost)];
    cluster.event(2, Event::Casts(casts));
    let hops = cluster.sees(2, east, unit).map(|seen| seen.shadow.hops);
    assert_ne!(hops, Some(seen.shadow.hops));
}

/// What was seen last of a unit by an installation of a sector: its hops, and when.
type Known = BTreeMap<(NodeId, SectorId, u64, UnitId), (u32, u64)>;

/// What is held of shadows in a storm.
#[derive(Default)]
pub struct Shades {
    known: Known,
    /// Sectors that knew all that they should at some time since faults ended.
    right: BTreeSet<SectorId>,
    is_calm: bool,
    /// How often a unit of another node's sector was seen.
    pub from_afar: u64,
}

impl Shades {
    pub fn calm(&mut self) {
        self.is_calm = true;
    }

    /// The hops of what is seen never fall.
    pub fn step(&mut self, cluster: &Cluster) {
        let now = cluster.now;
        self.known.retain(|_, (_, at)| now - *at <= 300);
        for node in cluster.nodes.values().filter(|node| !node.stopped) {
            for sector in sectors(node) {
                let generation = node.generations.get(&EntityKey::Sector(sector));
                let seen = node.table.shadows(sector);
                let own = node.table.entity(EntityKey::Sector(sector)).and_then(state);
                let own = own.into_iter().flat_map(|own| own.units());
                let own = own.map(|unit| (unit.id, unit.hops));
                let shadows = seen.iter().map(|seen| (seen.shadow.id, seen.shadow.hops));
                for (unit, hops) in own.chain(shadows) {
                    let key = (node.id, sector, generation.copied().unwrap_or(0), unit);
                    let before = self.known.insert(key, (hops, now)).map_or(0, |(hops, _)| hops);
                    assert!(before <= hops, "14: {sector} saw {unit:?} with {before}, then {hops}");
                }
                let is_afar =
                    |seen: &&Seen| node.table.entity(EntityKey::Sector(seen.from)).is_none();
                self.from_afar += seen.iter().filter(is_afar).count() as u64;
                let seen: BTreeMap<UnitId, Shade> =
                    seen.iter().map(|seen| (seen.shadow.id, shade(&seen.shadow))).collect();
                if self.is_calm && seen == cluster.expected(sector) {
                    self.right.insert(sector);
                }
            }
        }
    }

    /// A sector that never knew what it should since faults ended.
    pub fn unsettled(&self, cluster: &Cluster) -> Option<String> {
        let mut running = cluster.nodes.values().flat_map(sectors);
        let sector = running.find(|sector| !self.right.contains(sector))?;
        Some(format!("{sector} does not know who is beyond its borders"))
    }
}
