//! Whatever comes in, decoding answers with a message or an error, never with
//! a panic; what it accepts it writes as it read it; and a client that is told
//! nonsense goes on.

use proptest::prelude::*;
use serde_json::{Map, Number, Value};
use starmesh::base::SectorId;
use starmesh::client::{ClientCore, Options};
use starmesh::protocol::{
    CLIENT_MESSAGE_BYTES_MAX, Codec, CodecKind, DecodeError, MessageType, ServerFrame,
};

use crate::protocol_golden::texts;

/// Words of the protocol and values at the edges of their types.
fn atoms() -> Vec<Value> {
    let words = [
        "type",
        "handle",
        "tick",
        "sequence",
        "units",
        "area",
        "sectors",
        "rectangle",
        "target",
        "position",
        "place",
        "sector",
        "battle",
        "x",
        "y",
        "scale",
        "order",
        "stop",
        "commands",
    ];
    let names = MessageType::ALL.iter().map(|kind| kind.name());
    let numbers = [0, 1, 255, 65_535, 65_536, i64::from(u32::MAX), 1 << 53, i64::MAX, -1, i64::MIN];
    let mut atoms = vec![Value::Null, Value::Bool(true), Value::from(1.5), Value::from(u64::MAX)];
    atoms.extend(words.into_iter().chain(names).map(Value::from));
    atoms.extend(numbers.into_iter().map(|n| Value::Number(Number::from(n))));
    atoms
}

fn values() -> impl Strategy<Value = Value> {
    let atom = proptest::sample::select(atoms());
    let name = proptest::sample::select(atoms()).prop_map(|atom| match atom {
        Value::String(text) => text,
        other => other.to_string(),
    });
    atom.prop_recursive(4, 40, 6, move |inner| {
        let fields = proptest::collection::vec((name.clone(), inner.clone()), 0..6);
        prop_oneof![
            proptest::collection::vec(inner, 0..6).prop_map(Value::Array),
            fields.prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// An example with one value, anywhere in it, replaced by another.
fn mutated() -> impl Strategy<Value = Value> {
    (proptest::sample::select(texts()), any::<usize>(), values()).prop_map(|(text, at, with)| {
        let mut value = serde_json::from_str(&text).expect("examples are JSON");
        let at = at % (count(&value) + 1);
        replace(&mut value, &mut (at as i64), &with);
        value
    })
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(count).sum::<usize>() + 1,
        Value::Object(fields) => fields.values().map(count).sum::<usize>() + 1,
        _ => 1,
    }
}

fn replace(value: &mut Value, left: &mut i64, with: &Value) {
    if *left == 0 {
        *value = with.clone();
    }
    *left -= 1;
    match value {
        Value::Array(values) => values.iter_mut().for_each(|v| replace(v, left, with)),
        Value::Object(fields) => fields.values_mut().for_each(|v| replace(v, left, with)),
        _ => {}
    }
}

/// Decodes both ways; what is accepted is written and read back as the same.
fn check(bytes: &[u8]) {
    let codec: &dyn Codec = CodecKind::Json.codec();
    match codec.decode_client(bytes) {
        Ok(frame) => {
            let mut written = Vec::new();
            codec.encode_client(&frame, &mut written);
            assert_eq!(codec.decode_client(&written), Ok(frame));
        }
        Err(DecodeError::Field { expected, .. }) => assert!(!expected.is_empty()),
        Err(_) => {}
    }
    if let Ok(frame) = codec.decode_server(bytes) {
        let mut written = Vec::new();
        codec.encode_server(&frame, &mut written);
        assert_eq!(codec.decode_server(&written), Ok(frame));
    }
}

/// What a server may say, by itself well formed.
fn frames() -> impl Strategy<Value = Vec<ServerFrame>> {
    let frame = mutated().prop_filter_map("a server's message", |value| {
        CodecKind::Json.codec().decode_server(value.to_string().as_bytes()).ok()
    });
    proptest::collection::vec(frame, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
    }

    #[test]
    fn any_json_is_answered(value in values()) {
        check(value.to_string().as_bytes());
    }

    #[test]
    fn any_change_to_a_message_is_answered(value in mutated()) {
        check(value.to_string().as_bytes());
    }

    #[test]
    fn any_cut_of_a_message_is_answered(
        text in proptest::sample::select(texts()),
        cut in any::<usize>(),
    ) {
        let bytes = text.as_bytes();
        check(&bytes[..cut % bytes.len()]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_client_survives_whatever_a_server_says(frames in frames()) {
        let mut core = ClientCore::new("token".into(), Options { reconnect: true, seed: 1 });
        core.subscribe(0, &[SectorId::tactical(5000, 2512)]);
        core.start(0);
        core.handle_opened(0);
        for (now, frame) in (0..).zip(&frames) {
            core.handle_frame(now, frame);
            core.handle_time(now);
            core.drain_effects().for_each(drop);
        }
    }
}

#[test]
fn the_largest_message_is_read_and_one_more_byte_is_not() {
    let codec = CodecKind::Json.codec();
    let padded = |bytes: usize| {
        let text = r#"{"type":"disconnect"}"#;
        format!("{text}{}", " ".repeat(bytes - text.len()))
    };
    assert!(codec.decode_client(padded(CLIENT_MESSAGE_BYTES_MAX).as_bytes()).is_ok());
    assert!(codec.decode_client(padded(CLIENT_MESSAGE_BYTES_MAX + 1).as_bytes()).is_err());
}
