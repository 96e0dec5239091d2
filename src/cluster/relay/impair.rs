//! Owns what happens to the n-th packet of a flow: dropped, late, doubled, behind
//! its successors. Never sends anything and reads no clock: the time since the
//! relay began goes in. Invariant: chance depends on seed, way, flow and n alone,
//! not on when a packet comes, so the same seed does the same to the same packets;
//! none is due before its latency, and without [`Impairment::reorder`] none before
//! its predecessor.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::base::draw::Draws;

/// A stream that "loses" something waits so long for it to come again.
pub const RETRANSMISSION: Duration = Duration::from_millis(200);

/// One of the two ways through a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From clients to the target.
    Up,
    /// From the target to clients.
    Down,
}

impl Way {
    pub const BOTH: [Way; 2] = [Way::Up, Way::Down];
}

/// How likely something is, in parts of a million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chance(u32);

impl Chance {
    pub const NEVER: Chance = Chance(0);
    pub const ALWAYS: Chance = Chance(1_000_000);

    /// So many in a million, at most all.
    pub fn per_million(parts: u32) -> Chance {
        Chance(parts.min(1_000_000))
    }

    pub fn percent(percent: u32) -> Chance {
        Chance::per_million(percent.saturating_mul(10_000))
    }

    /// In a million.
    pub fn parts(self) -> u32 {
        self.0
    }

    fn hits(self, draw: u64) -> bool {
        draw % 1_000_000 < u64::from(self.0)
    }
}

/// What one way does to what goes through it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Impairment {
    pub latency: Duration,
    /// Each packet takes up to so much longer.
    pub jitter: Duration,
    /// Of a stream nothing is lost: what would be, and all behind it, is late by
    /// [`RETRANSMISSION`].
    pub loss: Chance,
    /// Datagrams that arrive twice.
    pub duplicate: Chance,
    /// Datagrams that wait [`reorder_by`](Self::reorder_by) longer, while what
    /// comes behind them goes on.
    pub reorder: Chance,
    pub reorder_by: Duration,
    /// Bits per second; what comes faster waits.
    pub rate: Option<NonZeroU64>,
    /// Nothing passes: datagrams are dropped, streams stand still.
    pub cut: bool,
}

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Cut,
    Lost,
    /// It arrives at this time, and perhaps again.
    Arrives {
        at: Duration,
        again: Option<Duration>,
        /// What comes behind it may be before it.
        is_late: bool,
    },
}

/// One way of one flow.
#[derive(Clone, Debug)]
pub struct Line {
    draws: Draws,
    flow: u64,
    /// Packets so far.
    packets: u64,
    /// When all that came so far has been sent, at the rate.
    sent: Duration,
    /// When the last one in order is due.
    due: Duration,
}

impl Line {
    pub fn new(seed: u64, way: Way, flow: u64) -> Line {
        let purpose = match way {
            Way::Up => "starmesh relay up",
            Way::Down => "starmesh relay down",
        };
        let draws = Draws::new(seed, purpose);
        Line { draws, flow, packets: 0, sent: Duration::ZERO, due: Duration::ZERO }
    }

    /// A datagram of `bytes` comes at `now`.
    pub fn datagram(&mut self, with: &Impairment, now: Duration, bytes: usize) -> Fate {
        let [lost, shape, late, twice] = self.draw();
        if with.cut {
            return Fate::Cut;
        }
        if with.loss.hits(lost) {
            return Fate::Lost;
        }
        let arrives = self.arrives(with, now, bytes, shape);
        let is_late = with.reorder.hits(late);
        let at =
            if is_late { arrives.saturating_add(with.reorder_by) } else { self.behind(arrives) };
        // The copy is on its way for itself.
        let copy = |jitter| at.saturating_add(part(with.jitter, jitter));
        let again = with.duplicate.hits(twice).then(|| copy(twice >> 24));
        Fate::Arrives { at, again, is_late }
    }

