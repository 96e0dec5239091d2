//! Owns real processes: starts the binary in a folder of its own, waits until
//! it is ready, signals it, starts it again on the same port and data. Never
//! looks at what it keeps (`audit` does). Invariant: no process outlives the
//! value that stands for it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde::Deserialize;
use starmesh::client::Target;

/// Longer than any single step takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Everything on one machine, as in `make demo`, and passwords that cost
/// nothing: these tests are not about them.
const SETTINGS: &str = r#"
[limits]
exempt = ["127.0.0.0/8"]
moves_per_minute = 100000
others_per_minute = 100000

[players]
argon2_memory_kib = 64
argon2_passes = 1
"#;

/// Waits until `condition` gives something, or says what was waited for.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        // What is looked at may be long: a condition is no load.
        pause(Duration::from_millis(5).max(began.elapsed() / 20).min(Duration::from_millis(100)));
    }
}

/// The value of a node's metric, named with its labels if it has any.
pub fn metric(target: &Target, name: &str) -> Option<f64> {
    value(&metrics(target)?, name)
}

/// All that a node says of itself; `None` when it is silent.
pub fn metrics(target: &Target) -> Option<String> {
    let mut stream = TcpStream::connect(target.authority()).ok()?;
    // One that was stopped accepts connections and never answers.
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.starts_with("HTTP/1.1 200 ").then_some(text)
}

/// The value of a metric in what a node says.
pub fn value(metrics: &str, name: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// Lets others run for about so long.
pub fn pause(time: Duration) {
    std::thread::park_timeout(time);
}

/// The binary, with nothing in its environment that could set it up.
pub fn starmesh() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_starmesh"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STARMESH_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// `command`, to which this signal does nothing.
pub fn ignoring(signal: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("trap '' {signal}; exec \"$@\""), "sh"]);
    shell.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(key, value),
            None => shell.env_remove(key),
        };
    }
    shell
}

/// What a node's ready file says.
#[derive(Deserialize)]
struct Ready {
    http: Vec<SocketAddr>,
    join: Option<String>,
}

/// A node's data and settings, and the address it always listens on.
pub struct Home {
    dir: tempfile::TempDir,
    data: PathBuf,
    settings: Vec<(String, String)>,
    http: SocketAddr,
}

impl Home {
    pub fn new() -> Home {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let data = dir.path().join("data");
        fs::write(dir.path().join("node.toml"), SETTINGS).expect("the folder is writable");
        // The first start takes a free port, the others take that one again.
        let http = SocketAddr::from(([127, 0, 0, 1], 0));
        Home { dir, data, settings: Vec::new(), http }
    }

    /// Keeps the data in `data` instead.
    pub fn with_data(mut self, data: PathBuf) -> Home {
        self.data = data;
        self
    }

    /// One more setting, as `SECTION__KEY`.
    pub fn with(mut self, key: &str, value: &str) -> Home {
        self.set(key, value);
        self
    }

    /// The same, for processes that are started from now on.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.push((format!("STARMESH_{key}"), value.to_owned()));
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The file with all that its processes said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// `starmesh node` here, as it is called.
    pub fn command(&self) -> Command {
        let mut command = starmesh();
        command.arg("node").arg("--config").arg(self.dir.path().join("node.toml"));
        command.arg("--data").arg(&self.data).args(["--http", &self.http.to_string()]);
        command.arg("--ready-file").arg(self.ready_file());
        command.envs(self.settings.iter().map(|(key, value)| (key, value)));
        command
    }

    /// Starts a process and does not wait for it.
    pub fn spawn(&self) -> Process {
        self.spawn_by(self.command())
    }

    /// Starts what `command` says and does not wait for it.
    pub fn spawn_by(&self, command: Command) -> Process {
        let _ = fs::remove_file(self.ready_file());
        Process::spawn(command, &self.dir.path().join("log"))
    }

    /// Starts a node; returns when it takes players.
    pub fn start(&mut self) -> Process {
        let mut node = self.spawn();
        self.wait_until_ready(&mut node);
        node
    }

    pub fn wait_until_ready(&mut self, node: &mut Process) {
        let ready = wait_for("a node that is ready", || {
            assert!(node.ended().is_none(), "the node ended:\n{}", self.log());
            self.ready()
        });
        self.http = ready.http[0];
    }

    /// The line with which one more node can join, as it was last written.
    pub fn join_line(&self) -> Option<String> {
        self.ready()?.join
    }

    fn ready(&self) -> Option<Ready> {
        serde_json::from_slice(&fs::read(self.ready_file()).ok()?).ok()
    }

    /// What clients connect to.
    pub fn target(&self) -> Target {
        self.url().parse().expect("an address is a target")
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    fn ready_file(&self) -> PathBuf {
        self.dir.path().join("ready.json")
    }
}

impl Drop for Home {
    /// What its processes said, when a test fails: the folder goes.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} said:\n{}", self.url(), self.log());
        }
    }
}

/// A process that is killed at the latest when this is dropped.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts it; what it says is appended to `log`.
    pub fn spawn(mut command: Command, log: &Path) -> Process {
        let log = File::options().create(true).append(true).open(log).expect("a log");
        command.stdout(log.try_clone().expect("the log's other end")).stderr(log);
        Process { child: command.spawn().expect("the binary starts") }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it can be signalled");
    }

    /// From now on its files may have so many bytes, or as many as this process's.
    pub fn limit_file_bytes(&self, bytes: Option<u64>) {
        let own = getrlimit(Resource::Fsize);
        let limit = Rlimit { current: bytes.or(own.maximum), ..own };
        prlimit(Some(self.pid()), Resource::Fsize, limit).expect("a limit may be lowered");
    }

    /// Not waited for yet, so it is still this process's.
    fn pid(&self) -> Pid {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        pid.expect("a process has an id")
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        wait_for("the end of a process", || self.ended())
    }

    /// SIGKILL: it ends without another instruction.
    pub fn kill(mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// SIGTERM; how it ended, and after how long.
    pub fn terminate(mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        self.signal(Signal::TERM);
        (self.wait(), began.elapsed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
