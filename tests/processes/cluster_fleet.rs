//! A fleet that crosses the border between two nodes' sectors as one: into one
//! that hibernates, and then back and over again in the order in which it was
//! told to. Whoever still orders it about where it was is told where it is now.

use std::collections::{BTreeMap, BTreeSet};
use std::slice;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::audit::audit;
use crate::cluster_support::{Cluster, SECTORS};
use crate::operator::{Operator, id};
use crate::socket::{Socket, register};
use crate::support::{PATIENCE, wait_for};
use crate::swarm::Answered;

const HIBERNATIONS: &str = "starmesh_sector_hibernations_total";
/// Grid steps along a sector's side, and in a metre.
const SIDE: i64 = 1 << 20;
const METRE: i64 = SIDE / 1_000;

/// A player's ships, and what it was shown and told of them.
pub struct Fleet {
    socket: Socket,
    home: Value,
    beyond: Value,
    /// The sectors that messages name.
    handles: BTreeMap<u64, Value>,
    /// The transfers that each unit has made, where it was shown with so many.
    seen: BTreeSet<(u64, u64)>,
    sequence: u32,
    told: Vec<Answered>,
}

impl Fleet {
    pub fn new(socket: Socket, home: Value, beyond: Value) -> Fleet {
        let (handles, seen) = (BTreeMap::new(), BTreeSet::new());
        Fleet { socket, home, beyond, handles, seen, sequence: 0, told: Vec::new() }
    }

    /// Looks at both sectors from now on.
    async fn watch(&mut self) {
        let sectors = [&self.home, &self.beyond];
        self.socket.send(json!({ "type": "subscribe", "area": { "sectors": sectors } })).await;
    }

    /// Notes what a message shows. A unit that began at home is there again after
    /// each second transfer; shown otherwise it is in both sectors.
    fn note(&mut self, message: &Value) {
        let handle = message["handle"].as_u64().unwrap_or_default();
        if message["type"] == "subscribed" {
            self.handles.insert(handle, message["place"]["sector"].clone());
        }
        for unit in units(message).filter(|unit| unit["owner"] == self.socket.connected["player"]) {
            let number = |name: &str| unit[name].as_u64().expect("a number");
            let is_home = self.handles.get(&handle) == Some(&self.home);
            assert_eq!(number("hops").is_multiple_of(2), is_home, "{unit} in {:?}", self.handles);
            self.seen.insert((number("id"), number("hops")));
        }
    }

    /// Reads until all were shown after so many transfers.
    async fn wait_for_all(&mut self, all: &[u64], hops: u64) {
        let began = Instant::now();
        while !all.iter().all(|unit| self.seen.contains(&(*unit, hops))) {
            assert!(began.elapsed() < PATIENCE, "not all after {hops} transfers: {:?}", self.seen);
            let message = self.socket.next().await.expect("its gateway stays");
            self.note(&message);
        }
    }

    /// Gives orders, which are for units that are in `place`, in one message: what is
    /// put off again, till all are answered.
    async fn order(&mut self, place: &Value, units: &[u64], orders: &[Value]) -> Vec<Value> {
        let mut waiting: BTreeMap<u32, Value> = BTreeMap::new();
        for order in orders {
            self.sequence += 1;
            // What is not the first waits behind that.
            let queue = !waiting.is_empty();
            let command = json!({
                "sequence": self.sequence, "predicted": null, "units": units, "fleet": null,
                "queue": queue, "order": order,
            });
            waiting.insert(self.sequence, command);
        }
        let (began, mut acks) = (Instant::now(), Vec::new());
        while !waiting.is_empty() {
            assert!(began.elapsed() < PATIENCE, "put off for too long: {waiting:?}");
            for ack in self.once(place, &waiting).await {
                let sequence = ack["sequence"].as_u64().and_then(|it| u32::try_from(it).ok());
                waiting.remove(&sequence.expect("a sequence"));
                self.told.push(self.socket.answered(place, &ack));
                acks.push(ack);
            }
        }
        acks
    }

