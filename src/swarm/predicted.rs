//! Owns what a swarm finds out about prediction: how far units are from where
//! its clients predicted them, and orders that are still predicted though a
//! packet has shown what became of them. Never predicts (the client library
//! does). Called with every answer, correction and update. Invariant: an order
//! is held against the tick of its own acknowledgement.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::base::EntityKey;
use crate::client::{Cause, Correction, Issued};
use crate::protocol::server::Ack;

/// Answers kept of one client; of more nothing is checked.
const ANSWERS_MAX: usize = 1_024;

/// The answers of one client whose orders no packet has shown.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// By place and sequence: ticks after this one show it. What was refused is
    /// not predicted at any.
    after: BTreeMap<(EntityKey, u32), u64>,
}

impl Answers {
    /// A command was answered.
    pub fn note(&mut self, issued: &Issued, ack: &Ack) {
        if self.after.len() < ANSWERS_MAX {
            let after = if ack.success { ack.effect_tick } else { 0 };
            self.after.insert((issued.place, issued.command.sequence), after);
        }
    }

    /// A new session begins, and sequences at 1 again.
    pub fn handle_new_session(&mut self) {
        self.after.clear();
    }

    /// `place` is at `tick`, and the orders of `pending` are predicted there:
    /// those that should not be, told once each.
    pub fn check(&mut self, place: EntityKey, tick: u64, pending: &[u32]) -> Vec<u32> {
        let is_due = |(at, _): &(EntityKey, u32), after: &mut u64| *at == place && *after < tick;
        let due = self.after.extract_if(.., is_due);
        due.map(|((_, sequence), _)| sequence)
            .filter(|sequence| pending.contains(sequence))
            .collect()
    }

    /// `place` is not watched any more.
    pub fn forget(&mut self, place: EntityKey) {
        self.after.retain(|(at, _), _| *at != place);
    }
}

/// Corrections of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Units that were looked at.
    pub units: u64,
    /// Of those, not where they were predicted.
    pub off: u64,
    sum_mm: u64,
    max_mm: u64,
}

/// How prediction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Predicted {
    /// Of acknowledged orders, when a packet showed them: what prediction leaves
    /// out, others in the way above all.
    pub shown: Tally,
    /// Before that: when the answer gave the tick, or was another than hoped
    /// for, or was late.
    pub guessed: Tally,
    /// Orders that were predicted after a packet had shown them: faults.
    pub stale: u64,
}

/// A [`Tally`] as it is reported.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Corrections {
    pub units: u64,
    pub off: u64,
    /// Metres, over those that were off.
    pub mean_m: f64,
    pub max_m: f64,
}

impl Predicted {
    /// Adds what an event told.
    pub fn note(&mut self, corrections: &[Correction]) {
        for correction in corrections {
            match correction.cause {
                Cause::Shown => self.shown.note(correction),
                Cause::Acknowledged | Cause::Refused | Cause::GivenUp | Cause::Unacknowledged => {
                    self.guessed.note(correction);
                }
            }
        }
    }
}

impl Tally {
    fn note(&mut self, correction: &Correction) {
        let mm = correction.millimetres();
        self.units += 1;
        self.off += u64::from(correction.was != correction.is);
        self.sum_mm += mm;
        self.max_mm = self.max_mm.max(mm);
    }
}

impl From<Tally> for Corrections {
    fn from(Tally { units, off, sum_mm, max_mm }: Tally) -> Corrections {
        let metres = |mm: u64| mm as f64 / 1000.0;
        Corrections {
            units,
            off,
            mean_m: metres(sum_mm) / off.max(1) as f64,
            max_m: metres(max_mm),
        }
    }
}

impl std::fmt::Display for Corrections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Corrections { units, off, mean_m, max_m } = self;
        write!(f, "{off} of {units} units off, mean {mean_m:.1} m, max {max_m:.1} m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SectorId, UnitId};
    use crate::protocol::{Answer, Command, Order, Place, Point, Recipients};

    const HERE: SectorId = SectorId::tactical(3, 4);
    const PLACE: EntityKey = EntityKey::Sector(HERE);

    fn issued(sequence: u32) -> Issued {
        let recipients = Recipients::Units(vec![UnitId(1)]);
        let to = crate::protocol::command::Addressee::Place(Place::sector(HERE));
        let order = Order::Stop {};
        let command =
            Command { sequence, time: 0, to, predicted: None, recipients, queue: false, order };
        Issued { place: PLACE, command, chases: 0 }
    }

    fn answers() -> Answers {
        let mut answers = Answers::default();
        let failed = Ack::failed(1, 0, Answer::Busy {});
        answers.note(&issued(1), &failed);
        answers.note(&issued(2), &Ack { success: true, effect_tick: 20, ..failed });
        answers
    }

    #[test]
    fn an_order_may_be_predicted_until_a_packet_after_its_acknowledgements_tick() {
        assert_eq!(answers().check(PLACE, 20, &[2]), Vec::<u32>::new());
        assert_eq!(answers().check(PLACE, 22, &[2]), [2]);
        assert_eq!(answers().check(PLACE, 22, &[]), Vec::<u32>::new());
        // Told once.
        let mut answers = answers();
        assert_eq!(
            [answers.check(PLACE, 22, &[2]).len(), answers.check(PLACE, 24, &[2]).len()],
            [1, 0]
        );
    }

    #[test]
    fn a_refused_order_may_not_be_predicted_at_all() {
        assert_eq!(answers().check(PLACE, 2, &[1, 2]), [1]);
    }

    #[test]
    fn means_are_over_what_was_off() {
        let correction = |x, cause| Correction {
            unit: UnitId(1),
            cause,
            was: Point { x, y: 0 },
            is: Point { x: 0, y: 0 },
        };
        let mut predicted = Predicted::default();
        let metres = 1_049 * 10;
        predicted.note(&[correction(0, Cause::Shown), correction(metres, Cause::Shown)]);
        predicted.note(&[correction(metres, Cause::Refused)]);
        let Corrections { units, off, mean_m, max_m } = predicted.shown.into();
        assert_eq!((units, off, predicted.guessed.units), (2, 1, 1));
        assert!((mean_m - 10.0).abs() < 0.1 && (max_m - 10.0).abs() < 0.1);
    }
}
