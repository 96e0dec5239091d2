//! Owns the bytes of one commit in a segment file: a frame, checksummed as a
//! whole, with a checksum of its own for each part that is read by itself
//! later. Never touches a file. Called by the writer and by recovery.
//! Invariant: what [`parse`] accepts is what [`FrameWriter`] wrote, whole.
//!
//! A frame, little endian: marker u64 (the segment's), length u32 of the
//! body, crc32 u32 over length and body; body: version u64, kind u8, entries.

use crate::base::{EntityKey, NodeId};
use crate::store::decide::Op;

/// Bytes before a frame's body.
pub const HEADER: usize = 16;
/// Bytes before a span's own: length u32 and crc32 u32.
pub const SPAN_HEADER: usize = 8;

const COMMIT: u8 = 1;
const PREAMBLE: u8 = 2;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const ROW: u8 = 3;
const APPEND: u8 = 4;
const CHUNK: u8 = 5;
const HEAD: u8 = 6;
const FORGET: u8 = 7;
const KEPT: u8 = 8;

/// A part of a frame that is read by itself later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span<'a> {
    /// Of its length and checksum, from the frame's start.
    pub offset: usize,
    pub bytes: &'a [u8],
}

/// One entry of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    Put {
        key: &'a [u8],
        value: Option<&'a [u8]>,
    },
    Row {
        node: NodeId,
        version: u64,
        row: &'a [u8],
    },
    Append {
        entity: EntityKey,
        sequence: u64,
        record: Span<'a>,
    },
    Chunk {
        entity: EntityKey,
        snapshot: u64,
        index: u32,
        chunk: Span<'a>,
    },
    Head {
        entity: EntityKey,
        snapshot: u64,
        head: Span<'a>,
    },
    Forget {
        entity: EntityKey,
    },
    /// A kept key as it was when the segment began.
    Kept {
        key: &'a [u8],
        version: u64,
        value: &'a [u8],
    },
}

/// A frame whose checksum holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Of the commit; in a preamble of the last commit before.
    pub version: u64,
    /// Repeats rows and kept keys at the head of a segment.
    pub preamble: bool,
    pub entries: Vec<Entry<'a>>,
    /// Header included.
    pub length: usize,
}

/// Builds a frame.
pub struct FrameWriter {
    bytes: Vec<u8>,
}

impl FrameWriter {
    /// The frame of a commit.
    pub fn commit(version: u64) -> FrameWriter {
        FrameWriter::new(version, COMMIT)
    }

    /// The frame at the head of a segment.
    pub fn preamble(version: u64) -> FrameWriter {
        FrameWriter::new(version, PREAMBLE)
    }

    fn new(version: u64, kind: u8) -> FrameWriter {
        let mut bytes = vec![0; HEADER];
        bytes.extend(version.to_le_bytes());
        bytes.push(kind);
        FrameWriter { bytes }
    }

    /// Adds what an accepted commit changes.
    pub fn op(&mut self, version: u64, op: &Op<'_>) {
        match op {
            Op::Put { key, value: Some(value) } => {
                self.bytes.push(PUT);
                self.key(key);
                self.span(value);
            }
            Op::Put { key, value: None } => {
                self.bytes.push(DELETE);
                self.key(key);
            }
            Op::Row { node, row } => self.row(*node, version, &row.to_bytes()),
            Op::Append { entity, sequence, bytes } => {
                self.entity(APPEND, *entity, *sequence);
                self.span(bytes);
            }
            Op::Chunk { entity, snapshot, index, bytes } => {
                self.entity(CHUNK, *entity, *snapshot);
                self.bytes.extend(index.to_le_bytes());
                self.span(bytes);
            }
            Op::Head { entity, snapshot, value } => {
                self.entity(HEAD, *entity, *snapshot);
                self.span(value);
            }
            Op::Forget { entity } => self.entity(FORGET, *entity, 0),
        }
    }

    /// Adds a node's row.
    pub fn row(&mut self, node: NodeId, version: u64, row: &[u8]) {
        self.bytes.push(ROW);
        self.bytes.extend(node.0.to_le_bytes());
        self.bytes.extend(version.to_le_bytes());
        self.span(row);
    }

