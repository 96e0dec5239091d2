//! Owns the bytes in which casts go between nodes: self-contained datagrams, each with
//! all that is said of a range of ids, so that one that is lost costs only its own range
//! and only until the next world tick. Never sends. Called by the shell of the links.
//!
//! ```text
//!   number of the form u8 · header (postcard) · shadows (postcard), to the end
//! ```

use serde::{Deserialize, Serialize};

use super::{Cast, Caster};
use crate::base::{Incarnation, Millis, NodeId, SectorId, Tick, UnitId};
use crate::sim::shadow::{Border, Shadow};

/// The form that this build writes and reads; who reads another drops it.
pub const FORMAT: u8 = 1;
/// What every path carries that QUIC works on: 1,200 bytes a packet, less its own.
pub const BYTES_MAX: usize = 1_100;
/// What a header takes at most.
const HEADER_MAX: usize = 96;
/// What a shadow takes at most.
const SHADOW_MAX: usize = 56;

#[derive(Serialize, Deserialize)]
struct Header {
    to: NodeId,
    node: NodeId,
    incarnation: Incarnation,
    x: i64,
    y: i64,
    border: (i8, i8),
    tick: Tick,
    time: Millis,
    has_news: bool,
    above: UnitId,
    upto: UnitId,
}

/// A datagram that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The node that it is for.
    pub to: NodeId,
    pub caster: Caster,
    pub cast: Cast,
}

/// What came is no datagram of this form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it has no content")]
    Empty,
    #[error("it is of form {0}, expected {FORMAT}")]
    Format(u8),
    #[error("it is not what it says it is: {0}")]
    Content(postcard::Error),
    #[error("{0:?} is no direction")]
    Border((i8, i8)),
    #[error("its units are not in order, or not in its range")]
    Order,
}

/// The datagrams of `cast` for `to`, each of at most [`BYTES_MAX`] bytes; at least one.
pub fn split(caster: Caster, to: NodeId, cast: &Cast) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    let (mut units, mut above) = (Vec::with_capacity(BYTES_MAX), cast.above);
    let mut last = cast.above;
    for shadow in cast.units.iter() {
        if units.len() + SHADOW_MAX + HEADER_MAX > BYTES_MAX {
            datagrams.push(datagram(caster, to, cast, (above, last), &units));
            units.clear();
            above = last;
        }
        units = put(shadow, units);
        last = shadow.id;
    }
    datagrams.push(datagram(caster, to, cast, (above, cast.upto), &units));
    datagrams
}

fn datagram(
    Caster { node, incarnation }: Caster,
    to: NodeId,
    cast: &Cast,
    (above, upto): (UnitId, UnitId),
    units: &[u8],
) -> Vec<u8> {
    let SectorId { x, y, .. } = cast.from;
    let border = (cast.border.dx, cast.border.dy);
    let Cast { tick, time, has_news, .. } = *cast;
    let header = Header { to, node, incarnation, x, y, border, tick, time, has_news, above, upto };
    let mut bytes = Vec::with_capacity(HEADER_MAX + units.len());
    bytes.push(FORMAT);
    let mut bytes = put(&header, bytes);
    bytes.extend_from_slice(units);
    bytes
}

fn put(value: &impl Serialize, into: Vec<u8>) -> Vec<u8> {
    // Into a vector every value of these types goes; an empty datagram would be dropped
    // by who gets it.
    postcard::to_extend(value, into).unwrap_or_default()
}

