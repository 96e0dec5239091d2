//! The roll-ups of two nodes that tell each other.

use std::cell::RefCell;

use super::super::words::{WORDS_MAX, Word};
use super::super::{Telling, Told, ViewMessage, Words};
use super::cluster::{A, B, C};
use crate::base::{Millis, NodeId, SectorId};
use crate::sim::Galaxy;
use crate::view::rollup::{ROUND_MS, Rollup, SectorSnapshot};

struct Node {
    words: Words,
    rollup: Rollup,
    telling: Telling,
}

fn node() -> Node {
    Node { words: Words::default(), rollup: Rollup::default(), telling: Telling::default() }
}

fn galaxy() -> Galaxy {
    Galaxy::new(2026, 700).unwrap()
}

fn of(units: u32, activity_level: u8, at: u64) -> SectorSnapshot {
    let (resource_density, last_update) = (0, Millis(at));
    SectorSnapshot { unit_count: units, resource_density, activity_level, last_update }
}

impl Node {
    fn put(&mut self, sector: SectorId, word: Word) {
        match word {
            Word::Is(snapshot) => self.rollup.note(sector, &snapshot, &galaxy()),
            Word::Stopped => self.rollup.note_stopped(sector),
        }
    }

    fn note(&mut self, sector: SectorId, snapshot: Option<SectorSnapshot>) {
        let word = self.words.note(sector, snapshot);
        self.put(sector, word);
    }

    fn hear(&mut self, from: NodeId, told: &[Told]) {
        for it in told {
            if let Some(word) = self.words.note_from(from, *it) {
                self.put(it.0, word);
            }
        }
    }

    /// What this one has to say goes to `other` until nothing is left.
    fn tell(&mut self, me: NodeId, other: &mut Node) -> usize {
        let sent: RefCell<Vec<Vec<Told>>> = RefCell::default();
        let send = |_: NodeId, message: ViewMessage| {
            let ViewMessage::Summaries(told) = message else { panic!("summaries") };
            sent.borrow_mut().push(told);
            true
        };
        self.telling.tell_news(&self.words.drain_news(), &send);
        for _ in 0..20 {
            self.telling.tell_all(|last| self.words.page(last), &send);
        }
        let sent = sent.into_inner();
        sent.iter().for_each(|told| other.hear(me, told));
        sent.len()
    }

    /// Units in the whole galaxy, and how busy it is.
    fn total(&mut self, now: &mut u64) -> (u32, u8) {
        *now += ROUND_MS;
        while !self.rollup.advance(Millis(*now), &galaxy()) {}
        let (root, _) = self.rollup.get(galaxy().root(), &galaxy()).unwrap();
        (root.unit_count, root.activity_level)
    }
}

fn sector(x: i64) -> SectorId {
    SectorId::tactical(x, 3)
}

#[test]
fn sums_over_two_nodes_count_every_sector_once() {
    let (mut a, mut b, mut now) = (node(), node(), 0);
    a.telling.handle_link(B, true);
    b.telling.handle_link(A, true);
    a.note(sector(1), Some(of(10, 3, 1)));
    b.note(sector(2), Some(of(5, 1, 1)));
    a.tell(A, &mut b);
    b.tell(B, &mut a);
    assert_eq!((a.total(&mut now), b.total(&mut now)), ((15, 3), (15, 3)));
    // It goes from A to B, which says so before A says that it is gone.
    b.note(sector(1), Some(of(11, 7, 2)));
    b.tell(B, &mut a);
    a.note(sector(1), None);
    a.tell(A, &mut b);
    assert_eq!((a.total(&mut now), b.total(&mut now)), ((16, 7), (16, 7)));
    // It falls asleep at B, and has what it had.
    b.note(sector(1), None);
    b.tell(B, &mut a);
    assert_eq!((a.total(&mut now), b.total(&mut now)), ((16, 1), (16, 1)));
    // It wakes at A.
    a.note(sector(1), Some(of(12, 0, 3)));
    a.tell(A, &mut b);
    assert_eq!((a.total(&mut now), b.total(&mut now)), ((17, 1), (17, 1)));
}

