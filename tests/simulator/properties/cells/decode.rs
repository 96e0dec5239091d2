//! Whatever comes in, reading blocks answers with a packet or an error, never
//! with a panic; and a view that is told nonsense goes on.

use std::io::Write;

use proptest::prelude::*;
use starmesh::protocol::blocks::columns::{UpdateBody, read_units, write_units};
use starmesh::protocol::blocks::packet::{Kind, Start, read_message, write_block, write_start};
use starmesh::protocol::blocks::{BlockError, json, msgpack};
use starmesh::protocol::{CodecKind, Header};
use starmesh::view::CellsView;

use super::{HANDLE, Play, decode, read};

/// Real messages of a random world, in every codec: the keyframe and the last
/// packet of each client.
fn messages(seed: u64) -> Vec<(CodecKind, Vec<u8>)> {
    let mut play = Play::new(seed);
    play.run(34).unwrap();
    let mut found = Vec::new();
    for client in &play.clients {
        let stage = play.stages[client.sector].as_mut().unwrap();
        for &codec in CodecKind::ALL {
            found.push((codec, stage.keyframe(client.group, codec, HANDLE).to_vec()));
            let packet = stage.packet(client.group, codec, HANDLE);
            found.extend(packet.map(|packet| (codec, packet.to_vec())));
        }
    }
    found
}

proptest! {
    #[test]
    fn any_bytes_are_a_packet_or_an_error(bytes: Vec<u8>, cell in 0..64_u8) {
        let _ = read_message(&bytes);
        let _ = json::read_message(&bytes);
        let _ = msgpack::read_message(&bytes);
        let _ = UpdateBody::read(cell, &bytes);
        let _ = read_units(cell, &bytes);
    }

    /// Behind a good start, so that blocks are reached.
    #[test]
    fn any_blocks_are_read_or_refused(
        blocks: Vec<u8>, mask: Option<u64>, full_tick: Option<u64>, scope: u8, twice: Vec<u8>,
    ) {
        let header = Header { handle: HANDLE, tick: 2 };
        let mut view = CellsView::default();
        for blocks in [blocks, twice] {
            let mut bytes = Vec::new();
            write_start(&Start { header, full_tick, scope, mask }, &mut bytes);
            bytes.extend(blocks);
            if let Ok((header, packet)) = read_message(&bytes) {
                view.handle(header.tick, &packet);
            }
        }
    }

    #[test]
    fn what_is_read_of_a_body_is_written_alike(bytes: Vec<u8>, cell in 0..64_u8) {
        if let Ok(units) = read_units(cell, &bytes) {
            let mut written = Vec::new();
            write_units(cell, &units, &mut written);
            prop_assert_eq!(read_units(cell, &written), Ok(units));
        }
        if let Ok(body) = UpdateBody::read(cell, &bytes) {
            let mut written = Vec::new();
            body.write(cell, &mut written);
            prop_assert_eq!(UpdateBody::read(cell, &written), Ok(body));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Real messages with bytes changed, cut or doubled, to views that know
    /// something: the view goes on, and a keyframe sets it right.
    #[test]
    fn damaged_messages_never_panic(seed: u64, damage: Vec<(u16, u16, u8)>) {
        let messages = messages(seed);
        for &codec in CodecKind::ALL {
            let mut view = CellsView::default();
            let of_form: Vec<_> = messages.iter().filter(|(of, _)| *of == codec).collect();
            let keyframe = &of_form[0].1;
            for (which, at, with) in &damage {
                let (header, packet) = decode(codec, keyframe);
                view.handle(header.tick, &packet);
                let mut bytes = of_form[usize::from(*which) % of_form.len()].1.clone();
                let at = usize::from(*at) % bytes.len();
                match with % 3 {
                    0 => bytes.truncate(at),
                    1 => bytes.extend_from_within(at..),
                    _ => bytes[at] ^= with,
                }
                if let Ok((header, packet)) = read(codec, &bytes) {
                    view.handle(header.tick, &packet);
                    view.handle(header.tick.wrapping_add(2), &packet);
                }
            }
            let (header, packet) = decode(codec, keyframe);
            let mut fresh = CellsView::default();
            fresh.handle(header.tick, &packet);
            prop_assert!(fresh.tick().is_some());
        }
    }
}

#[test]
fn a_bomb_of_deflated_blocks_is_refused() {
    let zeros = vec![0; 1 << 20];
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    (0..64).for_each(|_| encoder.write_all(&zeros).unwrap());
    let bomb = encoder.finish().unwrap();
    let mut bytes = Vec::new();
    let header = Header { handle: HANDLE, tick: 2 };
    write_start(&Start { header, full_tick: Some(2), scope: 0, mask: Some(1) }, &mut bytes);
    write_block(0, Kind::DeflatedKeyframe, &bomb, &mut bytes);
    assert!(matches!(read_message(&bytes), Err(BlockError::TooLong(_))));
}
