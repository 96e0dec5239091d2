//! Commands as a gateway routes them to the node of their entity: made and
//! encoded by one thread, over the link, decoded and admitted by a table of the
//! other's. Sessions are attached and send in turn, so that hardly anything of one
//! is in a cache when its next command comes.
//!
//! What is admitted is applied, too, or sessions would soon have as much
//! unanswered as they may; that is the work of a commit that returned, and is
//! shown apart. Left out are the mailbox between the thread of a node's links and
//! that of its entities, the answers, and the store.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use starmesh::actors::mesh::wire;
use starmesh::actors::peers::{PeerMessage, ToOwner};
use starmesh::base::{
    CompressedPosition, EntityKey, Incarnation, Millis, NodeId, PlayerId, Position, SectorId,
    SessionId, Tick, UnitId,
};
use starmesh::cluster::core::attaching::{Attachment, Ticket};
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::message::{Committed, FromTable, Installed, ToTable};
use starmesh::cluster::core::table::{Release, Table};
use starmesh::cluster::links::{Arrival, Class, End, Hello, Host, Link};
use starmesh::entity::channel::{ChannelId, ChannelMessage};
use starmesh::entity::commands::PlayerCommand;
use starmesh::entity::input::Claim;
use starmesh::entity::message::{Body, Notice};
use starmesh::entity::read::Query;
use starmesh::entity::record::RecordHeader;
use starmesh::entity::{Entity, World};
use starmesh::sim::rules::sample::{self, FIGHTER};
use starmesh::sim::{Command, Galaxy, Instruction, Target, Traveller, Unit, UnitIds};

use super::nodes::{self, pause, thread_cpu};

/// Sectors and players with one ship each in each of them.
const SECTORS: i64 = 64;
const PLAYERS: u64 = 64;
/// Commands that are made durable together, at least.
const COMMIT: usize = 2_048;
/// Commands that are not applied: sessions wait with more.
const UNANSWERED: u64 = 30 * PLAYERS * SECTORS as u64;
/// Commands between two looks at the clock.
const BATCH: usize = 64;

/// What commands cost each part, of its thread.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    decode: Duration,
    admit: Duration,
    apply: Duration,
}

/// The node of the entities.
struct Owner {
    state: Mutex<Admitting>,
    admitted: AtomicU64,
    applied: Arc<AtomicU64>,
}

struct Admitting {
    table: Table,
    spent: Spent,
    decoded: Vec<(EntityKey, Ticket, PlayerCommand)>,
    /// Of each sector: inputs for the next commit, and their bytes.
    submitted: Submitted,
}

type Submitted = BTreeMap<EntityKey, (u32, u64)>;

/// A session as its gateway knows it.
#[derive(Clone)]
struct Session {
    connection: u64,
    entity: EntityKey,
    ticket: Ticket,
    player: PlayerId,
}

/// The node of the gateway: nothing comes for it.
pub struct Gateway;

impl Host for Gateway {
    fn admit(&self, _: &Hello) -> Result<(), End> {
        Ok(())
    }

    fn handle_up(&self, _: &Link) {}

    fn handle_arrivals<'a>(&'a self, _: &'a Link, _: Class, _: Vec<Arrival>) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    fn handle_datagrams(&self, _: &Link, _: Vec<Bytes>) {}

    fn handle_down(&self, _: &Link, why: &End) {
        println!("link down: {why}");
    }
}

impl Host for Owner {
    fn admit(&self, _: &Hello) -> Result<(), End> {
        Ok(())
    }

    fn handle_up(&self, _: &Link) {}

    fn handle_arrivals<'a>(
        &'a self,
        _: &'a Link,
        _: Class,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let count = arrivals.len() as u64;
            let mut state = self.state.lock().unwrap();
            state.take(arrivals);
            let admitted = self.admitted.fetch_add(count, Ordering::Relaxed) + count;
            self.applied.store(admitted - state.table.waiting() as u64, Ordering::Relaxed);
        })
    }

    fn handle_datagrams(&self, _: &Link, _: Vec<Bytes>) {}

    fn handle_down(&self, _: &Link, why: &End) {
        println!("link down: {why}");
    }
}

impl Owner {
    /// Commands admitted, and the time for them.
    fn so_far(&self) -> (f64, Spent) {
        let state = self.state.lock().unwrap();
        (self.admitted.load(Ordering::Relaxed) as f64, state.spent)
    }
}

