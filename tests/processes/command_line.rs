//! What a wrong call or a wrong setting is answered: exit code 2 and a
//! sentence that names the place and what was expected.

use std::fs;
use std::process::{Command, Output};

fn starmesh(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_starmesh")).args(args).output().expect("the binary starts")
}

/// Runs it, expects code 2, and gives what it said.
fn refused(args: &[&str]) -> String {
    let output = starmesh(args);
    let said = String::from_utf8(output.stderr).expect("errors are UTF-8");
    assert_eq!(output.status.code(), Some(2), "{args:?} said: {said}");
    said
}

/// Runs a node with these settings, and gives what it said with the file's
/// name left out.
fn refused_settings(text: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("node.toml");
    fs::write(&file, text).expect("the folder is writable");
    let file = file.to_str().expect("its name is UTF-8");
    refused(&["node", "--config", file]).replace(file, "node.toml")
}

#[test]
fn refuses_an_unknown_subcommand() {
    assert!(refused(&["nod"]).contains("unrecognized subcommand 'nod'"));
}

#[test]
fn refuses_a_flag_out_of_range_and_names_it() {
    let said = refused(&["node", "--http", "nowhere"]);
    assert!(said.contains("flag --http"), "{said}");
    assert!(said.contains("expected an address and port"), "{said}");
}

#[test]
fn refuses_a_configuration_file_that_is_not_there() {
    let said = refused(&["node", "--config", "/nonexistent/node.toml"]);
    assert!(said.contains("/nonexistent/node.toml: cannot be read"), "{said}");
}

#[test]
fn names_file_and_line_of_an_unknown_setting() {
    let said = refused_settings("[http]\n# a comment\nlisten_on = \"127.0.0.1:1\"\n");
    assert!(said.contains("node.toml:3: unknown setting http.listen_on"), "{said}");
}

#[test]
fn names_file_and_line_of_a_value_out_of_range() {
    let said = refused_settings("[http]\nworkers = 0\n");
    assert!(said.contains("node.toml:2: http.workers: found 0, expected"), "{said}");
}

#[test]
fn names_file_and_line_of_what_is_wrong_in_the_rules() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("rules.toml");
    fs::write(&file, "[[start]]\nunit = \"Dreadnought\"\ncount = 1\n").expect("it is writable");
    let file = file.to_str().expect("its name is UTF-8");
    let said = refused_settings(&format!("[rules]\nfile = {file:?}\n"));
    assert!(said.contains("rules.toml:2: unit: expected the name of a unit"), "{said}");
    let said = refused_settings("[rules]\nfile = \"/nonexistent/rules.toml\"\n");
    assert!(said.contains("rules.file: /nonexistent/rules.toml: cannot be read"), "{said}");
}

#[test]
fn tells_its_version() {
    let output = starmesh(&["--version"]);
    assert!(output.status.success());
    assert_eq!(output.stdout, format!("starmesh {}\n", env!("CARGO_PKG_VERSION")).as_bytes());
}
