//! Owns the bytes in which [`PeerMessage`]s, questions and answers go over a
//! link: postcard behind the number of the form, of which there is one, the same in
//! all of the cluster's [format versions](crate::entity::format) so far. Never sends.
//! What comes is a member's, and is read as carefully as a stranger's. What a link's
//! hello said fits together; the byte is there to catch what went wrong.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::actors::peers::{PeerAnswer, PeerMessage, PeerQuestion};
use crate::cluster::links::Class;

/// The form that this build writes and reads. Whoever makes another writes it only
/// from a new version of the cluster's format on, as it is done for
/// [snapshots](crate::entity::packed), and reads this one besides.
pub const FORMAT: u8 = 1;

/// What came is no message of this format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it has no content")]
    Empty,
    #[error("it is of format {0}, expected {FORMAT}")]
    Format(u8),
    #[error("it is not what it says it is: {0}")]
    Content(postcard::Error),
    #[error("{0} bytes follow its end")]
    Trailing(usize),
}

/// The class a message goes in, and its bytes. What views say is large and goes
/// by itself, so that it holds up no command.
pub fn encode(message: &PeerMessage) -> (Class, Bytes) {
    let class = match message {
        PeerMessage::View(_) => Class::Bulk,
        PeerMessage::Load(_) => Class::Control,
        PeerMessage::Core(_) | PeerMessage::ToOwner(_) | PeerMessage::ToGateway(_) => {
            Class::Commands
        }
    };
    (class, put(message))
}

/// # Errors
/// When it is not a message.
pub fn decode(bytes: &[u8]) -> Result<PeerMessage, Unreadable> {
    get(bytes)
}

pub fn encode_question(question: &PeerQuestion) -> Bytes {
    put(question)
}

/// # Errors
/// When it is not a question.
pub fn decode_question(bytes: &[u8]) -> Result<PeerQuestion, Unreadable> {
    get(bytes)
}

pub fn encode_answer(answer: &PeerAnswer) -> Bytes {
    put(answer)
}

/// # Errors
/// When it is not an answer.
pub fn decode_answer(bytes: &[u8]) -> Result<PeerAnswer, Unreadable> {
    get(bytes)
}

/// A command and its answer fit into so much.
const USUAL: usize = 96;

fn put(value: &impl Serialize) -> Bytes {
    let mut bytes = Vec::with_capacity(USUAL);
    bytes.push(FORMAT);
    // Into a vector every value of these types goes; an empty message would be
    // refused by who gets it.
    Bytes::from(postcard::to_extend(value, bytes).unwrap_or_default())
}

fn get<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    match bytes.split_first() {
        None => Err(Unreadable::Empty),
        Some((&FORMAT, content)) => {
            let (value, rest) = postcard::take_from_bytes(content).map_err(Unreadable::Content)?;
            if rest.is_empty() { Ok(value) } else { Err(Unreadable::Trailing(rest.len())) }
        }
        Some((&format, _)) => Err(Unreadable::Format(format)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::peers::ToOwner;
    use crate::base::{EntityKey, Millis, NodeId, SectorId};
    use crate::cluster::core::balance::{NodeTold, SECTORS_TOLD_MAX, SectorLoad};
    use crate::cluster::core::update::TimestampedUpdate;
    use crate::cluster::links::Limits;

    #[test]
    fn the_fullest_load_fits_into_a_message_of_its_class() {
        let most = SectorId { x: i64::MAX, y: i64::MIN, scale: u8::MAX };
        let late = Some(Millis(u64::MAX));
        let sector = SectorLoad {
            players: u32::MAX,
            activity: u32::MAX,
            cost_us: u32::MAX,
            hot_since: late,
            cold_since: late,
            ..SectorLoad::new(most, Millis(u64::MAX))
        };
        let data = NodeTold {
            sectors: vec![sector; 2 * SECTORS_TOLD_MAX],
            observed: vec![(most, u32::MAX); 2 * SECTORS_TOLD_MAX],
            round_trips: vec![(NodeId(u32::MAX), u32::MAX); 5_000],
            ..NodeTold::default()
        };
        let (data, timestamp, server_id) = (data.bounded(), Millis(u64::MAX), NodeId(u32::MAX));
        let update = TimestampedUpdate { data, timestamp, server_id };
        let (class, bytes) = encode(&PeerMessage::Load(Box::new(update)));
        let most = Limits::default().classes[class].message_max;
        assert!(class == Class::Control && bytes.len() <= most, "{} bytes", bytes.len());
    }

    #[test]
    fn what_is_no_message_is_told_apart() {
        let message = PeerMessage::ToOwner(ToOwner::Wake(EntityKey::Ledger(7)));
        let (class, bytes) = encode(&message);
        assert_eq!((class, decode(&bytes)), (Class::Commands, Ok(message)));
        assert_eq!(decode(&[]), Err(Unreadable::Empty));
        assert_eq!(decode(&[2, 0]), Err(Unreadable::Format(2)));
        assert!(matches!(decode(&bytes[..bytes.len() - 1]), Err(Unreadable::Content(_))));
        let longer = [&bytes[..], &[0, 0]].concat();
        assert_eq!(decode(&longer), Err(Unreadable::Trailing(2)));
    }
}
