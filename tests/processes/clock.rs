//! A wall clock that jumps, under a real process: libfaketime sets the node's
//! clock an hour forward and back while it runs, and between two runs. The
//! steady clock goes on as it does on a machine whose time is corrected.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use starmesh::client::Target;

use crate::audit::audit;
use crate::socket::{Socket, of_command, register};
use crate::support::{Home, Process, wait_for};
use crate::swarm::Swarm;

const CLIENTS: u64 = 10;
const HOUR_S: i64 = 3600;
/// How long a player waits at most for a limit per minute, and a little.
const MINUTE_MS: u64 = 61_000;

/// What the processes started with it take for the wall clock.
struct WallClock {
    file: PathBuf,
    preload: String,
}

impl WallClock {
    fn new(home: &Home) -> WallClock {
        // The wrapper knows where its library is.
        let mut wrapper = Command::new("faketime");
        wrapper.args(["-m", "-f", "+0", "printenv", "LD_PRELOAD"]);
        wrapper.stdout(Stdio::piped()).stderr(Stdio::piped());
        let wrapper = wrapper.spawn().expect("faketime, which scripts/ensure-system installs");
        let process = wrapper.id();
        let printed = wrapper.wait_with_output().expect("it ends");
        // It leaves these behind, and fails where another one of its number did.
        for left in ["sem.faketime_sem_", "faketime_shm_"] {
            let _ = std::fs::remove_file(format!("/dev/shm/{left}{process}"));
        }
        assert!(printed.status.success(), "faketime: {}", String::from_utf8_lossy(&printed.stderr));
        let preload = String::from_utf8(printed.stdout).expect("a path").trim().to_owned();
        let clock = WallClock { file: home.path().join("wall-clock"), preload };
        clock.write(0);
        clock
    }

    fn write(&self, off_s: i64) {
        // Complete at once: the node reads it at any time.
        let part = self.file.with_extension("part");
        fs::write(&part, format!("{off_s:+}\n")).expect("the folder is writable");
        fs::rename(part, &self.file).expect("the folder is writable");
    }

    /// Sets the clock of a running node, and waits until the node sees it.
    fn jump(&self, home: &Home, off_s: i64) {
        self.write(off_s);
        wait_for("the node's clock to jump", || {
            let off = seconds(&date_of_node(home)) - seconds("now");
            ((off - off_s).abs() < HOUR_S / 4).then_some(())
        });
    }

    fn start(&self, home: &mut Home) -> Process {
        let mut command = home.command();
        command.env("LD_PRELOAD", &self.preload);
        command.env("FAKETIME_TIMESTAMP_FILE", &self.file).env("FAKETIME_CACHE_DURATION", "1");
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("NO_FAKE_STAT", "1");
        let mut node = home.spawn_by(command);
        home.wait_until_ready(&mut node);
        node
    }
}

/// What the node's HTTP server takes for now.
fn date_of_node(home: &Home) -> String {
    let answer = ureq::get(format!("{}/healthz", home.url())).call().expect("an answer");
    answer.headers()["date"].to_str().expect("text").to_owned()
}

/// Seconds since 1970 of a date in any form.
fn seconds(date: &str) -> i64 {
    let said = Command::new("date").args(["+%s", "--date", date]).output().expect("date runs");
    String::from_utf8_lossy(&said.stdout).trim().parse().expect("date prints a number")
}

/// The session of `token`, which must go on.
async fn resume(target: &Target, token: &str, session: u64) -> Socket {
    let socket = Socket::connect(target, token, Some(session)).await;
    assert_eq!(socket.connected["resumed"], true, "{}", socket.connected);
    socket
}

#[tokio::test]
async fn an_hour_that_the_clock_jumps_under_load_ends_no_session_and_loses_nothing() {
    let mut home = Home::new();
    let clock = WallClock::new(&home);
    let node = clock.start(&mut home);
    let mut swarm = Swarm::start(&home, CLIENTS, 1);
    swarm.wait_for_everybody(0);
    let token = register(&home.target(), "anna").await;
    let mut socket = Socket::connect(&home.target(), &token, None).await;
    let (session, sector) = (socket.session(), socket.sector());
    let units = socket.watch(&sector).await;
    let mut acks = vec![socket.order(&sector, 1, &units[0]).await];

    let jumps = [HOUR_S, 0, -HOUR_S, 0];
    for off_s in jumps {
        let known = swarm.answered().len();
        clock.jump(&home, off_s);
        swarm.wait_for_everybody(known);
        let mut socket = resume(&home.target(), &token, session).await;
        for (sequence, before) in (1..).zip(&acks) {
            let again = socket.order(&sector, sequence, &units[0]).await;
            assert_eq!(of_command(&again), of_command(before), "a retry, at {off_s} s");
        }
        let sequence = u32::try_from(acks.len()).expect("few") + 1;
        acks.push(socket.order(&sector, sequence, &units[0]).await);
        assert_eq!(acks.last().expect("one")["success"], true, "{acks:#?}");
        // Its units come in a sector that nobody owns yet.
        let newcomer = register(&home.target(), &format!("newcomer-{sequence}")).await;
        let newcomer = Socket::connect(&home.target(), &newcomer, None).await;
        assert_eq!(newcomer.connected["resumed"], false, "{}", newcomer.connected);
    }

    let (told, report) = swarm.stop();
    for nothing in ["disconnects", "gaveUp", "losses", "desyncs"] {
        assert_eq!(report[nothing], 0, "{nothing}: {report:#}");
    }
    assert!(node.terminate().0.success(), "{}", home.log());
    let found = audit(home.data(), &told);
    assert_eq!(found.players, CLIENTS + 1 + jumps.len() as u64);
    assert!(found.hashes > 0 && found.found > 10 * found.trimmed, "{found:?}");
}

#[tokio::test]
async fn a_node_killed_and_started_an_hour_off_still_knows_a_retry() {
    let mut home = Home::new();
    let clock = WallClock::new(&home);
    let mut node = clock.start(&mut home);
    let token = register(&home.target(), "anna").await;
    let mut socket = Socket::connect(&home.target(), &token, None).await;
    let (session, sector) = (socket.session(), socket.sector());
    let units = socket.watch(&sector).await;
    let first = socket.order(&sector, 1, &units[0]).await;
    assert_eq!(first["success"], true, "{first}");
    for off_s in [HOUR_S, 0, -HOUR_S, 0] {
        node.kill();
        clock.write(off_s);
        node = clock.start(&mut home);
        let mut socket = resume(&home.target(), &token, session).await;
        let again = socket.order(&sector, 1, &units[0]).await;
        assert_eq!(of_command(&again), of_command(&first), "a retry, at {off_s} s");
    }
}

#[tokio::test]
async fn a_clock_set_back_by_an_hour_makes_nobody_wait_an_hour() {
    let mut home = Home::new().with("LIMITS__MOVES_PER_MINUTE", "2");
    let clock = WallClock::new(&home);
    clock.write(HOUR_S);
    let _node = clock.start(&mut home);
    let token = register(&home.target(), "anna").await;
    let mut socket = Socket::connect(&home.target(), &token, None).await;
    let sector = socket.sector();
    let units = socket.watch(&sector).await;
    assert_eq!(socket.order(&sector, 1, &units[0]).await["success"], true);
    clock.jump(&home, 0);
    assert_eq!(socket.order(&sector, 2, &units[0]).await["success"], true);
    let limited = socket.order(&sector, 3, &units[0]).await;
    let wait_ms = limited["error"]["limited"]["afterMs"].as_u64();
    assert!(wait_ms.is_some_and(|ms| ms <= MINUTE_MS), "{limited}");
}
