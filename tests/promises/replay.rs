//! `starmesh replay` tells what happened from a node's data, whether the node
//! runs or not, and says when something there is not what was written.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use starmesh::base::{EntityKey, PlayerId, SectorId, UnitId};
use starmesh::store::recovery;
use starmesh::store::sled::{FOLDER, Options, SegmentReader, Sled};

use super::node_support::{Player, move_order, start};

/// Its ledger is hashed at tick 10, its sector not much later.
const PLAYER: PlayerId = PlayerId(45);

fn replay(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_starmesh"));
    command.arg("replay").args(arguments).arg("--data").arg(data).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What `replay` says with `--json`; it must succeed.
fn told(data: &Path, arguments: &[&str]) -> Value {
    let output = replay(data, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn open(data: &Path) -> Arc<Sled> {
    Arc::new(Sled::open(&data.join(FOLDER), Options::default()).unwrap())
}

/// Asks again until a hash was compared: one is journalled every ten seconds.
async fn hashed(data: &Path, arguments: &[&str]) -> Value {
    let hashed = async {
        loop {
            let told = told(data, arguments);
            if told["hashes"] != 0 {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), hashed).await.expect("a hash is journalled")
}

/// Events of one kind, in order.
fn events<'v>(told: &'v Value, kind: &str) -> Vec<&'v Value> {
    let records = told["records"].as_array().unwrap();
    let events = records.iter().flat_map(|record| record["events"].as_array().unwrap());
    events.filter(|event| event["event"] == kind).collect()
}

#[actix::test]
async fn tells_what_happened_while_the_node_runs_and_after_it_stopped() {
    let data = tempfile::tempdir().unwrap();
    let node = start(open(data.path())).await;
    let player = Player::new(&node, PLAYER);
    let connected = player.connect(None).await;
    let sector = connected.presence[0].sector;
    let unit = player.look(sector).await.units().next().unwrap().id;
    player.order(sector, move_order(PLAYER, connected.session, 1, unit, sector)).await;

    let name = sector.to_string();
    let running = hashed(data.path(), &["sector", &name]).await;
    assert_eq!(running["mismatches"], 0, "{running}");
    assert_eq!(running["entity"], format!("sector {sector}"));
    assert_eq!(events(&running, "claimed")[0]["node"], 1);
    assert_eq!(events(&running, "appeared")[0]["player"], PLAYER.0);
    assert_eq!(events(&running, "appeared")[0]["units"].as_array().unwrap().len(), 8);
    let command = events(&running, "command")[0];
    assert_eq!((&command["sequence"], &command["order"]["units"][0]), (&1.into(), &unit.0.into()));
    assert_eq!(command["outcome"]["result"], "done");
    assert!(events(&running, "hash").iter().all(|hash| hash["verdict"]["verdict"] == "verified"));
    let ledger = hashed(data.path(), &["ledger", "45"]).await;
    assert_eq!(ledger["end"]["players"][0]["presence"][0][0], name);
    node.stop().await;

    let stopped = told(data.path(), &["sector", &name]);
    let before = running["records"].as_array().unwrap();
    assert_eq!(stopped["records"].as_array().unwrap()[..before.len()], before[..]);
    assert_eq!(stopped["end"]["units"].as_array().unwrap().len(), 8);
    tells_the_past(data.path(), &name, unit, &stopped);
    tells_people(data.path(), &name);
    reports_damage(data.path(), sector);
}

/// At the tick of the command the unit has not moved yet.
fn tells_the_past(data: &Path, sector: &str, unit: UnitId, all: &Value) {
    let is_command = |record: &&Value| {
        record["events"].as_array().unwrap().iter().any(|event| event["event"] == "command")
    };
    let record = all["records"].as_array().unwrap().iter().find(is_command).unwrap();
    let tick = &record["tick"];
    let past = told(data, &["sector", sector, "--to", &tick.to_string()]);
    assert_eq!(&past["end"]["tick"], tick);
    let find = |told: &Value| {
        let units = told["end"]["units"].as_array().unwrap();
        units.iter().find(|line| line["id"] == unit.0).unwrap().clone()
    };
    assert!(find(&past)["order"].as_str().unwrap().starts_with("move to 250 m"));
    assert_ne!(find(&past)["x"], find(all)["x"]);
}

fn tells_people(data: &Path, sector: &str) {
    let output = replay(data, &["sector", sector]);
    let text = stdout(&output);
    for words in ["claimed by node 1", "new units of player 45: 4 Fighter", "✓", "0 differ"] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    let unknown = replay(data, &["sector", "1,1"]);
    let error = String::from_utf8(unknown.stderr).unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    assert!(error.contains("has no journal") && error.contains(sector), "{error}");
}

/// Flips one byte of a record in the middle of the journal.
fn reports_damage(data: &Path, sector: SectorId) {
    let reader = SegmentReader::open(&data.join(FOLDER)).unwrap();
    let (_, record) =
        recovery::image(&reader, EntityKey::Sector(sector)).unwrap().records[1].clone();
    let file = only_segment(data);
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(record.len()).position(|window| window == record).unwrap();
    bytes[at + record.len() / 2] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let output = replay(data, &["sector", &sector.to_string()]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("damaged") && error.contains(".seg at byte"), "{error}");
}

fn only_segment(data: &Path) -> PathBuf {
    let files = std::fs::read_dir(data.join(FOLDER).join("segments")).unwrap();
    let mut files = files.map(|file| file.unwrap().path());
    let segment = files.find(|path| path.extension().is_some_and(|end| end == "seg"));
    segment.expect("a small journal has one segment")
}
