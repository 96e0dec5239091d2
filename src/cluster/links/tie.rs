//! Owns which connection of a pair stays when both sides dial, or one dials
//! again. Pure. Invariant: once both sides have handled all that was sent, they
//! hold the same connection or none: the one that was dialled by the smaller
//! node wins, from the moment it has said hello.

use super::end::{End, Reason};
use crate::base::{Incarnation, NodeId};

/// How far this node's own dialling is.
///
/// ```text
/// None ──begin_dial──► Connecting ──begin_greeting──► Greeting ──handle_welcome──► None
///                          └───── a peer's hello ends it ─────┘ (unless it loses)
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attempt {
    #[default]
    None,
    /// The peer knows nothing of it yet.
    Connecting,
    /// The peer may have taken it.
    Greeting,
}

/// The connection that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub incarnation: Incarnation,
    pub dialled_here: bool,
}

/// What one node knows of its connections to a peer.
#[derive(Clone, Debug)]
pub struct Tie {
    /// This node's id is the smaller: of two connections its own stays.
    is_smaller: bool,
    attempt: Attempt,
    held: Option<Held>,
}

impl Tie {
    pub fn new(us: NodeId, peer: NodeId) -> Tie {
        Tie { is_smaller: us < peer, attempt: Attempt::None, held: None }
    }

    pub fn held(&self) -> Option<Held> {
        self.held
    }

    /// Whether this node is to dial: it has no connection.
    pub fn begin_dial(&mut self) -> bool {
        let free = self.held.is_none();
        self.attempt = if free { Attempt::Connecting } else { Attempt::None };
        free
    }

    /// Whether the hello may be said on the connection that was dialled; if not,
    /// the peer's came first.
    pub fn begin_greeting(&mut self) -> bool {
        let on = self.attempt == Attempt::Connecting && self.held.is_none();
        self.attempt = if on { Attempt::Greeting } else { Attempt::None };
        on
    }

    /// Dialling came to nothing.
    pub fn handle_failure(&mut self) {
        self.attempt = Attempt::None;
    }

    /// The peer answered the hello on the connection dialled here, which is held
    /// from now on; it takes the place of none.
    ///
    /// # Errors
    /// When another is held meanwhile.
    pub fn handle_welcome(&mut self, incarnation: Incarnation) -> Result<(), End> {
        if self.attempt != Attempt::Greeting || self.held.is_some() {
            return Err(duplicate());
        }
        self.attempt = Attempt::None;
        self.held = Some(Held { incarnation, dialled_here: true });
        Ok(())
    }

    /// The peer said hello on a connection that it dialled. It is held from now
    /// on, in the place of the one that was.
    ///
    /// # Errors
    /// When this node's own stays, or the peer's incarnation is an older one.
    pub fn handle_hello(&mut self, incarnation: Incarnation) -> Result<(), End> {
        if let Some(held) = self.held {
            if incarnation < held.incarnation {
                let (old, new) = (incarnation, held.incarnation);
                let detail = format!("incarnation {old}, but {new} of this node has a link");
                return Err(End::us(Reason::DeadIncarnation, detail));
            }
            // Of the same incarnation, it dials again only what it has lost, but
            // may have dialled before it heard of ours.
            if incarnation == held.incarnation && held.dialled_here && self.is_smaller {
                return Err(duplicate());
            }
        } else if self.attempt == Attempt::Greeting && self.is_smaller {
            return Err(duplicate());
        }
        self.attempt = Attempt::None;
        self.held = Some(Held { incarnation, dialled_here: false });
        Ok(())
    }

    /// The connection that is held went down.
    pub fn handle_down(&mut self) {
        self.held = None;
    }
}

