//! Owns the table of which struct stands in a message of which type, for all
//! codecs. Never knows bytes: a codec writes and reads one struct at a time.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    ClientFrame, ClientMessage, DecodeError, Header, MessageType, ServerFrame, ServerMessage,
};

/// Writes the struct of one message.
pub trait BodyWriter {
    fn write<B: Serialize>(self, kind: MessageType, body: &B);
}

/// Reads the struct of one message.
pub trait BodyReader {
    fn read<B: DeserializeOwned>(self) -> Result<B, DecodeError>;
}

pub(super) fn write_client<W: BodyWriter>(message: &ClientMessage, to: W) {
    let kind = message.kind();
    match message {
        ClientMessage::MoveFleet(body)
        | ClientMessage::AttackMove(body)
        | ClientMessage::Patrol(body)
        | ClientMessage::Warp(body) => to.write(kind, body),
        ClientMessage::Stop(body) | ClientMessage::Hold(body) => to.write(kind, body),
        ClientMessage::JoinFleet(body) => to.write(kind, body),
        ClientMessage::BatchCommand(body) => to.write(kind, body),
        ClientMessage::Ping(body) => to.write(kind, body),
        ClientMessage::Connect(body) => to.write(kind, body),
        ClientMessage::Subscribe(body) => to.write(kind, body),
        ClientMessage::Disconnect(body)
        | ClientMessage::Unsubscribe(body)
        | ClientMessage::KeyframeRequest(body) => to.write(kind, body),
    }
}

pub(super) fn write_server<W: BodyWriter>(message: &ServerMessage, to: W) {
    let kind = message.kind();
    match message {
        ServerMessage::Pong(body) => to.write(kind, body),
        ServerMessage::Ack(body) => to.write(kind, body),
        ServerMessage::Connected(body) => to.write(kind, body),
        ServerMessage::Subscribed(body) => to.write(kind, body),
        ServerMessage::Unsubscribed(body) => to.write(kind, body),
        ServerMessage::Presence(body) => to.write(kind, body),
        ServerMessage::Aggregate(body) => to.write(kind, body),
        ServerMessage::TimeDilation(body) => to.write(kind, body),
        ServerMessage::Error(body) => to.write(kind, body),
        ServerMessage::Notification(body) => to.write(kind, body),
    }
}

/// A client's message, which names its place and its units exactly once.
pub(super) fn read_client<R: BodyReader>(
    kind: MessageType,
    header: Header,
    from: R,
) -> Result<ClientFrame, DecodeError> {
    let message = match kind {
        MessageType::MoveFleet => ClientMessage::MoveFleet(from.read()?),
        MessageType::Stop => ClientMessage::Stop(from.read()?),
        MessageType::Hold => ClientMessage::Hold(from.read()?),
        MessageType::AttackMove => ClientMessage::AttackMove(from.read()?),
        MessageType::Patrol => ClientMessage::Patrol(from.read()?),
        MessageType::Warp => ClientMessage::Warp(from.read()?),
        MessageType::JoinFleet => ClientMessage::JoinFleet(from.read()?),
        MessageType::BatchCommand => ClientMessage::BatchCommand(from.read()?),
        MessageType::Ping => ClientMessage::Ping(from.read()?),
        MessageType::Connect => ClientMessage::Connect(from.read()?),
        MessageType::Disconnect => ClientMessage::Disconnect(from.read()?),
        MessageType::Subscribe => ClientMessage::Subscribe(from.read()?),
        MessageType::Unsubscribe => ClientMessage::Unsubscribe(from.read()?),
        MessageType::KeyframeRequest => ClientMessage::KeyframeRequest(from.read()?),
        _ => return Err(DecodeError::field("type", "a message that a client sends")),
    };
    let frame = ClientFrame { header, message };
    match frame.commands() {
        Ok(_) => Ok(frame),
        Err(error) => Err(DecodeError::field(&error.field, error.expected)),
    }
}

pub(super) fn read_server<R: BodyReader>(
    kind: MessageType,
    header: Header,
    from: R,
) -> Result<ServerFrame, DecodeError> {
    let message = match kind {
        MessageType::Pong => ServerMessage::Pong(from.read()?),
        MessageType::Ack => ServerMessage::Ack(from.read()?),
        MessageType::Connected => ServerMessage::Connected(from.read()?),
        MessageType::Subscribed => ServerMessage::Subscribed(from.read()?),
        MessageType::Unsubscribed => ServerMessage::Unsubscribed(from.read()?),
        MessageType::Presence => ServerMessage::Presence(from.read()?),
        MessageType::Aggregate => ServerMessage::Aggregate(from.read()?),
        MessageType::TimeDilation => ServerMessage::TimeDilation(from.read()?),
        MessageType::Error => ServerMessage::Error(from.read()?),
        MessageType::Notification => ServerMessage::Notification(from.read()?),
        _ => return Err(DecodeError::field("type", "a message that a server sends")),
    };
    Ok(ServerFrame { header, message })
}
