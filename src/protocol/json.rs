//! Owns `starmesh.json.v1`: one JSON object per text frame, with `type`,
//! `handle` and `tick` beside the message's own fields. Handle and tick may be
//! left out and are 0 then; an unknown field is refused.

mod reader;

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::blocks::{self, Packet};
use super::body::{self, BodyReader, BodyWriter};
use super::{
    CLIENT_MESSAGE_BYTES_MAX, ClientFrame, Codec, DecodeError, Header, MessageType,
    SERVER_MESSAGE_BYTES_MAX, ServerFrame,
};

/// The codec of that name; it has no state.
pub struct Json;

impl Codec for Json {
    fn encode_server(&self, frame: &ServerFrame, out: &mut Vec<u8>) {
        body::write_server(&frame.message, Writer { header: frame.header, out });
    }

    fn decode_client(&self, bytes: &[u8]) -> Result<ClientFrame, DecodeError> {
        let (kind, header, fields) = open(bytes, CLIENT_MESSAGE_BYTES_MAX)?;
        body::read_client(kind, header, Fields(fields))
    }

    fn client_kind(&self, bytes: &[u8]) -> Option<MessageType> {
        open(bytes, CLIENT_MESSAGE_BYTES_MAX).ok().map(|(kind, ..)| kind)
    }

    fn encode_client(&self, frame: &ClientFrame, out: &mut Vec<u8>) {
        body::write_client(&frame.message, Writer { header: frame.header, out });
    }

    fn decode_server(&self, bytes: &[u8]) -> Result<ServerFrame, DecodeError> {
        let (kind, header, fields) = open(bytes, SERVER_MESSAGE_BYTES_MAX)?;
        body::read_server(kind, header, Fields(fields))
    }

    fn server_kind(&self, bytes: &[u8]) -> Option<MessageType> {
        #[derive(Deserialize)]
        struct Typed<'a> {
            #[serde(borrow)]
            r#type: Cow<'a, str>,
        }
        let typed: Typed<'_> = serde_json::from_slice(bytes).ok()?;
        MessageType::from_name(&typed.r#type)
    }

    fn decode_packet(&self, bytes: &[u8]) -> Result<(Header, Packet), DecodeError> {
        blocks::json::read_message(bytes).map_err(DecodeError::block)
    }
}

/// A message as one JSON object.
#[derive(Serialize)]
struct Object<'a, B> {
    #[serde(rename = "type")]
    kind: &'static str,
    handle: u32,
    tick: u16,
    #[serde(flatten)]
    body: &'a B,
}

struct Writer<'a> {
    header: Header,
    out: &'a mut Vec<u8>,
}

impl BodyWriter for Writer<'_> {
    fn write<B: Serialize>(self, kind: MessageType, body: &B) {
        let Header { handle, tick } = self.header;
        let object = Object { kind: kind.name(), handle, tick, body };
        // Writing to a Vec does not fail, and no message has a map with other
        // keys than strings or a `Serialize` of its own that could.
        serde_json::to_writer(self.out, &object).expect("a message is JSON");
    }
}

/// A message's own fields: an object.
struct Fields(Value);

impl BodyReader for Fields {
    fn read<B: DeserializeOwned>(self) -> Result<B, DecodeError> {
        B::deserialize(reader::Reader(&self.0)).map_err(Into::into)
    }
}

/// Takes an object apart into type, header and the message's own fields.
fn open(bytes: &[u8], max: usize) -> Result<(MessageType, Header, Value), DecodeError> {
    if bytes.len() > max {
        return Err(DecodeError::TooLong { bytes: bytes.len(), max });
    }
    // serde_json refuses to nest deeper than 128, so neither this nor the
    // reader can exhaust the stack.
    let value =
        serde_json::from_slice(bytes).map_err(|error| DecodeError::malformed(error.to_string()))?;
    let Value::Object(mut fields) = value else {
        return Err(DecodeError::malformed("expected a JSON object"));
    };
    let kind = take_type(&mut fields)?;
    let handle = take_number(&mut fields, "handle", "a number below 2^32")?;
    let tick = take_number(&mut fields, "tick", "a number below 2^16")?;
    Ok((kind, Header { handle, tick }, Value::Object(fields)))
}

