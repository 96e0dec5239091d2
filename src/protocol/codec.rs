//! Owns the interface between messages and bytes. Each subprotocol is one
//! implementation; the gateway and the client library know only this.

use super::binary::Binary;
use super::blocks::{BlockError, Packet};
use super::json::Json;
use super::msgpack::MessagePack;
use super::postcard::Postcard;
use super::{Answer, ClientFrame, Header, MessageType, ServerFrame};

/// A way to write messages. Encoding cannot fail; decoding never panics and
/// needs memory in proportion to the bytes given.
pub trait Codec: Send + Sync {
    /// Appends the frame to `out`, which is best one that was used before.
    fn encode_server(&self, frame: &ServerFrame, out: &mut Vec<u8>);

    /// Reads a frame from a client.
    ///
    /// # Errors
    /// When it is too long, not of this codec, or of the wrong shape.
    fn decode_client(&self, bytes: &[u8]) -> Result<ClientFrame, DecodeError>;

    /// The type of a client's message that cannot be read otherwise, if that much
    /// can be told.
    fn client_kind(&self, bytes: &[u8]) -> Option<MessageType>;

    /// Appends the frame to `out`, which is best one that was used before.
    fn encode_client(&self, frame: &ClientFrame, out: &mut Vec<u8>);

    /// Reads a frame from a server.
    ///
    /// # Errors
    /// When it is too long, not of this codec, or of the wrong shape.
    fn decode_server(&self, bytes: &[u8]) -> Result<ServerFrame, DecodeError>;

    /// The type of a server's message, if that much can be told.
    fn server_kind(&self, bytes: &[u8]) -> Option<MessageType>;

    /// Reads a packet of a place: a StateDelta or a Keyframe.
    ///
    /// # Errors
    /// When it is too long, not of this codec, or of the wrong shape.
    fn decode_packet(&self, bytes: &[u8]) -> Result<(Header, Packet), DecodeError>;

    /// Reads whatever a server sent.
    ///
    /// # Errors
    /// As [`decode_server`](Self::decode_server) and
    /// [`decode_packet`](Self::decode_packet).
    fn receive(&self, bytes: &[u8]) -> Result<Received, DecodeError> {
        match self.server_kind(bytes) {
            Some(MessageType::StateDelta | MessageType::Keyframe) => {
                self.decode_packet(bytes).map(|(header, packet)| Received::Packet(header, packet))
            }
            _ => self.decode_server(bytes).map(Received::Message),
        }
    }
}

/// What comes from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    Message(ServerFrame),
    /// Of the place with the header's handle.
    Packet(Header, Packet),
}

/// The codecs there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CodecKind {
    /// Binary, fields by position: the smallest.
    #[default]
    Postcard,
    /// Binary, fields by name.
    MessagePack,
    /// Text, fields by name.
    Json,
}

impl CodecKind {
    /// In the order a server prefers them.
    pub const ALL: &[CodecKind] = &[CodecKind::Postcard, CodecKind::MessagePack, CodecKind::Json];

    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            CodecKind::Postcard => "postcard",
            CodecKind::MessagePack => "msgpack",
            CodecKind::Json => "json",
        }
    }

    /// The WebSocket subprotocol that chooses it.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            CodecKind::Postcard => "starmesh.postcard.v1",
            CodecKind::MessagePack => "starmesh.msgpack.v1",
            CodecKind::Json => "starmesh.json.v1",
        }
    }

    /// What a server speaks with a client whose `Sec-WebSocket-Protocol` says
    /// `offered`: of the subprotocols in it the one it prefers itself.
    pub fn negotiate(offered: &str) -> Option<CodecKind> {
        let names = || offered.split(',').map(str::trim);
        Self::ALL.iter().copied().find(|kind| names().any(|name| name == kind.subprotocol()))
    }

    /// Whether it writes text frames, else binary ones.
    pub const fn is_text(self) -> bool {
        matches!(self, CodecKind::Json)
    }

    /// The codec itself.
    pub fn codec(self) -> &'static dyn Codec {
        match self {
            CodecKind::Postcard => &Binary(Postcard),
            CodecKind::MessagePack => &Binary(MessagePack),
            CodecKind::Json => &Json,
        }
    }
}

/// A name that no codec has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no codec `{0}`: expected postcard, msgpack or json")]
pub struct UnknownCodec(String);

impl std::str::FromStr for CodecKind {
    type Err = UnknownCodec;

    fn from_str(name: &str) -> Result<CodecKind, UnknownCodec> {
        let known = Self::ALL.iter().copied().find(|kind| kind.name() == name);
        known.ok_or_else(|| UnknownCodec(name.chars().take(64).collect()))
    }
}

impl std::fmt::Display for CodecKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Bytes that are no message. Nothing happened to the state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the message has {bytes} bytes, at most {max} are read")]
    TooLong { bytes: usize, max: usize },
    /// Inflating it was stopped there.
    #[error("the message inflates beyond {max} bytes")]
    InflatesTooLong { max: usize },
    #[error("not a message: {reason}")]
    Malformed { reason: String },
    /// The path of the field, as `commands[2].units`; empty for the message.
    #[error("field `{field}`: expected {expected}")]
    Field { field: String, expected: String },
}

impl DecodeError {
    pub(super) fn field(field: &str, expected: impl Into<String>) -> DecodeError {
        DecodeError::Field { field: field.into(), expected: expected.into() }
    }

    pub(super) fn malformed(reason: impl Into<String>) -> DecodeError {
        DecodeError::Malformed { reason: reason.into() }
    }

    pub(super) fn block(error: BlockError) -> DecodeError {
        DecodeError::malformed(error.to_string())
    }

    /// What the sender is told.
    pub fn answer(&self) -> Answer {
        match self {
            DecodeError::TooLong { max, .. } | DecodeError::InflatesTooLong { max } => {
                Answer::invalid("message", format!("at most {max} bytes"))
            }
            DecodeError::Malformed { reason } => Answer::invalid("message", reason.as_str()),
            DecodeError::Field { field, expected } => {
                Answer::invalid(field.as_str(), expected.as_str())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_a_client_offers_the_server_takes_what_it_prefers() {
        let chosen = CodecKind::negotiate;
        assert_eq!(chosen("starmesh.json.v1"), Some(CodecKind::Json));
        assert_eq!(chosen("starmesh.json.v1, starmesh.msgpack.v1"), Some(CodecKind::MessagePack));
        assert_eq!(
            chosen("x,starmesh.msgpack.v1 , starmesh.postcard.v1"),
            Some(CodecKind::Postcard)
        );
        assert_eq!(chosen("starmesh.json.v2"), None);
        assert_eq!(chosen(""), None);
    }

    #[test]
    fn names_lead_back_to_their_codec() {
        for &kind in CodecKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(CodecKind::negotiate(kind.subprotocol()), Some(kind));
        }
        let unknown = "xml".parse::<CodecKind>().map_err(|error| error.to_string());
        assert_eq!(unknown, Err("no codec `xml`: expected postcard, msgpack or json".to_owned()));
    }
}
