//! Owns the language that clients and gateways speak: messages by direction,
//! their numbers, codecs, limits, and which message is legal when. Never does
//! I/O, reads no clock, knows nothing of the simulation (`view` converts).
//! Called by the gateway and by the client library. Invariant: outside bytes
//! become a message whose shape cannot be wrong, or an error that names the
//! field. `docs/protocol.md` is written from here and a test holds the two
//! together.

mod announcement;
pub mod answer;
pub mod binary;
pub mod blocks;
mod body;
pub mod client;
pub mod codec;
pub mod command;
pub mod fingerprint;
pub mod frame;
pub mod http;
pub mod ids;
pub mod json;
pub mod legality;
mod msgpack;
mod postcard;
mod read_error;
pub mod server;
pub mod wire;

pub use announcement::{Announcement, NoAnnouncement};
pub use answer::{Answer, EndReason};
pub use client::ClientMessage;
pub use codec::{Codec, CodecKind, DecodeError, Received};
pub use command::{Addressee, Command, Order, Recipients};
pub use fingerprint::FINGERPRINT;
pub use frame::{ClientFrame, Frame, Header, ServerFrame};
pub use ids::MessageType;
pub use legality::{SessionState, Verdict};
pub use server::ServerMessage;
pub use wire::{Arrival, Course, Destination, Place, Point, Sector, UnitRecord};

/// The most a client's message may have, in bytes.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// The most a client accepts from a server, in bytes: a keyframe of 50,000
/// units in JSON.
pub const SERVER_MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most units that one command may name.
pub const COMMAND_UNITS_MAX: usize = 256;
/// The most commands in one batch, and the most unanswered ones of a session
/// at one entity.
pub const UNANSWERED_MAX: usize = 32;
/// The most tactical sectors of one Subscribe, and of a session.
pub const SUBSCRIBED_SECTORS_MAX: usize = 25;
/// The longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 4096;
/// Ids and times are below this, so that JSON carries them exactly.
pub const EXACT_BELOW: u64 = 1 << 53;
/// How long a connection may be open before its Connect, in milliseconds.
pub const CONNECT_WITHIN_MS: u64 = 5_000;
/// How long a session can be resumed after its connection ended.
pub const RESUME_WITHIN_MS: u64 = 300_000;
