//! Owns the interface between messages and bytes. Each subprotocol is one
//! implementation; the gateway and the client library know only this.

use super::json::Json;
use super::{Answer, ClientFrame, MessageType, ServerFrame};

/// A way to write messages. Encoding cannot fail; decoding never panics and
/// needs memory in proportion to the bytes given.
pub trait Codec: Send + Sync {
    /// Appends the frame to `out`.
    fn encode_server(&self, frame: &ServerFrame, out: &mut Vec<u8>);

    /// Reads a frame from a client.
    ///
    /// # Errors
    /// When it is too long, not of this codec, or of the wrong shape.
    fn decode_client(&self, bytes: &[u8]) -> Result<ClientFrame, DecodeError>;

    /// The type of a client's message that cannot be read otherwise, if that much
    /// can be told.
    fn client_kind(&self, _bytes: &[u8]) -> Option<MessageType> {
        None
    }

    /// Appends the frame to `out`.
    fn encode_client(&self, frame: &ClientFrame, out: &mut Vec<u8>);

    /// Reads a frame from a server.
    ///
    /// # Errors
    /// When it is too long, not of this codec, or of the wrong shape.
    fn decode_server(&self, bytes: &[u8]) -> Result<ServerFrame, DecodeError>;
}

/// The codecs there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodecKind {
    Json,
}

impl CodecKind {
    /// In the order a server prefers them.
    pub const ALL: &[CodecKind] = &[CodecKind::Json];

    /// The WebSocket subprotocol that chooses it.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            CodecKind::Json => "starmesh.json.v1",
        }
    }

    /// The codec a client asked for by this name.
    pub fn from_subprotocol(name: &str) -> Option<CodecKind> {
        Self::ALL.iter().copied().find(|kind| kind.subprotocol() == name)
    }

    /// Whether it writes text frames, else binary ones.
    pub const fn is_text(self) -> bool {
        match self {
            CodecKind::Json => true,
        }
    }

    /// The codec itself.
    pub fn codec(self) -> &'static dyn Codec {
        match self {
            CodecKind::Json => &Json,
        }
    }
}

/// Bytes that are no message. Nothing happened to the state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the message has {bytes} bytes, at most {max} are read")]
    TooLong { bytes: usize, max: usize },
    #[error("not a message: {reason}")]
    Malformed { reason: String },
    /// The path of the field, as `commands[2].units`; empty for the message.
    #[error("field `{field}`: expected {expected}")]
    Field { field: String, expected: String },
}

impl DecodeError {
    /// What the sender is told.
    pub fn answer(&self) -> Answer {
        match self {
            DecodeError::TooLong { max, .. } => {
                Answer::invalid("message", format!("at most {max} bytes"))
            }
            DecodeError::Malformed { reason } => Answer::invalid("message", reason.as_str()),
            DecodeError::Field { field, expected } => {
                Answer::invalid(field.as_str(), expected.as_str())
            }
        }
    }
}
