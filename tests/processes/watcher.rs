//! Owns a player with a plain socket that looks at its sector through whatever
//! happens to the cluster: invariant 29 from outside. Invariants: of each place
//! ticks come in order, and an acknowledgement's tick is not after the first
//! message that shows its effect.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use starmesh::base::SectorId;
use starmesh::client::Target;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{sleep, timeout};

use crate::operator::id;
use crate::socket::{Socket, log_in, order, try_register};
use crate::support::{Home, PATIENCE};

/// Messages that may wait for the test: minutes of them.
const WAITING: usize = 10_000;

/// A player that reads all it is told, also while the test does something else.
pub struct Watcher {
    runtime: Runtime,
    told: Receiver<Value>,
    says: Sender<Value>,
    sector: Value,
    /// Standing units that no order named yet.
    units: Vec<Value>,
    seen: Seen,
    sequence: u32,
}

/// What the messages so far say.
#[derive(Default)]
struct Seen {
    /// The last tick of each handle.
    ticks: BTreeMap<u64, u64>,
    /// Messages of places.
    heard: u64,
    /// The unit that is waited for, and the tick at which it first flew.
    flies: Option<(Value, Option<u64>)>,
}

impl Watcher {
    /// A new player at this node.
    pub fn new(gateway: &Home, name: &str) -> Watcher {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
        let (tell, told) = channel(WAITING);
        let (says, said) = channel(WAITING);
        let mut seen = Seen::default();
        let (sector, units) = runtime.block_on(async {
            let token = account(&gateway.target(), name).await;
            let mut socket = Socket::connect_again(&gateway.target(), &token, None).await;
            let sector = socket.sector();
            socket.send(json!({ "type": "subscribe", "area": { "sectors": [sector] } })).await;
            let units = loop {
                let message = socket.next().await.expect("its gateway stays");
                seen.note(&message);
                if message["type"] == "keyframe" {
                    break socket.own_units(&message);
                }
            };
            tokio::spawn(listen(socket, tell, said));
            (sector, units)
        });
        Watcher { runtime, told, says, sector, units, seen, sequence: 0 }
    }

    /// Where it began, which it looks at.
    pub fn sector(&self) -> SectorId {
        id(&self.sector)
    }

    /// Orders the next of its units to fly, again for as long as it is put off, and
    /// sees it fly: not before the tick that the acknowledgement says.
    pub fn see_an_order_through(&mut self) {
        let unit = self.units.pop().expect("a unit that stands");
        self.sequence += 1;
        self.seen.flies = Some((unit["id"].clone(), None));
        let effect = self.acknowledged(&unit);
        while !self.seen.is_shown_not_before(effect) {
            let message = self.next();
            self.seen.note(&message);
        }
    }

    /// Leaves; how many messages of places came till then, all in order.
    pub fn leave(self) -> u64 {
        let Watcher { runtime, mut told, says, mut seen, .. } = self;
        drop(says);
        while let Some(message) = runtime.block_on(told.recv()) {
            seen.note(&message);
        }
        seen.heard
    }

    /// The tick at which the order takes effect.
    fn acknowledged(&mut self, unit: &Value) -> u64 {
        let began = Instant::now();
        loop {
            let order = order(&self.sector, self.sequence, unit);
            self.says.blocking_send(order).expect("its gateway stays");
            let ack = loop {
                let message = self.next();
                if message["type"] == "ack" && message["sequence"] == self.sequence {
                    break message;
                }
                self.seen.note(&message);
            };
            if ack["success"] == true {
                return ack["effectTick"].as_u64().expect("a tick");
            }
            let again = ["busy", "storeAway", "attachAgain"].map(|why| json!({ why: {} }));
            let is_put_off = again.contains(&ack["error"]);
            assert!(is_put_off && began.elapsed() < PATIENCE, "{ack}");
            self.runtime.block_on(sleep(Duration::from_millis(50)));
        }
    }

    fn next(&mut self) -> Value {
        let next = async { timeout(PATIENCE, self.told.recv()).await };
        self.runtime.block_on(next).expect("a message in time").expect("its gateway stays")
    }
}

/// Reads for as long as somebody wants to know, and says what it is given.
async fn listen(mut socket: Socket, tell: Sender<Value>, mut said: Receiver<Value>) {
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(message) => match tell.send(message).await {
                    Ok(()) => {}
                    Err(_) => return,
                },
                None => return,
            },
            message = said.recv() => match message {
                Some(message) => socket.send(message).await,
                None => return,
            },
        }
    }
}

