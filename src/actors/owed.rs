//! Owns what a gateway still has to say to ledgers, or to hear from them, of its
//! connections: a Connect that is not answered, a session that a ledger may
//! believe lost, a connection that is gone. Pure: reads no clock, sends nothing.
//! Called by [`Ports`](super::ports) and by the gateway's tending. Invariants:
//! one word for each connection; no more words than [`MOST`]; each that is due
//! has its turn, whatever becomes of the others.
//!
//! A link that breaks takes what is on it along, and nobody says so. So a word is
//! said again until its ledger has answered, or would be of no use any more.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included, Unbounded};

use crate::base::{Millis, PlayerId};
use crate::entity::input::{Connect, Left};

/// Words that are remembered. Of one more a Connect or a Left is said once only,
/// and whoever has the session is asked again with the next change of its ledger.
pub const MOST: usize = 65_536;
/// An answer that has not come in this time may be lost.
const AGAIN_MS: u64 = 5_000;
/// What could not be said is tried again after so long.
const UNSAID_MS: u64 = 1_000;
/// A Connect is given up after so long: its client has long been told.
const CONNECT_MS: u64 = 60_000;
/// That a connection is gone is remembered for so long after it was said: longer
/// than a link takes to be known as broken.
const LEFT_MS: u64 = 60_000;

/// What is to be said of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Connect(Connect),
    Held(Left),
    Left(Left),
}

#[derive(Clone, Copy, Debug)]
struct Owed {
    word: Word,
    /// When it was first owed; of a Left, when it was last said.
    since: Millis,
    /// When it is to be said next; never, of a Left that was.
    due: Option<Millis>,
}

/// The words owed, by connection.
#[derive(Debug, Default)]
pub struct Words {
    owed: BTreeMap<u64, Owed>,
    /// The connections of which words are owed, by player.
    players: BTreeSet<(PlayerId, u64)>,
    /// Whose word was taken last: those behind it come next.
    last: u64,
}

impl Word {
    fn connection(&self) -> u64 {
        match self {
            Word::Connect(connect) => connect.connection,
            Word::Held(left) | Word::Left(left) => left.connection,
        }
    }

    /// Whose ledger is meant.
    pub fn player(&self) -> PlayerId {
        match self {
            Word::Connect(connect) => connect.player,
            Word::Held(left) | Word::Left(left) => left.player,
        }
    }
}

impl Words {
    /// Owes `word` from `now` on; `said` is whether it was said just now.
    /// Nothing when there is no room, and a connection that is gone holds nothing.
    pub fn owe(&mut self, word: Word, said: bool, now: Millis) {
        let connection = word.connection();
        let is_gone = |owed: &Owed| matches!(owed.word, Word::Left(_));
        if matches!(word, Word::Held(_)) && self.owed.get(&connection).is_some_and(is_gone) {
            return;
        }
        if self.owed.len() < MOST || self.owed.contains_key(&connection) {
            let due = if said { next(&word, now) } else { Some(now) };
            self.remove(connection);
            self.players.insert((word.player(), connection));
            self.owed.insert(connection, Owed { word, since: now, due });
        }
    }

    /// Its ledger answered for this connection. That it is gone stays to be said.
    pub fn note_answered(&mut self, connection: u64) {
        if self.owed.get(&connection).is_some_and(|owed| !matches!(owed.word, Word::Left(_))) {
            self.remove(connection);
        }
    }

    /// The ledger gave `player` a session at this connection. What earlier ones
    /// of the player asked or held is of no use any more, and asked again it
    /// might end this session.
    pub fn note_given(&mut self, player: PlayerId, connection: u64) {
        let earlier = self.players.range((player, 0)..=(player, connection));
        let earlier: Vec<u64> = earlier.map(|(_, connection)| *connection).collect();
        earlier.into_iter().for_each(|connection| self.note_answered(connection));
    }

    /// The connection is gone: nothing is held by it. A Connect that is not
    /// answered stays: a session that comes of it has to be left.
    pub fn note_closed(&mut self, connection: u64) {
        if self.owed.get(&connection).is_some_and(|owed| matches!(owed.word, Word::Held(_))) {
            self.remove(connection);
        }
    }

