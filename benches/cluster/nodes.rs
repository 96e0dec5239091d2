//! Nodes as processes, for benches that look at a cluster from outside: starts
//! them with settings of the bench's own, asks them for what they print and
//! count. Never looks into them.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use starmesh::client::Target;
use starmesh::protocol::http::{Register, Secret};

/// Nothing that is waited for takes longer.
const LIMIT: Duration = Duration::from_secs(300);
const BEAT: Duration = Duration::from_millis(5);
const SETTINGS: &str = "
[limits]
exempt = [\"127.0.0.0/8\"]
moves_per_minute = 1000000
messages_per_second = 1000000
kib_per_second = 1000000
[players]
argon2_memory_kib = 64
argon2_passes = 1
admins = [\"operator\"]
[telemetry]
log_level = \"error\"
";

#[derive(Deserialize)]
struct Ready {
    url: String,
    join: Option<String>,
}

pub struct Node {
    pub folder: PathBuf,
    child: Child,
    pub url: String,
}

/// Which galaxy a node makes, when it is the first.
#[derive(Clone, Copy)]
pub struct Galaxy {
    pub seed: u64,
    /// Sectors along a side.
    pub side: u32,
}

impl Node {
    /// Starts it; returns how long it took until players may come. What is in
    /// the environment goes along: `STARMESH_TELEMETRY__LOG_LEVEL` shows more.
    pub fn start(folder: &Path, galaxy: Galaxy, join: Option<String>) -> (Node, Duration) {
        fs::create_dir_all(folder).unwrap();
        let (settings, ready) = (folder.join("node.toml"), folder.join("ready.json"));
        fs::write(&settings, SETTINGS).unwrap();
        let _ = fs::remove_file(&ready);
        let began = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_starmesh"));
        command.arg("node").arg("--config").arg(settings).arg("--data").arg(folder);
        command.args(["--http", "127.0.0.1:0", "--cluster-listen", "127.0.0.1:0"]);
        command.args(["--name", folder.file_name().unwrap().to_str().unwrap()]);
        command.env("STARMESH_GALAXY__SEED", galaxy.seed.to_string());
        command.env("STARMESH_GALAXY__SECTORS_PER_SIDE", galaxy.side.to_string());
        command.arg("--ready-file").arg(&ready).stdin(Stdio::null()).stdout(Stdio::null());
        join.iter().for_each(|line| _ = command.env("STARMESH_CLUSTER__JOIN", line));
        let child = command.spawn().unwrap();
        let mut node = Node { folder: folder.to_owned(), child, url: String::new() };
        node.url = until("a node that is ready", || node.ready()).url;
        (node, began.elapsed())
    }

    /// Two that share a new galaxy, the first with the store.
    pub fn pair(dir: &Path, galaxy: Galaxy) -> (Node, Node) {
        let (first, _) = Node::start(&dir.join("a"), galaxy, None);
        let line = first.line(&mut Vec::new());
        let (second, _) = Node::start(&dir.join("b"), galaxy, Some(line));
        until("both share the galaxy", || {
            let known =
                [&first, &second].map(|node| node.metric("starmesh_mesh_nodes_living_count"));
            known.iter().all(|known| *known == Some(2.0)).then_some(())
        });
        (first, second)
    }

    fn ready(&self) -> Option<Ready> {
        serde_json::from_slice(&fs::read(self.folder.join("ready.json")).ok()?).ok()
    }

    /// A join line that nobody used.
    pub fn line(&self, used: &mut Vec<String>) -> String {
        let line = until("a join line", || self.ready()?.join.filter(|line| !used.contains(line)));
        used.push(line.clone());
        line
    }

    pub fn target(&self) -> Target {
        self.url.parse().unwrap()
    }

    pub fn metric(&self, name: &str) -> Option<f64> {
        let address = self.url.strip_prefix("http://")?;
        let mut stream = TcpStream::connect(address).ok()?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "what is measured is another process")]
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(began.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        std::thread::sleep(BEAT);
    }
}

/// An access token for a new account.
pub async fn token(target: &Target, name: String) -> String {
    let body = Register {
        email: format!("{name}@example.org"),
        password: Secret("correct horse battery".into()),
        name,
        display_name: None,
        faction: None,
    };
    target.register(body).await.expect("an account").access_token.0
}

/// The number behind `name` on the command line.
pub fn option(name: &str, default: u32) -> u32 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).map_or(default, |value| value.parse().expect("a number"))
}