/// # Errors
/// When it is no datagram of this form.
pub fn read(bytes: &[u8]) -> Result<Datagram, Unreadable> {
    let (format, content) = bytes.split_first().ok_or(Unreadable::Empty)?;
    if *format != FORMAT {
        return Err(Unreadable::Format(*format));
    }
    let (header, mut rest): (Header, &[u8]) =
        postcard::take_from_bytes(content).map_err(Unreadable::Content)?;
    let border = Border::ALL.into_iter().find(|it| (it.dx, it.dy) == header.border);
    let border = border.ok_or(Unreadable::Border(header.border))?;
    let (mut units, mut last): (Vec<Shadow>, UnitId) = (Vec::new(), header.above);
    while !rest.is_empty() {
        let shadow: Shadow;
        (shadow, rest) = postcard::take_from_bytes(rest).map_err(Unreadable::Content)?;
        if shadow.id <= last || shadow.id > header.upto {
            return Err(Unreadable::Order);
        }
        last = shadow.id;
        units.push(shadow);
    }
    let Header { to, node, incarnation, x, y, tick, time, has_news, above, upto, .. } = header;
    let from = SectorId::tactical(x, y);
    let cast = Cast { from, border, tick, time, has_news, above, upto, units: units.into() };
    Ok(Datagram { to, caster: Caster { node, incarnation }, cast })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::base::{PlayerId, Position};
    use crate::sim::UnitTypeId;

    const CASTER: Caster = Caster { node: NodeId(3), incarnation: Incarnation(8) };

    fn shadow(id: u64) -> impl Strategy<Value = Shadow> {
        let numbers = (any::<u64>(), any::<u16>(), any::<u32>(), any::<u16>());
        let places = (any::<(i32, i32)>(), any::<(i32, i32)>());
        (numbers, places).prop_map(move |((owner, kind, hops, health), ((x, y), velocity))| {
            Shadow {
                id: UnitId(id),
                owner: PlayerId(owner),
                type_id: UnitTypeId(kind),
                hops,
                position: Position { x, y },
                velocity,
                health,
            }
        })
    }

    fn cast() -> impl Strategy<Value = Cast> {
        let ids = prop::collection::btree_set(1..=u64::MAX, 0..200);
        let units = ids.prop_flat_map(|ids| ids.into_iter().map(shadow).collect::<Vec<_>>());
        let at = (any::<u64>(), any::<u64>(), any::<i64>(), any::<i64>(), 0..8_usize);
        (units, at).prop_map(|(units, (tick, time, x, y, border))| {
            let units: Arc<[Shadow]> = units.into();
            let (from, border) = (SectorId::tactical(x, y), Border::ALL[border]);
            let cast = Cast::whole(from, border, (Tick(tick), Millis(time)), units);
            Cast { has_news: time % 2 == 1, ..cast }
        })
    }

    proptest! {
        #[test]
        fn datagrams_fit_every_path_and_together_say_the_cast(cast in cast(), to: u32) {
            let datagrams = split(CASTER, NodeId(to), &cast);
            let (mut units, mut above) = (Vec::new(), cast.above);
            for bytes in &datagrams {
                prop_assert!(bytes.len() <= BYTES_MAX, "{} bytes", bytes.len());
                let read = read(bytes).unwrap();
                prop_assert_eq!((read.to, read.caster), (NodeId(to), CASTER));
                prop_assert_eq!(read.cast.above, above, "no gap between two");
                above = read.cast.upto;
                units.extend_from_slice(&read.cast.units);
                let whole = Cast { units: cast.units.clone(), above: cast.above, upto: cast.upto, ..read.cast };
                prop_assert_eq!(&whole, &cast);
            }
            prop_assert_eq!(above, cast.upto);
            prop_assert_eq!(&units[..], &cast.units[..]);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
            let _ = read(&[&[FORMAT], &bytes[..]].concat());
        }

        #[test]
        fn what_was_changed_on_its_way_is_read_or_refused(
            cast in cast(), at in any::<prop::sample::Index>(), to: u8,
        ) {
            let mut bytes = split(CASTER, NodeId(1), &cast).swap_remove(0);
            let at = at.index(bytes.len());
            bytes[at] = to;
            let _ = read(&bytes);
        }
    }

    #[test]
    fn what_is_out_of_order_is_refused() {
        let two = |ids: [u64; 2]| {
            let units = ids.map(|id| Shadow {
                id: UnitId(id),
                owner: PlayerId(1),
                type_id: UnitTypeId(1),
                hops: 0,
                position: Position::default(),
                velocity: (0, 0),
                health: 1,
            });
            let (from, border) = (SectorId::tactical(1, 1), Border::ALL[0]);
            Cast::whole(from, border, (Tick(1), Millis(1)), Arc::new(units))
        };
        assert!(read(&split(CASTER, NodeId(1), &two([1, 2]))[0]).is_ok());
        assert_eq!(read(&split(CASTER, NodeId(1), &two([2, 1]))[0]), Err(Unreadable::Order));
        assert_eq!(read(&split(CASTER, NodeId(1), &two([2, 2]))[0]), Err(Unreadable::Order));
        assert_eq!(read(&[]), Err(Unreadable::Empty));
        assert_eq!(read(&[9, 0]), Err(Unreadable::Format(9)));
    }
}
