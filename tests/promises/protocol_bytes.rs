//! The bytes of the binary codecs are what docs/protocol-bytes.txt says, byte
//! for byte and for every message, and the worked examples in docs/protocol.md
//! are among them.

use std::collections::BTreeSet;

use starmesh::protocol::CodecKind;
use starmesh::protocol::binary::Head;

use crate::protocol_golden::{DOCS, bytes, hex, texts};

const GOLDEN: &str = include_str!("../../docs/protocol-bytes.txt");
const BINARY: [CodecKind; 2] = [CodecKind::Postcard, CodecKind::MessagePack];

/// The file as it has to be, without its introduction.
fn golden() -> String {
    let (postcard, msgpack) = (bytes(CodecKind::Postcard), bytes(CodecKind::MessagePack));
    let examples = texts().into_iter().zip(postcard).zip(msgpack);
    let blocks = examples.map(|((json, postcard), msgpack)| {
        format!("json     {json}\npostcard {}\nmsgpack  {}\n", hex(&postcard), hex(&msgpack))
    });
    blocks.collect::<Vec<_>>().join("\n")
}

/// The blocks of the documentation in which a codec's bytes are explained:
/// each line has bytes, and behind a `|` what they are.
fn documented(kind: CodecKind) -> Vec<String> {
    let fence = format!("```{kind}\n");
    let blocks = DOCS.split(&fence).skip(1).filter_map(|rest| rest.split("```").next());
    let bytes = blocks.map(|block| {
        let lines = block.lines().map(|line| line.split('|').next().unwrap_or_default());
        lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
    });
    bytes.collect()
}

#[test]
fn every_message_has_the_bytes_that_the_file_shows() {
    let found = GOLDEN.split_once("\n\n").map_or("", |(_, examples)| examples);
    let now = golden();
    if found != now {
        let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/protocol-bytes.txt");
        let introduction = GOLDEN.split("\n\n").next().unwrap_or_default();
        std::fs::write(path, format!("{introduction}\n\n{now}")).expect("the folder is writable");
        panic!("messages changed: revise docs/protocol.md, then copy {path} to docs/");
    }
}

#[test]
fn worked_examples_are_bytes_that_a_codec_writes() {
    for kind in BINARY {
        let written: BTreeSet<String> = bytes(kind).iter().map(|bytes| hex(bytes)).collect();
        let documented = documented(kind);
        assert!(documented.len() >= 2, "docs/protocol.md explains bytes of {kind}");
        for example in documented {
            assert!(written.contains(&example), "docs/protocol.md, {kind}: {example}");
        }
    }
}

#[test]
fn examples_are_not_deflated() {
    // What deflating makes of them may differ between builds.
    for kind in BINARY {
        for bytes in bytes(kind) {
            let (head, _) = Head::split(&bytes).expect("a head");
            assert!(!head.deflated, "{kind}: {head:?}");
        }
    }
}

#[test]
fn by_position_a_message_takes_at_most_two_fifths_of_its_json() {
    let sum = |kind| bytes(kind).iter().map(Vec::len).sum::<usize>();
    let (json, postcard) = (sum(CodecKind::Json), sum(CodecKind::Postcard));
    println!("json {json} B, postcard {postcard} B, msgpack {} B", sum(CodecKind::MessagePack));
    assert!(postcard * 5 <= json * 2, "{postcard} of {json} bytes");
}