/// An access token of a new account, on a node that may be slow to answer.
async fn account(target: &Target, name: &str) -> String {
    let began = Instant::now();
    loop {
        match try_register(target, name).await {
            Ok(tokens) => return tokens.access_token.0,
            Err(error) => assert!(began.elapsed() < PATIENCE, "no account: {error}"),
        }
        // It may have been made all the same.
        if let Some(token) = log_in(target, name).await {
            return token;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

impl Seen {
    /// Takes a message; panics when it is of an earlier tick of its place than one
    /// before.
    fn note(&mut self, message: &Value) {
        let (kind, handle) = (message["type"].as_str(), message["handle"].as_u64());
        let handle = handle.unwrap_or_default();
        let tick = match kind {
            Some("unsubscribed") => {
                self.ticks.remove(&handle);
                return;
            }
            Some("keyframe") => message["fullTick"].as_u64().expect("a keyframe's tick"),
            Some("stateDelta") => self.whole(handle, message["tick"].as_u64().expect("a tick")),
            _ => return,
        };
        let before = self.ticks.insert(handle, tick).unwrap_or_default();
        assert!(before <= tick, "invariant 29: {tick} of handle {handle} came after {before}");
        self.heard += 1;
        if let Some((unit, first @ None)) = &mut self.flies
            && shows_flying(message, unit)
        {
            *first = Some(tick);
        }
    }

    /// Whether the unit was seen to fly by now; panics when that was before the tick
    /// at which its order takes effect.
    fn is_shown_not_before(&self, effect: u64) -> bool {
        let Some((unit, Some(shown))) = &self.flies else { return false };
        let is_late = effect <= *shown;
        assert!(is_late, "invariant 29: {effect} is when {unit} is to fly, {shown} showed it");
        true
    }

    /// The whole of a tick of which the low 16 bits are told: it is near the last.
    fn whole(&self, handle: u64, low: u64) -> u64 {
        let last = self.ticks.get(&handle).copied();
        let last = last.unwrap_or_else(|| panic!("invariant 27: no keyframe before {low}"));
        let ahead = low.wrapping_sub(last) & 0xffff;
        // More than half the way round is behind.
        if ahead < 0x8000 { last + ahead } else { last + ahead - 0x1_0000 }
    }
}

/// Whether the message gives the unit a course that moves it.
fn shows_flying(message: &Value, unit: &Value) -> bool {
    let blocks = message["blocks"].as_array().into_iter().flatten();
    let told = blocks.flat_map(|block| {
        let content = &block["content"];
        let update = &content["update"];
        let lists = [&update["changed"], &update["appeared"]];
        let whole = ["keyframe", "arrivals"].map(|kind| &content[kind]["units"]);
        lists.into_iter().chain(whole).filter_map(Value::as_array).flatten()
    });
    told.filter(|it| it["id"] == *unit || it["unitId"] == *unit)
        .any(|it| ["vx", "vy"].iter().any(|axis| it["course"][axis].as_i64().unwrap_or(0) != 0))
}

#[test]
fn messages_of_a_place_that_come_out_of_order_are_noticed() {
    let message = |kind, tick: u64| json!({ "type": kind, "handle": 3, "tick": tick & 0xffff, "fullTick": tick, "blocks": [] });
    let mut seen = Seen::default();
    seen.note(&message("keyframe", 0xfffe));
    seen.note(&message("stateDelta", 0x1_0000));
    seen.note(&message("stateDelta", 0x1_0002));
    assert_eq!(seen.heard, 3);
    let late = std::panic::catch_unwind(move || seen.note(&message("stateDelta", 0x1_0000)));
    assert!(late.is_err(), "a tick came twice, and later ones between");
    let unasked = std::panic::catch_unwind(|| Seen::default().note(&message("stateDelta", 2)));
    assert!(unasked.is_err(), "no keyframe came first");
}

#[test]
fn an_effect_that_is_shown_before_its_tick_is_noticed() {
    let course = json!({ "vx": 0, "vy": 7, "steps": 3 });
    let update = json!({ "base": 2, "changed": [{ "unitId": 9, "changes": 8, "course": course }] });
    let blocks = json!([{ "cell": 1, "content": { "update": update } }]);
    let mut seen = Seen { flies: Some((json!(9), None)), ..Seen::default() };
    seen.note(&json!({ "type": "keyframe", "handle": 3, "fullTick": 4, "blocks": [] }));
    assert!(!seen.is_shown_not_before(6));
    seen.note(&json!({ "type": "stateDelta", "handle": 3, "tick": 6, "blocks": blocks }));
    assert!(seen.is_shown_not_before(6));
    let early = std::panic::catch_unwind(move || seen.is_shown_not_before(8));
    assert!(early.is_err(), "tick 6 showed what happens at 8");
}
