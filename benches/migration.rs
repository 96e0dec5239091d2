//! How long clients notice that a sector moves between two nodes as processes:
//! commands that are due every millisecond from many players, each timed from
//! when it was due to its answer; and the steps that players watching there are
//! shown. The same is measured before, over as long a time without a move, beside
//! what was lost, doubled and out of order. The move is the operator's
//! `migrate`, to and fro.
//!
//! `cargo bench --bench migration -- --units 10000 --moves 10`

#[path = "migration/fleet.rs"]
mod fleet;
#[path = "cluster/nodes.rs"]
mod nodes;
#[path = "migration/probe.rs"]
mod probe;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use starmesh::base::SectorId;
use starmesh::client::admin::AdminTarget;
use starmesh::protocol::http::admin::Region;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use fleet::{Captain, Field, SHIPS};
use nodes::{Galaxy, Node, option, token};
use probe::{Probes, STEP_TICKS, Schedule, Shown, Steps};

/// The smallest galaxy: from the farthest start it is a minute of warp.
const GALAXY: Galaxy = Galaxy { seed: 1, side: 512 };
/// Players that enlist at a time.
const AT_ONCE: usize = 16;
const PROBE_EVERY: Duration = Duration::from_millis(1);
/// So many players give the probes, in turn; each may have 32 unanswered.
const PROBERS: u32 = 48;
/// At each gateway one watches.
const WATCHERS: u32 = 2;
const ASK_EVERY: Duration = Duration::from_millis(20);
const GATHER_WITHIN: Duration = Duration::from_secs(400);

/// A time that is looked at: a move, or as long without one.
#[derive(Clone, Copy)]
struct Window {
    begin: Instant,
    end: Instant,
    /// Until it ran at the other node and nowhere else.
    moved: Option<Duration>,
    /// What the nodes say of that.
    parts: Parts,
}

/// Seconds that hand-overs took so far, over both nodes, by [`PARTS`].
type Parts = [f64; PARTS.len()];

/// What a hand-over takes its time for; while the first lasts the sector goes on.
const PARTS: [&str; 5] = ["ahead", "close", "record", "tail", "claim"];

struct Scene<'n> {
    nodes: [&'n Node; 2],
    field: Field,
    admin: AdminTarget,
    window: Duration,
}

fn main() {
    let (units, moves) = (option("--units", 1000), option("--moves", 4));
    let window = Duration::from_millis(u64::from(option("--window-ms", 3000)));
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = Node::pair(dir.path(), GALAXY);
    let runtime = Runtime::new().unwrap();
    runtime.block_on(run([&first, &second], units, moves, window));
}

async fn run(nodes: [&Node; 2], units: u32, moves: u32, window: Duration) {
    let players = units.div_ceil(SHIPS).max(PROBERS.min(8) + WATCHERS);
    let field = Field { sector: meeting(), players };
    let admin = token(&nodes[0].target(), "operator".into()).await;
    let admin = AdminTarget::new(nodes[0].target(), admin);
    let scene = Scene { nodes, field, admin, window };
    let ((start, started), (stop, stopped)) = (watch::channel(None), watch::channel(false));
    let (probes, steps) = (Arc::default(), (0..WATCHERS).map(|_| Arc::default()).collect());
    let part = Part { field, probes, steps, start: started, stop: stopped };
    let tasks = enlist(nodes, &part);
    let gathered = scene.gather(players * SHIPS).await;
    println!("{} ships in one sector after {gathered:.0?}", players * SHIPS);

    start.send_replace(Some(Instant::now()));
    sleep(Duration::from_secs(5)).await;
    let still = scene.windows(moves, false).await;
    let moving = scene.windows(moves, true).await;
    stop.send_replace(true);
    for task in tasks {
        task.await.unwrap();
    }
    let probes = std::mem::take(&mut *part.probes.lock().unwrap());
    report("without a move", &still, &probes, &part.steps);
    report("with a move", &moving, &probes, &part.steps);
    println!("all commands: {} answered, {:?}", probes.answered.len(), probes.faults);
}

