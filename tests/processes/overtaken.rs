//! A node that is overtaken while it starts: between its reading of its row and
//! its first commit somebody else changes that row. It need not be started again.

use starmesh::base::{Incarnation, NodeId};
use starmesh::entity::commit::NodeRow;
use starmesh::entity::keys;
use starmesh::store::Store;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

use crate::cluster_support::Cluster;
use crate::postgres_server::{self, name, open};
use crate::support::wait_for;

/// The first commits that wait for a lock in this database.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity \
                       WHERE wait_event_type = 'Lock' AND datname = current_database()";

#[test]
fn a_node_that_is_declared_dead_while_it_starts_begins_anew() {
    let server = postgres_server::shared();
    let url = server.database();
    let mut home = Cluster::empty().on(&url).home("a");
    home.start().kill();
    let runtime = Runtime::new().expect("a runtime");
    let client = runtime.block_on(connect(&url));
    let run = |sql: String| {
        runtime
            .block_on(client.batch_execute(&sql))
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    };
    let key = keys::row(NodeId(1));
    run(format!("BEGIN; SELECT 1 FROM starmesh.keys WHERE key = {} FOR UPDATE", bytes(&key)));
    let found = open(&url).get(&key).expect("the store answers").expect("it ran");
    let row = NodeRow::from_bytes(&found.value).expect("a row");

    let mut node = home.spawn();
    wait_for("a first commit that waits", || {
        (server.sql(name(&url), WAITING) != "0").then_some(())
    });
    let ended = keys::ended_incarnation(NodeId(1), row.incarnation);
    let tick = row.tick.0.to_be_bytes();
    let dead = NodeRow {
        incarnation: Incarnation(row.incarnation.0 + 1),
        nonce: NodeRow::VACANT,
        number: 0,
        refused: Vec::new(),
        ..row
    };
    run(format!(
        "UPDATE starmesh.keys SET version = nextval('starmesh.version'), value = {} WHERE key = {}; \
         INSERT INTO starmesh.keys (key, version, value) \
         VALUES ({}, currval('starmesh.version'), {}); COMMIT",
        bytes(&dead.to_bytes()),
        bytes(&key),
        bytes(&ended),
        bytes(&tick)
    ));
    home.wait_until_ready(&mut node);
    assert!(home.log().contains("it begins anew"), "nothing overtook it:\n{}", home.log());
    let (status, _) = node.terminate();
    assert!(status.success(), "{status}:\n{}", home.log());
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

/// As SQL writes them.
fn bytes(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("'\\x{digits}'::bytea")
}
