//! SIGTERM: clients are told, the process ends with 0 in bounded time, and
//! the next start goes on with their sessions.

use std::time::Duration;

use rustix::process::Signal;

use crate::socket::{Socket, can_log_in, register};
use crate::support::Home;

/// What the node gives sessions and requests by default, and as much again.
const BOUND: Duration = Duration::from_secs(20);

#[test]
fn an_idle_node_ends_with_0_and_takes_its_ready_file_away() {
    let mut home = Home::new();
    let node = home.start();
    let (status, after) = node.terminate();
    assert_eq!(status.code(), Some(0), "{}", home.log());
    assert!(after < BOUND, "{after:?}");
    assert!(!home.path().join("ready.json").exists());
    println!("ended after {after:?}");
}

#[test]
fn a_node_ends_the_same_on_ctrl_c() {
    let mut home = Home::new();
    let mut node = home.start();
    node.signal(Signal::INT);
    assert_eq!(node.wait().code(), Some(0), "{}", home.log());
}

#[tokio::test]
async fn clients_are_told_and_resume_after_the_restart() {
    let mut home = Home::new();
    let node = home.start();
    let token = register(&home.target(), "anna").await;
    let mut socket = Socket::connect(&home.target(), &token, None).await;
    let (session, sector) = (socket.session(), socket.sector());
    let before = socket.watch(&sector).await;
    assert_eq!(before.len(), 8);
    let stopped = tokio::task::spawn_blocking(move || node.terminate());
    let told = socket.wait_for("notification").await;
    assert!(told["notice"]["shuttingDown"]["afterMs"].is_u64(), "{told}");
    while socket.next().await.is_some() {}
    let (status, after) = stopped.await.expect("the wait does not panic");
    assert_eq!(status.code(), Some(0), "{}", home.log());
    assert!(after < BOUND, "{after:?}");

    let _node = home.start();
    assert!(can_log_in(&home.target(), "anna").await);
    let mut socket = Socket::connect(&home.target(), &token, Some(session)).await;
    assert_eq!(socket.connected["resumed"], true, "{}", socket.connected);
    assert_eq!(socket.watch(&sector).await, before);
}