/// A sector in the middle of the galaxy in which ships can stand anywhere.
fn meeting() -> SectorId {
    let galaxy = starmesh::sim::Galaxy::new(GALAXY.seed, GALAXY.side).unwrap();
    let middle = i64::from(GALAXY.side / 2);
    let free = |sector: &SectorId| galaxy.obstacles(*sector).is_empty();
    (0..64).map(|n| SectorId::tactical(middle + n, middle)).find(free).unwrap()
}

/// What players work with.
#[derive(Clone)]
struct Part {
    field: Field,
    probes: Arc<Mutex<Probes>>,
    /// Of each watcher.
    steps: Vec<Arc<Mutex<Steps>>>,
    /// When all ships are there.
    start: watch::Receiver<Option<Instant>>,
    stop: watch::Receiver<bool>,
}

/// All players, some at a time; each is at one of the gateways.
fn enlist(nodes: [&Node; 2], part: &Part) -> Vec<JoinHandle<()>> {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let player = |number: u32| {
        let (turns, part) = (turns.clone(), part.clone());
        let target = nodes[number as usize % 2].target();
        tokio::spawn(async move {
            let turn = turns.acquire().await.unwrap();
            let captain = Captain::enlist(target, number, part.field).await;
            drop(turn);
            part.play(captain).await;
        })
    };
    (0..part.field.players).map(player).collect()
}

impl Part {
    /// The first players watch, the next probe; of the others half have their
    /// ships patrol. Those leave.
    async fn play(self, mut captain: Captain) {
        let probers = (self.field.players - WATCHERS).min(PROBERS);
        let leaves = captain.number >= WATCHERS + probers;
        if leaves && captain.number.is_multiple_of(2) {
            return captain.client.stop().await;
        }
        let start = captain.wait(self.start).await;
        if leaves {
            captain.patrol(self.field).await;
            return captain.client.stop().await;
        }
        if let Some(steps) = self.steps.get(captain.number as usize) {
            return probe::watch(captain, self.field, steps.clone(), self.stop).await;
        }
        let first = start + PROBE_EVERY * (captain.number - WATCHERS);
        let schedule = Schedule { first, every: PROBE_EVERY * probers };
        probe::probe(captain, self.field, schedule, self.probes, self.stop).await;
    }
}

impl Scene<'_> {
    /// How long it takes until so many ships are there.
    async fn gather(&self, ships: u32) -> Duration {
        let began = Instant::now();
        loop {
            let there = self.region().await.running.iter().map(|it| it.units).sum::<u64>();
            if there >= u64::from(ships) {
                return began.elapsed();
            }
            assert!(began.elapsed() < GATHER_WITHIN, "{there} of {ships} ships came");
            sleep(Duration::from_secs(1)).await;
        }
    }

    async fn region(&self) -> Region {
        self.admin.sector(self.field.sector).await.expect("where the sector runs")
    }

    async fn windows(&self, count: u32, moving: bool) -> Vec<Window> {
        let mut windows = Vec::new();
        for _ in 0..count {
            let (before, begin) = (self.parts(), Instant::now());
            let moved = if moving { Some(self.migrate().await) } else { None };
            let end = (begin + self.window).max(Instant::now());
            sleep_until(end).await;
            let mut parts = self.parts();
            parts.iter_mut().zip(before).for_each(|(part, before)| *part -= before);
            windows.push(Window { begin, end, moved, parts });
        }
        windows
    }

    fn parts(&self) -> Parts {
        let of = |node: &Node, part: &str| {
            let name = format!("starmesh_mesh_hand_over_seconds_sum{{part=\"{part}\"}}");
            node.metric(&name).unwrap_or_default()
        };
        PARTS.map(|part| self.nodes.iter().map(|node| of(node, part)).sum())
    }

    /// To the other node; how long until it ran there and nowhere else.
    async fn migrate(&self) -> Duration {
        let began = Instant::now();
        let runs = |region: &Region| -> Vec<u32> {
            let here = region.running.iter().filter(|it| it.sectors > 0);
            here.map(|it| it.node).collect()
        };
        let to = 3 - runs(&self.region().await)[0];
        self.admin.migrate(self.field.sector, to).await.expect("a node of two");
        while runs(&self.region().await) != [to] {
            assert!(began.elapsed() < GATHER_WITHIN, "it does not move");
            sleep(ASK_EVERY).await;
        }
        began.elapsed()
    }
}

