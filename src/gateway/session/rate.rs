//! Owns how fast one connection may speak. Pure: time is an argument.

use crate::base::Millis;
use crate::gateway::limits::window::{Refusal, Window};
use crate::protocol::Answer;

const SECOND_MS: u64 = 1_000;
/// Whoever sends so many times the limit does not listen to `limited`.
const FLOOD: u64 = 4;

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pace {
    Kept,
    /// It is answered with this and not carried out.
    TooFast(Answer),
    /// The connection ends.
    Flood,
}

/// What one connection has sent within the last second.
#[derive(Clone, Debug)]
pub struct Rate {
    messages: Window,
    bytes: Window,
    all_messages: Window,
    all_bytes: Window,
}

impl Rate {
    /// At most so many messages and bytes a second.
    pub fn new(messages: u64, bytes: u64) -> Rate {
        let window = |limit| Window::new(limit, SECOND_MS);
        Rate {
            messages: window(messages),
            bytes: window(bytes),
            all_messages: window(messages.saturating_mul(FLOOD)),
            all_bytes: window(bytes.saturating_mul(FLOOD)),
        }
    }

    /// Counts a message of so many bytes.
    pub fn admit(&mut self, bytes: u64, now: Millis) -> Pace {
        let all = self.all_messages.admit(1, now).and(self.all_bytes.admit(bytes, now));
        if all.is_err() {
            return Pace::Flood;
        }
        match self.messages.admit(1, now).and_then(|()| self.bytes.admit(bytes, now)) {
            Ok(()) => Pace::Kept,
            Err(refusal) => Pace::TooFast(limited(refusal)),
        }
    }
}

/// What the sender is told.
pub fn limited(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::After { ms } => {
            Answer::Limited { after_ms: u32::try_from(ms).unwrap_or(u32::MAX) }
        }
        Refusal::Never { limit } => Answer::invalid("message", format!("at most {limit} at once")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_when_to_go_on_then_ends_whoever_floods() {
        let mut rate = Rate::new(64, 65_536);
        let paces: Vec<Pace> = (0..300).map(|_| rate.admit(10, Millis(5))).collect();
        assert!(paces[..64].iter().all(|pace| *pace == Pace::Kept));
        let limited = |pace: &Pace| matches!(pace, Pace::TooFast(Answer::Limited { .. }));
        assert!(paces[64..256].iter().all(limited));
        assert_eq!(paces[256], Pace::Flood);
        assert_eq!(rate.admit(10, Millis(1_100)), Pace::Kept);
    }

    #[test]
    fn counts_bytes_too() {
        let mut rate = Rate::new(64, 1_000);
        assert_eq!(rate.admit(900, Millis(0)), Pace::Kept);
        assert!(matches!(rate.admit(101, Millis(0)), Pace::TooFast(_)));
        assert_eq!(rate.admit(100, Millis(0)), Pace::Kept);
    }
}
