//! Durable commands per second, from admission to the acknowledgement that
//! their commit released: a whole node without its sockets, on each of the
//! stores that are named, one after the other. In the same run, on the same disk:
//! bare appends with `fdatasync`, alone and in batches as large as the node's
//! were.
//!
//! `cargo bench --bench durable_commands -- [PLAYERS] [SECONDS] [STORE...]`, stores
//! being `sled`, `mesh` and `postgres`

#[path = "durable_commands/stores.rs"]
mod stores;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use starmesh::actors::entities::Entities;
use starmesh::actors::node::Node;
use starmesh::actors::ports::{SessionPort, ToSession};
use starmesh::base::{EntityKey, NodeId, PlayerId, SessionId, UnitId};
use starmesh::cluster::core::attaching::Ticket;
use starmesh::config::Config;
use starmesh::entity::commands::PlayerCommand;
use starmesh::entity::effect::PlayerEffect;
use starmesh::entity::input::Connect;
use starmesh::sim::{Command, Instruction, UnitIds, rules};
use starmesh::store::Store;

/// Commands each player has unanswered: what an entity takes of one session.
const UNANSWERED: u32 = 32;

/// Whether players send no more.
static ENDED: AtomicBool = AtomicBool::new(false);

/// A player that sends a command for every answer.
struct Player {
    id: PlayerId,
    place: Mutex<Option<(SessionId, EntityKey, u64)>>,
    /// Of its next command, once it is attached.
    ticket: Mutex<Option<(NodeId, Ticket)>>,
    answered: Arc<AtomicU64>,
    rejected: Arc<AtomicU64>,
    entities: Entities,
}

impl SessionPort for Player {
    fn deliver(&self, message: ToSession) {
        match message {
            ToSession::Player(PlayerEffect::Connected(connected)) => {
                let entity = EntityKey::Sector(connected.presence[0].sector);
                *self.place.lock().unwrap() =
                    Some((connected.session, entity, connected.connection));
            }
            ToSession::Player(PlayerEffect::Answered(_)) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                self.order();
            }
            ToSession::Rejected { .. } => {
                self.rejected.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

impl Player {
    async fn attach(&self) {
        let Some((session, entity, _)) = *self.place.lock().unwrap() else { return };
        let attached = self.entities.attach(entity, self.id, session).await;
        let attached = attached.expect("it runs").expect("there is no newer session");
        *self.ticket.lock().unwrap() = Some((attached.at, Ticket::first(attached.attachment)));
    }

    fn order(&self) {
        if ENDED.load(Ordering::Relaxed) {
            return;
        }
        let Some((session, entity, connection)) = *self.place.lock().unwrap() else { return };
        // One after the other: the entity takes them in their order only.
        let mut ticket = self.ticket.lock().unwrap();
        let Some((at, next)) = *ticket else { return };
        *ticket = Some((at, next.next()));
        let sequence = next.nth + 1;
        // Whose unit it is does not matter: a refusal is journalled like all.
        let units = UnitIds::new(vec![UnitId(1)]).unwrap();
        let command = PlayerCommand {
            player: self.id,
            session,
            sequence,
            command: Command::new(units, Instruction::Stop),
        };
        self.entities.command(connection, entity, (at, next), command);
    }
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let players: u64 = args.next().map_or(500, |arg| arg.parse().unwrap());
    let seconds: u64 = args.next().map_or(3, |arg| arg.parse().unwrap());
    let named: Vec<String> = args.collect();
    let stores = if named.is_empty() { vec!["sled".to_owned()] } else { named };
    for name in stores {
        println!("--- {name}");
        ENDED.store(false, Ordering::Relaxed);
        let time = Duration::from_secs(seconds);
        // Opening waits, which nobody may inside of the system.
        let run = move || {
            let folder = tempfile::tempdir_in(".").unwrap();
            let opened = stores::open(&name, folder.path());
            let store = opened.store.clone();
            actix::System::new().block_on(run(store, folder.path(), players, time));
        };
        std::thread::spawn(run).join().unwrap();
    }
}

async fn run(store: Arc<dyn Store>, folder: &Path, players: u64, time: Duration) {
    let config = Config::with("[store]\nfree_min_mib = 0").unwrap();
    let node = Node::start(&config, rules::file::built_in().unwrap(), store).unwrap();
    let (answered, rejected) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    while !node.status.ready.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut fleet: Vec<Arc<Player>> = Vec::new();
    for id in 1..=players {
        fleet.push(player(&node, id, &answered, &rejected));
        // The coordinator is on this thread and must get a turn.
        tokio::task::yield_now().await;
    }
    while fleet.iter().any(|player| player.place.lock().unwrap().is_none()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    join_all(fleet.iter().map(|player| player.attach())).await;
    let (cpu, before) = (process_cpu(), node.summary());
    let began = Instant::now();
    for player in &fleet {
        (0..UNANSWERED).for_each(|_| player.order());
    }
    tokio::time::sleep(time).await;
    let elapsed = began.elapsed().as_secs_f64();
    ENDED.store(true, Ordering::Relaxed);
    let commands = answered.load(Ordering::Relaxed) as f64;
    let after = node.summary();
    let commits = (after.core.commits - before.core.commits) as f64;
    let bytes = (after.core.record_bytes - before.core.record_bytes) as f64;
    let cores = (process_cpu() - cpu) / elapsed;
    println!("players {players}, {UNANSWERED} commands of each unanswered, {elapsed:.1} s");
    println!("durable commands/s {:>12.0}", commands / elapsed);
    println!("commits/s          {:>12.0}", commits / elapsed);
    println!("commands/commit    {:>12.1}", commands / commits);
    println!("journal bytes/cmd  {:>12.1}", bytes / commands);
    println!("cores used         {cores:>12.2}");
    println!("rejected           {:>12}", rejected.load(Ordering::Relaxed));
    let batch = (bytes / commits).max(64.0) as usize;
    for size in [64, batch] {
        let rate = appends(&folder.join("raw"), size);
        println!("bare append + fdatasync of {size} B: {rate:.0}/s");
    }
    node.stop().await;
}

fn player(
    node: &Node,
    id: u64,
    answered: &Arc<AtomicU64>,
    rejected: &Arc<AtomicU64>,
) -> Arc<Player> {
    let player = Arc::new(Player {
        id: PlayerId(id),
        place: Mutex::new(None),
        ticket: Mutex::new(None),
        answered: answered.clone(),
        rejected: rejected.clone(),
        entities: node.entities.clone(),
    });
    let connection = node.entities.ports.open(player.clone());
    node.entities.connect(Connect { player: PlayerId(id), connection, resume: None }).unwrap();
    player
}

/// Appends of `size` bytes per second, each synchronised, for half a second.
fn appends(path: &Path, size: usize) -> f64 {
    let mut file = File::create(path).unwrap();
    let bytes = vec![7; size];
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < Duration::from_millis(500) {
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}

/// Seconds of processor time of this process so far.
fn process_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}