    /// Adds a kept key that is already there.
    pub fn kept(&mut self, key: &[u8], version: u64, value: &[u8]) {
        self.bytes.push(KEPT);
        self.bytes.extend(version.to_le_bytes());
        self.key(key);
        self.span(value);
    }

    fn entity(&mut self, tag: u8, entity: EntityKey, sequence: u64) {
        let name = entity.to_bytes();
        // 26 bytes at most, see `EntityKey::to_bytes`.
        self.bytes.extend([tag, name.len() as u8]);
        self.bytes.extend(name);
        self.bytes.extend(sequence.to_le_bytes());
    }

    fn key(&mut self, key: &[u8]) {
        // `KEY_BYTES_MAX` is far below 64 KiB, and was checked.
        self.bytes.extend((key.len() as u16).to_le_bytes());
        self.bytes.extend(key);
    }

    fn span(&mut self, bytes: &[u8]) {
        // `COMMIT_BYTES_MAX` is far below 4 GiB, and was checked.
        self.bytes.extend((bytes.len() as u32).to_le_bytes());
        self.bytes.extend(crc32fast::hash(bytes).to_le_bytes());
        self.bytes.extend(bytes);
    }

    /// The frame, for the segment with this marker.
    pub fn finish(&mut self, marker: u64) -> &[u8] {
        let length = (self.bytes.len() - HEADER) as u32;
        self.bytes[..8].copy_from_slice(&marker.to_le_bytes());
        self.bytes[8..12].copy_from_slice(&length.to_le_bytes());
        let crc = checksum(length, &self.bytes[HEADER..]);
        self.bytes[12..HEADER].copy_from_slice(&crc.to_le_bytes());
        &self.bytes
    }

    /// Bytes so far, header included.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }
}

fn checksum(length: u32, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

/// What stands where a frame could.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    Frame(Frame<'a>),
    /// No whole frame: the end, or a torn one.
    Nothing,
    /// The checksum holds, the contents do not parse.
    Damaged,
}

/// The frame that `bytes` begin with.
pub fn parse(bytes: &[u8], marker: u64) -> Parsed<'_> {
    let Some(body) = checked_body(bytes, marker) else {
        return Parsed::Nothing;
    };
    parse_body(body).map_or(Parsed::Damaged, Parsed::Frame)
}

/// Whether a whole frame begins anywhere behind the first byte of `bytes`. A
/// marker cannot be forged by what players write: it is random and never
/// leaves the store.
pub fn any_behind(bytes: &[u8], marker: u64) -> bool {
    let wanted = marker.to_le_bytes();
    let starts = bytes.windows(8).enumerate().skip(1).filter(|(_, window)| *window == wanted);
    starts.into_iter().any(|(at, _)| checked_body(&bytes[at..], marker).is_some())
}

fn checked_body(bytes: &[u8], marker: u64) -> Option<&[u8]> {
    let mut rest = Bytes { all: bytes, at: 0 };
    if rest.u64()? != marker {
        return None;
    }
    let (length, crc) = (rest.u32()?, rest.u32()?);
    let body = rest.take(usize::try_from(length).ok()?)?;
    (checksum(length, body) == crc).then_some(body)
}

fn parse_body(body: &[u8]) -> Option<Frame<'_>> {
    let mut rest = Bytes { all: body, at: 0 };
    let version = rest.u64()?;
    let preamble = match rest.u8()? {
        COMMIT => false,
        PREAMBLE => true,
        _ => return None,
    };
    let mut entries = Vec::new();
    while rest.at < body.len() {
        entries.push(parse_entry(&mut rest)?);
    }
    Some(Frame { version, preamble, entries, length: HEADER + body.len() })
}