    /// Sends what waits; what was answered for good.
    async fn once(&mut self, place: &Value, waiting: &BTreeMap<u32, Value>) -> Vec<Value> {
        let commands: Vec<&Value> = waiting.values().collect();
        let place = json!({ "sector": place });
        let batch =
            json!({ "type": "batchCommand", "time": 0, "place": place, "commands": commands });
        self.socket.send(batch).await;
        let mut acks = Vec::new();
        while acks.len() < waiting.len() {
            let message = self.socket.next().await.expect("its gateway stays");
            match message["type"] == "ack" {
                true => acks.push(message),
                false => self.note(&message),
            }
        }
        let again = ["busy", "storeAway", "attachAgain"].map(|why| json!({ why: {} }));
        acks.retain(|ack| !again.contains(&ack["error"]));
        if acks.len() < waiting.len() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        acks
    }

    /// Orders units that are in `place` to these targets, one after the other.
    pub async fn send(&mut self, place: &Value, units: &[u64], targets: &[Value]) {
        let moves = |to: &Value| json!({ "moveFleet": { "target": { "position": to } } });
        let orders: Vec<Value> = targets.iter().map(moves).collect();
        for ack in self.order(place, units, &orders).await {
            assert_eq!(ack["success"], true, "{ack}");
        }
    }

