//! Owns the forms in which a snapshot is stored. Its canonical bytes, which are
//! hashed, are an envelope of the first form; from the cluster's format version 2 on
//! they are stored deflated where that is shorter, in an envelope of the second,
//! which begins with how long the payload was. Never decides which version the
//! cluster writes: it is told, and reads both. Called where a snapshot goes to the
//! store and where it comes from there.
//!
//! Invariants: unpacking what was packed gives the same bytes; it never makes more
//! than the length that the envelope declares, nor than [`BYTES_MAX`].

use std::borrow::Cow;

use super::envelope::{self, DEFLATED, EnvelopeError, HEADER, Kind};
use crate::base::deflate::{self, InflateError};

/// The cluster's format version from which on snapshots may be deflated.
pub const SINCE: u16 = 2;
/// A state that is longer is stored as it is: so nothing that inflates to more is a
/// snapshot.
pub const BYTES_MAX: usize = 64 << 20;

/// Before what is deflated: the length that it had, a u32.
const LENGTH: usize = 4;

/// Why bytes are no stored snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error("{0} deflated bytes that do not say how long they were")]
    Cut(usize),
    #[error("it says that it was {0} bytes, expected at most {BYTES_MAX}")]
    Declared(usize),
    #[error("it inflates to another length than the {declared} bytes that it says")]
    Length { declared: usize },
    #[error("it does not inflate: {0}")]
    Inflate(InflateError),
}

/// What is stored of the snapshot whose canonical bytes these are, by a cluster of
/// this format version.
pub fn pack(canonical: Vec<u8>, version: u16) -> Vec<u8> {
    let payload = canonical.len().saturating_sub(HEADER);
    if version < SINCE || payload > BYTES_MAX {
        return canonical;
    }
    // Canonical bytes are an envelope, and 64 MiB fit into the length.
    let Ok((logic, plain)) = envelope::open(Kind::Snapshot, &canonical) else { return canonical };
    let Ok(length) = u32::try_from(payload) else { return canonical };
    let mut packed = Vec::with_capacity(HEADER + LENGTH + 2 * plain.len());
    let at = envelope::start_in(DEFLATED, Kind::Snapshot, logic, &mut packed);
    packed.extend(length.to_le_bytes());
    let from = packed.len();
    packed.extend_from_slice(plain);
    if !deflate::shrink(&mut packed, from) || packed.len() >= canonical.len() {
        return canonical;
    }
    envelope::finish(at, &mut packed);
    packed.shrink_to_fit();
    packed
}

/// The canonical bytes of what was stored, in either form.
///
/// # Errors
/// See [`PackError`].
pub fn unpack(stored: &[u8]) -> Result<Cow<'_, [u8]>, PackError> {
    if envelope::form(stored) != Some(DEFLATED) {
        return Ok(Cow::Borrowed(stored));
    }
    let (logic, payload) = envelope::open_in(DEFLATED, Kind::Snapshot, stored)?;
    let cut = PackError::Cut(payload.len());
    let (length, deflated) = payload.split_first_chunk::<LENGTH>().ok_or(cut)?;
    let declared = u32::from_le_bytes(*length) as usize;
    if declared > BYTES_MAX {
        return Err(PackError::Declared(declared));
    }
    let plain = deflate::inflate(deflated, declared).map_err(|error| match error {
        InflateError::TooLong { .. } => PackError::Length { declared },
        error => PackError::Inflate(error),
    })?;
    if plain.len() != declared {
        return Err(PackError::Length { declared });
    }
    let mut canonical = Vec::with_capacity(HEADER + plain.len());
    let at = envelope::start(Kind::Snapshot, logic, &mut canonical);
    canonical.extend_from_slice(&plain);
    envelope::finish(at, &mut canonical);
    Ok(Cow::Owned(canonical))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::envelope::{Logic, seal};

    const LOGIC: Logic = Logic { version: 3, rules: 0x0506_0708_090A_0B0C };

    fn snapshot(payload: &[u8]) -> Vec<u8> {
        seal(Kind::Snapshot, LOGIC, payload)
    }

    /// What says that it was `declared` bytes, and deflates `plain`.
    fn claiming(declared: u32, plain: &[u8]) -> Vec<u8> {
        let mut payload = declared.to_le_bytes().to_vec();
        payload.extend_from_slice(plain);
        assert!(deflate::shrink(&mut payload, LENGTH));
        let mut out = Vec::new();
        let at = envelope::start_in(DEFLATED, Kind::Snapshot, LOGIC, &mut out);
        out.extend(payload);
        envelope::finish(at, &mut out);
        out
    }

    #[test]
    fn comes_back_as_it_was_in_either_form() {
        let long = snapshot(&[7; 5_000]);
        assert_eq!(pack(long.clone(), 1), long, "version 1 has one form");
        let packed = pack(long.clone(), SINCE);
        assert!(packed.len() < 100, "{} bytes", packed.len());
        assert_eq!(envelope::form(&packed), Some(DEFLATED));
        assert_eq!(unpack(&packed), Ok(long.clone().into()));
        assert_eq!(unpack(&long), Ok(long.clone().into()));
        // The next version writes as this one does.
        assert_eq!(pack(long, SINCE + 1), packed);
    }

    #[test]
    fn what_is_no_shorter_so_stays_as_it_is() {
        for payload in [&b""[..], b"short", b"\x01\x02\x03\x04\x05\x06\x07\x08\x09"] {
            assert_eq!(pack(snapshot(payload), SINCE), snapshot(payload));
        }
    }

    #[test]
    fn inflates_to_the_length_that_it_says_and_to_no_other() {
        assert!(unpack(&claiming(5_000, &[7; 5_000])).is_ok());
        for declared in [0, 4_999, 5_001] {
            let wrong = PackError::Length { declared: declared as usize };
            assert_eq!(unpack(&claiming(declared, &[7; 5_000])), Err(wrong));
        }
        let most = BYTES_MAX as u32 + 1;
        assert_eq!(unpack(&claiming(most, &[7; 500])), Err(PackError::Declared(most as usize)));
    }

    #[test]
    fn what_is_cut_or_damaged_is_refused() {
        let whole = claiming(5_000, &[7; 5_000]);
        for cut in 2..whole.len() {
            assert!(unpack(&whole[..cut]).is_err(), "cut at {cut}");
        }
        let mut damaged = whole.clone();
        damaged[HEADER + LENGTH..].fill(0xFF);
        assert_eq!(unpack(&damaged), Err(PackError::Inflate(InflateError::Damaged)));
        let mut cut = whole[..HEADER + 2].to_vec();
        envelope::finish(0, &mut cut);
        assert_eq!(unpack(&cut), Err(PackError::Cut(2)));
        let mut other = whole;
        other[0] = Kind::Record as u8;
        assert!(matches!(unpack(&other), Err(PackError::Envelope(EnvelopeError::Kind { .. }))));
    }
}
