//! What is stored is read back as it was, and no bytes make a reader panic.

use proptest::prelude::*;
use starmesh::base::{
    EntityKey, Incarnation, Millis, NodeId, PlayerId, SectorId, SessionId, StateHash, Tick,
};
use starmesh::entity::Entity;
use starmesh::entity::channel::{Acknowledgement, ChannelId, ChannelMessage};
use starmesh::entity::commit::NodeRow;
use starmesh::entity::envelope::{self, Kind, Logic};
use starmesh::entity::input::{Claim, Connect, Dilation, Input};
use starmesh::entity::message::{Answer, Body};
use starmesh::entity::pace::Rate;
use starmesh::entity::record::{
    Record, RecordHeader, SnapshotHead, decode_record, encode_input, encode_record,
};

fn channel() -> impl Strategy<Value = ChannelId> {
    (any::<u64>(), any::<(i64, i64)>(), any::<u64>()).prop_map(|(ledger, (x, y), opened)| {
        let sender = EntityKey::Ledger(ledger);
        let receiver = EntityKey::Sector(SectorId { x, y, scale: 0 });
        ChannelId { sender, receiver, opened }
    })
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        any::<(u32, u64, u64)>().prop_map(|(node, incarnation, tick)| Input::Claim(Claim {
            node: NodeId(node),
            incarnation: Incarnation(incarnation),
            node_tick: Tick(tick),
        })),
        (1..=10_u8, any::<u64>()).prop_map(|(tenths, tick)| Input::Dilate(Dilation {
            rate: Rate::try_from(tenths).expect("a rate"),
            node_tick: Tick(tick),
        })),
        Just(Input::Close),
        Just(Input::Time),
        any::<u64>().prop_map(|start| Input::Ids { start }),
        (channel(), any::<(u64, u64)>(), ".{0,40}").prop_map(|(channel, (number, id), why)| {
            let body = Body::Answer { id, answer: Answer::Refused(why) };
            Input::Message(ChannelMessage { channel, number, body })
        }),
        (channel(), any::<u64>())
            .prop_map(|(channel, upto)| Input::Acknowledged(Acknowledgement { channel, upto })),
        any::<(u64, u64, Option<u64>)>().prop_map(|(player, connection, resume)| {
            let (player, resume) = (PlayerId(player), resume.map(SessionId));
            Input::Connect(Connect { player, connection, resume })
        }),
        any::<(u64, [u8; 16])>()
            .prop_map(|(tick, hash)| Input::Hash { tick: Tick(tick), hash: StateHash(hash) }),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    (any::<(u64, u64, u64)>(), prop::collection::vec(input(), 0..20)).prop_map(
        |((sequence, tick, time), inputs)| Record {
            header: RecordHeader { sequence, tick: Tick(tick), time: Millis(time) },
            inputs,
        },
    )
}

fn logic() -> impl Strategy<Value = Logic> {
    any::<(u32, u64)>().prop_map(|(version, rules)| Logic { version, rules })
}

fn encode(record: &Record, logic: Logic) -> Vec<u8> {
    let mut inputs = Vec::new();
    record.inputs.iter().for_each(|input| encode_input(input, &mut inputs));
    let count = u32::try_from(record.inputs.len()).expect("few inputs");
    encode_record(&record.header, logic, count, &inputs)
}

/// Reads `bytes` as everything that is stored.
fn read_as_anything(bytes: &[u8]) {
    let _ = decode_record(bytes);
    let _ = SnapshotHead::decode(bytes);
    let _ = NodeRow::from_bytes(bytes);
    let _ = EntityKey::from_bytes(bytes);
    let _ = Entity::restore(EntityKey::Ledger(0), bytes);
    let sector = SectorId { x: 0, y: 0, scale: 0 };
    let _ = Entity::restore(EntityKey::Sector(sector), bytes);
}

proptest! {
    #[test]
    fn a_record_is_read_back(record in record(), logic in logic()) {
        let bytes = encode(&record, logic);
        prop_assert_eq!(decode_record(&bytes), Ok((logic, record)));
    }

    #[test]
    fn a_record_cut_or_lengthened_is_refused(
        record in record(), cut in any::<prop::sample::Index>(), more: u8
    ) {
        let mut bytes = encode(&record, Logic::default());
        prop_assert!(decode_record(&bytes[..cut.index(bytes.len())]).is_err());
        bytes.push(more);
        prop_assert!(decode_record(&bytes).is_err());
    }

    #[test]
    fn a_snapshots_head_is_read_back(
        numbers: (u64, u32, u64), hash: [u8; 16], logic in logic()
    ) {
        let (sequence, chunks, bytes) = numbers;
        let head = SnapshotHead { sequence, chunks, bytes, hash: StateHash(hash) };
        let value = head.encode(logic);
        prop_assert_eq!(value.first_chunk::<8>(), Some(&sequence.to_be_bytes()));
        prop_assert_eq!(SnapshotHead::decode(&value), Ok((logic, head)));
    }

    #[test]
    fn an_envelope_gives_back_its_payload(
        payload in prop::collection::vec(any::<u8>(), 0..200), logic in logic()
    ) {
        let bytes = envelope::seal(Kind::Account, logic, &payload);
        prop_assert_eq!(envelope::open(Kind::Account, &bytes), Ok((logic, payload.as_slice())));
        prop_assert!(envelope::open(Kind::Galaxy, &bytes).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_as_anything(&bytes);
        for kind in [Kind::Record, Kind::Snapshot, Kind::SnapshotHead, Kind::NodeRow] {
            read_as_anything(&envelope::seal(kind, Logic::default(), &bytes));
        }
    }

    #[test]
    fn a_record_with_a_wrong_byte_is_read_or_refused(
        record in record(), at in any::<prop::sample::Index>(), byte: u8
    ) {
        let mut bytes = encode(&record, Logic::default());
        let at = at.index(bytes.len());
        bytes[at] = byte;
        read_as_anything(&bytes);
    }
}