#[test]
fn a_node_whose_link_comes_up_is_told_all_even_of_what_fell_asleep_meanwhile() {
    let (mut a, mut b, mut now) = (node(), node(), 0);
    let count = 3 * WORDS_MAX as i64;
    for x in 0..count {
        a.note(SectorId::tactical(x % 700, x / 700), Some(of(1, 9, 1)));
    }
    a.note(SectorId::tactical(7, 0), None);
    a.words.drain_news();
    assert_eq!(a.tell(A, &mut b), 0, "there is no link");
    a.telling.handle_link(B, true);
    assert_eq!(a.tell(A, &mut b), 6, "pages");
    assert_eq!(a.tell(A, &mut b), 0, "told once");
    assert_eq!(b.total(&mut now), (3 * WORDS_MAX as u32, 9));
    // Down: nothing is busy there, all units are where they were.
    for (sector, word) in b.words.forget(A) {
        b.put(sector, word);
    }
    assert_eq!(b.total(&mut now), (3 * WORDS_MAX as u32, 0));
}

#[test]
fn a_node_that_does_not_take_news_is_told_all_of_it_later() {
    let (mut a, mut b, mut now) = (node(), node(), 0);
    a.telling.handle_link(B, true);
    a.telling.handle_link(C, true);
    a.tell(A, &mut b);
    a.note(sector(1), Some(of(10, 3, 1)));
    a.telling.tell_news(&a.words.drain_news(), &|_, _| false);
    a.telling.tell_all(|last| a.words.page(last), &|_, _| false);
    a.note(sector(2), Some(of(10, 3, 1)));
    a.tell(A, &mut b);
    assert_eq!(b.total(&mut now), (20, 3));
}

/// However many sectors a node names, what is kept of it is bounded, and others are
/// not the worse for it.
#[test]
fn what_one_node_says_beyond_its_bound_is_left_out_until_there_is_room() {
    let (mut a, mut now) = (node(), 0);
    a.words = Words::keeping(3);
    for x in 0..5 {
        a.hear(B, &[(sector(x), Some(of(1, 0, 1)))]);
    }
    a.hear(C, &[(sector(9), Some(of(10, 0, 1)))]);
    assert_eq!(a.total(&mut now), (13, 0));
    // What is kept goes on to be told, and what stops makes room, once.
    a.hear(B, &[(sector(0), Some(of(2, 0, 2))), (sector(4), None), (sector(1), None)]);
    a.hear(B, &[(sector(1), None), (sector(3), Some(of(1, 0, 3))), (sector(4), Some(of(1, 0, 3)))]);
    assert_eq!(a.total(&mut now), (15, 0), "units of what stopped are still there");
    a.words.forget(B);
    a.hear(B, &[(sector(4), Some(of(1, 0, 4)))]);
    assert_eq!(a.total(&mut now), (16, 0));
}

#[test]
fn news_are_told_once_a_second() {
    let mut telling = Telling::default();
    assert_eq!((0..100).filter(|_| telling.handle_tick()).count(), 10);
}

#[test]
fn while_two_say_that_a_sector_runs_there_the_later_word_counts() {
    for later_first in [true, false] {
        let (mut a, mut now) = (node(), 0);
        let words = [(B, of(10, 1, 1)), (C, of(12, 2, 5))];
        let order = if later_first { [1, 0] } else { [0, 1] };
        for (from, snapshot) in order.map(|at| words[at]) {
            a.hear(from, &[(sector(1), Some(snapshot))]);
        }
        assert_eq!(a.total(&mut now), (12, 2));
        a.hear(B, &[(sector(1), None)]);
        assert_eq!(a.total(&mut now), (12, 2));
    }
}
