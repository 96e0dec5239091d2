//! Owns the asks of one link: a number for each, who waits for its answer, and
//! until when. Never sends; the link does. Invariant: every ask that was opened
//! ends exactly once, with its answer, a refusal, its time, or the link's end.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::oneshot;

/// Why an ask has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Nothing was sent.
    #[error("{max} asks to this peer are unanswered; nothing was sent")]
    TooMany { max: usize },
    /// Nothing was sent.
    #[error("an ask of {got} bytes, at most {max} are allowed; nothing was sent")]
    TooLong { got: usize, max: usize },
    /// Whether the peer did what was asked is not known.
    #[error("no answer within the time; whether it was done is not known")]
    TimedOut,
    /// Whether the peer did what was asked is not known.
    #[error("the link went down; whether it was done is not known")]
    Down,
    /// The peer says that it did nothing.
    #[error("the peer refused it: {0}")]
    Refused(String),
    /// Whether the peer did what was asked is not known.
    #[error("the peer will not answer, whether it was done is not known: {0}")]
    Unanswered(String),
}

type Outcome = Result<Bytes, AskError>;

#[derive(Debug)]
struct Waiting {
    until: Instant,
    sender: oneshot::Sender<Outcome>,
}

/// The asks of one link that wait for their answers.
#[derive(Debug)]
pub struct Asks {
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    waiting: HashMap<u64, Waiting>,
    is_closed: bool,
}

impl Asks {
    pub fn new(max: usize) -> Asks {
        Asks { max, state: Mutex::default() }
    }

    /// A number for an ask, and where its outcome comes.
    ///
    /// # Errors
    /// When too many wait, or the link is down.
    pub fn open(&self, until: Instant) -> Result<Ask<'_>, AskError> {
        let (sender, outcome) = oneshot::channel();
        let mut state = self.lock();
        if state.is_closed {
            return Err(AskError::Down);
        }
        if state.waiting.len() >= self.max {
            return Err(AskError::TooMany { max: self.max });
        }
        state.last += 1;
        let number = state.last;
        state.waiting.insert(number, Waiting { until, sender });
        Ok(Ask { asks: self, number, outcome })
    }

    /// An answer came. Nobody may wait for it any more.
    pub fn handle_answer(&self, number: u64, outcome: Outcome) {
        let waiting = self.lock().waiting.remove(&number);
        if let Some(waiting) = waiting {
            // Its receiver may go at any moment.
            let _ = waiting.sender.send(outcome);
        }
    }

    /// Ends those whose time has passed; how many.
    pub fn expire(&self, now: Instant) -> usize {
        let mut expired = Vec::new();
        let mut state = self.lock();
        let late: Vec<u64> = state
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.until <= now)
            .map(|(number, _)| *number)
            .collect();
        expired.extend(late.iter().filter_map(|number| state.waiting.remove(number)));
        drop(state);
        let count = expired.len();
        for waiting in expired {
            let _ = waiting.sender.send(Err(AskError::TimedOut));
        }
        count
    }

    /// Ends all, and opens no more.
    pub fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for waiting in waiting.into_values() {
            let _ = waiting.sender.send(Err(AskError::Down));
        }
    }

    /// How many wait.
    pub fn count(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An ask that was opened; dropped, it is forgotten.
#[derive(Debug)]
pub struct Ask<'a> {
    asks: &'a Asks,
    pub number: u64,
    outcome: oneshot::Receiver<Outcome>,
}

impl Ask<'_> {
    /// Its outcome.
    pub async fn outcome(mut self) -> Outcome {
        (&mut self.outcome).await.unwrap_or(Err(AskError::Down))
    }
}

impl Drop for Ask<'_> {
    fn drop(&mut self) {
        self.asks.lock().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn each_ends_once_with_what_came_first() {
        let (asks, now) = (Asks::new(10), Instant::now());
        let soon = now + Duration::from_secs(1);
        let (answered, late) = (asks.open(now).unwrap(), asks.open(now).unwrap());
        let (kept, down) = (asks.open(soon).unwrap(), asks.open(soon).unwrap());
        asks.handle_answer(answered.number, Ok(Bytes::from_static(b"yes")));
        assert_eq!(asks.expire(now), 1);
        asks.handle_answer(late.number, Ok(Bytes::from_static(b"too late")));
        asks.handle_answer(kept.number, Err(AskError::Refused("no".into())));
        asks.close();
        assert_eq!(answered.outcome().await, Ok(Bytes::from_static(b"yes")));
        assert_eq!(late.outcome().await, Err(AskError::TimedOut));
        assert_eq!(kept.outcome().await, Err(AskError::Refused("no".into())));
        assert_eq!(down.outcome().await, Err(AskError::Down));
        assert_eq!(asks.open(soon).err(), Some(AskError::Down));
    }

    #[test]
    fn more_than_may_wait_are_not_opened_and_one_dropped_makes_room() {
        let (asks, now) = (Asks::new(1), Instant::now());
        let first = asks.open(now).unwrap();
        assert_eq!(asks.open(now).err(), Some(AskError::TooMany { max: 1 }));
        drop(first);
        assert_eq!(asks.count(), 0);
        assert!(asks.open(now).is_ok());
    }
}
