//! Whom a node may declare dead, and when.

use super::*;
use crate::base::Tick;

fn row(incarnation: u64, tick: u64) -> NodeRow {
    NodeRow {
        incarnation: Incarnation(incarnation),
        nonce: 7,
        number: tick,
        tick: Tick(tick),
        refused: Vec::new(),
        audit_root: [0; 32],
    }
}

/// Rows of nodes 1 to n, of which those in `moves` move at each reading.
struct Model {
    members: Members,
    rows: Vec<RowRead>,
    deaths: DeathsRead,
    now: u64,
    commits: bool,
}

impl Model {
    fn new(nodes: u32) -> Model {
        let read = |node| RowRead { node: NodeId(node), version: 0, row: row(1, 0) };
        let rows = (1..=nodes).map(read).collect();
        let (members, deaths) = (Members::new(NodeId(1), 1000), DeathsRead::default());
        Model { members, rows, deaths, now: 1000, commits: true }
    }

    /// Who may be declared dead after so many ms in which only these move.
    fn run(&mut self, ms: u64, moves: &[u32]) -> Vec<u32> {
        let until = self.now + ms;
        while self.now < until {
            self.now += 200;
            self.read(moves);
        }
        self.dead()
    }

    fn read(&mut self, moves: &[u32]) {
        for read in &mut self.rows {
            read.version += u64::from(moves.contains(&read.node.0));
        }
        if self.commits {
            self.members.note_returned(Millis(self.now));
        }
        self.members.note_deaths(&self.deaths, Millis(self.now));
        self.members.note_rows(self.rows.clone(), Millis(self.now));
    }

    fn dead(&self) -> Vec<u32> {
        let deaths = self.members.deaths(Millis(self.now));
        deaths.into_iter().flat_map(|(nodes, _)| nodes).map(|node| node.0).collect()
    }

    /// As the store does with the groups.
    fn bury(&mut self) {
        let Some((_, group)) = self.members.deaths(Millis(self.now)) else { return };
        let value = |put: &Put| put.value.clone().unwrap();
        let version = self.deaths.version.map_or(1, |version| version + 1);
        self.deaths = DeathsRead::parse(version, &value(&group.puts[0])).unwrap();
        for put in &group.puts {
            let Some(node) = keys::parse_row(&put.key) else { continue };
            let read = self.rows.iter_mut().find(|read| read.node == node).unwrap();
            let row = NodeRow::from_bytes(&value(put)).unwrap();
            (read.version, read.row) = (read.version + 1, row);
        }
    }
}

#[test]
fn who_is_silent_for_a_second_while_others_move_may_be_declared_dead() {
    let mut model = Model::new(3);
    assert_eq!(model.run(10_000, &[1, 2, 3]), [0; 0]);
    assert_eq!(model.run(800, &[1, 2]), [0; 0], "not for a second yet");
    assert_eq!(model.run(400, &[1, 2]), [3]);
}

#[test]
fn of_two_nodes_one_may_declare_the_other() {
    let mut model = Model::new(2);
    model.run(1000, &[1, 2]);
    assert_eq!(model.run(2000, &[1]), [2]);
}

#[test]
fn where_nobody_else_moves_it_waits_for_five_seconds() {
    let mut model = Model::new(3);
    assert_eq!(model.run(4800, &[1]), [0; 0]);
    assert_eq!(model.run(600, &[1]), [2], "one of three");
}

#[test]
fn who_cannot_commit_itself_accuses_nobody() {
    let mut model = Model::new(3);
    model.run(1000, &[1, 2, 3]);
    model.commits = false;
    assert_eq!(model.run(20_000, &[2]), [0; 0]);
}

#[test]
fn who_waited_for_the_store_as_all_others_accuses_nobody() {
    let mut model = Model::new(3);
    model.run(1000, &[1, 2, 3]);
    model.commits = false;
    model.run(20_000, &[]);
    // Its commit is the first that the store takes again.
    model.commits = true;
    assert_eq!(model.run(800, &[1]), [0; 0]);
    assert_eq!(model.run(4000, &[1, 2, 3]), [0; 0]);
    assert_eq!(model.run(1200, &[1, 2]), [3]);
}