    /// What was said to the ledgers of these players may have been lost.
    pub fn say_again(&mut self, now: Millis, is_meant: impl Fn(PlayerId) -> bool) {
        for owed in self.owed.values_mut().filter(|owed| is_meant(owed.word.player())) {
            owed.due = Some(owed.due.map_or(now, |due| due.min(now)));
        }
    }

    /// What is to be said now, at most so many words; each counts as said. They
    /// take turns: it goes on behind the one that was taken last.
    pub fn take_due(&mut self, now: Millis, most: usize) -> Vec<Word> {
        self.forget_old(now);
        let is_due = |owed: &&mut Owed| owed.due.is_some_and(|due| due <= now);
        let mut taken = Vec::new();
        let say = |owed: &mut Owed| {
            owed.due = next(&owed.word, now);
            if let Word::Left(_) = owed.word {
                owed.since = now;
            }
            owed.word
        };
        for range in [(Excluded(self.last), Unbounded), (Unbounded, Included(self.last))] {
            let owed = self.owed.range_mut(range).map(|(_, owed)| owed);
            taken.extend(owed.filter(is_due).take(most - taken.len()).map(say));
        }
        self.last = taken.last().map_or(self.last, Word::connection);
        taken
    }

    /// It was not said after all: it is to be soon.
    pub fn note_unsaid(&mut self, word: &Word, now: Millis) {
        if let Some(owed) = self.owed.get_mut(&word.connection())
            && owed.word == *word
        {
            owed.due = Some(Millis(now.0.saturating_add(UNSAID_MS)));
        }
    }

    fn forget_old(&mut self, now: Millis) {
        let players = &mut self.players;
        self.owed.retain(|connection, owed| {
            let stays = match owed.word {
                Word::Connect(_) => now.since(owed.since) < CONNECT_MS,
                Word::Held(_) => true,
                Word::Left(_) => owed.due.is_some() || now.since(owed.since) < LEFT_MS,
            };
            if !stays {
                players.remove(&(owed.word.player(), *connection));
            }
            stays
        });
    }

    fn remove(&mut self, connection: u64) {
        if let Some(owed) = self.owed.remove(&connection) {
            self.players.remove(&(owed.word.player(), connection));
        }
    }

    /// Words that are remembered.
    pub fn count(&self) -> usize {
        self.owed.len()
    }
}