impl Admitting {
    fn take(&mut self, arrivals: Vec<Arrival>) {
        let mut arrivals = arrivals.into_iter();
        while !arrivals.as_slice().is_empty() {
            let began = thread_cpu();
            for arrival in arrivals.by_ref().take(BATCH) {
                let Arrival::Message(bytes) = arrival else { panic!("nobody asks") };
                let Ok(PeerMessage::ToOwner(ToOwner::Command { entity, ticket, command, .. })) =
                    wire::decode(&bytes)
                else {
                    panic!("only commands are sent");
                };
                self.decoded.push((entity, ticket, command));
            }
            let decoded = thread_cpu();
            for (entity, ticket, command) in self.decoded.drain(..) {
                self.table.admit(entity, ticket, command).expect("the next of its session");
            }
            self.spent.decode += decoded - began;
            let admitted = thread_cpu();
            self.spent.admit += admitted - decoded;
            // As an arbiter's ticker does: the core is told behind each turn.
            submit(&mut self.table, &mut self.submitted);
            if self.table.waiting() >= COMMIT {
                apply(&mut self.table, &mut self.submitted);
            }
            self.spent.apply += thread_cpu() - admitted;
        }
    }
}

/// What the core is told to make durable.
fn submit(table: &mut Table, submitted: &mut Submitted) {
    for message in table.drain_core() {
        if let FromTable::Submit { entity, bytes, .. } = message {
            let (inputs, size) = submitted.entry(entity).or_default();
            *inputs += 1;
            *size += bytes.len() as u64;
        }
    }
}

/// What was submitted is durable, a record for each entity.
fn apply(table: &mut Table, submitted: &mut Submitted) {
    let records = std::mem::take(submitted).into_iter().map(|(entity, (inputs, bytes))| {
        let head = table.entity(entity).expect("it is here").head();
        Committed { inputs, bytes, ..record(entity, head.sequence + 1) }
    });
    let records = records.collect();
    table.handle(ToTable::Committed(records));
    // Answers, and that snapshots are due: both are other threads' to take.
    drop((table.drain_core(), table.drain_released()));
    assert_eq!((table.counts().misfits, table.waiting()), (0, 0));
}

fn record(entity: EntityKey, sequence: u64) -> Committed {
    let header = RecordHeader { sequence, tick: Tick(0), time: Millis(1_000) };
    Committed {
        entity,
        generation: 1,
        header,
        adopts: None,
        claim: None,
        dilation: None,
        woke: false,
        lead: 0,
        inputs: 0,
        bytes: 10,
    }
}

/// A table with its sectors, and the sessions attached to them.
fn owner() -> (Owner, Vec<Session>) {
    let galaxy = Galaxy::new(2026, Galaxy::SIDE).expect("the default is in range");
    let world = Arc::new(World::new(galaxy, 1, sample::rules().expect("in range")));
    let mut table = Table::new(world.clone(), Limits::default(), Attachment(1 << 60));
    let sectors: Vec<EntityKey> =
        (0..SECTORS).map(|n| EntityKey::Sector(SectorId::tactical(5_000 + n, 5_000))).collect();
    for (n, &sector) in (0..).zip(&sectors) {
        settle(&mut table, &world, sector, n);
    }
    let mut sessions = Vec::new();
    for nth in 0..PLAYERS {
        for (n, &entity) in (0..).zip(&sectors) {
            sessions.push(attach(&mut table, entity, player(n, nth)));
        }
    }
    let (spent, decoded, submitted) = (Spent::default(), Vec::new(), Submitted::default());
    let state = Admitting { table, spent, decoded, submitted };
    let (admitted, applied) = (AtomicU64::new(0), Arc::default());
    (Owner { state: Mutex::new(state), admitted, applied }, sessions)
}

fn player(sector: u64, nth: u64) -> PlayerId {
    PlayerId(1 + sector * PLAYERS + nth)
}

/// Has a sector run, with a ship of each player.
fn settle(table: &mut Table, world: &World, key: EntityKey, n: u64) {
    let entity = Entity::genesis(key, world).expect("it is in the galaxy");
    let installed = Installed { entity, generation: 1, snapshot_bytes: 0, journal_bytes: 0 };
    table.handle(ToTable::Install(Box::new(installed)));
    let claim = Claim { node: NodeId(2), incarnation: Incarnation(1), node_tick: Tick(0) };
    table.handle(ToTable::Committed(vec![Committed { claim: Some(claim), ..record(key, 1) }]));
    let channel = ChannelId { sender: EntityKey::Ledger(0), receiver: key, opened: 1 };
    let travellers = (0..PLAYERS).map(|nth| {
        let axis = |n: u64| i32::try_from(20_000 + 60_000 * n).expect("within the sector");
        let position = Position { x: axis(nth % 16), y: axis(nth / 16) };
        let owner = player(n, nth);
        let unit = Unit::new(UnitId(owner.0), FIGHTER, owner, position);
        Traveller { unit, queue: Vec::new() }
    });
    let body = Body::Notice(Notice::Units { travellers: travellers.collect() });
    table.handle(ToTable::Deliver(ChannelMessage { channel, number: 1, body }));
    let mut submitted = Submitted::default();
    submit(table, &mut submitted);
    apply(table, &mut submitted);
}

