//! Owns which sessions are attached to an entity while it runs in a table, and
//! which of their commands comes next. Soft state: a cell begins without any,
//! nothing of it is stored. Never judges a command; the table asks before it
//! does. Invariant: of what a session sends after it attached, the entity is
//! given the first, then the second, and so on; behind a gap nothing, until the
//! session attaches again.
//!
//! ```text
//!   session                              cell
//!      │── attach ────────────────────────>│ a number that nobody had before
//!      │<─ applied up to 7, number 12 ─────│
//!      │── 12.0: command 8 ───────────────>│ taken
//!      │── 12.1: command 9 ──────────x     │ a full mailbox, a bound, another table
//!      │── 12.2: command 10 ──────────────>│ 12.1 is next: attach again
//! ```
//!
//! Who refused a command, and where, does not matter: those behind it cannot
//! overtake it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::{NodeId, PlayerId, SessionId};

/// The name of one attachment, never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attachment(pub u64);

/// Which command of an attachment this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    pub attachment: Attachment,
    /// How many commands were sent under it before.
    pub nth: u32,
}

impl Ticket {
    pub fn first(attachment: Attachment) -> Ticket {
        Ticket { attachment, nth: 0 }
    }

    /// Of the command behind it; so many are never sent under one attachment.
    #[must_use]
    pub fn next(self) -> Ticket {
        Ticket { nth: self.nth.wrapping_add(1), ..self }
    }
}

/// What a session is told when it attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The last sequence applied for it, 0 for none.
    pub last: u32,
    pub attachment: Attachment,
    /// The node where that is: its commands go there, wherever the entity belongs
    /// by now.
    pub at: NodeId,
}

/// Whose command it is.
pub type Sender = (PlayerId, SessionId);

/// The sessions attached to one entity in one table, which counts their names
/// up.
#[derive(Clone, Debug, Default)]
pub struct Attachments {
    /// What each is to send next.
    next: BTreeMap<Sender, Ticket>,
    /// The same, oldest attachment first.
    senders: BTreeMap<Attachment, Sender>,
}

/// The next command of a session.
#[derive(Debug)]
pub struct Expected<'a>(&'a mut Ticket);

impl Expected<'_> {
    /// It is taken: the one behind it is the next.
    pub fn take(self) {
        *self.0 = self.0.next();
    }
}

impl Attachments {
    /// Notes that `sender` attached, at the latest now; with more than `most`
    /// the one that did so first is forgotten, and attaches again.
    pub fn attach(&mut self, sender: Sender, attachment: Attachment, most: usize) {
        if let Some(before) = self.next.insert(sender, Ticket::first(attachment)) {
            self.senders.remove(&before.attachment);
        }
        self.senders.insert(attachment, sender);
        while self.next.len() > most.max(1)
            && let Some((_, oldest)) = self.senders.pop_first()
        {
            self.next.remove(&oldest);
        }
    }

    /// The command of `sender` with this ticket, if it is the next one.
    pub fn expected(&mut self, sender: Sender, ticket: Ticket) -> Option<Expected<'_>> {
        self.next.get_mut(&sender).filter(|next| **next == ticket).map(Expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(player: u64) -> Sender {
        (PlayerId(player), SessionId(1))
    }

    fn expects(attachments: &mut Attachments, sender: Sender, ticket: Ticket) -> bool {
        attachments.expected(sender, ticket).is_some()
    }

    #[test]
    fn expects_one_command_after_the_other_of_the_newest_attachment() {
        let mut attachments = Attachments::default();
        let first = Ticket::first(Attachment(7));
        assert!(!expects(&mut attachments, sender(1), first));
        attachments.attach(sender(1), Attachment(7), 4);
        assert!(expects(&mut attachments, sender(1), first));
        assert!(!expects(&mut attachments, sender(1), first.next()), "there is one before it");
        assert!(!expects(&mut attachments, sender(2), first), "it is another's");
        attachments.expected(sender(1), first).unwrap().take();
        assert!(!expects(&mut attachments, sender(1), first));
        assert!(expects(&mut attachments, sender(1), first.next()));
        attachments.attach(sender(1), Attachment(8), 4);
        assert!(!expects(&mut attachments, sender(1), first.next()));
        assert!(expects(&mut attachments, sender(1), Ticket::first(Attachment(8))));
    }

    #[test]
    fn forgets_who_attached_first_when_there_are_too_many() {
        let mut attachments = Attachments::default();
        attachments.attach(sender(1), Attachment(1), 2);
        attachments.attach(sender(2), Attachment(2), 2);
        attachments.attach(sender(1), Attachment(3), 2);
        attachments.attach(sender(3), Attachment(4), 2);
        let mut is_attached = |player, number| {
            expects(&mut attachments, sender(player), Ticket::first(Attachment(number)))
        };
        assert!(is_attached(1, 3) && !is_attached(2, 2) && is_attached(3, 4));
        assert_eq!((attachments.next.len(), attachments.senders.len()), (2, 2));
    }
}
