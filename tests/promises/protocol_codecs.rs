//! All codecs say the same: every message of both directions is read back as
//! it was written, what one refuses all refuse with the same words, and
//! whatever bytes come in are answered with a message or an error.

use std::io::Read;

use flate2::read::DeflateDecoder;
use proptest::prelude::*;
use serde_json::Value;
use starmesh::base::{FleetId, SessionId, UnitId};
use starmesh::protocol::binary::{HEAD_BYTES, Head};
use starmesh::protocol::client::{Area, Connect, Empty, Ping, Rectangle, Subscribe};
use starmesh::protocol::command::{BatchCommand, BatchItem, JoinFleet, UnitsCommand};
use starmesh::protocol::server::Ack;
use starmesh::protocol::{
    Answer, CLIENT_MESSAGE_BYTES_MAX, ClientFrame, ClientMessage, CodecKind, DecodeError, Header,
    MessageType, Order, Place, Sector, ServerFrame, ServerMessage,
};

use crate::protocol_any::{client_frame, server_frame};
use crate::protocol_golden::bytes;

fn encode_client(kind: CodecKind, frame: &ClientFrame) -> Vec<u8> {
    let mut bytes = b"before".to_vec();
    kind.codec().encode_client(frame, &mut bytes);
    assert!(bytes.starts_with(b"before"), "it appends");
    bytes.split_off(6)
}

fn encode_server(kind: CodecKind, frame: &ServerFrame) -> Vec<u8> {
    let mut bytes = b"before".to_vec();
    kind.codec().encode_server(frame, &mut bytes);
    assert!(bytes.starts_with(b"before"), "it appends");
    bytes.split_off(6)
}

/// MessagePack's maps have the names and values of the JSON object.
fn check_names(json: &[u8], msgpack: &[u8]) {
    let mut json: Value = serde_json::from_slice(json).expect("JSON");
    let fields = json.as_object_mut().expect("an object");
    let kind = fields.remove("type").expect("a type");
    let (handle, tick) = (fields.remove("handle"), fields.remove("tick"));
    let (head, payload) = Head::split(msgpack).expect("a head");
    assert_eq!(kind, head.kind.name());
    assert_eq!(handle, Some(head.header.handle.into()));
    assert_eq!(tick, Some(head.header.tick.into()));
    let mut plain = payload.to_vec();
    if head.deflated {
        plain.clear();
        DeflateDecoder::new(payload).read_to_end(&mut plain).expect("raw deflate");
        assert!(plain.len() > 512 && payload.len() < plain.len());
    }
    let read: Value = rmp_serde::from_slice(&plain).expect("MessagePack");
    assert_eq!(read, json);
}

/// Decodes both ways; what is accepted is written and read back as the same.
fn check_any(kind: CodecKind, bytes: &[u8]) {
    match kind.codec().decode_client(bytes) {
        Ok(frame) => {
            let again = kind.codec().decode_client(&encode_client(kind, &frame));
            assert_eq!(again, Ok(frame));
        }
        Err(DecodeError::Field { expected, .. }) => assert!(!expected.is_empty()),
        Err(_) => {}
    }
    if let Ok(frame) = kind.codec().decode_server(bytes) {
        let again = kind.codec().decode_server(&encode_server(kind, &frame));
        assert_eq!(again, Ok(frame));
    }
}