/// When a word that is said now is to be said again.
fn next(word: &Word, now: Millis) -> Option<Millis> {
    match word {
        Word::Connect(_) | Word::Held(_) => Some(Millis(now.0.saturating_add(AGAIN_MS))),
        Word::Left(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SessionId;

    const NOW: Millis = Millis(1_000);

    fn left(connection: u64) -> Left {
        Left { player: PlayerId(7), session: SessionId(1), connection }
    }

    fn connect(connection: u64) -> Word {
        Word::Connect(Connect { player: PlayerId(7), connection, resume: None })
    }

    fn later(ms: u64) -> Millis {
        Millis(NOW.0 + ms)
    }

    #[test]
    fn a_connect_is_said_again_until_it_is_answered_or_too_old() {
        let mut words = Words::default();
        words.owe(connect(1), true, NOW);
        words.owe(connect(2), true, NOW);
        assert_eq!(words.take_due(later(AGAIN_MS - 1), 9), []);
        words.note_answered(1);
        assert_eq!(words.take_due(later(AGAIN_MS), 9), [connect(2)]);
        assert_eq!(words.take_due(later(AGAIN_MS), 9), [], "it was said just now");
        assert_eq!(words.take_due(later(2 * AGAIN_MS), 9), [connect(2)]);
        assert_eq!(words.take_due(later(CONNECT_MS), 9), []);
        assert_eq!(words.count(), 0);
    }

    #[test]
    fn that_a_connection_is_gone_is_said_once_and_again_when_that_may_be_lost() {
        let mut words = Words::default();
        let gone = Word::Left(left(1));
        words.owe(gone, false, NOW);
        assert_eq!(words.take_due(NOW, 9), [gone]);
        words.note_answered(1);
        assert_eq!(words.take_due(later(AGAIN_MS), 9), []);
        words.say_again(later(AGAIN_MS), |player| player == PlayerId(8));
        assert_eq!(words.take_due(later(AGAIN_MS), 9), [], "another ledger");
        words.say_again(later(AGAIN_MS), |player| player == PlayerId(7));
        assert_eq!(words.take_due(later(AGAIN_MS), 9), [gone]);
        assert_eq!(words.take_due(later(AGAIN_MS + LEFT_MS), 9), []);
        assert_eq!(words.count(), 0);
    }

    #[test]
    fn what_was_not_said_is_tried_again_however_late_that_is() {
        let mut words = Words::default();
        let gone = Word::Left(left(1));
        words.owe(gone, false, NOW);
        for turn in 0..5 {
            let now = later(turn * LEFT_MS);
            assert_eq!(words.take_due(now, 9), [gone]);
            words.note_unsaid(&gone, now);
        }
    }

    /// A link that is cut, and a ledger behind another one.
    #[test]
    fn words_that_cannot_be_said_keep_no_other_back() {
        let mut words = Words::default();
        (1..=300).for_each(|connection| words.owe(connect(connection), false, NOW));
        let other = Word::Held(Left { player: PlayerId(8), ..left(1_000) });
        words.owe(other, false, NOW);
        let is_said = (0..5).any(|turn| {
            let now = later(turn * 100);
            let taken = words.take_due(now, 100);
            let unsaid = taken.iter().filter(|word| word.player() == PlayerId(7));
            unsaid.for_each(|word| words.note_unsaid(word, now));
            taken.contains(&other)
        });
        assert!(is_said);
    }

    #[test]
    fn what_a_closed_connection_held_is_not_said_but_what_it_asked_is() {
        let mut words = Words::default();
        words.owe(Word::Held(left(1)), false, NOW);
        words.owe(connect(2), false, NOW);
        words.note_closed(1);
        words.note_closed(2);
        assert_eq!(words.take_due(NOW, 9), [connect(2)]);
    }

    #[test]
    fn a_connection_that_is_gone_is_not_said_to_hold_anything() {
        let mut words = Words::default();
        let gone = Word::Left(left(1));
        words.owe(gone, false, NOW);
        words.owe(Word::Held(left(1)), false, NOW);
        assert_eq!(words.take_due(NOW, 9), [gone]);
        words.owe(Word::Held(left(1)), false, NOW);
        assert_eq!(words.take_due(later(AGAIN_MS), 9), [], "nor when that was said");
    }

    #[test]
    fn what_earlier_connections_of_a_player_asked_is_not_asked_again_behind_a_session() {
        let mut words = Words::default();
        let gone = Word::Left(left(2));
        let other = Word::Held(Left { player: PlayerId(8), ..left(3) });
        words.owe(connect(1), false, NOW);
        words.note_closed(1);
        words.owe(gone, false, NOW);
        words.owe(other, false, NOW);
        words.owe(connect(4), false, NOW);
        words.owe(connect(5), false, NOW);
        words.note_given(PlayerId(7), 4);
        assert_eq!(words.take_due(NOW, 9), [gone, other, connect(5)]);
        assert_eq!(words.take_due(later(CONNECT_MS + LEFT_MS), 9), [other]);
        assert_eq!(words.players.len(), 1, "nothing is kept of words that are not");
    }

    #[test]
    fn says_a_turns_worth_and_remembers_no_more_than_fits() {
        let mut words = Words::default();
        let many = u64::try_from(MOST).unwrap();
        (1..=many + 5).for_each(|n| words.owe(connect(n), false, NOW));
        assert_eq!(words.count(), MOST);
        assert_eq!(words.take_due(NOW, 100).len(), 100);
        assert_eq!(words.take_due(NOW, 100)[0], connect(101));
    }
}
