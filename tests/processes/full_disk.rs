//! A disk that fills up: commands are refused with an answer that says so,
//! nothing acknowledged is lost, and with space again the node goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::socket::{Socket, of_command, register};
use crate::support::{Home, wait_for};

/// A file system of its own in memory, unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    /// `None` where this process may not mount.
    fn mount(at: &Path, mib: u32) -> Option<Disk> {
        fs::create_dir_all(at).expect("the folder is writable");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]).arg(at);
        let status = mount.stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.ok()?.success().then(|| Disk(at.to_owned()))
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut file = fs::File::create(self.filler()).expect("a file");
        let block = vec![7; 1 << 20];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.filler()).expect("the file is there");
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, because a node may still have files open here.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Whether `/readyz` says that the node takes commands.
fn is_ready(home: &Home) -> bool {
    let ready = ureq::get(format!("{}/readyz", home.url())).call();
    ready.is_ok_and(|response| response.status() == 200)
}

#[tokio::test]
async fn a_full_disk_stops_commands_and_loses_nothing() {
    let base = tempfile::tempdir().expect("a temporary folder");
    // A segment of 64 MiB, sled, and some to fill.
    let Some(disk) = Disk::mount(&base.path().join("disk"), 128) else {
        println!("skipped: this process may not mount a tmpfs");
        return;
    };
    let mut home = Home::new().with_data(disk.0.join("data")).with("STORE__FREE_MIN_MIB", "16");
    let node = home.start();
    let token = register(&home.target(), "anna").await;
    let mut socket = Socket::connect(&home.target(), &token, None).await;
    let (session, sector) = (socket.session(), socket.sector());
    let units = socket.watch(&sector).await;
    let kept = socket.order(&sector, 1, &units[0]).await;
    assert_eq!(kept["success"], true, "{kept}");

    disk.fill();
    wait_for("a node that is not ready", || (!is_ready(&home)).then_some(()));
    let refused = socket.order(&sector, 2, &units[1]).await;
    assert_eq!(refused["success"], false, "{refused}");
    assert_eq!(refused["error"], json!({ "storeAway": {} }), "{refused}");

    disk.free();
    wait_for("a node that is ready", || is_ready(&home).then_some(()));
    let taken = socket.order(&sector, 2, &units[1]).await;
    assert_eq!(taken["success"], true, "the same command, with space again: {taken}");

    disk.fill();
    wait_for("a node that is not ready", || (!is_ready(&home)).then_some(()));
    node.kill();
    disk.free();
    let _node = home.start();
    let mut socket = Socket::connect(&home.target(), &token, Some(session)).await;
    for (sequence, unit, before) in [(1, &units[0], kept), (2, &units[1], taken)] {
        let again = socket.order(&sector, sequence, unit).await;
        assert_eq!(of_command(&again), of_command(&before));
    }
    assert_eq!(socket.watch(&sector).await.len(), units.len());
}
