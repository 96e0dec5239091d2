//! Two nodes as processes, the first with the store: how long a newcomer takes
//! to be a member that players can use, and how long what a killed node ran
//! stands still. The latter is what players see through the other's gateway: the
//! time from the SIGKILL until the last of the killed node's sectors is updated by
//! another, and the longest time between two updates, which begins up to a second
//! earlier, because a sector in which nothing happens says so once a second.
//!
//! `cargo bench --bench cluster -- --trials 20 --joins 5`

#[path = "cluster/nodes.rs"]
mod nodes;
#[path = "cluster/parts.rs"]
mod parts;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use starmesh::base::EntityKey;
use starmesh::client::{Client, Event, Options, Target};
use starmesh::protocol::CodecKind;
use tokio::runtime::Runtime;

use nodes::{Galaxy, Node, option, token, until};
use parts::Gap;

/// Behind a death no other is declared for so long.
const CAP: Duration = Duration::from_secs(12);
/// Players are spread over the galaxy by their number; with so many both nodes
/// have some, or another galaxy is tried.
const PLAYERS: u32 = 24;
const SIDE: u32 = 10_000;

/// When a player's sector was last updated, and the longest wait since it was
/// last asked, with when it began and ended.
#[derive(Clone, Copy)]
struct Seen {
    last: (Instant, SystemTime),
    longest: (Duration, SystemTime, SystemTime),
}

impl Seen {
    fn now() -> Seen {
        let now = SystemTime::now();
        Seen { last: (Instant::now(), now), longest: (Duration::ZERO, now, now) }
    }

    fn note(&mut self) {
        let now = Seen::now().last;
        let waited = (now.0 - self.last.0, self.last.1, now.1);
        if waited.0 > self.longest.0 {
            self.longest = waited;
        }
        self.last = now;
    }
}

type Watched = Arc<Mutex<Vec<Seen>>>;

/// A player that looks at its home, whatever happens.
async fn play(target: Target, number: u32, watched: Watched) {
    let token = token(&target, format!("watcher-{number}")).await;
    let options = Options { reconnect: true, seed: u64::from(number) };
    let mut client = Client::new(target, CodecKind::default(), token, options);
    let mut home: Option<(usize, EntityKey)> = None;
    loop {
        let until = tokio::time::Instant::now() + Duration::from_secs(1);
        match client.next(until).await {
            Some(Event::Connected { presence, .. }) => {
                let Some(first) = presence.first() else { continue };
                let now = client.now();
                client.core().subscribe(now, &[first.sector.into()]);
                let mut watched = watched.lock().unwrap();
                watched.push(Seen::now());
                home = Some((watched.len() - 1, EntityKey::Sector(first.sector.into())));
            }
            Some(Event::Updated { place, .. }) => {
                let Some((index, _)) = home.filter(|(_, home)| *home == place) else { continue };
                watched.lock().unwrap()[index].note();
            }
            _ => {}
        }
    }
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64();
    println!("{what}: median {:.2} s, worst {:.2} s of {}", at(50), at(100), times.len());
}

/// A cluster in which the second node has sectors that players look at.
fn cluster(runtime: &Runtime, dir: &Path) -> (Node, Node, Watched) {
    for seed in 1..=16 {
        let dir = dir.join(seed.to_string());
        let (first, second) = Node::pair(&dir, Galaxy { seed, side: SIDE });
        let watched = Watched::default();
        let target = first.target();
        for number in 0..PLAYERS {
            runtime.spawn(play(target.clone(), number, watched.clone()));
        }
        until("all players look", || {
            (watched.lock().unwrap().len() >= PLAYERS as usize).then_some(())
        });
        if sectors(&second) > 0 {
            return (first, second, watched);
        }
    }
    panic!("in no galaxy the second node had a player's home");
}

fn sectors(node: &Node) -> u32 {
    node.metric("starmesh_sector_active_count").unwrap_or_default() as u32
}

fn main() {
    let (trials, joins) = (option("--trials", 20), option("--joins", 5));
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let galaxy = Galaxy { seed: 1, side: SIDE };
    let (first, _) = Node::start(&dir.path().join("first"), galaxy, None);
    // They stay: beside one that was killed just now a node that starts waits for the
    // link to it.
    let (mut used, mut times, mut joined) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..joins {
        let line = first.line(&mut used);
        let (node, took) = Node::start(&dir.path().join(format!("n{number}")), galaxy, Some(line));
        times.push(took);
        joined.push(node);
    }
    show("join: from the process's start until players may come", times);
    drop((first, joined));

    let (first, mut second, watched) = cluster(&runtime, dir.path());
    let seed = second.folder.parent().unwrap().file_name().unwrap().to_str().unwrap();
    let seed: u64 = seed.parse().unwrap();
    let (mut gaps, mut split) = (Vec::new(), Vec::new());
    for _ in 0..trials {
        let had = sectors(&second);
        watched.lock().unwrap().iter_mut().for_each(|seen| seen.longest.0 = Duration::ZERO);
        let folder = second.folder.clone();
        let at = SystemTime::now();
        drop(second);
        // Whatever was on its way has come by then, and nobody has taken over.
        let killed = Instant::now() + Duration::from_millis(500);
        until("all are seen again", || {
            watched.lock().unwrap().iter().all(|seen| seen.last.0 > killed).then_some(())
        });
        // One that lives says something within a second, so the last is one that died.
        let waits: Vec<_> = watched.lock().unwrap().iter().map(|seen| seen.longest).collect();
        let (_, last, next) = *waits.iter().max_by_key(|(_, _, next)| *next).unwrap();
        gaps.push(waits.iter().map(|(longest, ..)| *longest).max().unwrap());
        split.push(Gap { last, killed: at, next });
        second = Node::start(&folder, Galaxy { seed, side: SIDE }, None).0;
        // One of two may be declared dead in ten seconds.
        until("another may die", || (killed.elapsed() > CAP).then_some(()));
        until("it has its share again", || (sectors(&second) >= had.min(1)).then_some(()));
    }
    let until = split.iter().map(|gap| gap.next.duration_since(gap.killed).unwrap_or_default());
    show("SIGKILL: until the last of its sectors is updated by another node", until.collect());
    show("SIGKILL: longest time without an update of a sector it had", gaps);
    let folder = first.folder.clone();
    drop((first, second));
    parts::show(&folder, &split);
}