/// An example with some bytes of it changed, removed or put in.
fn mutated() -> impl Strategy<Value = (CodecKind, Vec<u8>)> {
    let change = (any::<usize>(), any::<u8>(), 0..4_u8);
    let changes = proptest::collection::vec(change, 1..6);
    (proptest::sample::select(CodecKind::ALL), any::<usize>(), changes).prop_map(
        |(kind, example, changes)| {
            let examples = bytes(kind);
            let mut bytes = examples[example % examples.len()].clone();
            for (at, byte, how) in changes {
                let at = at % bytes.len().max(1);
                match how {
                    0 if !bytes.is_empty() => drop(bytes.remove(at)),
                    1 => bytes.insert(at, byte),
                    2 => bytes.truncate(at),
                    _ if !bytes.is_empty() => bytes[at] = byte,
                    _ => {}
                }
            }
            (kind, bytes)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_client_message_is_the_same_in_all_codecs(frame in client_frame()) {
        for &kind in CodecKind::ALL {
            let bytes = encode_client(kind, &frame);
            let read = kind.codec().decode_client(&bytes);
            prop_assert_eq!(read.as_ref(), Ok(&frame), "{}", kind);
        }
        check_names(
            &encode_client(CodecKind::Json, &frame),
            &encode_client(CodecKind::MessagePack, &frame),
        );
    }

    #[test]
    fn a_command_is_written_as_the_message_it_was_read_from(frame in client_frame()) {
        let commands = frame.commands().expect("well formed");
        match (&commands[..], &frame.message) {
            (_, ClientMessage::BatchCommand(batch)) => {
                let items: Vec<_> = commands.into_iter().map(BatchItem::from).collect();
                prop_assert_eq!(&items, &batch.commands);
            }
            ([command], message) => prop_assert_eq!(&command.frame().message, message),
            _ => prop_assert!(commands.is_empty()),
        }
    }

    #[test]
    fn every_server_message_is_the_same_in_all_codecs(frame in server_frame()) {
        for &kind in CodecKind::ALL {
            let bytes = encode_server(kind, &frame);
            let read = kind.codec().decode_server(&bytes);
            prop_assert_eq!(read.as_ref(), Ok(&frame), "{}", kind);
        }
        check_names(
            &encode_server(CodecKind::Json, &frame),
            &encode_server(CodecKind::MessagePack, &frame),
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn any_change_to_bytes_is_answered((kind, bytes) in mutated()) {
        check_any(kind, &bytes);
    }

    #[test]
    fn any_payload_is_answered(
        message in proptest::sample::select(MessageType::ALL),
        deflated in any::<bool>(),
        payload in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        let header = Header { handle: 1, tick: 0 };
        let mut bytes = Head { kind: message, deflated, header }.to_bytes().to_vec();
        bytes.extend(payload);
        check_any(CodecKind::Postcard, &bytes);
        check_any(CodecKind::MessagePack, &bytes);
    }
}

const SECTOR: Sector = Sector { x: 1, y: 2, scale: 0 };
const BEYOND: u64 = 1 << 53;

fn hold(sequence: u32, units: &[u64]) -> UnitsCommand {
    let units = units.iter().copied().map(UnitId).collect();
    UnitsCommand {
        sequence,
        time: 5,
        place: None,
        predicted: None,
        units,
        fleet: None,
        queue: false,
    }
}

fn subscribe(area: Area) -> ClientMessage {
    ClientMessage::Subscribe(Subscribe { area })
}

#[test]
fn what_is_out_of_range_every_codec_refuses_with_the_same_words() {
    let check = |handle, message: ClientMessage, field: &str, expected: &str| {
        let frame = ClientFrame::new(handle, 0, message);
        let error = DecodeError::Field { field: field.into(), expected: expected.into() };
        for &kind in CodecKind::ALL {
            let read = kind.codec().decode_client(&encode_client(kind, &frame));
            assert_eq!(read, Err(error.clone()), "{kind}");
        }
    };
    let stop = ClientMessage::Stop;
    let once = "a command has either a handle or a place";
    let token = |token| ClientMessage::Connect(Connect { token, resume: None });
    let item = |sequence, unit| BatchItem {
        sequence,
        predicted: None,
        units: vec![UnitId(unit)],
        fleet: None,
        queue: false,
        order: Order::Stop {},
    };
    let batch =
        |commands| ClientMessage::BatchCommand(BatchCommand { time: 1, place: None, commands });
    check(1, stop(hold(0, &[4])), "sequence", "a sequence from 1");
    check(1, stop(hold(1, &[4, 0])), "units[1]", "an id from 1, below 2^53");
    check(1, stop(hold(1, &[4, 4])), "units", "1 to 256 units, each once");
    let who = "1 to 256 units, or a fleet instead";
    check(1, stop(hold(1, &[])), "units", who);
    let fleet = |fleet| Some(FleetId(fleet));
    check(1, stop(UnitsCommand { fleet: fleet(9), ..hold(1, &[4]) }), "units", who);
    let none = UnitsCommand { fleet: fleet(0), ..hold(1, &[]) };
    check(1, stop(none), "fleet", "an id from 1, below 2^53");
    let many: Vec<u64> = (1..=257).collect();
    check(1, stop(hold(1, &many)), "units", "1 to 256 units, each once");
    let UnitsCommand { sequence, time, place, predicted, units, fleet, queue } = hold(1, &[4]);
    let into = FleetId(BEYOND);
    let join = JoinFleet { sequence, time, place, predicted, units, fleet, queue, into };
    check(1, ClientMessage::JoinFleet(join), "into", "a number below 2^53");
    check(0, stop(hold(1, &[4])), "handle", once);
    let place = Some(Place::Sector(SECTOR));
    check(1, stop(UnitsCommand { place, ..hold(1, &[4]) }), "handle", once);
    let far = Some(Place::Sector(Sector { y: i64::MIN, ..SECTOR }));
    let expected = "a number between -2^53 and 2^53";
    check(0, stop(UnitsCommand { place: far, ..hold(1, &[4]) }), "place.sector.y", expected);
    check(0, ClientMessage::Ping(Ping { time: BEYOND }), "time", "a number below 2^53");
    check(0, token(String::new()), "token", "a token of 1 to 4096 bytes");
    check(0, token("x".repeat(4_097)), "token", "a token of 1 to 4096 bytes");
    let resume = Connect { token: "x".into(), resume: Some(SessionId(0)) };
    check(0, ClientMessage::Connect(resume), "resume", "an id from 1, below 2^53");
    check(0, subscribe(Area::Sectors(vec![SECTOR; 26])), "area", "1 to 25 sectors");
    let flat = Rectangle { corner: SECTOR, width: 0, height: 9 };
    check(0, subscribe(Area::Rectangle(flat)), "area", "1 to 25 sectors");
    let unit = "commands[1].units[0]";
    check(1, batch(vec![item(1, 4), item(2, BEYOND)]), unit, "an id from 1, below 2^53");
    let nobody = BatchItem { units: Vec::new(), ..item(2, 4) };
    check(1, batch(vec![item(1, 4), nobody]), "commands[1].units", who);
    let rising = "1 to 32 commands of rising sequence";
    check(1, batch(vec![item(2, 4), item(1, 4)]), "commands", rising);
}

#[test]
fn what_a_server_may_not_say_every_codec_refuses_with_the_same_words() {
    let (rule, why) = ("in_transit".into(), "it is in transit".into());
    let refused = Answer::Refused { rule, why, unit: Some(UnitId(0)), state: None };
    let frame = ServerFrame::new(1, 2, ServerMessage::Ack(Ack::failed(1, 0, refused)));
    let expected = "an id from 1, below 2^53".into();
    let error = DecodeError::Field { field: "error.refused.unit".into(), expected };
    for &kind in CodecKind::ALL {
        let read = kind.codec().decode_server(&encode_server(kind, &frame));
        assert_eq!(read, Err(error.clone()), "{kind}");
    }
}

fn framed(message: MessageType, deflated: bool, payload: &[u8]) -> Vec<u8> {
    let header = Header { handle: 1, tick: 0 };
    let mut bytes = Head { kind: message, deflated, header }.to_bytes().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

fn field(field: &str, expected: &str) -> Result<ClientFrame, DecodeError> {
    Err(DecodeError::Field { field: field.into(), expected: expected.into() })
}

#[test]
fn a_list_longer_than_its_message_is_refused_before_it_is_read() {
    let told = "no more elements than bytes that follow";
    // Sequence 1, time 1, no place, no prediction, 2^42 units.
    let payload = [1, 1, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 4, 5];
    let bytes = framed(MessageType::Stop, false, &payload);
    assert_eq!(CodecKind::Postcard.codec().decode_client(&bytes), field("units", told));
    // {"units": a list of 2^32 - 1}
    let payload = b"\x81\xA5units\xDD\xFF\xFF\xFF\xFF\x01\x02";
    let bytes = framed(MessageType::Stop, false, payload);
    assert_eq!(CodecKind::MessagePack.codec().decode_client(&bytes), field("units", told));
    let bytes = framed(MessageType::Stop, false, b"\xDF\xFF\xFF\xFF\xFF\xA5units\x01");
    assert_eq!(CodecKind::MessagePack.codec().decode_client(&bytes), field("", told));
}

#[test]
fn nesting_is_refused_where_no_field_has_it() {
    let mut payload = b"\x81\xA5units".to_vec();
    payload.resize(60_000, 0x91);
    let bytes = framed(MessageType::Stop, false, &payload);
    assert_eq!(CodecKind::MessagePack.codec().decode_client(&bytes), field("units[0]", "u64"));
    let bytes = framed(MessageType::Ping, false, &[0x81; 60_000]);
    let read = CodecKind::MessagePack.codec().decode_client(&bytes);
    assert_eq!(read, field("", "names of fields as text"));
}

#[test]
fn bytes_behind_a_message_are_refused() {
    for kind in [CodecKind::Postcard, CodecKind::MessagePack] {
        let ping = ClientFrame::new(0, 0, ClientMessage::Ping(Ping { time: 1 }));
        let mut bytes = encode_client(kind, &ping);
        bytes.push(0);
        let read = kind.codec().decode_client(&bytes);
        assert!(matches!(read, Err(DecodeError::Malformed { .. })), "{read:?}");
    }
}

#[test]
fn the_head_names_a_message_and_nothing_else() {
    for kind in [CodecKind::Postcard, CodecKind::MessagePack] {
        let read = |bytes: &[u8]| kind.codec().decode_client(bytes);
        assert_eq!(read(&[0xEE, 0, 0, 0, 0, 0, 0, 0]), field("type", "the number of a message"));
        assert_eq!(read(&[0x32, 1, 0, 0, 0, 0, 0, 0]), field("type", "the number of a message"));
        let ack = framed(MessageType::Ack, false, &[]);
        assert_eq!(read(&ack), field("type", "a message that a client sends"));
        assert!(matches!(read(&[0x32; 7]), Err(DecodeError::Malformed { .. })));
    }
}

#[test]
fn a_message_is_no_longer_inflated_than_a_plain_one_may_be() {
    let deflated = |bytes: usize| {
        let plain = vec![0x20; bytes];
        let mut payload = Vec::new();
        let level = flate2::Compression::best();
        let mut reader = flate2::bufread::DeflateEncoder::new(plain.as_slice(), level);
        reader.read_to_end(&mut payload).expect("memory");
        framed(MessageType::Connect, true, &payload)
    };
    let max = CLIENT_MESSAGE_BYTES_MAX;
    for kind in [CodecKind::Postcard, CodecKind::MessagePack] {
        let read = |bytes: &[u8]| kind.codec().decode_client(bytes);
        let within = deflated(max - HEAD_BYTES);
        assert!(!matches!(read(&within), Err(DecodeError::InflatesTooLong { .. })));
        let beyond = read(&deflated(max - HEAD_BYTES + 1));
        assert_eq!(beyond, Err(DecodeError::InflatesTooLong { max }));
        let bomb = deflated(60_000_000);
        assert!(bomb.len() < max, "{}", bomb.len());
        assert_eq!(read(&bomb), Err(DecodeError::InflatesTooLong { max }));
        let long = vec![0; max + 1];
        assert_eq!(read(&long), Err(DecodeError::TooLong { bytes: max + 1, max }));
    }
}

#[test]
fn a_long_token_travels_deflated_where_that_is_shorter() {
    let connect = |token| {
        let connect = Connect { token, resume: None };
        ClientFrame::new(0, 0, ClientMessage::Connect(connect))
    };
    for kind in [CodecKind::Postcard, CodecKind::MessagePack] {
        let bytes = encode_client(kind, &connect("x".repeat(4_096)));
        assert!(bytes.len() < 100 && bytes[1] == 0x80, "{} bytes", bytes.len());
        assert!(kind.codec().decode_client(&bytes).is_ok());
        let bytes = encode_client(kind, &connect("x".repeat(400)));
        assert!(bytes.len() > 400 && bytes[1] == 0, "{} bytes", bytes.len());
    }
    let empty = ClientFrame::new(3, 0, ClientMessage::Unsubscribe(Empty {}));
    assert_eq!(encode_client(CodecKind::Postcard, &empty).len(), HEAD_BYTES);
}

#[test]
fn of_what_cannot_be_read_the_type_is_told_where_the_head_says_it() {
    for kind in [CodecKind::Postcard, CodecKind::MessagePack] {
        let codec = kind.codec();
        let bytes = framed(MessageType::Ping, false, &[0xFF; 3]);
        assert!(codec.decode_client(&bytes).is_err());
        assert_eq!(codec.client_kind(&bytes), Some(MessageType::Ping));
        assert_eq!(codec.client_kind(&bytes[..7]), None);
    }
}
