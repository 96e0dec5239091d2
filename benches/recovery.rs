//! What it costs to keep and to bring back many entities: memory per idle
//! sector, and the time from the start of a process to a node that takes
//! players, after so many records and a SIGKILL.
//!
//! `cargo bench --bench recovery -- [PLAYERS] [RECORDS]`
//!
//! A child process fills a store and kills itself; this one starts on what is
//! left. Each player has a sector of its own, with eight units at rest.

use std::process::Command as Process;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use starmesh::actors::node::Node;
use starmesh::actors::ports::{SessionPort, ToSession};
use starmesh::base::{EntityKey, NodeId, PlayerId, SessionId, UnitId};
use starmesh::cluster::core::attaching::Ticket;
use starmesh::config::Config;
use starmesh::entity::commands::PlayerCommand;
use starmesh::entity::effect::{Connected, PlayerEffect};
use starmesh::entity::input::Connect;
use starmesh::sim::{Command, Instruction, UnitIds, rules};
use starmesh::store::sled::{Options, Sled};

/// Counts answers; keeps where its player is.
#[derive(Default)]
struct Port {
    connected: std::sync::OnceLock<Connected>,
    sequence: AtomicU32,
    /// Of its next command, when it is attached.
    ticket: Mutex<Option<(NodeId, Ticket)>>,
    answered: Arc<AtomicU64>,
}

impl SessionPort for Port {
    fn deliver(&self, message: ToSession) {
        match message {
            ToSession::Player(PlayerEffect::Connected(connected)) => {
                let _ = self.connected.set(connected);
            }
            ToSession::Player(PlayerEffect::Answered(_)) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
            ToSession::Rejected { .. } => {
                *self.ticket.lock().unwrap() = None;
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let first = args.next().unwrap_or_else(|| "2000".into());
    if first == "fill" {
        let folder = args.next().unwrap();
        let [players, records] =
            [args.next(), args.next()].map(|arg| arg.unwrap().parse().unwrap());
        actix::System::new().block_on(fill(&folder, players, records));
    }
    let players = first;
    let records = args.next().unwrap_or_else(|| "100000".into());
    let folder = tempfile::tempdir_in(".").unwrap();
    let path = folder.path().to_str().unwrap().to_string();
    let child = Process::new(std::env::current_exe().unwrap())
        .args(["fill", &path, &players, &records])
        .status()
        .unwrap();
    assert!(!child.success(), "the child kills itself");
    println!("start to ready      {:>10.3} s", actix::System::new().block_on(restart(&path)));
}

fn start(folder: &str) -> Node {
    let path = std::path::Path::new(folder).join("store");
    let store = Arc::new(Sled::open(&path, Options::default()).unwrap());
    let config = Config::with("[store]\nfree_min_mib = 0").unwrap();
    Node::start(&config, rules::file::built_in().unwrap(), store).unwrap()
}

async fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn fill(folder: &str, players: u64, records: u64) {
    let node = start(folder);
    let answered = Arc::new(AtomicU64::new(0));
    let open = |id| {
        let port = Arc::new(Port { answered: answered.clone(), ..Port::default() });
        let connection = node.entities.ports.open(port.clone());
        node.entities.connect(Connect { player: PlayerId(id), connection, resume: None }).unwrap();
        (id, connection, port)
    };
    until(|| node.status.ready.load(Ordering::Relaxed)).await;
    let before = resident();
    let ports: Vec<_> = (1..=players).map(open).collect();
    until(|| ports.iter().all(|(_, _, port)| port.connected.get().is_some())).await;
    let per_sector = (resident() - before) / players as f64;
    println!("sectors             {players:>10}");
    println!(
        "memory per sector   {per_sector:>10.0} B, with its share of ledgers, store and actor"
    );
    let mut asked = 0;
    while node.summary().core.records < records {
        let orders =
            ports.iter().map(|(id, connection, port)| order(&node, *id, *connection, port));
        join_all(orders).await;
        asked += players;
        until(|| answered.load(Ordering::Relaxed) >= asked).await;
    }
    let core = node.summary().core;
    println!("records             {:>10}", core.records);
    println!("journal             {:>10} B, {} snapshots", core.record_bytes, core.snapshots);
    let _ = Process::new("kill").args(["-9", &std::process::id().to_string()]).status();
}

async fn order(node: &Node, id: u64, connection: u64, port: &Port) {
    let Some(connected) = port.connected.get() else { return };
    let session: SessionId = connected.session;
    let sequence = port.sequence.fetch_add(1, Ordering::Relaxed) + 1;
    let units = UnitIds::new(vec![UnitId(1)]).unwrap();
    let player = PlayerId(id);
    let command = PlayerCommand {
        player,
        session,
        sequence,
        command: Command::new(units, Instruction::Stop),
    };
    let entity = EntityKey::Sector(connected.presence[0].sector);
    let held = port.ticket.lock().unwrap().take();
    let (at, ticket) = match held {
        Some(held) => held,
        None => loop {
            if let Ok(Some(attached)) = node.entities.attach(entity, player, session).await {
                break (attached.at, Ticket::first(attached.attachment));
            }
        },
    };
    *port.ticket.lock().unwrap() = Some((at, ticket.next()));
    node.entities.command(connection, entity, (at, ticket), command);
}

async fn restart(folder: &str) -> f64 {
    let began = Instant::now();
    let node = start(folder);
    until(|| node.status.ready.load(Ordering::Relaxed)).await;
    let seconds = began.elapsed().as_secs_f64();
    node.stop().await;
    seconds
}

/// Bytes of memory this process has resident.
fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096.0
}
