//! Owns the peer's asks on this side: each is answered or refused; one
//! that is dropped says so itself. Never waits. Invariant: at most as many are open
//! per link as its limit says.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::class::Class;
use super::frame::Kind;
use super::link::{Link, SendFault};
use super::status::add;

/// What a peer asks. Its answer goes back on the class it came on.
#[derive(Debug)]
pub struct Question {
    link: Link,
    class: Class,
    number: u64,
    pub body: Bytes,
    is_answered: bool,
}

/// Bytes of the reason of a refusal at most.
const REFUSAL_MAX: usize = 1_024;

impl Question {
    /// A question that came, if not too many are open already; that one is
    /// refused.
    pub(super) fn admit(link: &Link, class: Class, number: u64, body: Bytes) -> Option<Question> {
        let open = link.0.questions.fetch_add(1, Ordering::Relaxed);
        let mut question = Question { link: link.clone(), class, number, body, is_answered: false };
        if open < link.0.limits.asks_max {
            return Some(question);
        }
        add(&link.0.counters.asks_refused, 1);
        question.put(Kind::Refused(number), "as many asks as may be are open");
        None
    }

    /// Who asks.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Answers as soon as there is room.
    ///
    /// # Errors
    /// When the answer is too long, which the peer is told, or the link is down.
    pub async fn answer(mut self, answer: Bytes) -> Result<(), SendFault> {
        let outbox = &self.link.0.outboxes[self.class];
        let sent = outbox.admit_when_ready(Kind::Answer(self.number), &answer).await;
        self.is_answered = sent.is_ok();
        self.tell(sent)
    }

    /// Answers if there is room; never waits.
    ///
    /// # Errors
    /// When there is no room, the answer is too long, or the link is down. The
    /// peer is told, unless there is no room for that either: then its time
    /// ends the ask.
    pub fn try_answer(mut self, answer: &Bytes) -> Result<(), SendFault> {
        let sent = self.link.0.outboxes[self.class].admit(Kind::Answer(self.number), answer);
        self.is_answered = sent.is_ok();
        self.tell(sent)
    }

    fn tell(&mut self, sent: Result<(), SendFault>) -> Result<(), SendFault> {
        if let Err(fault) = sent {
            let why = format!("the answer could not be sent: {fault}");
            self.put(Kind::Unanswered(self.number), &why);
        }
        sent
    }

    /// Answers that it was not done, and why.
    pub fn refuse(mut self, why: &str) {
        self.put(Kind::Refused(self.number), why);
    }

    fn put(&mut self, kind: Kind, why: &str) {
        let end = (0..=REFUSAL_MAX.min(why.len())).rev().find(|&at| why.is_char_boundary(at));
        let why = Bytes::copy_from_slice(&why.as_bytes()[..end.unwrap_or(0)]);
        // Without room for it, the ask ends by its time.
        let _ = self.link.0.outboxes[self.class].admit(kind, &why);
        self.is_answered = true;
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if !self.is_answered {
            self.put(Kind::Unanswered(self.number), "it was dropped");
        }
        self.link.0.questions.fetch_sub(1, Ordering::Relaxed);
    }
}
