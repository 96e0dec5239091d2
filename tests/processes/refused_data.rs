//! Data that a node must not run on: each its own clear error, exit code 1,
//! and nothing of the data changed.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::socket::{can_log_in, register};
use crate::support::{Home, Process};

/// Starts a node that must not start; what it said.
fn refused(home: &Home) -> String {
    let before = home.log().len();
    let status = home.spawn().wait();
    let said = home.log().split_off(before);
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

fn store(home: &Home) -> PathBuf {
    home.data().join("store")
}

fn first_segment(home: &Home) -> PathBuf {
    store(home).join("segments").join("0000000001.seg")
}

/// A home whose node ran and was stopped, with a player in it.
async fn used() -> Home {
    let mut home = Home::new();
    let node = home.start();
    register(&home.target(), "anna").await;
    assert!(node.terminate().0.success());
    home
}

#[tokio::test]
async fn a_second_process_on_the_same_data_is_refused_and_the_first_goes_on() {
    let mut home = Home::new();
    let mut node = home.start();
    register(&home.target(), "anna").await;
    // Its own port and ready file, so that only the data is the same.
    let mut command = crate::support::starmesh();
    command.args(["node", "--http", "127.0.0.1:0", "--data"]).arg(home.data());
    let log = home.path().join("second.log");
    let status = Process::spawn(command, &log).wait();
    let said = fs::read_to_string(&log).expect("a log");
    assert_eq!(status.code(), Some(1), "{said}");
    let place = store(&home);
    let expected = format!("the store in {} is locked by another process", place.display());
    assert!(said.contains(&expected), "{said}");
    assert!(node.ended().is_none(), "the first one goes on");
    assert!(can_log_in(&home.target(), "anna").await);
}

#[tokio::test]
async fn a_corrupted_segment_is_named_and_left_as_it_is() {
    let home = used().await;
    let path = first_segment(&home);
    let file = File::options().read(true).write(true).open(&path).expect("a segment");
    let mut byte = [0];
    file.read_exact_at(&mut byte, 300).expect("a segment is longer");
    file.write_all_at(&[byte[0] ^ 0x10], 300).expect("it can be written");
    let before = fs::read(&path).expect("a segment");
    let said = refused(&home);
    assert!(said.contains("the store is damaged"), "{said}");
    assert!(said.contains(&path.display().to_string()), "{said}");
    assert!(fs::read(&path).expect("a segment") == before, "it was changed");
    file.write_all_at(&byte, 300).expect("it can be written");
    restarted(home).await;
}

#[tokio::test]
async fn a_newer_format_is_named_with_what_this_build_reads() {
    let home = used().await;
    fs::write(store(&home).join("format"), "7\n").expect("it can be written");
    let said = refused(&home);
    assert!(said.contains("has format 7, but this build reads up to 1"), "{said}");
    fs::write(store(&home).join("format"), "1\n").expect("it can be written");
    restarted(home).await;
}

/// Nothing was lost by what was refused.
async fn restarted(mut home: Home) {
    let _node = home.start();
    assert!(can_log_in(&home.target(), "anna").await);
}