fn report(what: &str, windows: &[Window], probes: &Probes, steps: &[Arc<Mutex<Steps>>]) {
    let mut all = Vec::new();
    let (mut worst, mut still) = (Vec::new(), Vec::new());
    println!("{what}:");
    for window in windows {
        let due = probes.answered.iter().filter(|it| window.has(it.due));
        let mut took: Vec<Duration> = due.map(|it| it.at - it.due).collect();
        took.sort_unstable();
        let gaps = steps.iter().map(|steps| window.longest_gap(&steps.lock().unwrap().shown));
        worst.push(took.last().copied().unwrap_or_default());
        still.push(gaps.max().unwrap_or_default());
        if let Some(moved) = window.moved {
            let (worst, still) = (worst[worst.len() - 1], still[still.len() - 1]);
            let split: Vec<String> = PARTS.iter().zip(window.parts).map(said).collect();
            println!(
                "  in {moved:.0?}: longest answer {worst:.0?}, between steps {still:.0?}; {}",
                split.join(", ")
            );
        }
        all.append(&mut took);
    }
    for (part, name) in
        PARTS.iter().enumerate().filter(|_| windows.iter().any(|it| it.moved.is_some()))
    {
        let took = |window: &Window| Duration::from_secs_f64(window.parts[part].max(0.0));
        show(&format!("  {name}"), windows.iter().map(took).collect());
    }
    all.sort_unstable();
    let at = |share: usize| all.get(all.len() * share / 1000).copied().unwrap_or_default();
    println!("  {} commands: p50 {:.1?}, p99 {:.1?}", all.len(), at(500), at(990));
    show("  longest from due to answered", worst);
    show("  longest between two steps shown", still);
    let (mut shown, mut lost, mut back, mut keyframes, mut broken) = (0, 0, 0, 0, 0);
    for steps in steps {
        let steps = steps.lock().unwrap();
        let seen: Vec<&Shown> = steps.shown.iter().filter(|it| windows_have(windows, it)).collect();
        for two in seen.windows(2) {
            back += u64::from(two[1].tick <= two[0].tick && !two[1].keyframe);
            lost += (two[1].tick.saturating_sub(two[0].tick) / STEP_TICKS).saturating_sub(1);
        }
        shown += seen.len();
        keyframes += seen.iter().filter(|it| it.keyframe).count();
        broken += steps.broken;
    }
    println!(
        "  {shown} steps shown, {lost} not, {back} twice or back; {keyframes} keyframes; \
         {broken} breaks so far"
    );
}

fn windows_have(windows: &[Window], shown: &Shown) -> bool {
    windows.iter().any(|window| window.has(shown.at))
}

impl Window {
    fn has(&self, at: Instant) -> bool {
        (self.begin..self.end).contains(&at)
    }

    fn longest_gap(&self, shown: &[Shown]) -> Duration {
        let gaps = shown.windows(2).filter(|two| two[1].at > self.begin && two[0].at < self.end);
        gaps.map(|two| two[1].at - two[0].at).max().unwrap_or_default()
    }
}

fn said((part, seconds): (&&str, f64)) -> String {
    format!("{part} {:.0} ms", seconds * 1_000.0)
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!("{what}: median {:.0?}, worst {:.0?} of {}", at(50), at(100), times.len());
}
