//! Invariant 30: a client that asks and never reads is let go, and costs those
//! who play on the same node nothing: their places are told without a gap.

use serde_json::{Value, json};
use starmesh::client::Target;

use crate::socket::{Socket, register};
use crate::support::{Home, metric};

/// More than a second between two packets of a place: one was left out.
const BEAT_TICKS: u64 = 10;
/// A sector makes a step every two ticks.
const STEP_TICKS: u64 = 2;

/// Only one of the two sessions is open still.
fn let_go(target: &Target) -> bool {
    metric(target, "starmesh_session_open_count") == Some(1.0)
}

/// What one connection is told of the sector it watches.
struct Watcher {
    socket: Socket,
    sector: Value,
    units: Vec<Value>,
    sequence: u32,
    last: Option<u64>,
    packets: u64,
}

impl Watcher {
    async fn new(target: &Target, name: &str) -> Watcher {
        let token = register(target, name).await;
        let mut socket = Socket::connect(target, &token, None).await;
        let sector = socket.sector();
        let units = socket.watch(&sector).await;
        Watcher { socket, sector, units, sequence: 0, last: None, packets: 0 }
    }

    /// Orders a unit about, so that there is always something to tell.
    async fn order(&mut self) {
        let unit = self.units[self.sequence as usize % self.units.len()].clone();
        self.sequence += 1;
        self.socket.send_order(&self.sector, self.sequence, &unit).await;
    }

    /// Reads the next packet; expects that none is missing before it.
    async fn read(&mut self) {
        let message = self.socket.next().await.expect("it stays open");
        assert_ne!(message["type"], "subscribed", "updates were dropped");
        if message["type"] != "stateDelta" {
            return;
        }
        let tick = message["tick"].as_u64().expect("a header");
        let since = self.last.map_or(0, |last| (tick + 65_536 - last) % 65_536);
        assert!(since <= BEAT_TICKS + STEP_TICKS, "nothing was told for {since} ticks");
        self.last = Some(tick);
        self.packets += 1;
    }
}

#[tokio::test]
async fn a_client_that_never_reads_is_let_go_and_costs_others_nothing() {
    let mut home = Home::new()
        .with("SESSIONS__STALLED_S", "5")
        .with("SESSIONS__QUEUE_MAX_KIB", "64")
        .with("LIMITS__MESSAGES_PER_SECOND", "100000")
        .with("LIMITS__KIB_PER_SECOND", "100000");
    let node = home.start();
    let target = home.target();
    let mut watcher = Watcher::new(&target, "anna").await;

    let token = register(&target, "ben").await;
    let mut stopped = Socket::narrow(&target, &token, 4096).await;
    let sector = stopped.sector();
    let subscribe = json!({ "type": "subscribe", "area": { "sectors": [sector] } });
    assert!(stopped.try_send(subscribe).await);
    assert!(!let_go(&target), "both are open");
    let mut open = true;
    while !let_go(&target) {
        // An error for each, longer than the question.
        for _ in 0..500 {
            if open {
                open = stopped.try_send(json!({ "type": "nonsense" })).await;
            }
        }
        watcher.order().await;
        for _ in 0..3 {
            watcher.read().await;
        }
    }
    println!("let go; the other client was told {} packets meanwhile", watcher.packets);
    for _ in 0..5 {
        watcher.order().await;
        watcher.read().await;
    }
    assert!(watcher.packets > 0, "nobody looked");
    assert_eq!(metric(&target, "starmesh_view_late_total"), Some(0.0));
    let (status, _) = node.terminate();
    assert!(status.success(), "{status}:\n{}", home.log());
}