#[test]
fn who_stood_still_itself_accuses_nobody() {
    let mut model = Model::new(3);
    model.run(1000, &[1, 2, 3]);
    // The process was stopped; what it reads first is as it was before.
    model.now += 60_000;
    model.read(&[2]);
    assert_eq!(model.dead(), [0; 0]);
    assert_eq!(model.run(800, &[1, 2]), [0; 0]);
    assert_eq!(model.run(3_600, &[1, 2]), [0; 0], "it may take longer to be back");
    assert_eq!(model.run(1000, &[1, 2]), [3], "it is dead all the same");
}

#[test]
fn in_ten_seconds_no_more_than_a_third_are_declared_dead() {
    let mut model = Model::new(9);
    model.run(1000, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(model.run(2000, &[1, 2]), [3, 4, 5]);
    model.bury();
    assert_eq!(model.run(8000, &[1, 2]), [0; 0]);
    assert_eq!(model.run(4000, &[1, 2]), [6, 7], "of six");
}

#[test]
fn what_a_dead_incarnation_says_is_not_heeded() {
    let mut model = Model::new(2);
    let (node, first) = (NodeId(2), Incarnation(1));
    model.run(1000, &[1, 2]);
    model.run(2000, &[1]);
    assert!(model.members.may_speak(node, first) && model.members.is_living(node));
    model.bury();
    model.read(&[1]);
    assert!(!model.members.is_living(node));
    assert!(!model.members.may_speak(node, first), "it was declared dead");
    assert!(!model.members.may_speak(node, Incarnation(2)), "nobody runs under this one");
    assert!(model.members.may_speak(node, Incarnation(3)), "it began after the reading");
}

#[test]
fn who_takes_longer_to_be_back_with_the_store_is_not_accused() {
    let mut model = Model::new(3);
    model.run(1000, &[1, 2, 3]);
    model.commits = false;
    model.run(30_000, &[]);
    model.commits = true;
    assert_eq!(model.run(2000, &[1, 2]), [0; 0], "3 is still dialling");
    assert_eq!(model.run(2000, &[1, 2, 3]), [0; 0]);
    assert_eq!(model.run(1200, &[1, 2]), [3], "it was back");
}

/// Its row moved a last time between the last reading and the pause.
#[test]
fn what_moved_before_a_pause_is_not_taken_for_back_behind_it() {
    let mut model = Model::new(3);
    model.run(1000, &[1, 2, 3]);
    model.now += 30_000;
    model.read(&[1, 2, 3]);
    assert_eq!(model.run(3_000, &[1, 2]), [0; 0], "3 is still dialling");
    assert_eq!(model.run(2_000, &[1, 2, 3]), [0; 0]);
    assert_eq!(model.run(1200, &[1, 2]), [3], "it was back");
}

#[test]
fn a_process_that_has_just_begun_accuses_nobody_that_it_has_not_seen_move() {
    let mut model = Model::new(2);
    assert_eq!(model.run(4800, &[1]), [0; 0]);
    assert_eq!(model.run(600, &[1]), [2]);
}

#[test]
fn says_when_the_first_of_those_that_do_not_move_will_be_silent() {
    let mut model = Model::new(3);
    model.run(1000, &[1, 2, 3]);
    assert_eq!(model.members.silent_at(Millis(model.now)), Some(Millis(3000)));
    // This node's own row does not count.
    model.run(400, &[2, 3]);
    assert_eq!(model.members.silent_at(Millis(model.now)), Some(Millis(3400)));
    model.run(1000, &[2]);
    assert_eq!(model.now, 3400);
    assert_eq!(model.members.silent_at(Millis(model.now)), Some(Millis(4400)), "it is");
    assert_eq!(model.dead(), [3]);
}

#[test]
fn says_whose_incarnation_is_another() {
    let mut members = Members::new(NodeId(1), 1000);
    let read =
        |incarnation, version| vec![RowRead { node: NodeId(2), version, row: row(incarnation, 5) }];
    assert_eq!(members.note_rows(read(1, 1), Millis(0)), []);
    assert_eq!(members.note_rows(read(1, 2), Millis(200)), []);
    assert_eq!(members.note_rows(read(2, 3), Millis(400)), [NodeId(2)]);
    let mut late = Members::new(NodeId(1), 1000);
    assert_eq!(late.note_rows(read(2, 3), Millis(0)), [NodeId(2)], "one ended before");
}
