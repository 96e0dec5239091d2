//! A node whose thread cannot keep up slows the sectors on it, tells who looks,
//! loses no command, and is as fast again when it can.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use starmesh::actors::node::Node;
use starmesh::actors::ports::{SessionPort, ToSession};
use starmesh::base::{CompressedPosition, EntityKey, PlayerId, SectorId, SessionId, UnitId};
use starmesh::entity::commands::{CommandAnswer, CommandResult, PlayerCommand};
use starmesh::entity::effect::{Connected, PlayerEffect};
use starmesh::entity::input::{Connect, Input};
use starmesh::entity::pace::Rate;
use starmesh::entity::record::decode_record;
use starmesh::sim::{Command, Instruction, Target, UnitIds};
use starmesh::store::memory::Memory;
use starmesh::store::recovery;
use starmesh::view::fanout::Shown;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::node_support::{Player, attach, start_with};

const PLAYER: PlayerId = PlayerId(7);
/// An answer keeps the thread busy for so long at least.
const EACH: Duration = Duration::from_millis(10);
/// The thread works at least so many times as long as it does not, however long
/// a command takes from one answer to the next.
const TIMES: u32 = 19;
const EACH_MAX: Duration = Duration::from_secs(2);
/// Commands on the way, so that the thread need not wait for the next one.
const AHEAD: u32 = 8;

/// Keeps a thread busy while there is load.
#[derive(Default)]
struct Load {
    on: AtomicBool,
    ended: Mutex<Option<Instant>>,
}

impl Load {
    fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the load: the thread is to be held up")]
    fn bear(&self) {
        let mut ended = self.ended.lock().unwrap();
        let idle = ended.map_or(Duration::ZERO, |ended| ended.elapsed());
        std::thread::sleep((idle * TIMES).clamp(EACH, EACH_MAX));
        *ended = Some(Instant::now());
    }
}

/// A connection whose every answer keeps the thread of its entity busy.
struct Heavy {
    load: Arc<Load>,
    told: UnboundedSender<PlayerEffect>,
}

impl SessionPort for Heavy {
    fn deliver(&self, message: ToSession) {
        let ToSession::Player(effect) = message else { return };
        if self.load.is_on() && matches!(effect, PlayerEffect::Answered(_)) {
            self.load.bear();
        }
        // Nobody listens when the test is over.
        let _ = self.told.send(effect);
    }
}

/// Sends commands, some ahead of the answers, while there is load; each is
/// answered.
struct Burden<'n> {
    node: &'n Node,
    player: PlayerId,
    connection: u64,
    told: UnboundedReceiver<PlayerEffect>,
    load: Arc<Load>,
}

