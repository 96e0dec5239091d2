//! Owns which other nodes were told what is known of the sectors here. Never
//! keeps what it tells: the words are asked for again. Called every 100 ms by
//! the view's thread; `send` says whether the link took it.
//!
//! Each node whose link is up is told the news once a second. One whose link
//! came up, or did not take news, is told all that is known, a page at a time;
//! a page that is not taken is told again. Invariant: what is kept is one place
//! in all that is known for each node.

use std::collections::BTreeMap;

use super::words::WORDS_MAX;
use super::{Told, ViewMessage};
use crate::base::{NodeId, SectorId};

/// News are told every so many ticks of 100 ms: a second.
pub const NEWS_TICKS: u32 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knows {
    All,
    /// All up to this sector, and what was news since.
    UpTo(Option<SectorId>),
}

/// All nodes whose link is up.
#[derive(Debug, Default)]
pub struct Telling {
    nodes: BTreeMap<NodeId, Knows>,
    ticks: u32,
}

impl Telling {
    /// The link to that node came up, or went down.
    pub fn handle_link(&mut self, node: NodeId, up: bool) {
        match up {
            true => _ = self.nodes.insert(node, Knows::UpTo(None)),
            false => _ = self.nodes.remove(&node),
        }
    }

    /// Whether the news are due.
    #[must_use]
    pub fn handle_tick(&mut self) -> bool {
        self.ticks = (self.ticks + 1) % NEWS_TICKS;
        self.ticks == 0
    }

    /// Tells all nodes the news.
    pub fn tell_news(&mut self, news: &[Told], send: &impl Fn(NodeId, ViewMessage) -> bool) {
        for (node, knows) in &mut self.nodes {
            let tell = |words: &[Told]| send(*node, ViewMessage::Summaries(words.to_vec()));
            if !news.chunks(WORDS_MAX).all(tell) {
                *knows = Knows::UpTo(None);
            }
        }
    }

    /// Tells those that do not know all the next page.
    pub fn tell_all(
        &mut self,
        page: impl Fn(Option<SectorId>) -> Option<(Vec<Told>, SectorId)>,
        send: &impl Fn(NodeId, ViewMessage) -> bool,
    ) {
        for (node, knows) in &mut self.nodes {
            let Knows::UpTo(last) = *knows else { continue };
            match page(last) {
                None => *knows = Knows::All,
                Some((words, end)) => {
                    if send(*node, ViewMessage::Summaries(words)) {
                        *knows = Knows::UpTo(Some(end));
                    }
                }
            }
        }
    }
}
