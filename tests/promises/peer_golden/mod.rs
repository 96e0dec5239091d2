//! Owns the golden bytes of what nodes send each other: a message, a question and an
//! answer of each kind, and the first words on a link. They are checked in
//! (`stored.txt`), so that a build that would not understand the one before it,
//! or be understood by it, fails here. Lines are only added; one changes only with
//! [`wire::FORMAT`].

mod names;
mod samples;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use starmesh::actors::mesh::wire;
use starmesh::cluster::core::shadows::datagram::{self, Datagram};
use starmesh::cluster::links::Hello;

const STORED: &str = include_str!("stored.txt");
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/promises/peer_golden/stored.txt");
const HEADING: &str = "# What nodes send each other; see mod.rs.
# Written by `make golden`. A line changes only with the version in the first.
";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn of_hex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(byte).collect()
}

fn version() -> String {
    format!("format {}", wire::FORMAT)
}

/// Each by its name, as this build writes it.
fn lines() -> BTreeMap<String, String> {
    let messages = samples::messages().into_iter();
    let messages = messages.map(|it| (names::name(&it), hex(&wire::encode(&it).1)));
    let questions = samples::questions().into_iter();
    let questions =
        questions.map(|it| (names::question_name(&it), hex(&wire::encode_question(&it))));
    let answers = samples::answers().into_iter();
    let answers = answers.map(|it| (names::answer_name(&it), hex(&wire::encode_answer(&it))));
    let hello = ("hello".to_owned(), hex(&samples::hello().to_bytes()));
    let Datagram { to, caster, cast } = samples::shadows();
    let shadows = datagram::split(caster, to, &cast).concat();
    let others = [hello, ("shadows".to_owned(), hex(&shadows))];
    messages.chain(questions).chain(answers).chain(others).collect()
}

/// The version of what is stored, and its lines.
fn stored() -> (&'static str, BTreeMap<String, String>) {
    let mut lines = STORED.lines().filter(|line| !line.starts_with('#'));
    let version = lines.next().unwrap_or_default();
    let pairs = lines.filter_map(|line| line.split_once(' '));
    (version, pairs.map(|(name, bytes)| (name.to_owned(), bytes.to_owned())).collect())
}

#[test]
fn golden_messages_between_nodes_are_written_and_read_as_ever() {
    let (version, stored) = stored();
    let now = lines();
    if version == self::version() {
        for (name, bytes) in &stored {
            assert_eq!(
                now.get(name),
                Some(bytes),
                "{name}: nodes of the build before send other bytes. If that is meant, raise FORMATS \
                 in src/entity/format.rs, write the new form only from that version on, and raise \
                 FORMAT in src/actors/mesh/wire.rs"
            );
        }
    }
    if std::env::var_os("STARMESH_WRITE_GOLDEN").is_some() {
        let lines = now.iter().map(|(name, bytes)| format!("{name} {bytes}\n"));
        let text = format!("{HEADING}{}\n{}", self::version(), lines.collect::<String>());
        std::fs::write(PATH, text).expect("the source is there");
        return;
    }
    assert_eq!((version, stored), (&*self::version(), now), "run `make golden`");
}

#[test]
fn what_is_stored_of_messages_is_read_as_what_it_was() {
    let (_, stored) = stored();
    let bytes = |name: &str| of_hex(stored.get(name).unwrap_or_else(|| panic!("no line {name}")));
    for message in samples::messages() {
        assert_eq!(wire::decode(&bytes(&names::name(&message))), Ok(message));
    }
    for question in samples::questions() {
        let read = wire::decode_question(&bytes(&names::question_name(&question)));
        assert_eq!(read, Ok(question));
    }
    for answer in samples::answers() {
        assert_eq!(wire::decode_answer(&bytes(&names::answer_name(&answer))), Ok(answer));
    }
    assert_eq!(datagram::read(&bytes("shadows")), Ok(samples::shadows()));
    assert_eq!(Hello::from_bytes(&bytes("hello")), Ok(samples::hello()));
}

#[test]
fn there_is_a_message_of_each_kind() {
    let names: BTreeSet<String> = lines().into_keys().collect();
    let missing: Vec<&str> =
        names::NAMES.into_iter().filter(|name| !names.contains(*name)).collect();
    assert!(missing.is_empty(), "add to the samples: {missing:?}");
    assert_eq!(names.len(), names::NAMES.len() + 1, "two of one name, or one that NAMES lacks");
}
