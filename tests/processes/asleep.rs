//! A real node's sector hibernates, which `/metrics` shows, and wakes by a
//! player's order with everything as it was; after a SIGKILL too, and without
//! being loaded by the start.

use serde_json::{Value, json};
use starmesh::client::Target;

use crate::socket::{Socket, of_command, register};
use crate::support::{Home, metric, pause, wait_for};

/// Waits until so many sectors run, and so many hibernate.
fn wait_for_sectors(target: &Target, active: f64, hibernated: f64) {
    wait_for(&format!("{active} sectors that run, {hibernated} that hibernate"), || {
        let found = ["active", "hibernated"]
            .map(|what| metric(target, &format!("starmesh_sector_{what}_count")));
        pause(std::time::Duration::from_millis(50));
        (found == [Some(active), Some(hibernated)]).then_some(())
    });
}

/// Sends again, under the same sequence, while the sector is waking.
async fn order(socket: &mut Socket, sector: &Value, sequence: u32, unit: &Value) -> Value {
    loop {
        let ack = socket.order(sector, sequence, unit).await;
        if ack["success"] == true || !ack["error"].to_string().contains("busy") {
            return ack;
        }
    }
}

/// Where the units stand.
fn places(units: &[Value]) -> Vec<[&Value; 3]> {
    units.iter().map(|unit| ["id", "position", "heading"].map(|field| &unit[field])).collect()
}

#[tokio::test]
async fn a_sector_hibernates_and_wakes_by_an_order_as_it_was() {
    let mut home = Home::new().with("ENGINE__SECTOR_QUIET_S", "1");
    let node = home.start();
    let target = home.target();
    let token = register(&target, "anna").await;
    let mut socket = Socket::connect(&target, &token, None).await;
    let (session, sector) = (socket.session(), socket.sector());
    let mut units = socket.watch(&sector).await;
    assert_eq!(units.len(), 8);
    // The first stands in nobody's way on its way to the corner.
    units.sort_by_key(|unit| unit["position"]["x"].as_i64().zip(unit["position"]["y"].as_i64()));
    drop(socket);
    wait_for_sectors(&target, 0.0, 1.0);

    // Woken by an order; stopped at once, so that it can go to sleep again.
    let mut socket = Socket::connect(&target, &token, Some(session)).await;
    let first = order(&mut socket, &sector, 1, &units[0]).await;
    assert_eq!(first["success"], true, "{first}");
    assert_eq!(first["position"], units[0]["position"], "it stood where it had stood");
    let ids: Vec<&Value> = units.iter().map(|unit| &unit["id"]).collect();
    let place = json!({ "sector": sector });
    let stop = json!({ "type": "stop", "sequence": 2, "time": 0, "place": place, "units": ids });
    socket.send(stop).await;
    assert_eq!(socket.wait_for("ack").await["success"], true);
    drop(socket);
    wait_for_sectors(&target, 0.0, 1.0);
    node.kill();

    // It is not loaded by the start, and wakes by a look.
    let _node = home.start();
    wait_for_sectors(&target, 0.0, 1.0);
    let mut socket = Socket::connect(&target, &token, Some(session)).await;
    assert_eq!(socket.connected["resumed"], true, "{}", socket.connected);
    let stood = socket.watch(&sector).await;
    assert_eq!(stood.len(), 8);
    let others: Vec<Value> = units[1..]
        .iter()
        .filter_map(|unit| stood.iter().find(|it| it["id"] == unit["id"]).cloned())
        .collect();
    assert_eq!(places(&others), places(&units[1..]), "those without orders stay");
    // What was answered before the sleep and the SIGKILL is answered again.
    let again = order(&mut socket, &sector, 2, &units[0]).await;
    assert_eq!(again["success"], true, "{again}");
    let other = order(&mut socket, &sector, 1, &units[0]).await;
    assert_eq!(of_command(&other), of_command(&first), "a retry is answered, not carried out");
}