fn parse_entry<'a>(rest: &mut Bytes<'a>) -> Option<Entry<'a>> {
    Some(match rest.u8()? {
        PUT => Entry::Put { key: rest.key()?, value: Some(rest.span()?.bytes) },
        DELETE => Entry::Put { key: rest.key()?, value: None },
        ROW => {
            let (node, version) = (NodeId(rest.u32()?), rest.u64()?);
            Entry::Row { node, version, row: rest.span()?.bytes }
        }
        APPEND => {
            let (entity, sequence) = rest.entity()?;
            Entry::Append { entity, sequence, record: rest.span()? }
        }
        CHUNK => {
            let (entity, snapshot) = rest.entity()?;
            let index = rest.u32()?;
            Entry::Chunk { entity, snapshot, index, chunk: rest.span()? }
        }
        HEAD => {
            let (entity, snapshot) = rest.entity()?;
            Entry::Head { entity, snapshot, head: rest.span()? }
        }
        FORGET => Entry::Forget { entity: rest.entity()?.0 },
        KEPT => {
            let version = rest.u64()?;
            Entry::Kept { version, key: rest.key()?, value: rest.span()?.bytes }
        }
        _ => return None,
    })
}

/// Bytes not read yet.
struct Bytes<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(n)?;
        let taken = self.all.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        let length = self.array().map(u16::from_le_bytes)?;
        self.take(length.into())
    }

    fn entity(&mut self) -> Option<(EntityKey, u64)> {
        let length = self.u8()?;
        let entity = EntityKey::from_bytes(self.take(length.into())?).ok()?;
        Some((entity, self.u64()?))
    }

    fn span(&mut self) -> Option<Span<'a>> {
        let offset = HEADER + self.at;
        let length = self.u32()?;
        // Covered by the frame's checksum; this one is for later reads.
        self.u32()?;
        Some(Span { offset, bytes: self.take(usize::try_from(length).ok()?)? })
    }
}

/// The bytes of a span that was read by itself, if its checksum holds.
pub fn check_span(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let mut rest = Bytes { all: &bytes, at: 0 };
    let (length, crc) = (rest.u32()?, rest.u32()?);
    let body = rest.take(usize::try_from(length).ok()?)?;
    if rest.at != bytes.len() || crc32fast::hash(body) != crc {
        return None;
    }
    bytes.drain(..SPAN_HEADER);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(marker: u64) -> Vec<u8> {
        let entity = EntityKey::Ledger(7);
        let mut frame = FrameWriter::commit(9);
        for op in [
            Op::Put { key: b"k".into(), value: Some(b"v".into()) },
            Op::Put { key: b"gone".into(), value: None },
            Op::Append { entity, sequence: 4, bytes: b"record" },
            Op::Chunk { entity, snapshot: 3, index: 2, bytes: b"chunk" },
            Op::Head { entity, snapshot: 3, value: b"head" },
            Op::Forget { entity },
        ] {
            frame.op(9, &op);
        }
        frame.finish(marker).to_vec()
    }

    #[test]
    fn parses_what_was_written() {
        let bytes = sample(5);
        let Parsed::Frame(frame) = parse(&bytes, 5) else { panic!("the frame is whole") };
        assert_eq!((frame.version, frame.preamble, frame.length), (9, false, bytes.len()));
        assert_eq!(frame.entries.len(), 6);
        let Entry::Append { record, .. } = frame.entries[2] else { panic!("an append") };
        let alone = &bytes[record.offset..record.offset + SPAN_HEADER + record.bytes.len()];
        assert_eq!(check_span(alone.to_vec()), Some(b"record".to_vec()));
    }

    #[test]
    fn finds_nothing_in_a_frame_cut_or_changed_anywhere() {
        let bytes = sample(5);
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut], 5), Parsed::Nothing, "cut at {cut}");
            let mut changed = bytes.clone();
            changed[cut] ^= 1;
            assert_eq!(parse(&changed, 5), Parsed::Nothing, "changed at {cut}");
        }
        assert_eq!(parse(&bytes, 6), Parsed::Nothing, "another segment's marker");
    }

    #[test]
    fn finds_a_whole_frame_behind_a_broken_one() {
        let mut bytes = sample(5);
        bytes[20] ^= 1;
        assert!(!any_behind(&bytes, 5));
        bytes.extend(sample(5));
        assert!(any_behind(&bytes, 5));
        assert!(!any_behind(&bytes, 6));
    }
}
