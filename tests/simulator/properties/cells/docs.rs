//! The examples of blocks in docs/protocol.md are what the code writes.

use starmesh::base::UnitId;
use starmesh::protocol::blocks::columns::UpdateBody;
use starmesh::protocol::blocks::packet::{Kind, Start, read_message, write_block, write_start};
use starmesh::protocol::blocks::{
    Change, Content, CourseChange, Departure, Direction, Happened, Waypoint, json, named,
};
use starmesh::protocol::{Course, Header};

const DOCS: &str = include_str!("../../../../docs/protocol.md");
const HEADER: Header = Header { handle: 3, tick: 18_674 };

/// The chapter's text blocks, in order.
fn examples() -> Vec<&'static str> {
    let chapter = DOCS.split_once("## Blocks").unwrap().1.split_once("\n## Limits").unwrap().0;
    let fenced = chapter.split("```text\n").skip(1);
    fenced.map(|rest| rest.split_once("```").unwrap().0.trim()).collect()
}

#[test]
fn the_example_of_columns_is_what_is_written() {
    let course = Some(CourseChange::To(Waypoint { x: 2424, y: 2048 }));
    let body = UpdateBody {
        changes: vec![(1, Change { course, ..Change::default() })],
        departures: vec![(2, Departure::To(Direction::ALL[0]))],
        appeared: Vec::new(),
    };
    let (mut bytes, mut written) = (Vec::new(), Vec::new());
    body.write(27, &mut bytes);
    write_start(&Start { header: HEADER, full_tick: None, scope: 0, mask: None }, &mut written);
    write_block(27, Kind::Update { base: 2 }, &bytes, &mut written);
    let hex: Vec<String> = written.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(examples()[1], hex.join(" "));
    let body: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(DOCS.contains(&format!("| `{}` |", body.join(" "))));
    let (header, packet) = read_message(&written).unwrap();
    assert_eq!(header, HEADER);
    assert!(matches!(&packet.blocks[0].content, Content::Update(update) if update.base == 2));
}

#[test]
fn the_example_in_json_is_read_and_written() {
    let (header, packet) = json::read_message(examples()[0].as_bytes()).unwrap();
    assert_eq!(header, HEADER);
    let Content::Update(update) = &packet.blocks[0].content else { panic!("no update") };
    let Happened::Named { changes, departures } = &update.happened else { panic!("no names") };
    let course = Course { vx: 5_000, vy: 0, steps: 2 };
    let expected = named::UnitDelta {
        unit_id: UnitId(1_048_577),
        changes: named::bit::VELOCITY | named::bit::HEADING,
        course: Some(course),
        heading: Some(0),
        ..named::UnitDelta::default()
    };
    assert_eq!(changes[..], [expected]);
    let departed = named::Departed { unit_id: UnitId(1_048_578), cell: Some(28) };
    assert_eq!(departures[..], [departed]);
    let content = named::NamedContent::Update(named::NamedUpdate {
        base: 2,
        changed: changes.clone(),
        departed: departures.clone(),
        appeared: Vec::new(),
    });
    let mut written = Vec::new();
    json::write_start(
        &Start { header: HEADER, full_tick: None, scope: 0, mask: None },
        &mut written,
    );
    json::write_block(&named::NamedBlock { cell: 27, content }, &mut written);
    json::write_end(&mut written);
    assert_eq!(String::from_utf8(written).unwrap(), examples()[0]);
}
