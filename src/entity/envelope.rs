//! Owns the envelope around everything that is stored or sent between nodes:
//! what it is, in which version, how long, and for stored things the logic it
//! needs. Postcard does not describe itself; this does.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What an envelope holds. Stored: a number keeps its meaning for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Record = 1,
    Snapshot = 2,
    SnapshotHead = 3,
    Account = 4,
    // 5 was a galaxy's row without parameters, 9 one without warp speeds.
    NodeRow = 6,
    RefreshFamily = 7,
    SigningKeys = 8,
    Galaxy = 10,
    Summary = 11,
    DirectoryEntry = 12,
    DirectoryKind = 13,
    Member = 14,
    JoinToken = 15,
    AuditEntry = 16,
    Rules = 17,
    AuditSignature = 18,
    Certificate = 19,
    Parked = 20,
    Attempt = 21,
}

/// The logic that what is stored needs to be replayed: a node replays only
/// logic it has.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Logic {
    /// The simulation's version, raised by every change that changes a bit.
    pub version: u32,
    /// The first 8 bytes of the hash over the rules in canonical form.
    pub rules: u64,
}

impl fmt::Display for Logic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "logic {} with rules {:016x}", self.version, self.rules)
    }
}

/// The form in which all kinds are written by all builds so far, but for snapshots:
/// those have [another](super::packed) from the cluster's format version 2 on. An
/// envelope names the form that it has; which of them may be written, the
/// [cluster's version](super::format) says.
pub const PLAIN: u8 = 1;
/// The form of a snapshot whose payload is deflated.
pub const DEFLATED: u8 = 2;
/// Bytes before the payload.
pub const HEADER: usize = 18;

/// Why bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    #[error("{got} bytes where an envelope of {expected} was expected")]
    Length { expected: usize, got: usize },
    #[error("an envelope of kind {got} where {expected:?} was expected")]
    Kind { expected: Kind, got: u8 },
    #[error("form {got} of an envelope where form {expected} was expected")]
    Form { expected: u8, got: u8 },
}

/// Starts an envelope in `out`: kind, form, logic (12 bytes), length u32,
/// all little endian; returns where, for [`finish`]. The payload is appended
/// in between, so that it is never copied.
pub fn start(kind: Kind, logic: Logic, out: &mut Vec<u8>) -> usize {
    start_in(PLAIN, kind, logic, out)
}

/// The same in another form than [`PLAIN`].
pub fn start_in(form: u8, kind: Kind, logic: Logic, out: &mut Vec<u8>) -> usize {
    let at = out.len();
    out.extend([kind as u8, form]);
    out.extend(logic.version.to_le_bytes());
    out.extend(logic.rules.to_le_bytes());
    out.extend([0; 4]);
    at
}

/// Ends the envelope that [`start`] began at `at`.
pub fn finish(at: usize, out: &mut [u8]) {
    let length = u32::try_from(out.len() - at - HEADER).unwrap_or(u32::MAX);
    out[at + HEADER - 4..at + HEADER].copy_from_slice(&length.to_le_bytes());
}

/// An envelope around `payload`.
pub fn seal(kind: Kind, logic: Logic, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + payload.len());
    let at = start(kind, logic, &mut out);
    out.extend(payload);
    finish(at, &mut out);
    out
}

/// An envelope around `value`, a row that no entity's logic is needed to read.
pub fn seal_row(kind: Kind, value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    let at = start(kind, Logic::default(), &mut out);
    super::append(value, &mut out);
    finish(at, &mut out);
    out
}

/// What [`seal_row`] sealed; `None` when `bytes` are no such row.
pub fn open_row<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Option<T> {
    let (_, payload) = open(kind, bytes).ok()?;
    postcard::from_bytes(payload).ok()
}

/// The logic and payload of the envelope that `bytes` is exactly.
///
/// # Errors
/// When it is of another kind, another form than [`PLAIN`], or another length.
pub fn open(kind: Kind, bytes: &[u8]) -> Result<(Logic, &[u8]), EnvelopeError> {
    open_in(PLAIN, kind, bytes)
}

/// The form that `bytes` say they have, if they may be an envelope.
pub fn form(bytes: &[u8]) -> Option<u8> {
    bytes.get(1).copied()
}

/// The same of an envelope of another form.
///
/// # Errors
/// As [`open`].
pub fn open_in(form: u8, kind: Kind, bytes: &[u8]) -> Result<(Logic, &[u8]), EnvelopeError> {
    let Some((header, payload)) = bytes.split_at_checked(HEADER) else {
        return Err(EnvelopeError::Length { expected: HEADER, got: bytes.len() });
    };
    if header[0] != kind as u8 {
        return Err(EnvelopeError::Kind { expected: kind, got: header[0] });
    }
    if header[1] != form {
        return Err(EnvelopeError::Form { expected: form, got: header[1] });
    }
    let u32_at =
        |i: usize| u32::from_le_bytes([header[i], header[i + 1], header[i + 2], header[i + 3]]);
    let length = u32_at(HEADER - 4) as usize;
    if length != payload.len() {
        return Err(EnvelopeError::Length { expected: HEADER + length, got: bytes.len() });
    }
    let rules = u64::from(u32_at(6)) | (u64::from(u32_at(10)) << 32);
    Ok((Logic { version: u32_at(2), rules }, payload))
}