impl Burden<'_> {
    #[expect(clippy::disallowed_methods, reason = "one answer to one command at a time")]
    fn new<'n>(node: &'n Node, player: u64, load: &Arc<Load>) -> Burden<'n> {
        let (sender, told) = unbounded_channel();
        let heavy = Heavy { load: load.clone(), told: sender };
        let connection = node.entities.ports.open(Arc::new(heavy));
        Burden { node, player: PlayerId(player), connection, told, load: load.clone() }
    }

    async fn next<T>(&mut self, pick: impl Fn(&PlayerEffect) -> Option<T>) -> T {
        let found = async {
            loop {
                let told = self.told.recv().await.expect("the port is open");
                if let Some(found) = pick(&told) {
                    return found;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), found).await.expect("an answer")
    }

    async fn run(mut self, answered: &AtomicU32) {
        let connect = Connect { player: self.player, connection: self.connection, resume: None };
        self.node.entities.connect(connect).expect("there is room");
        let connected: Connected = self
            .next(|told| match told {
                PlayerEffect::Connected(connected) => Some(connected.clone()),
                _ => None,
            })
            .await;
        let (session, sector) = (connected.session, connected.presence[0].sector);
        let entity = EntityKey::Sector(sector);
        // Attached once: a read waits for the row, and meanwhile nothing is done.
        let (at, mut ticket) = attach(self.node, entity, self.player, session).await;
        let (mut sent, mut heard) = (0, 0);
        loop {
            while self.load.is_on() && sent < heard + AHEAD {
                sent += 1;
                let units = UnitIds::new(vec![UnitId(1)]).unwrap();
                let command = Command::new(units, Instruction::Stop);
                let command =
                    PlayerCommand { player: self.player, session, sequence: sent, command };
                self.node.entities.command(self.connection, entity, (at, ticket), command);
                ticket = ticket.next();
            }
            if heard == sent {
                return;
            }
            let answer: CommandAnswer = self
                .next(|told| match told {
                    PlayerEffect::Answered(answer) => Some(answer.clone()),
                    _ => None,
                })
                .await;
            heard += 1;
            assert_eq!(answer.sequence, heard);
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Has a unit fly to and fro for ever, so that its sector steps.
fn patrol(session: SessionId, home: SectorId, unit: UnitId) -> PlayerCommand {
    let target = Target { sector: home, position: CompressedPosition { x: 1 << 30, y: 1 << 30 } };
    let units = UnitIds::new(vec![unit]).unwrap();
    let command = Command::new(units, Instruction::Patrol { target });
    PlayerCommand { player: PLAYER, session, sequence: 1, command }
}

/// The first word of such a pace.
fn pace(home: SectorId, is_it: impl Fn(u8) -> bool) -> impl Fn(&ToSession) -> Option<u8> {
    move |message| {
        let ToSession::Shown(shown) = message else { return None };
        shown.iter().find_map(|shown| match shown {
            Shown::Pace { sector, percent, .. } if *sector == home => {
                Some(*percent).filter(|percent| is_it(*percent))
            }
            _ => None,
        })
    }
}

#[actix::test]
async fn a_sector_whose_thread_is_too_busy_runs_slower_until_it_is_not() {
    let store = Arc::new(Memory::default());
    let node = start_with("[engine]\narbiters = 1\nhot_threads = 0\n", store.clone()).await;
    let player = Player::new(&node, PLAYER);
    let connected = player.connect(None).await;
    let home = connected.presence[0].sector;
    let unit = player.look(home).await.units().next().unwrap().id;
    let ordered = player.order(home, patrol(connected.session, home, unit)).await;
    assert!(matches!(ordered.result, CommandResult::Done(_)), "{ordered:?}");

    let load = Arc::new(Load { on: AtomicBool::new(true), ..Load::default() });
    let answered = AtomicU32::new(0);
    let burdens = async {
        let burdens = [8, 9, 10].map(|id| Burden::new(&node, id, &load));
        let [one, two, three] = burdens.map(|burden| burden.run(&answered));
        tokio::join!(one, two, three);
    };
    let slowed = async {
        let slowed = player.port.wait_for(pace(home, |percent| percent < 100)).await;
        load.on.store(false, Ordering::Relaxed);
        slowed
    };
    let (slowed, ()) = tokio::join!(slowed, burdens);
    assert!((10..100).contains(&slowed), "{slowed} %");
    for faster in (slowed + 10..=100).step_by(10) {
        player.port.wait_for(pace(home, |percent| percent == faster)).await;
    }
    assert!(answered.load(Ordering::Relaxed) > 0);
    node.stop().await;

    let image = recovery::image(&*store, EntityKey::Sector(home)).unwrap();
    let records = image.records.iter().map(|(_, bytes)| decode_record(bytes).unwrap().1);
    let inputs: Vec<Input> = records.flat_map(|record| record.inputs).collect();
    let rates = inputs.iter().filter_map(|input| match input {
        Input::Dilate(dilation) => Some(dilation.rate),
        _ => None,
    });
    let rates: Vec<Rate> = rates.collect();
    assert!(rates.first().is_some_and(|rate| rate.percent() == slowed), "{rates:?}");
    assert_eq!(rates.last(), Some(&Rate::FULL));
}
