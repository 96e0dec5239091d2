//! A PostgreSQL server of its own for the tests of one process: made in a
//! temporary folder, reached through a socket in it, gone with the last test
//! that uses it, also when that panics or is killed. Tests of real processes
//! have it, too.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::time::{Duration, Instant};

use starmesh::store::postgres::{Options, Postgres};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());

/// The server that the tests of this process share.
pub fn shared() -> Arc<Server> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(Server::start(&[]));
        *shared = Arc::downgrade(&server);
        server
    })
}

pub struct Server {
    folder: TempDir,
    options: Vec<String>,
    /// None while it is stopped.
    process: Mutex<Option<Process>>,
    databases: AtomicU32,
}

/// The server's process. Its parent is a thread of its own, because a child
/// is told of the end of the thread that made it.
struct Process {
    child: Child,
    _parent: mpsc::Sender<()>,
}

impl Server {
    /// A server with these `name=value` settings.
    pub fn start(options: &[&str]) -> Server {
        let folder = tempfile::tempdir().expect("a temporary folder");
        give(folder.path());
        let data = folder.path().join("data");
        let made = command("initdb")
            .args(["--auth=trust", "--username=starmesh", "--no-sync", "--no-instructions"])
            .args(["--encoding=UTF8", "--locale=C", "--pgdata"])
            .arg(&data)
            .output();
        let made = made.expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let options = options.iter().map(ToString::to_string).collect::<Vec<_>>();
        let process = Mutex::new(Some(run(folder.path(), &options)));
        let server = Server { folder, options, process, databases: AtomicU32::new(0) };
        server.wait_until_ready();
        server
    }

    /// Ends it as a power cut would, and starts it again.
    pub fn crash(&self) {
        self.stop();
        self.start_again();
    }

    /// Ends it as a power cut would.
    pub fn stop(&self) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running = process.take().expect("it runs");
        signal(&running.child, "QUIT");
        running.child.wait().expect("it was started");
    }

    /// Starts it after [`stop`](Self::stop); returns when it answers.
    pub fn start_again(&self) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        *process = Some(run(self.folder.path(), &self.options));
        drop(process);
        self.wait_until_ready();
    }

    fn wait_until_ready(&self) {
        let began = Instant::now();
        while let Err(error) = self.query("postgres", "SELECT 1") {
            assert!(began.elapsed() < Duration::from_secs(120), "it does not start: {error}");
            std::thread::yield_now();
        }
    }

    /// The URL of a new database.
    pub fn database(&self) -> String {
        let name = format!("d{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// Empties a database: quicker than making another.
    pub fn empty(&self, url: &str) {
        self.sql(name(url), "DROP SCHEMA IF EXISTS starmesh CASCADE");
    }

    pub fn url(&self, database: &str) -> String {
        let host = self.folder.path().display().to_string().replace('/', "%2F");
        let port = self.options.iter().find_map(|option| option.strip_prefix("port="));
        format!("postgres://starmesh@{host}:{}/{database}", port.unwrap_or("5432"))
    }

    /// A store in a new database.
    pub fn store(&self) -> Postgres {
        open(&self.database())
    }

    /// What the statements say: a line for each row, columns apart by `|`.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.query(database, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// As [`sql`](Self::sql).
    ///
    /// # Errors
    /// The server's.
    pub fn query(&self, database: &str, sql: &str) -> Result<String, tokio_postgres::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let url = self.url(database);
        runtime.expect("a runtime").block_on(async {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
            let (said, _) = tokio::join!(said(client, sql), connection);
            said
        })
    }
}

async fn said(client: Client, sql: &str) -> Result<String, tokio_postgres::Error> {
    let mut lines = Vec::new();
    for message in client.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            let columns: Vec<_> = (0..row.len()).map(|n| row.get(n).unwrap_or("")).collect();
            lines.push(columns.join("|"));
        }
    }
    Ok(lines.join("\n"))
}

impl Drop for Server {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(running) = process else { return };
        signal(&running.child, "QUIT");
        // Nobody can be told here.
        let _ = running.child.wait();
    }
}

/// Opens a store, or says why not.
pub fn open(url: &str) -> Postgres {
    open_with(url, patient())
}

/// Of a store that bears a machine on which everything stands still at times.
pub fn patient() -> Options {
    let within = Duration::from_secs(60);
    let lock_within = Duration::from_secs(45);
    let (connect_within, statement_within) = (within, within);
    Options { connect_within, statement_within, lock_within, ..Options::default() }
}

pub fn open_with(url: &str, options: Options) -> Postgres {
    Postgres::open(url, options).unwrap_or_else(|error| panic!("{error}"))
}

/// The name of the database in a URL.
pub fn name(url: &str) -> &str {
    url.rsplit('/').next().expect("a URL has slashes")
}

fn run(folder: &Path, options: &[String]) -> Process {
    let mut command = command("postgres");
    command.arg("-D").arg(folder.join("data")).arg("-k").arg(folder);
    // As far as a process can tell, a crash of it alone loses nothing less.
    command.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "autovacuum_naptime=1s"]);
    command.args(["-c", "deadlock_timeout=50ms", "-c", "max_connections=400"]);
    command.args(options.iter().flat_map(|option| ["-c", option]));
    let log = std::fs::File::create(folder.join("log")).expect("a file in a temporary folder");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let ((made, child), (parent, ended)) = (mpsc::sync_channel(1), leash());
    std::thread::spawn(move || {
        // Who waits learns of a failure by the channel's end.
        let _ = made.send(command.spawn().expect("postgres runs"));
        let _ = ended.recv();
    });
    Process { child: child.recv().expect("it was started"), _parent: parent }
}

/// What keeps a thread alive as long as one end is.
#[expect(clippy::disallowed_methods, reason = "nothing is ever sent")]
fn leash() -> (mpsc::Sender<()>, mpsc::Receiver<()>) {
    mpsc::channel()
}

fn signal(child: &Child, signal: &str) {
    let sent = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
    assert!(sent.expect("kill runs").success(), "the server is not there to be ended");
}

/// A program of PostgreSQL, as a user that it accepts, ended with its parent.
fn command(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]).current_dir("/");
    if let Some((user, group)) = other_user() {
        let ids = [format!("--reuid={user}"), format!("--regid={group}")];
        command.args(ids).arg("--clear-groups");
    }
    command.arg(binaries().join(program));
    command
}

/// Makes a file or folder the server's.
pub fn give(path: &Path) {
    if let Some((user, group)) = other_user() {
        std::os::unix::fs::chown(path, Some(user), Some(group)).expect("root may");
    }
}

/// Who runs the server when root runs the tests: it refuses to be root.
fn other_user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let said = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8_lossy(&said.stdout).trim().parse().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    let of = |user| Some((id(&["-u", user])?, id(&["-g", user])?));
    of("postgres").or_else(|| of("nobody"))
}

/// The newest of those that Debian installs, or what `pg_config` says.
fn binaries() -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = installed.filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let folder = entry.path().join("bin");
        folder.join("initdb").exists().then_some((version, folder))
    });
    newest.max().map(|(_, folder)| folder).unwrap_or_else(|| {
        let said = Command::new("pg_config").arg("--bindir").output();
        let said = said.expect("PostgreSQL is installed: scripts/ensure-system does it");
        PathBuf::from(String::from_utf8_lossy(&said.stdout).trim())
    })
}
