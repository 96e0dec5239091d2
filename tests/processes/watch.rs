//! `starmesh watch` as a process of its own: what it draws of a node that runs,
//! and what it says where it cannot.

use std::process::{Command, Output};

use starmesh::protocol::http::{Register, Secret};

use crate::support::{Home, starmesh};

const PASSWORD: &str = "correct horse";

/// `starmesh watch --once` on this server.
fn watch(url: &str, more: &[&str]) -> Command {
    let mut command = starmesh();
    command.args(["watch", "--target", url, "--once"]).args(more);
    command
}

fn run(mut command: Command) -> Output {
    command.output().expect("the binary starts")
}

/// What it draws; it must succeed.
fn picture(command: Command) -> String {
    let output = run(command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    String::from_utf8(output.stdout).expect("a picture is UTF-8")
}

/// What it says; it must fail with this code.
fn refusal(command: Command, code: i32) -> String {
    let output = run(command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

fn make_player(home: &Home, name: &str) {
    let body = Register {
        name: name.to_owned(),
        email: format!("{name}@example.org"),
        password: Secret(PASSWORD.to_owned()),
        display_name: None,
        faction: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let registered = runtime.expect("a runtime").block_on(home.target().register(body));
    registered.expect("the server takes players");
}

/// The number before `unit`, as in `units 8, own 8`.
fn number_after(picture: &str, word: &str) -> Option<u32> {
    let (_, rest) = picture.split_once(word)?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

#[test]
fn draws_the_ships_of_a_player_where_they_are() {
    let mut home = Home::new();
    let _node = home.start();
    make_player(&home, "ada");
    let picture = picture(watch(&home.url(), &["--name", "ada", "--password", PASSWORD]));
    assert!(picture.contains("ada open"), "{picture}");
    // A player begins with eight ships; those in one character are a number.
    assert_eq!(number_after(&picture, "own "), Some(8), "{picture}");
    let map: String = picture.lines().take(21).collect();
    let drawn = map.chars().map(|c| match c {
        '●' | '→' | '↘' | '↓' | '↙' | '←' | '↖' | '↑' | '↗' => 1,
        '❷'..='❾' => u32::from(c) - u32::from('❷') + 2,
        _ => 0,
    });
    assert_eq!(drawn.sum::<u32>(), 8, "{picture}");
    assert!(map.contains('·'), "there is fog beyond the sensors: {picture}");
}

#[test]
fn draws_the_whole_galaxy_with_its_systems_and_where_the_player_is() {
    let mut home = Home::new();
    let _node = home.start();
    let picture = picture(watch(&home.url(), &["--scale", "14", "--size", "100x45"]));
    // What the galaxy's settings lead to expect, of the six maps with room for it.
    let counted = picture.matches(" systems").count();
    assert!(counted >= 6, "{picture}");
    assert!(picture.contains("◆8"), "{picture}");
    for shade in ['▓', '▒', '░'] {
        assert!(picture.contains(shade), "{shade} is missing: {picture}");
    }
}

#[test]
fn finds_systems_with_their_lanes_where_one_looks() {
    let mut home = Home::new();
    let _node = home.start();
    let picture = picture(watch(&home.url(), &["--at", "5000,5000", "--scale", "7"]));
    let stars = picture.chars().filter(|c| *c == '✶').count();
    let lanes = picture.chars().filter(|c| "╱╲".contains(*c)).count();
    assert!(stars > 10 && lanes > 10, "{stars} stars, {lanes} leaning pieces of lanes: {picture}");
}

#[test]
fn says_what_is_wrong_and_what_was_expected() {
    let mut home = Home::new();
    let node = home.start();
    let url = home.url();
    let said = refusal(watch(&url, &["--at", "12000,5"]), 2);
    assert!(said.contains("expected X and Y from 0 to below 10000"), "{said}");
    let said = refusal(watch(&url, &["--at", "here"]), 2);
    assert!(said.contains("expected X,Y in sectors"), "{said}");
    let said = refusal(watch("ftp://nowhere", &[]), 2);
    assert!(said.contains("expected http://HOST:PORT"), "{said}");
    let said = refusal(watch(&url, &["--name", "nobody", "--password", "not known"]), 1);
    assert!(said.contains("logging in as nobody"), "{said}");
    node.terminate();
    let said = refusal(watch(&url, &[]), 1);
    assert!(said.contains(&format!("asking {url}")), "{said}");
}
