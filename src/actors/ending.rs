//! Owns the word that this process must end: it was declared dead, or a
//! thread that holds state panicked. Told once, heard by whoever started the
//! node. Invariant: what is thrown away after a panic publishes nothing more;
//! the journal has all that was acknowledged, and a restart replays it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

/// With this a process ends one of whose threads does not answer.
pub const STUCK_EXIT: u8 = 3;

/// Why a process must end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// Another process was first: who begins anew finds what that one left.
    #[error("{0}")]
    Overtaken(String),
    /// Something broke here, and would again.
    #[error("{0}")]
    Failed(String),
    /// A thread that runs entities does not answer, and nobody can make it: the process
    /// is to end without waiting for it.
    #[error("{0}")]
    Stuck(String),
}

impl Ended {
    /// What was heard; nobody says it any more when all threads have ended.
    pub fn heard(word: Result<Ended, oneshot::error::RecvError>) -> Ended {
        word.unwrap_or_else(|_| Ended::Failed("all its threads have ended".into()))
    }
}

/// The way to say that the process must end; cheap to clone.
#[derive(Clone)]
pub struct Ending(Arc<Mutex<Option<oneshot::Sender<Ended>>>>);

impl Ending {
    /// An ending that nobody has told, and where it will be heard.
    pub fn new() -> (Ending, oneshot::Receiver<Ended>) {
        let (sender, receiver) = oneshot::channel();
        (Ending(Arc::new(Mutex::new(Some(sender)))), receiver)
    }

    /// Says why. Only the first reason is heard.
    pub fn tell(&self, why: Ended) {
        let sender = self.0.lock().unwrap_or_else(|lock| lock.into_inner()).take();
        if let Some(sender) = sender {
            // Nobody hears it when the node is being stopped already.
            let _ = sender.send(why);
        }
    }

    /// Runs `f`; `None` when it panicked, and then the process must end:
    /// what `f` worked on is in no known state.
    pub fn guard<T>(&self, who: &str, f: impl FnOnce() -> T) -> Option<T> {
        let outcome = catch_unwind(AssertUnwindSafe(f)).ok();
        if outcome.is_none() {
            self.tell(Ended::Failed(format!("{who} panicked; the log says where")));
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_the_process_and_only_the_first_reason_is_heard() {
        let (ending, mut heard) = Ending::new();
        assert_eq!(ending.guard("a thread", || 7), Some(7));
        assert!(heard.try_recv().is_err());
        assert_eq!(ending.guard("a thread", || panic!("planted")), None::<()>);
        ending.tell(Ended::Overtaken("something else".into()));
        let why = Ended::Failed("a thread panicked; the log says where".into());
        assert_eq!(heard.try_recv(), Ok(why));
    }
}