fn attach(table: &mut Table, entity: EntityKey, player: PlayerId) -> Session {
    let query = Query::Applied { player, session: SessionId(1) };
    table.read(1, entity, &query).expect("it runs");
    let [Release::Read { attached: Some(attachment), .. }] = table.drain_released()[..] else {
        panic!("a session attaches at once");
    };
    let connection = (1 << 40) + player.0;
    Session { connection, entity, ticket: Ticket::first(attachment), player }
}

impl Session {
    /// Its next command: to and fro.
    fn next(&mut self) -> Bytes {
        let EntityKey::Sector(sector) = self.entity else { panic!("only sectors take orders") };
        let far = if self.ticket.nth.is_multiple_of(2) { 1 << 30 } else { 3 << 30 };
        let target = Target { sector, position: CompressedPosition { x: far, y: far } };
        let units = UnitIds::new(vec![UnitId(self.player.0)]).expect("one");
        let command = PlayerCommand {
            player: self.player,
            session: SessionId(1),
            sequence: self.ticket.nth + 1,
            command: Command::new(units, Instruction::Move { target }),
        };
        let Session { connection, entity, ticket, .. } = *self;
        self.ticket = ticket.next();
        let message = ToOwner::Command { connection, entity, ticket, command };
        wire::encode(&PeerMessage::ToOwner(message)).1
    }
}

/// What the gateway's thread has done.
#[derive(Default)]
struct Sending {
    /// Of the other node.
    applied: Arc<AtomicU64>,
    sent: AtomicU64,
    encode_ns: AtomicU64,
    ended: AtomicBool,
}

impl Sending {
    async fn run(self: Arc<Self>, link: Link, mut sessions: Vec<Session>) {
        let (mut messages, mut sent) = (Vec::with_capacity(BATCH), 0);
        while !self.ended.load(Ordering::Relaxed) {
            for batch in sessions.chunks_mut(BATCH) {
                let began = thread_cpu();
                messages.extend(batch.iter_mut().map(Session::next));
                let encode = thread_cpu() - began;
                self.encode_ns.fetch_add(encode.as_nanos() as u64, Ordering::Relaxed);
                for message in messages.drain(..) {
                    link.send(Class::Commands, message).await.unwrap();
                }
                sent += BATCH as u64;
                self.sent.store(sent, Ordering::Relaxed);
                tokio::task::yield_now().await;
                while sent - self.applied.load(Ordering::Relaxed) > UNANSWERED {
                    tokio::time::sleep(Duration::from_micros(100)).await;
                }
            }
        }
    }

    /// Commands sent, and the time to make and encode them.
    fn so_far(&self) -> (f64, Duration) {
        let encode = Duration::from_nanos(self.encode_ns.load(Ordering::Relaxed));
        (self.sent.load(Ordering::Relaxed) as f64, encode)
    }
}

/// Commands admitted per second by the wall and by the busier thread, what was
/// applied left out of that; and bytes of a message.
pub fn commands(seconds: Duration) -> ((f64, f64), usize) {
    let (owner, sessions) = owner();
    let bytes = sessions.last().expect("some").clone().next().len();
    let (one, two) = nodes::nodes(Gateway, owner);
    let link = one.link_to(&two);
    let before = (one.cpu(), two.cpu());
    let began = Instant::now();
    let applied = two.host.applied.clone();
    let sending = Arc::new(Sending { applied, ..Sending::default() });
    let sender = one.runtime.spawn(sending.clone().run(link, sessions));
    pause(seconds);
    let (admitted, spent) = two.host.so_far();
    let (sent, encode) = sending.so_far();
    let (cpu, took) = ((one.cpu() - before.0, two.cpu() - before.1), began.elapsed());
    sending.ended.store(true, Ordering::Relaxed);
    one.runtime.block_on(sender).unwrap();
    let of_sent = |cpu: Duration| cpu.as_nanos() as f64 / sent;
    let of_admitted = |cpu: Duration| cpu.as_nanos() as f64 / admitted;
    let (sends, receives) = (of_sent(cpu.0), of_admitted(cpu.1 - spent.apply));
    let rate = (admitted / took.as_secs_f64(), 1e9 / sends.max(receives));
    println!("commands of {bytes} B/s admitted: {:.0} by the wall, applied besides;", rate.0);
    println!("  {:.0} by the busier thread, without what applies them", rate.1);
    println!(
        "  processor per command: make and encode {:.0} ns, link {:.0};",
        of_sent(encode),
        sends - of_sent(encode)
    );
    println!(
        "  link {:.0}, decode {:.0}, admit {:.0}; apply {:.0}",
        receives - of_admitted(spent.decode + spent.admit),
        of_admitted(spent.decode),
        of_admitted(spent.admit),
        of_admitted(spent.apply),
    );
    one.end();
    two.end();
    (rate, bytes)
}
