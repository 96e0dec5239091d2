//! A disk that is full, or fails every write: commands are refused with an
//! answer that says so, nothing acknowledged is lost, and with space again the
//! node goes on; as do all of a cluster whose store it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;
use tokio::task::block_in_place;

use crate::audit::audit;
use crate::cluster_support::Cluster;
use crate::socket::{Socket, of_command, register};
use crate::support::{Home, Process, ignoring, wait_for};
use crate::watcher::Watcher;

/// What keeps a node from writing.
enum Disk {
    /// A file system of its own in memory, unmounted when dropped: it is full.
    Mounted(PathBuf),
    /// RLIMIT_FSIZE, which every process may lower: no write is possible.
    Limited,
}

impl Disk {
    /// A file system of `mib`; where this process may not mount, the limit.
    fn mount(at: &Path, mib: u32) -> Disk {
        fs::create_dir_all(at).expect("the folder is writable");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]).arg(at);
        let said = match mount.output() {
            Ok(output) if output.status.success() => return Disk::Mounted(at.to_owned()),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => format!("mount: {error}"),
        };
        println!("no full disk, but RLIMIT_FSIZE instead, because of: {said}");
        Disk::Limited
    }

    /// `home`, with its data on this disk.
    fn home(&self, home: Home) -> Home {
        match self {
            Disk::Mounted(at) => home.with_data(at.join("data")).with("STORE__FREE_MIN_MIB", "16"),
            Disk::Limited => home,
        }
    }

    fn start(&self, home: &mut Home) -> Process {
        // Else a write beyond the limit would not fail, but end the process.
        let command = ignoring("XFSZ", &home.command());
        let mut node = home.spawn_by(command);
        home.wait_until_ready(&mut node);
        node
    }

    /// No room for more.
    fn fill(&self, node: &Process) {
        match self {
            Disk::Mounted(at) => {
                let mut file = fs::File::create(at.join("filler")).expect("a file");
                let block = vec![7; 1 << 20];
                while std::io::Write::write_all(&mut file, &block).is_ok() {}
            }
            Disk::Limited => node.limit_file_bytes(Some(0)),
        }
    }

    fn free(&self, node: &Process) {
        match self {
            Disk::Mounted(at) => fs::remove_file(at.join("filler")).expect("the file is there"),
            Disk::Limited => node.limit_file_bytes(None),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Disk::Mounted(at) = self {
            // Lazily, because a node may still have files open here.
            let _ = Command::new("umount").arg("-l").arg(at).status();
        }
    }
}

#[tokio::test]
async fn a_full_disk_stops_commands_and_loses_nothing() {
    let base = tempfile::tempdir().expect("a temporary folder");
    // A segment of 64 MiB, sled, and some to fill.
    stops_commands_and_loses_nothing(&Disk::mount(&base.path().join("disk"), 128)).await;
}

#[tokio::test]
async fn a_disk_that_takes_no_write_stops_commands_and_loses_nothing() {
    stops_commands_and_loses_nothing(&Disk::Limited).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_the_stores_node_stops_a_cluster_and_loses_nothing() {
    let base = tempfile::tempdir().expect("a temporary folder");
    let disk = Disk::mount(&base.path().join("disk"), 128);
    let empty = Cluster::empty();
    // Each node minds the disk of the store that it uses.
    let (mut first, second) = (disk.home(empty.home("a")), empty.home("b"));
    let second = second.with("STORE__FREE_MIN_MIB", "16");
    let process = disk.start(&mut first);
    let mut cluster = empty.begun(first, process, vec![second]);
    let others = cluster.node(1).target();
    let token = register(&others, "anna").await;
    let mut socket = Socket::connect_again(&others, &token, None).await;
    let (session, sector) = (socket.session(), socket.sector());
    let units = socket.watch(&sector).await;
    let kept = socket.order_again(&sector, 1, &units[0]).await;
    // It has a runtime of its own.
    let mut watcher = block_in_place(|| Watcher::new(cluster.node(0), "watcher"));
    block_in_place(|| watcher.see_an_order_through());

    disk.fill(cluster.process(0));
    for index in 0..2 {
        let what = format!("node {} that is not ready", index + 1);
        wait_for(&what, || cluster.refuses(index).then_some(()));
    }
    let refused = socket.order(&sector, 2, &units[1]).await;
    assert_eq!(refused["success"], false, "{refused}");

    disk.free(cluster.process(0));
    for index in 0..2 {
        let what = format!("node {} that is ready", index + 1);
        wait_for(&what, || cluster.is_ready(index).then_some(()));
    }
    let taken = socket.order_again(&sector, 2, &units[1]).await;
    let heard = block_in_place(|| {
        watcher.see_an_order_through();
        watcher.leave()
    });
    println!("disk: the watcher heard {heard} messages, all in order");

    // Whoever comes back finds all that was acknowledged.
    cluster.kill(1);
    cluster.restart(1);
    let mut socket = Socket::connect_again(&cluster.node(1).target(), &token, Some(session)).await;
    for (sequence, unit, before) in [(1, &units[0], &kept), (2, &units[1], &taken)] {
        let again = socket.order_again(&sector, sequence, unit).await;
        assert_eq!(of_command(&again), of_command(before));
    }
    let told = [kept, taken].map(|ack| socket.answered(&sector, &ack));
    drop(socket);
    let homes = cluster.stop();
    let found = audit(homes[0].data(), &told);
    assert_eq!((found.found + found.trimmed, found.players, found.nodes), (2, 2, 2), "{found:?}");
}

async fn stops_commands_and_loses_nothing(disk: &Disk) {
    let mut home = disk.home(Home::new());
    let node = disk.start(&mut home);
    let token = register(&home.target(), "anna").await;
    let mut socket = Socket::connect(&home.target(), &token, None).await;
    let (session, sector) = (socket.session(), socket.sector());
    let units = socket.watch(&sector).await;
    let kept = socket.order(&sector, 1, &units[0]).await;
    assert_eq!(kept["success"], true, "{kept}");

    disk.fill(&node);
    wait_for("a node that is not ready", || (!is_ready(&home)).then_some(()));
    let refused = socket.order(&sector, 2, &units[1]).await;
    assert_eq!(refused["success"], false, "{refused}");
    assert_eq!(refused["error"], json!({ "storeAway": {} }), "{refused}");

    disk.free(&node);
    wait_for("a node that is ready", || is_ready(&home).then_some(()));
    let taken = socket.order(&sector, 2, &units[1]).await;
    assert_eq!(taken["success"], true, "the same command, with space again: {taken}");

    disk.fill(&node);
    wait_for("a node that is not ready", || (!is_ready(&home)).then_some(()));
    node.signal(Signal::STOP);
    disk.free(&node);
    node.kill();
    let _node = disk.start(&mut home);
    let mut socket = Socket::connect(&home.target(), &token, Some(session)).await;
    for (sequence, unit, before) in [(1, &units[0], kept), (2, &units[1], taken)] {
        let again = socket.order(&sector, sequence, unit).await;
        assert_eq!(of_command(&again), of_command(&before));
    }
    assert_eq!(socket.watch(&sector).await.len(), units.len());
}

/// Whether `/readyz` says that the node takes commands.
fn is_ready(home: &Home) -> bool {
    let ready = ureq::get(format!("{}/readyz", home.url())).call();
    ready.is_ok_and(|response| response.status() == 200)
}