    /// Orders ships from home to a target beyond, as one and then each again until it
    /// is said to be on its way.
    async fn leave(&mut self, ships: &[u64], to: &Value) {
        let home = self.home.clone();
        self.send(&home, ships, slice::from_ref(to)).await;
        let order = [json!({ "moveFleet": { "target": { "position": to } } })];
        let moved = json!({ "moved": { "place": { "sector": self.beyond } } });
        let began = Instant::now();
        for ship in ships {
            loop {
                let ack = self.order(&home, &[*ship], &order).await.remove(0);
                if ack["error"] == moved {
                    break;
                }
                assert!(ack["success"] == true && began.elapsed() < PATIENCE, "{ship}: {ack}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// The units that a message shows as a whole.
fn units(message: &Value) -> impl Iterator<Item = &Value> {
    let blocks = message["blocks"].as_array().into_iter().flatten();
    let lists = blocks.flat_map(|block| {
        let content = &block["content"];
        let whole = ["keyframe", "arrivals"].map(|kind| &content[kind]["units"]);
        whole.into_iter().chain([&content["update"]["appeared"]])
    });
    lists.filter_map(Value::as_array).flatten()
}

/// A place in `sector`, so many grid steps from its corner.
pub fn place(sector: &Value, (x, y): (i64, i64)) -> Value {
    json!({ "sector": sector, "x": x << 12, "y": y << 12 })
}

/// The way over the nearest border: of the sector beyond it the offset, and places
/// so many metres before it and behind.
pub struct Border {
    pub step: (i64, i64),
    pub before: (i64, i64),
    pub behind: (i64, i64),
}

impl Border {
    pub fn nearest(x: i64, y: i64) -> Border {
        let (near, far) = (60 * METRE, SIDE - 60 * METRE);
        let borders = [
            (x, Border { step: (-1, 0), before: (near, y), behind: (far, y) }),
            (SIDE - x, Border { step: (1, 0), before: (far, y), behind: (near, y) }),
            (y, Border { step: (0, -1), before: (x, near), behind: (x, far) }),
            (SIDE - y, Border { step: (0, 1), before: (x, far), behind: (x, near) }),
        ];
        let nearest = borders.into_iter().min_by_key(|(distance, _)| *distance);
        nearest.expect("a sector has borders").1
    }
}

/// Two nodes whose sectors soon hibernate, and stay whose they are: balancing by
/// itself would take back what was given and sleeps.
fn two_nodes() -> Cluster {
    let empty = Cluster::empty();
    let [first, second] = ["a", "b"].map(|name| {
        empty.home(name).with("ENGINE__SECTOR_QUIET_S", "1").with("CLUSTER__BALANCE", "off")
    });
    empty.started(first, vec![second])
}

fn wait_until_all_sleeps(cluster: &Cluster) {
    wait_for("sectors that all hibernate", || {
        (0..2).all(|index| cluster.metric(index, SECTORS) < 0.5).then_some(())
    });
}

/// A sector of the player's, its ships there that fly best, and what it was told.
pub async fn begin(cluster: &Cluster) -> (String, u64, Value, Vec<Value>) {
    let gateway = cluster.node(0).target();
    let token = register(&gateway, "anna").await;
    let mut socket = Socket::connect_again(&gateway, &token, None).await;
    let home = socket.sector();
    let mut ships = socket.watch(&home).await;
    ships.retain(|ship| ship["type"].as_u64() <= Some(2));
    (token, socket.session(), home, ships)
}

/// The middle of where they are.
pub fn middle(ships: &[Value]) -> (i64, i64) {
    let mean = |axis: &str| {
        let at = ships.iter().map(|ship| ship["position"][axis].as_i64().expect("a place"));
        at.sum::<i64>() / ships.len() as i64
    };
    (mean("x"), mean("y"))
}

/// Gives these sectors to those nodes, by the operator that this registers. Each is
/// asked of another than the one that gets it.
pub fn give(cluster: &Cluster, sectors: [(&Value, usize); 2]) -> Operator {
    let operator = Operator::register(cluster.node(0));
    let nodes = cluster.count();
    // The first reads of the others a moment after they are ready.
    wait_for("nodes that the first knows", || {
        let told = operator.ask(cluster.node(0), &["nodes"]);
        (told["nodes"].as_array().map(Vec::len) == Some(nodes)).then_some(())
    });
    for (sector, to) in sectors {
        let sector = id(sector).to_string();
        let node = u32::try_from(to).expect("a few");
        operator.migrate(cluster.node(to % nodes), &sector, node);
        for at in 0..nodes {
            wait_for("an entry that all nodes know", || {
                let told = operator.ask(cluster.node(at), &["sector", &sector]);
                (told["entry"]["node"] == node).then_some(())
            });
        }
    }
    operator
}

#[test]
fn a_fleet_goes_to_a_sector_that_sleeps_at_another_node_and_to_and_fro_as_one() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (runtime, began) = (runtime.expect("a runtime"), Instant::now());
    let mut cluster = two_nodes();
    let (token, session, home, ships) = runtime.block_on(begin(&cluster));
    let (x, y) = middle(&ships);
    let border = Border::nearest(x, y);
    let beyond = json!({
        "x": home["x"].as_i64().expect("a number") + border.step.0,
        "y": home["y"].as_i64().expect("a number") + border.step.1, "scale": 0,
    });
    // The first has the gateway and the store.
    give(&cluster, [(&home, 1), (&beyond, 2)]);
    let (before, behind) = (place(&home, border.before), place(&beyond, border.behind));
    let all: Vec<u64> = ships.iter().filter_map(|ship| ship["id"].as_u64()).collect();
    let (first, rest) = all.split_at(1);
    let gateway = cluster.node(0).target();
    let again = || runtime.block_on(Socket::connect_again(&gateway, &token, Some(session)));
    let mut fleet = Fleet::new(again(), home.clone(), beyond.clone());

    // One goes ahead, so that there is something that can sleep.
    runtime.block_on(fleet.send(&home, first, slice::from_ref(&behind)));
    runtime.block_on(fleet.send(&home, rest, slice::from_ref(&before)));
    wait_for("the sector beyond", || (cluster.metric(1, SECTORS) > 0.5).then_some(()));
    let Fleet { sequence, told, .. } = fleet;
    wait_until_all_sleeps(&cluster);
    assert!(cluster.metric(1, HIBERNATIONS) > 0.5, "it was forgotten instead");
    println!("fleet: all sleeps after {:?}", began.elapsed());

    // While the other node stands still they are on their way, as whoever orders them
    // about is told. Nobody looks where they go, so that wakes by them.
    let mut fleet = Fleet { sequence, told, ..Fleet::new(again(), home.clone(), beyond.clone()) };
    cluster.process(1).signal(Signal::STOP);
    runtime.block_on(fleet.leave(rest, &behind));
    cluster.process(1).signal(Signal::CONT);
    wait_for("the sector beyond, woken", || (cluster.metric(1, SECTORS) > 0.5).then_some(()));
    println!("fleet: the sector beyond woke after {:?}", began.elapsed());
    runtime.block_on(async {
        fleet.watch().await;
        fleet.wait_for_all(&all, 1).await;
        fleet.send(&beyond, &all, &[before, behind]).await;
        fleet.wait_for_all(&all, 2).await;
        fleet.wait_for_all(&all, 3).await;
    });
    println!("fleet: to and fro after {:?}", began.elapsed());
    let Fleet { told, socket, .. } = fleet;
    drop(socket);
    let homes = cluster.stop();
    let found = audit(homes[0].data(), &told);
    println!("fleet: {found:?}, {:?}", began.elapsed());
    assert_eq!((found.players, found.nodes), (1, 2), "{found:?}");
    assert_eq!(found.hops, 3 * all.len() as u64, "each crossed three times: {found:?}");
    assert!(found.found > found.trimmed, "too little of what was told could be checked");
}
