//! Owns the journal's record and the snapshot's head. Never writes them
//! anywhere. A stored format. Invariant: a record's bytes are a function of
//! its header and inputs, and decoding gives them back or an error.

use serde::{Deserialize, Serialize};

use super::envelope::{self, EnvelopeError, Kind, Logic};
use super::input::Input;
use crate::base::{Millis, StateHash, Tick};

/// What a record says besides its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordHeader {
    /// Its place in the entity's journal, from 1.
    pub sequence: u64,
    /// The entity's tick after whose step it is applied.
    pub tick: Tick,
    /// The owner's clock, never less than the record before.
    pub time: Millis,
}

/// Inputs that were made durable together, applied in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub header: RecordHeader,
    pub inputs: Vec<Input>,
}

/// A snapshot's size and check, stored beside its chunks. Both are of its canonical
/// bytes, in whichever [form](super::packed) the chunks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHead {
    /// Of the last record in it.
    pub sequence: u64,
    pub chunks: u32,
    pub bytes: u64,
    pub hash: StateHash,
}

/// Why bytes are not a record, or not a head.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error("not a record: {0}")]
    Payload(String),
}

/// Appends the bytes of one input to `out`.
pub fn encode_input(input: &Input, out: &mut Vec<u8>) {
    super::append(input, out);
}

/// The bytes of a record: its header, the number of inputs, and `inputs` as
/// [`encode_input`] wrote them one after the other.
pub fn encode_record(header: &RecordHeader, logic: Logic, count: u32, inputs: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(envelope::HEADER + 24 + inputs.len());
    let at = envelope::start(Kind::Record, logic, &mut out);
    super::append(&(header, count), &mut out);
    out.extend_from_slice(inputs);
    envelope::finish(at, &mut out);
    out
}

/// The inverse of [`encode_record`], and the logic the record needs.
///
/// # Errors
/// When `bytes` is no record of a format this build reads.
pub fn decode_record(bytes: &[u8]) -> Result<(Logic, Record), RecordError> {
    let wrong = |e: postcard::Error| RecordError::Payload(e.to_string());
    let (logic, payload) = envelope::open(Kind::Record, bytes)?;
    let ((header, count), mut rest) =
        postcard::take_from_bytes::<(RecordHeader, u32)>(payload).map_err(wrong)?;
    let mut inputs = Vec::new();
    for _ in 0..count {
        let (input, after) = postcard::take_from_bytes(rest).map_err(wrong)?;
        inputs.push(input);
        rest = after;
    }
    if !rest.is_empty() {
        return Err(RecordError::Payload(format!("{} bytes behind the last input", rest.len())));
    }
    Ok((logic, Record { header, inputs }))
}

impl SnapshotHead {
    /// The value of the entity's head key: the sequence, big endian, for the
    /// store to compare; then the enveloped head.
    pub fn encode(&self, logic: Logic) -> Vec<u8> {
        let mut out = self.sequence.to_be_bytes().to_vec();
        let at = envelope::start(Kind::SnapshotHead, logic, &mut out);
        super::append(self, &mut out);
        envelope::finish(at, &mut out);
        out
    }

    /// The inverse of [`encode`](Self::encode).
    ///
    /// # Errors
    /// When `bytes` is no head of a format this build reads.
    pub fn decode(bytes: &[u8]) -> Result<(Logic, SnapshotHead), RecordError> {
        let enveloped = bytes.get(8..).unwrap_or_default();
        let (logic, payload) = envelope::open(Kind::SnapshotHead, enveloped)?;
        let head =
            postcard::from_bytes(payload).map_err(|e| RecordError::Payload(e.to_string()))?;
        Ok((logic, head))
    }
}
