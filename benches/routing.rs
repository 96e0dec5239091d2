//! How long a route takes through a galaxy of 100,000 systems: A* between
//! random sectors, between corners of the galaxy, and to the neighbourhood.
//! Times are of the processor; the wall shows more beside other work.
//!
//! `cargo bench --bench routing -- --pairs 1000`

use std::time::Duration;

use starmesh::base::SectorId;
use starmesh::base::draw::draw;
use starmesh::sim::Galaxy;
use starmesh::sim::galaxy::{Rectangle, Route, RouteLimits};

const SEED: u64 = 2026;

fn main() {
    let pairs = number("--pairs", 30);
    let side = number("--side", Galaxy::SIDE.into());
    let side = u32::try_from(side).expect("a side below 2^32");
    let galaxy = Galaxy::new(SEED, side).expect("a side of 512 to 2^20");
    let last = i64::from(side) - 1;

    let began = cpu();
    let whole = Rectangle { from: (0, 0), to: (last, last) };
    let systems: Vec<_> = galaxy.systems_in(whole).collect();
    println!("{} systems, all generated in {:.1?}", systems.len(), cpu() - began);
    let began = cpu();
    let lanes: usize = systems.iter().map(|system| galaxy.lanes_of(system.star).len()).sum();
    let took = cpu() - began;
    println!("{} lanes, all generated in {took:.1?}", lanes / 2);

    let anywhere = |n, end| sector(n, end, side, (0, 0));
    measure("anywhere to anywhere", pairs, &galaxy, |n| (anywhere(n, 0), anywhere(n, 1)));
    let near = |n| {
        let SectorId { x, y, .. } = anywhere(n, 0);
        let window = side / 10;
        let clamp = |v: i64| (v - i64::from(window / 2)).clamp(0, last - i64::from(window));
        (anywhere(n, 0), sector(n, 2, window, (clamp(x), clamp(y))))
    };
    measure("within a tenth of the side", pairs, &galaxy, near);
    let corners =
        [(0, 0), (last, last), (0, last), (last, 0)].map(|(x, y)| SectorId::tactical(x, y));
    let corner = |n: u64| (corners[(n % 4) as usize], corners[((n + 1 + n / 4 % 3) % 4) as usize]);
    measure("corner to corner", 12, &galaxy, corner);
}

fn measure(name: &str, pairs: u64, galaxy: &Galaxy, pair: impl Fn(u64) -> (SectorId, SectorId)) {
    let mut routes: Vec<(Duration, Route)> = Vec::new();
    for n in 0..pairs {
        let (from, to) = pair(n);
        let began = cpu();
        let route = galaxy.route(from, to, RouteLimits { expanded_max: u32::MAX });
        routes.push((cpu() - began, route.expect("lanes reach everywhere")));
    }
    let count = u32::try_from(routes.len().max(1)).expect("fewer pairs");
    let total: Duration = routes.iter().map(|(took, _)| *took).sum();
    let worst = routes.iter().map(|(took, _)| *took).max().unwrap_or_default();
    let expanded: u64 = routes.iter().map(|(_, route)| u64::from(route.expanded)).sum();
    let most = routes.iter().map(|(_, route)| route.expanded).max().unwrap_or_default();
    let legs: usize = routes.iter().map(|(_, route)| route.waypoints.len() - 1).sum();
    println!(
        "{name}: {count} routes of {} legs: mean {:.2?}, worst {worst:.2?}; expanded mean {}, \
         most {most}; {:.2?} each",
        legs / count as usize,
        total / count,
        expanded / u64::from(count),
        total / u32::try_from(expanded.max(1)).expect("fewer than 2^32"),
    );
}

/// A random sector of a square at `origin`.
fn sector(n: u64, end: u64, side: u32, origin: (i64, i64)) -> SectorId {
    let random = |axis| (draw(SEED, "benches/routing", &[n, end, axis]) % u64::from(side)) as i64;
    SectorId::tactical(origin.0 + random(0), origin.1 + random(1))
}

fn number(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).map_or(default, |text| text.parse().expect("a whole number"))
}

/// What this thread has taken of a processor.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number"))
}
