//! Owns how units that leave a sector become messages to the next one. Never
//! decides who leaves (`sim` does) nor how a message travels. Called by the
//! sector's entity after a step. Invariant: every unit goes into exactly one
//! message, and no message is longer than a channel takes.

use std::collections::BTreeMap;

use crate::base::SectorId;
use crate::sim::{Leaving, Traveller};

/// The most units of one message.
pub const MESSAGE_UNITS_MAX: usize = 256;
/// What a traveller without waiting orders takes in a message, at most.
const UNIT_BYTES: usize = 192;
/// What each order that waits adds, at most.
const ORDER_BYTES: usize = 48;
/// Bytes of travellers after which a message takes no more.
const MESSAGE_BYTES: usize = crate::entity::channel::MESSAGE_BYTES_MAX - 1024;

/// The messages that carry `leaving`, by destination, in the order of leaving.
pub fn pack(leaving: Vec<Leaving>) -> Vec<(SectorId, Vec<Traveller>)> {
    let mut by_sector: BTreeMap<SectorId, Vec<Traveller>> = BTreeMap::new();
    for Leaving { to, traveller } in leaving {
        by_sector.entry(to).or_default().push(traveller);
    }
    let mut messages = Vec::new();
    for (to, travellers) in by_sector {
        let mut message = Vec::new();
        let mut bytes = 0;
        for traveller in travellers {
            let weight = UNIT_BYTES + ORDER_BYTES * traveller.queue.len();
            if message.len() == MESSAGE_UNITS_MAX || bytes + weight > MESSAGE_BYTES {
                messages.push((to, std::mem::take(&mut message)));
                bytes = 0;
            }
            bytes += weight;
            message.push(traveller);
        }
        messages.push((to, message));
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{GalaxyPosition, UnitId};
    use crate::entity::channel::MESSAGE_BYTES_MAX;
    use crate::sim::rules::sample;
    use crate::sim::travel::QUEUE_MAX;
    use crate::sim::{Changes, Order, SectorState};

    const NORTH: SectorId = SectorId::tactical(7, 8);
    const EAST: SectorId = SectorId::tactical(8, 7);

    /// A unit whose every number is as long as it gets.
    fn longest(id: u64, queue: usize) -> Traveller {
        let mut sector = SectorState::new(SectorId::tactical(7, 7));
        let fighter = [(sample::FIGHTER, 1)];
        let player = crate::base::PlayerId((1 << 53) - 1);
        sector.found(player, &fighter, &[], || UnitId(id), &mut Changes::default());
        let mut unit = sector.units()[0];
        let far = GalaxyPosition { x: i64::MIN, y: i64::MIN };
        unit.hops = u32::MAX;
        unit.position = crate::base::Position { x: i32::MIN, y: i32::MIN };
        unit.course.velocity = (i32::MIN, i32::MIN);
        unit.course.remaining = u16::MAX;
        unit.heading = u16::MAX;
        unit.order = Order::Patrol { from: far, to: far };
        Traveller { unit, queue: vec![Order::Patrol { from: far, to: far }; queue] }
    }

    fn bytes(travellers: &[Traveller]) -> usize {
        postcard::to_stdvec(travellers).unwrap().len()
    }

    #[test]
    fn a_traveller_is_never_longer_than_it_is_taken_for() {
        for queue in 0..=QUEUE_MAX {
            let traveller = longest((1 << 53) - 1, queue);
            assert!(bytes(&[traveller]) <= UNIT_BYTES + ORDER_BYTES * queue);
        }
    }

    #[test]
    fn every_unit_is_in_one_message_in_order_and_none_is_too_long() {
        let to = |id: u64| if id.is_multiple_of(3) { NORTH } else { EAST };
        let queue = |id: u64| if id < 300 { QUEUE_MAX } else { 0 };
        let leaving = |id| Leaving { to: to(id), traveller: longest(id, queue(id)) };
        let messages = pack((1..=1000).map(leaving).collect());
        for sector in [NORTH, EAST] {
            let of = messages.iter().filter(|(to, _)| *to == sector).flat_map(|(_, units)| units);
            let ids: Vec<u64> = of.map(|traveller| traveller.unit.id.0).collect();
            assert_eq!(ids, (1..=1000).filter(|id| to(*id) == sector).collect::<Vec<_>>());
        }
        for (_, travellers) in &messages {
            assert!((1..=MESSAGE_UNITS_MAX).contains(&travellers.len()));
            assert!(bytes(travellers) + 1024 <= MESSAGE_BYTES_MAX);
        }
    }
}