    /// Some bytes of a stream come at `now`: when they arrive, and whether they
    /// were sent twice for it. Whether the way is cut the caller sees to.
    pub fn chunk(&mut self, with: &Impairment, now: Duration, bytes: usize) -> (Duration, bool) {
        let [lost, shape, ..] = self.draw();
        let is_lost = with.loss.hits(lost);
        let arrives = self.arrives(with, now, bytes, shape);
        let again = if is_lost { RETRANSMISSION } else { Duration::ZERO };
        (self.behind(arrives.saturating_add(again)), is_lost)
    }

    fn draw(&mut self) -> [u64; 4] {
        self.packets += 1;
        self.draws.of([self.flow, self.packets])
    }

    fn arrives(&mut self, with: &Impairment, now: Duration, bytes: usize, draw: u64) -> Duration {
        let begins = self.sent.max(now);
        self.sent =
            begins.saturating_add(with.rate.map_or(Duration::ZERO, |rate| takes(bytes, rate)));
        self.sent.saturating_add(with.latency).saturating_add(part(with.jitter, draw))
    }

    /// In order: not before the one in front.
    fn behind(&mut self, arrives: Duration) -> Duration {
        self.due = self.due.max(arrives);
        self.due
    }
}

/// How long `bytes` take at `rate` bits per second.
fn takes(bytes: usize, rate: NonZeroU64) -> Duration {
    let bits = 8 * bytes as u128;
    let nanos = bits * 1_000_000_000 / u128::from(rate.get());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// From nothing to all of `whole`, by a draw.
fn part(whole: Duration, draw: u64) -> Duration {
    let share = whole.as_nanos() * u128::from(draw & 0xFF_FFFF) / 0xFF_FFFF;
    Duration::from_nanos(u64::try_from(share).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chance() -> impl Strategy<Value = Chance> {
        prop_oneof![Just(0), Just(1_000_000), 0_u32..1_000_000].prop_map(Chance::per_million)
    }

    fn millis(most: u64) -> impl Strategy<Value = Duration> {
        (0..most).prop_map(Duration::from_millis)
    }

    fn impairment() -> impl Strategy<Value = Impairment> {
        let rate =
            prop::option::of((1_u64..1 << 32).prop_map(|rate| NonZeroU64::new(rate).unwrap()));
        let chances = (chance(), chance(), chance());
        (millis(200), millis(50), chances, millis(100), rate, prop::bool::weighted(0.1)).prop_map(
            |(latency, jitter, (loss, duplicate, reorder), reorder_by, rate, cut)| Impairment {
                latency,
                jitter,
                loss,
                duplicate,
                reorder,
                reorder_by,
                rate,
                cut,
            },
        )
    }

    /// When each packet comes, and its bytes.
    fn packets() -> impl Strategy<Value = Vec<(Duration, usize)>> {
        let packet = (millis(40), 0_usize..70_000);
        prop::collection::vec(packet, 0..100).prop_map(|packets| {
            let mut now = Duration::ZERO;
            let mut later = |after| {
                now += after;
                now
            };
            packets.into_iter().map(|(after, bytes)| (later(after), bytes)).collect()
        })
    }

    fn fates(seed: u64, with: &Impairment, packets: &[(Duration, usize)]) -> Vec<Fate> {
        let mut line = Line::new(seed, Way::Up, 1);
        packets.iter().map(|(now, bytes)| line.datagram(with, *now, *bytes)).collect()
    }

    proptest! {
        #[test]
        fn nothing_arrives_before_its_latency_and_the_time_it_takes(
            with in impairment(), packets in packets(), seed: u64,
        ) {
            for (fate, (now, bytes)) in fates(seed, &with, &packets).into_iter().zip(&packets) {
                let Fate::Arrives { at, again, .. } = fate else { continue };
                let sent = with.rate.map_or(Duration::ZERO, |rate| takes(*bytes, rate));
                prop_assert!(at >= *now + with.latency + sent);
                prop_assert!(again.is_none_or(|again| again >= at));
            }
        }

        #[test]
        fn only_what_is_late_is_overtaken(with in impairment(), packets in packets(), seed: u64) {
            let mut last = Duration::ZERO;
            for fate in fates(seed, &with, &packets) {
                if let Fate::Arrives { at, is_late: false, .. } = fate {
                    prop_assert!(at >= last);
                    last = at;
                }
            }
        }

        /// Whenever they come and however long they are.
        #[test]
        fn the_same_seed_does_the_same_to_the_same_packets(
            with in impairment(), packets in packets(), seed: u64,
        ) {
            let what = |fates: Vec<Fate>| -> Vec<_> {
                let kind = |fate| match fate {
                    Fate::Cut => (0, false, false),
                    Fate::Lost => (1, false, false),
                    Fate::Arrives { again, is_late, .. } => (2, again.is_some(), is_late),
                };
                fates.into_iter().map(kind).collect()
            };
            let others: Vec<_> =
                packets.iter().map(|(now, bytes)| (*now * 3, bytes / 2 + 1)).collect();
            let first = what(fates(seed, &with, &packets));
            prop_assert_eq!(first, what(fates(seed, &with, &others)));
        }

        #[test]
        fn a_stream_is_late_and_in_order_and_complete(
            with in impairment(), packets in packets(), seed: u64,
        ) {
            let mut line = Line::new(seed, Way::Down, 0);
            let mut last = Duration::ZERO;
            for (now, bytes) in &packets {
                let (at, again) = line.chunk(&with, *now, *bytes);
                let least = if again { RETRANSMISSION } else { Duration::ZERO };
                prop_assert!(at >= last && at >= *now + with.latency + least);
                last = at;
            }
        }
    }

    #[test]
    fn chances_are_as_often_as_they_say() {
        let with = Impairment {
            loss: Chance::percent(10),
            duplicate: Chance::percent(20),
            reorder: Chance::percent(30),
            reorder_by: Duration::from_millis(5),
            ..Impairment::default()
        };
        let packets: Vec<_> = (0..10_000).map(|n| (Duration::from_millis(n), 100)).collect();
        let fates = fates(7, &with, &packets);
        let count = |is: fn(&Fate) -> bool| fates.iter().filter(|fate| is(fate)).count();
        let lost = count(|fate| *fate == Fate::Lost);
        let doubled = count(|fate| matches!(fate, Fate::Arrives { again: Some(_), .. }));
        let late = count(|fate| matches!(fate, Fate::Arrives { is_late: true, .. }));
        // Six standard deviations about each.
        assert!((820..1180).contains(&lost), "{lost}");
        assert!((1570..2030).contains(&doubled), "{doubled}");
        assert!((2420..2980).contains(&late), "{late}");
    }

    #[test]
    fn flows_ways_and_seeds_have_chances_of_their_own() {
        let with = Impairment { loss: Chance::percent(50), ..Impairment::default() };
        let lost = |seed, way, flow| -> Vec<bool> {
            let mut line = Line::new(seed, way, flow);
            (0..64).map(|_| line.datagram(&with, Duration::ZERO, 1) == Fate::Lost).collect()
        };
        let one = lost(1, Way::Up, 0);
        assert_eq!(one, lost(1, Way::Up, 0));
        for other in [lost(2, Way::Up, 0), lost(1, Way::Down, 0), lost(1, Way::Up, 1)] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn what_comes_faster_than_the_rate_waits() {
        let rate = NonZeroU64::new(8_000);
        let with = Impairment { rate, latency: Duration::from_millis(5), ..Impairment::default() };
        let mut line = Line::new(1, Way::Up, 0);
        let mut at = |now| match line.datagram(&with, Duration::from_millis(now), 100) {
            Fate::Arrives { at, .. } => at.as_millis(),
            fate => panic!("{fate:?}"),
        };
        // A hundred bytes take 100 ms.
        assert_eq!([at(0), at(0), at(150), at(900)], [105, 205, 305, 1005]);
    }
}