fn duplicate() -> End {
    End::us(Reason::Duplicate, "another connection of these two nodes stays")
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::base::draw::draw;

    const FIRST: Incarnation = Incarnation(1);

    /// A connection as the two ends see it: what is on its way to each.
    #[derive(Debug, Default)]
    struct Wire {
        dialler: usize,
        to: [VecDeque<Word>; 2],
        closed: [bool; 2],
    }

    #[derive(Clone, Copy, Debug)]
    enum Word {
        /// The transport is there.
        Ready,
        Hello,
        Welcome,
        Close,
    }

    /// Two nodes that dial each other, and a network that takes its time.
    struct Pair {
        ties: [Tie; 2],
        holds: [Option<usize>; 2],
        dialling: [Option<usize>; 2],
        wires: Vec<Wire>,
    }

    impl Pair {
        fn new() -> Pair {
            let tie = |us, peer| Tie::new(NodeId(us), NodeId(peer));
            Pair {
                ties: [tie(1, 2), tie(2, 1)],
                holds: [None; 2],
                dialling: [None; 2],
                wires: Vec::new(),
            }
        }

        fn dial(&mut self, node: usize) {
            if self.dialling[node].is_none() && self.ties[node].begin_dial() {
                let mut wire = Wire { dialler: node, ..Wire::default() };
                wire.to[node].push_back(Word::Ready);
                self.dialling[node] = Some(self.wires.len());
                self.wires.push(wire);
            }
        }

        fn say(&mut self, wire: usize, to: usize, word: Word) {
            self.wires[wire].to[to].push_back(word);
        }

        fn close(&mut self, node: usize, wire: usize) {
            self.wires[wire].closed[node] = true;
            self.say(wire, 1 - node, Word::Close);
        }

        fn hold(&mut self, node: usize, wire: usize) {
            if let Some(old) = self.holds[node].replace(wire) {
                self.close(node, old);
            }
        }

        /// Handles the next word on its way to `node` on this wire.
        fn step(&mut self, node: usize, wire: usize) {
            let Some(word) = self.wires[wire].to[node].pop_front() else { return };
            if self.wires[wire].closed[node] {
                return;
            }
            let ours = self.wires[wire].dialler == node;
            match word {
                Word::Ready if self.ties[node].begin_greeting() => {
                    self.say(wire, 1 - node, Word::Hello);
                }
                Word::Hello if self.ties[node].handle_hello(FIRST).is_ok() => {
                    self.hold(node, wire);
                    self.say(wire, 1 - node, Word::Welcome);
                }
                Word::Welcome if self.ties[node].handle_welcome(FIRST).is_ok() => {
                    self.hold(node, wire);
                    self.dialling[node] = None;
                }
                Word::Ready | Word::Hello | Word::Welcome => {
                    self.close(node, wire);
                    if ours {
                        self.dialling[node] = None;
                    }
                }
                Word::Close => {
                    self.wires[wire].closed[node] = true;
                    if self.holds[node] == Some(wire) {
                        self.holds[node] = None;
                        self.ties[node].handle_down();
                    } else if ours && self.dialling[node] == Some(wire) {
                        self.dialling[node] = None;
                        self.ties[node].handle_failure();
                    }
                }
            }
        }

        fn on_the_way(&self) -> Vec<(usize, usize)> {
            let all = (0..self.wires.len()).flat_map(|wire| [(0, wire), (1, wire)]);
            all.filter(|&(node, wire)| !self.wires[wire].to[node].is_empty()).collect()
        }
    }

    #[test]
    fn two_nodes_that_dial_each_other_at_any_moment_hold_the_same_connection() {
        for seed in 0..20_000 {
            let mut pair = Pair::new();
            let mut random = (0..).map(|n| draw(seed, "links tie", &[n]) as usize);
            let mut chance = |below: usize| random.next().unwrap() % below;
            let mut dials = 4;
            loop {
                let ways = pair.on_the_way();
                if ways.is_empty() && dials == 0 {
                    break;
                }
                if dials > 0 && (ways.is_empty() || chance(4) == 0) {
                    pair.dial(chance(2));
                    dials -= 1;
                } else if !ways.is_empty() {
                    let (node, wire) = ways[chance(ways.len())];
                    pair.step(node, wire);
                }
            }
            assert!(pair.holds[0].is_some(), "seed {seed}: no connection stays");
            assert_eq!(pair.holds[0], pair.holds[1], "seed {seed}: each holds another");
        }
    }

    #[test]
    fn a_later_incarnation_takes_the_place_of_an_older_one_and_never_the_reverse() {
        for (us, peer) in [(1, 2), (2, 1)] {
            let mut tie = Tie::new(NodeId(us), NodeId(peer));
            assert!(tie.begin_dial() && tie.begin_greeting());
            tie.handle_welcome(Incarnation(4)).unwrap();
            let old = tie.handle_hello(Incarnation(3)).unwrap_err();
            assert_eq!(old.reason, Reason::DeadIncarnation);
            tie.handle_hello(Incarnation(5)).unwrap();
            assert_eq!(tie.held().unwrap().incarnation, Incarnation(5));
        }
    }

    #[test]
    fn who_dials_again_has_lost_the_connection_that_it_dialled() {
        for (us, peer) in [(1, 2), (2, 1)] {
            let mut tie = Tie::new(NodeId(us), NodeId(peer));
            tie.handle_hello(FIRST).unwrap();
            tie.handle_hello(FIRST).unwrap();
        }
    }
}