fn take_type(fields: &mut Map<String, Value>) -> Result<MessageType, DecodeError> {
    let name = fields.remove("type");
    let name = name.as_ref().and_then(Value::as_str);
    name.and_then(MessageType::from_name)
        .ok_or_else(|| DecodeError::field("type", "the name of a message"))
}

fn take_number<N: TryFrom<u64> + Default>(
    fields: &mut Map<String, Value>,
    name: &str,
    expected: &str,
) -> Result<N, DecodeError> {
    let Some(value) = fields.remove(name) else { return Ok(N::default()) };
    let number = value.as_u64().and_then(|number| N::try_from(number).ok());
    number.ok_or_else(|| DecodeError::field(name, expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decoding `text` must fail and name `field`, telling what it `expected`.
    fn check(text: &str, named: &str, told: &str) {
        assert_eq!(
            Json.decode_client(text.as_bytes()),
            Err(DecodeError::field(named, told)),
            "{text}"
        );
    }

    #[test]
    fn names_the_field_and_what_was_expected() {
        check(r#"{"type":"connect"}"#, "token", "the field to be there");
        check(r#"{"type":"connect","token":5}"#, "token", "a string");
        check(r#"{"type":"connect","token":"x","resume":0}"#, "resume", "an id from 1, below 2^53");
        check(r#"{"type":"ping","time":-1}"#, "time", "u64");
        check(r#"{"type":"ping","time":1.5}"#, "time", "u64");
        check(r#"{"type":"ping","time":9007199254740992}"#, "time", "a number below 2^53");
        check(r#"{"type":"ping","time":1,"x":2}"#, "x", "only time");
        check(r#"{"type":"unsubscribe","handle":-1}"#, "handle", "a number below 2^32");
        check(r#"{"type":"nonsense"}"#, "type", "the name of a message");
        check(r#"{"type":"ack"}"#, "type", "a message that a client sends");
    }

    #[test]
    fn names_the_path_into_lists_and_choices() {
        let subscribe = |area: &str| format!(r#"{{"type":"subscribe","area":{area}}}"#);
        check(
            &subscribe(r#"{"sectors":[{"x":0,"y":0,"scale":0},{"x":0,"y":"a","scale":0}]}"#),
            "area.sectors[1].y",
            "i64",
        );
        check(&subscribe(r#"{"sectors":[]}"#), "area", "1 to 25 sectors");
        check(&subscribe(r#"{"circle":1}"#), "area", "one of sectors, rectangle");
        let hold = |rest: &str| format!(r#"{{"type":"hold","handle":1,"time":0,{rest}}}"#);
        check(&hold(r#""sequence":1,"units":[4,0]"#), "units[1]", "an id from 1, below 2^53");
        check(&hold(r#""sequence":1,"units":[4,4]"#), "units", "1 to 256 units, each once");
        check(&hold(r#""sequence":0,"units":[4]"#), "sequence", "a sequence from 1");
    }

    #[test]
    fn a_command_names_its_place_exactly_once() {
        let told = "a command has either a handle or a place";
        let place = r#""place":{"sector":{"x":0,"y":0,"scale":0}}"#;
        let hold =
            |rest: &str| format!(r#"{{"type":"hold","sequence":1,"time":0,"units":[4]{rest}}}"#);
        check(&hold(""), "handle", told);
        check(&hold(&format!(r#","handle":1,{place}"#)), "handle", told);
        assert!(Json.decode_client(hold(&format!(",{place}")).as_bytes()).is_ok());
    }

    #[test]
    fn refuses_what_is_too_long_before_reading_it() {
        let bytes = vec![b'['; CLIENT_MESSAGE_BYTES_MAX + 1];
        let too_long = DecodeError::TooLong { bytes: bytes.len(), max: CLIENT_MESSAGE_BYTES_MAX };
        assert_eq!(Json.decode_client(&bytes), Err(too_long));
    }

    #[test]
    fn refuses_deep_nesting_without_exhausting_the_stack() {
        let bytes = vec![b'['; CLIENT_MESSAGE_BYTES_MAX];
        assert!(matches!(Json.decode_client(&bytes), Err(DecodeError::Malformed { .. })));
    }
}
