//! Two nodes as processes, the first with the store: how long a newcomer takes
//! to be a member that players can use, and how long what a killed node ran
//! stands still. The latter is what a player sees: the longest time between two
//! updates of a sector that the killed node had, through the other's gateway.
//!
//! `cargo bench --bench cluster -- --trials 20 --joins 5`

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Deserialize;
use starmesh::base::EntityKey;
use starmesh::client::{Client, Event, Options, Target};
use starmesh::protocol::CodecKind;
use starmesh::protocol::http::{Register, Secret};
use tokio::runtime::Runtime;

const LIMIT: Duration = Duration::from_secs(120);
/// Behind a death no other is declared for so long.
const CAP: Duration = Duration::from_secs(12);
const BEAT: Duration = Duration::from_millis(5);
/// Players are spread over the galaxy by their number; with so many both nodes
/// have some, or another galaxy is tried.
const PLAYERS: u32 = 24;
const SETTINGS: &str = "
[limits]
exempt = [\"127.0.0.0/8\"]
[players]
argon2_memory_kib = 64
argon2_passes = 1
[telemetry]
log_level = \"error\"
";

#[derive(Deserialize)]
struct Ready {
    url: String,
    join: Option<String>,
}

struct Node {
    folder: PathBuf,
    child: Child,
    url: String,
}

impl Node {
    /// Starts it; returns how long it took until players may come.
    fn start(folder: &Path, seed: u64, join: Option<String>) -> (Node, Duration) {
        fs::create_dir_all(folder).unwrap();
        let (settings, ready) = (folder.join("node.toml"), folder.join("ready.json"));
        fs::write(&settings, SETTINGS).unwrap();
        let _ = fs::remove_file(&ready);
        let began = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_starmesh"));
        command.arg("node").arg("--config").arg(settings).arg("--data").arg(folder);
        command.args(["--http", "127.0.0.1:0", "--cluster-listen", "127.0.0.1:0"]);
        command.args(["--name", folder.file_name().unwrap().to_str().unwrap()]);
        command.arg("--ready-file").arg(&ready).env("STARMESH_GALAXY__SEED", seed.to_string());
        join.iter().for_each(|line| _ = command.env("STARMESH_CLUSTER__JOIN", line));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let mut node = Node { folder: folder.to_owned(), child, url: String::new() };
        node.url = until("a node that is ready", || node.ready()).url;
        (node, began.elapsed())
    }

    fn ready(&self) -> Option<Ready> {
        serde_json::from_slice(&fs::read(self.folder.join("ready.json")).ok()?).ok()
    }

    /// A join line that nobody used.
    fn line(&self, used: &mut Vec<String>) -> String {
        let line = until("a join line", || self.ready()?.join.filter(|line| !used.contains(line)));
        used.push(line.clone());
        line
    }

    fn metric(&self, name: &str) -> Option<f64> {
        let address = self.url.strip_prefix("http://")?;
        let mut stream = TcpStream::connect(address).ok()?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    fn sectors(&self) -> u32 {
        self.metric("starmesh_sector_active_count").unwrap_or_default() as u32
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "what is measured is another process")]
fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(began.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        std::thread::sleep(BEAT);
    }
}

/// When a player's sector was last updated, and the longest wait since it was
/// last asked.
#[derive(Clone, Copy)]
struct Seen {
    last: Instant,
    longest: Duration,
}

type Watched = Arc<Mutex<Vec<Seen>>>;

/// A player that looks at its home, whatever happens.
async fn play(target: Target, number: u32, watched: Watched) {
    let name = format!("watcher-{number}");
    let body = Register {
        email: format!("{name}@example.org"),
        password: Secret("correct horse battery".into()),
        name,
        display_name: None,
        faction: None,
    };
    let tokens = target.register(body).await.expect("an account");
    let options = Options { reconnect: true, seed: u64::from(number) };
    let mut client = Client::new(target, CodecKind::default(), tokens.access_token.0, options);
    let mut home: Option<(usize, EntityKey)> = None;
    loop {
        let until = tokio::time::Instant::now() + Duration::from_secs(1);
        match client.next(until).await {
            Some(Event::Connected { presence, .. }) => {
                let Some(first) = presence.first() else { continue };
                let now = client.now();
                client.core().subscribe(now, &[first.sector.into()]);
                let mut watched = watched.lock().unwrap();
                watched.push(Seen { last: Instant::now(), longest: Duration::ZERO });
                home = Some((watched.len() - 1, EntityKey::Sector(first.sector.into())));
            }
            Some(Event::Updated { place, .. }) => {
                let Some((index, _)) = home.filter(|(_, home)| *home == place) else { continue };
                let mut watched = watched.lock().unwrap();
                let seen = &mut watched[index];
                let now = Instant::now();
                seen.longest = seen.longest.max(now - seen.last);
                seen.last = now;
            }
            _ => {}
        }
    }
}

fn option(name: &str, default: u32) -> u32 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).map_or(default, |value| value.parse().expect("a number"))
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
        let (first, _) = Node::start(&dir.join("a"), seed, None);
        let line = first.line(&mut Vec::new());
        let (second, _) = Node::start(&dir.join("b"), seed, Some(line));
        until("both share the galaxy", || {
            let known =
                [&first, &second].map(|node| node.metric("starmesh_mesh_nodes_living_count"));
            known.iter().all(|known| *known == Some(2.0)).then_some(())
        });
        let watched = Watched::default();
        let target: Target = first.url.parse().unwrap();
        for number in 0..PLAYERS {
            runtime.spawn(play(target.clone(), number, watched.clone()));
        }
        until("all players look", || {
            (watched.lock().unwrap().len() >= PLAYERS as usize).then_some(())
        });
        if second.sectors() > 0 {
            return (first, second, watched);
        }
    }
    panic!("in no galaxy the second node had a player's home");
}

fn main() {
    let (trials, joins) = (option("--trials", 20), option("--joins", 5));
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = Node::start(&dir.path().join("first"), 1, None);
    let (mut used, mut times) = (Vec::new(), Vec::new());
    for number in 0..joins {
        let line = first.line(&mut used);
        let (node, took) = Node::start(&dir.path().join(format!("n{number}")), 1, Some(line));
        times.push(took);
        drop(node);
    }
    show("join: from the process's start until players may come", times);
    drop(first);

    let (_first, mut second, watched) = cluster(&runtime, dir.path());
    let seed = second.folder.parent().unwrap().file_name().unwrap().to_str().unwrap();
    let seed: u64 = seed.parse().unwrap();
    let mut gaps = Vec::new();
    for _ in 0..trials {
        let had = second.sectors();
        watched.lock().unwrap().iter_mut().for_each(|seen| seen.longest = Duration::ZERO);
        let folder = second.folder.clone();
        drop(second);
        // Whatever was on its way has come by then, and nobody has taken over.
        let killed = Instant::now() + Duration::from_millis(500);
        until("all are seen again", || {
            watched.lock().unwrap().iter().all(|seen| seen.last > killed).then_some(())
        });
        let longest = watched.lock().unwrap().iter().map(|seen| seen.longest).max();
        gaps.push(longest.unwrap());
        second = Node::start(&folder, seed, None).0;
        // One of two may be declared dead in ten seconds.
        until("another may die", || (killed.elapsed() > CAP).then_some(()));
        until("it has its share again", || (second.sectors() >= had.min(1)).then_some(()));
    }
    show("SIGKILL: longest time without an update of a sector it had", gaps);
}
