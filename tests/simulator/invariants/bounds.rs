//! Invariant 11: inbox and outbox are within their bounds.

use std::collections::VecDeque;

use starmesh::entity::channel::WAITING_MAX;

use crate::scene::{Fact, Invariant, Scene};

/// What may wait for room in a full channel, in this world.
const BACKLOG_MAX: usize = 64;

#[derive(Default)]
pub struct Bounds;

impl Invariant for Bounds {
    fn name(&self) -> &'static str {
        "11 inbox and outbox within bounds"
    }

    fn observe(&mut self, fact: &Fact<'_>, _: &Scene) -> Result<(), String> {
        let Fact::Applied { after, .. } = fact else { return Ok(()) };
        let head = after.head();
        let (waiting, backlog) =
            (head.outbox.fullest(), head.backlog.values().map(VecDeque::len).sum::<usize>());
        if waiting <= WAITING_MAX && backlog <= BACKLOG_MAX {
            return Ok(());
        }
        Err(format!("{}: {waiting} wait in a channel, {backlog} behind it", after.key()))
    }
}
