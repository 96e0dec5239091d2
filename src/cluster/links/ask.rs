//! Owns the asks of one link: a number for each, who waits for its answer, and
//! until when. Never sends; the link does. Invariant: every ask that was opened
//! ends exactly once, with its answer, a refusal, its time, or the link's end.

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
    slots: Vec<Slot>,
    /// Slots that are free, the last one to be used first.
    free: Vec<u32>,
    is_closed: bool,
}

/// A place for one ask. Its number is the slot's index and how often the slot was
/// used, so that a late answer finds nobody.
#[derive(Debug, Default)]
struct Slot {
    uses: u32,
    waiting: Option<Waiting>,
}

impl State {
    fn put(&mut self, waiting: Waiting) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        slot.uses = slot.uses.wrapping_add(1);
        slot.waiting = Some(waiting);
        (u64::from(slot.uses) << 32) | u64::from(index)
    }

    fn take(&mut self, number: u64) -> Option<Waiting> {
        let (uses, index) = ((number >> 32) as u32, number as u32);
        let slot = self.slots.get_mut(index as usize).filter(|slot| slot.uses == uses)?;
        let waiting = slot.waiting.take()?;
        self.free.push(index);
        Some(waiting)
    }

    fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The numbers of those that are to end by `now`.
    fn late(&self, now: Instant) -> Vec<u64> {
        let number = |(index, slot): (usize, &Slot)| {
            let is_late = slot.waiting.as_ref().is_some_and(|waiting| waiting.until <= now);
            is_late.then(|| (u64::from(slot.uses) << 32) | index as u64)
        };
        self.slots.iter().enumerate().filter_map(number).collect()
    }
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
        if state.count() >= self.max {
            return Err(AskError::TooMany { max: self.max });
        }
        let number = state.put(Waiting { until, sender });
        Ok(Ask { asks: self, number, outcome, is_over: false })
    }

    /// An answer came. Nobody may wait for it any more.
    pub fn handle_answer(&self, number: u64, outcome: Outcome) {
        let waiting = self.lock().take(number);
        if let Some(waiting) = waiting {
            // Its receiver may go at any moment.
            let _ = waiting.sender.send(outcome);
        }
    }

    /// Ends those whose time has passed; how many.
    pub fn expire(&self, now: Instant) -> usize {
        let mut state = self.lock();
        let late = state.late(now);
        let expired: Vec<Waiting> = late.into_iter().filter_map(|ask| state.take(ask)).collect();
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
        let slots = std::mem::take(&mut state.slots);
        state.free.clear();
        drop(state);
        for waiting in slots.into_iter().filter_map(|slot| slot.waiting) {
            let _ = waiting.sender.send(Err(AskError::Down));
        }
    }

    /// How many wait.
    pub fn count(&self) -> usize {
        self.lock().count()
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
    is_over: bool,
}

impl Ask<'_> {
    /// Its outcome.
    pub async fn outcome(mut self) -> Outcome {
        let outcome = (&mut self.outcome).await;
        self.is_over = true;
        outcome.unwrap_or(Err(AskError::Down))
    }
}

impl Drop for Ask<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.asks.lock().take(self.number);
        }
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

    #[tokio::test]
    async fn a_late_answer_does_not_reach_the_next_ask_of_its_place() {
        let (asks, now) = (Asks::new(1), Instant::now());
        let first = asks.open(now).unwrap();
        asks.expire(now);
        let second = asks.open(now).unwrap();
        asks.handle_answer(first.number, Ok(Bytes::from_static(b"late")));
        drop(first);
        asks.handle_answer(second.number, Ok(Bytes::from_static(b"right")));
        assert_eq!(second.outcome().await, Ok(Bytes::from_static(b"right")));
        assert_eq!(asks.count(), 0);
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
