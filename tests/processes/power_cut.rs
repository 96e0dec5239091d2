//! A power cut: what the node wrote behind the last acknowledged commit is
//! there in part, or not at all. `promises::store_power_cut` tries every byte
//! of a store; here a whole node starts on what is left.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::socket::{Socket, of_command, register};
use crate::support::{Home, wait_for};

/// How many places between the acknowledged end and the last byte are tried.
const CUTS: usize = 5;
/// Bytes of the segment that are looked at.
const READ: u64 = 256 * 1024;

fn segment(data: &Path) -> PathBuf {
    data.join("store").join("segments").join("0000000001.seg")
}

/// Behind the last byte that was written. The space behind it is reserved; so
/// short a test uses nothing beyond [`READ`].
fn used(data: &Path) -> usize {
    let mut bytes = vec![0; READ as usize];
    let file = File::open(segment(data)).expect("a segment");
    file.read_exact_at(&mut bytes, 0).expect("it is reserved");
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// Makes `to` what `from` was, with nothing but zeros behind `end`.
fn restore(from: &Path, to: &Path, end: usize) {
    let _ = fs::remove_dir_all(to);
    copy(from, to);
    let file = File::options().write(true).open(segment(to)).expect("a segment");
    let lost = vec![0; used(to).saturating_sub(end)];
    file.write_all_at(&lost, end as u64).expect("it can be written");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder is writable");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

#[tokio::test]
async fn a_node_goes_on_from_a_journal_cut_behind_the_last_acknowledged_commit() {
    let mut home = Home::new();
    let node = home.start();
    let token = register(&home.target(), "anna").await;
    let mut socket = Socket::connect(&home.target(), &token, None).await;
    let (session, sector) = (socket.session(), socket.sector());
    let units = socket.watch(&sector).await;
    let acknowledged = socket.order(&sector, 1, &units[0]).await;
    assert_eq!(acknowledged["success"], true, "{acknowledged}");
    // Everything acknowledged so far lies before this; the next order's commit
    // does not, and nobody hears of it.
    let safe = used(home.data());
    socket.send_order(&sector, 2, &units[1]).await;
    wait_for("a commit", || (used(home.data()) > safe + 200).then_some(()));
    node.kill();
    let (whole, left) = (used(home.data()), home.path().join("left"));
    // Without the reserved space, which takes longest to copy.
    let file = File::options().write(true).open(segment(home.data())).expect("a segment");
    file.set_len(READ).expect("it can be cut");
    copy(home.data(), &left);

    for cut in (0..CUTS).map(|n| safe + (whole - safe) * n / (CUTS - 1)) {
        restore(&left, home.data(), cut);
        let node = home.start();
        let mut socket = Socket::connect(&home.target(), &token, Some(session)).await;
        assert_eq!(socket.connected["resumed"], true, "cut at {cut} of {safe}..{whole}");
        let again = socket.order(&sector, 1, &units[0]).await;
        assert_eq!(of_command(&again), of_command(&acknowledged), "cut at {cut}");
        let second = socket.order(&sector, 2, &units[1]).await;
        assert_eq!(second["success"], true, "cut at {cut}: {second}");
        assert_eq!(socket.watch(&sector).await.len(), units.len(), "cut at {cut}");
        node.kill();
    }
}
