//! Whatever carries the messages of a channel loses, repeats and reorders:
//! the receiver applies each once, in order; the sender's memory is bounded.

use std::collections::BTreeMap;

use proptest::prelude::*;
use starmesh::base::{EntityKey, Millis, PlayerId, SectorId, Tick};
use starmesh::entity::channel::{
    Acknowledgement, ChannelId, ChannelMessage, IDLE_CLOSE_MS, Inbox, Outbox, Verdict, WAITING_MAX,
};
use starmesh::entity::message::{Body, Notice};

const FROM: EntityKey = EntityKey::Ledger(1);
const TO: EntityKey = EntityKey::Ledger(2);

/// What happens to a sender, a receiver, and what is on its way.
#[derive(Clone, Debug)]
enum Happening {
    Send,
    /// One of the messages on their way arrives; it may arrive again.
    Deliver {
        which: usize,
        again: bool,
    },
    Acknowledge {
        which: usize,
        again: bool,
    },
    LoseAll,
    CarryAgain,
    Pass(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => Just(Happening::Send),
        8 => (any::<usize>(), any::<bool>())
            .prop_map(|(which, again)| Happening::Deliver { which, again }),
        6 => (any::<usize>(), any::<bool>())
            .prop_map(|(which, again)| Happening::Acknowledge { which, again }),
        1 => Just(Happening::LoseAll),
        2 => Just(Happening::CarryAgain),
        1 => (0..2 * IDLE_CLOSE_MS).prop_map(Happening::Pass),
    ]
}

#[derive(Default)]
struct Pair {
    now: Millis,
    sequence: u64,
    outbox: Outbox,
    inbox: Inbox,
    messages: Vec<ChannelMessage>,
    acknowledgements: Vec<Acknowledgement>,
    sent: u64,
    /// What was applied, in order.
    applied: Vec<u64>,
    numbers: BTreeMap<ChannelId, u64>,
}

/// A body with a number in it.
fn body(number: u64) -> Body {
    let sector = SectorId { x: 0, y: 0, scale: 0 };
    let (player, as_of) = (PlayerId(number), Tick(0));
    Body::Notice(Notice::Presence { player, sector, counts: Vec::new(), as_of })
}

impl Pair {
    fn happen(&mut self, happening: &Happening) {
        match *happening {
            Happening::Send => {
                if self.outbox.has_room(TO) {
                    self.sent += 1;
                    self.send(body(self.sent));
                }
            }
            Happening::Deliver { which, again } => {
                if let Some(message) = take(&mut self.messages, which, again) {
                    self.deliver(&message);
                }
            }
            Happening::Acknowledge { which, again } => {
                if let Some(ack) = take(&mut self.acknowledgements, which, again) {
                    self.outbox.handle_acknowledgement(ack, self.now);
                }
            }
            Happening::LoseAll => self.lose_all(),
            Happening::CarryAgain => self.messages.extend(self.outbox.waiting(FROM)),
            Happening::Pass(ms) => self.pass(ms),
        }
    }

    fn send(&mut self, body: Body) {
        self.sequence += 1;
        let sent = self.outbox.send(FROM, TO, self.sequence, self.now, body);
        self.messages.push(sent.expect("there is room"));
    }

    fn deliver(&mut self, message: &ChannelMessage) {
        match self.inbox.judge_message(message) {
            Verdict::Apply => {
                let (channel, number) = (message.channel, message.number);
                let last = self.numbers.insert(channel, number).unwrap_or(0);
                assert_eq!(number, last + 1, "applied out of order in {channel:?}");
                let is_close = message.body == Body::Close;
                let ack = self.inbox.note_applied(channel, number, is_close, self.now);
                self.acknowledgements.push(ack);
                if let Body::Notice(Notice::Presence { player, .. }) = message.body {
                    self.applied.push(player.0);
                }
            }
            Verdict::Repeat(ack) => self.acknowledgements.push(ack),
            Verdict::Ignore => {}
        }
    }

    fn lose_all(&mut self) {
        self.messages.clear();
        self.acknowledgements.clear();
    }

    /// Links refuse what is minutes old.
    fn pass(&mut self, ms: u64) {
        if ms > 60_000 {
            self.lose_all();
        }
        self.now = Millis(self.now.0 + ms);
        self.inbox.expire(self.now);
        for _ in self.outbox.expire(self.now) {
            if self.outbox.has_room(TO) {
                self.send(Body::Close);
            }
        }
    }

    /// Carries until nothing waits.
    fn settle(&mut self) {
        for _ in 0..3 {
            self.lose_all();
            self.messages.extend(self.outbox.waiting(FROM));
            for message in std::mem::take(&mut self.messages) {
                self.deliver(&message);
            }
            for ack in std::mem::take(&mut self.acknowledgements) {
                self.outbox.handle_acknowledgement(ack, self.now);
            }
        }
    }
}

fn take<T: Clone>(from: &mut Vec<T>, which: usize, again: bool) -> Option<T> {
    if from.is_empty() {
        return None;
    }
    let at = which % from.len();
    Some(if again { from[at].clone() } else { from.swap_remove(at) })
}

proptest! {
    #[test]
    fn each_message_is_applied_once_and_in_order(
        happenings in prop::collection::vec(happening(), 0..400)
    ) {
        let mut pair = Pair::default();
        for happening in &happenings {
            pair.happen(happening);
            prop_assert!(pair.outbox.fullest() <= WAITING_MAX);
        }
        pair.settle();
        prop_assert!(pair.outbox.is_settled(), "{:?}", pair.outbox);
        prop_assert_eq!(pair.applied, (1..=pair.sent).collect::<Vec<u64>>());
    }
}

#[test]
fn a_full_channel_takes_no_more_until_acknowledged() {
    let mut pair = Pair::default();
    (0..=WAITING_MAX).for_each(|_| pair.happen(&Happening::Send));
    assert_eq!((pair.sent, pair.outbox.fullest()), (WAITING_MAX as u64, WAITING_MAX));
    pair.settle();
    pair.happen(&Happening::Send);
    assert_eq!(pair.sent, WAITING_MAX as u64 + 1);
}

#[test]
fn a_close_that_is_repeated_after_the_receiver_forgot_is_acknowledged() {
    let mut pair = Pair::default();
    pair.happen(&Happening::Send);
    pair.settle();
    pair.happen(&Happening::Pass(IDLE_CLOSE_MS));
    let close = pair.messages.pop().expect("the channel is being closed");
    pair.deliver(&close);
    pair.lose_all();
    pair.happen(&Happening::Pass(2 * IDLE_CLOSE_MS));
    assert!(!pair.outbox.has_room(TO));
    pair.settle();
    assert!(pair.outbox.has_room(TO));
}
