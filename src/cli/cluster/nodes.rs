//! Owns the processes of a cluster on this machine: starts them one after the
//! other, each with the join line of the first, starts again those that end,
//! stops them in order. Never looks into their data. Invariant: no process
//! outlives the value that stands for it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Scripted players are from this machine, and order more than people do.
const SETTINGS: &str = "
[limits]
exempt = [\"127.0.0.0/8\", \"::1/128\"]
moves_per_minute = 600
others_per_minute = 600

[players]
admins = [\"operator\"]

[telemetry]
log_level = \"warn\"
";
/// In the folder of a node that has joined.
const JOINED: &str = "cluster/node.pem";
/// A node is ready after a second or two; after so long something is wrong.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// One that ended is left alone for so long, to see what the others do.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// A node stops within its own time limits; after so long it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// What balancing moved, with its labels behind it.
const MOVES: &str = "starmesh_balance_moves_total{";
/// The text of a node's metrics is shorter than this.
const METRICS_MAX: u64 = 1 << 20;

/// What the ready file of a node says.
#[derive(Clone, Debug, Deserialize)]
struct Ready {
    url: String,
    join: Option<String>,
}

/// One node's process.
pub struct Process {
    pub name: String,
    pub id: u32,
    pub url: String,
    folder: PathBuf,
    port: u16,
    child: Child,
    ended: Option<Instant>,
}

/// What a node says of itself.
pub struct Shown {
    pub name: String,
    pub sectors: u64,
    pub units: u64,
    /// Parts of the map that it has had moved since it began.
    pub moves: u64,
}

/// All of them, the first one first.
pub struct Nodes(Vec<Process>);

impl Nodes {
    /// Starts so many nodes, kept in folders of `data`.
    ///
    /// # Errors
    /// When one of them does not come up.
    pub async fn start(data: &Path, count: u32, port: u16) -> anyhow::Result<Nodes> {
        let (mut nodes, mut used) = (Nodes(Vec::new()), Vec::new());
        for index in 0..count {
            let name = char::from(b'a' + u8::try_from(index).unwrap_or_default()).to_string();
            let folder = data.join(&name);
            let own = if port == 0 { 0 } else { port.saturating_add(u16::try_from(index)?) };
            let line = match nodes.0.first() {
                Some(first) if !folder.join(JOINED).exists() => Some(first.line(&used).await?),
                _ => None,
            };
            used.extend(line.clone());
            nodes.0.push(Process::start(name, folder, own, line).await?);
        }
        Ok(nodes)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Process> {
        self.0.iter()
    }

    /// Starts again what ended a while ago; the names of those that ended now.
    pub async fn revive(&mut self) -> Vec<String> {
        let mut ended = Vec::new();
        for process in &mut self.0 {
            match process.ended {
                None if matches!(process.child.try_wait(), Ok(Some(_))) => {
                    process.ended = Some(Instant::now());
                    ended.push(process.name.clone());
                }
                Some(at) if at.elapsed() >= AGAIN_AFTER => {
                    if let Ok(child) = spawn(&process.name, &process.folder, process.port, None) {
                        process.id = child.id();
                        (process.child, process.ended) = (child, None);
                    }
                }
                _ => {}
            }
        }
        ended
    }

    /// What those that answer say of themselves.
    pub async fn read(&self) -> Vec<Shown> {
        let reads = self.0.iter().filter(|process| process.ended.is_none()).map(Process::read);
        futures_util::future::join_all(reads).await.into_iter().flatten().collect()
    }

    /// Stops them, the one with the store last.
    pub async fn stop(mut self) {
        while let Some(mut process) = self.0.pop() {
            process.terminate();
            if timeout(STOP_WITHIN, process.ended()).await.is_err() {
                // It is killed when it is dropped.
                tracing::error!(name = process.name, "does not stop and is killed");
            }
        }
    }
}

impl Process {
    async fn start(
        name: String,
        folder: PathBuf,
        port: u16,
        line: Option<String>,
    ) -> anyhow::Result<Process> {
        std::fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
        let child = spawn(&name, &folder, port, line)?;
        let id = child.id();
        let mut process =
            Process { name, id, url: String::new(), folder, port, child, ended: None };
        process.url = ready(&process.name, &process.folder, &mut process.child).await?.url;
        Ok(process)
    }

    /// A join line of this node that nobody used; the ready file has it soon.
    async fn line(&self, used: &[String]) -> anyhow::Result<String> {
        let began = Instant::now();
        loop {
            let text = std::fs::read(self.folder.join("ready.json"))?;
            let line = serde_json::from_slice::<Ready>(&text)?.join;
            if let Some(line) = line.filter(|line| !used.contains(line)) {
                return Ok(line);
            }
            anyhow::ensure!(began.elapsed() < READY_WITHIN, "{} gives no join line", self.name);
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn ended(&mut self) {
        while matches!(self.child.try_wait(), Ok(None)) {
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn terminate(&self) {
        let pid = i32::try_from(self.child.id()).ok();
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }

    async fn read(&self) -> Option<Shown> {
        let text = timeout(Duration::from_millis(500), metrics(&self.url)).await.ok()?.ok()?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            // Whole numbers, which a gauge shows as they are.
            line.and_then(|value| value.parse::<u64>().ok()).unwrap_or_default()
        };
        let (sectors, units) =
            (value("starmesh_sector_active_count"), value("starmesh_sector_units_count"));
        // One for each reason.
        let moves = text.lines().filter_map(|line| line.strip_prefix(MOVES)?.rsplit(' ').next());
        let moves = moves.filter_map(|value| value.parse::<u64>().ok()).sum();
        Some(Shown { name: self.name.clone(), sectors, units, moves })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn metrics(url: &str) -> anyhow::Result<String> {
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.take(METRICS_MAX).read_to_string(&mut text).await?;
    Ok(text)
}

fn spawn(name: &str, folder: &Path, port: u16, line: Option<String>) -> anyhow::Result<Child> {
    let settings = folder.join("node.toml");
    std::fs::write(&settings, SETTINGS).with_context(|| format!("{}", settings.display()))?;
    let ready = folder.join("ready.json");
    // What an earlier process left there says nothing.
    let _ = std::fs::remove_file(&ready);
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("node").arg("--config").arg(settings).args(["--name", name]);
    command.arg("--data").arg(folder).args(["--cluster-listen", "127.0.0.1:0"]);
    command.args(["--http", &format!("127.0.0.1:{port}")]).arg("--ready-file").arg(ready);
    if let Some(line) = line {
        command.env("STARMESH_CLUSTER__JOIN", line);
    }
    // Ctrl-C is for this process, which stops them in order.
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().context("a node's process does not start")
}

async fn ready(name: &str, folder: &Path, child: &mut Child) -> anyhow::Result<Ready> {
    let began = Instant::now();
    loop {
        let written = std::fs::read(folder.join("ready.json")).ok();
        if let Some(ready) = written.and_then(|text| serde_json::from_slice(&text).ok()) {
            return Ok(ready);
        }
        if let Some(status) = child.try_wait()? {
            anyhow::bail!("node {name} ended: {status}; what it said is above");
        }
        anyhow::ensure!(began.elapsed() < READY_WITHIN, "node {name} does not become ready");
        sleep(Duration::from_millis(20)).await;
    }
}
