//! Owns deflating and inflating payloads: raw DEFLATE (RFC 1951), without a
//! header or checksum of its own. Invariant: inflating stops at the limit it
//! is given, whatever the bytes promise.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Why bytes do not inflate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    #[error("it inflates to more than {max} bytes")]
    TooLong { max: usize },
    #[error("a deflated payload is damaged")]
    Damaged,
    #[error("bytes follow the deflated payload")]
    Trailing,
}

thread_local! {
    // Its tables are larger than most messages: made once and reset.
    static DEFLATE: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
}

/// Deflates all of `out` from `from` on, if it becomes shorter so; whether it
/// did. Else `out` is as it was.
pub fn shrink(out: &mut Vec<u8>, from: usize) -> bool {
    let plain = out.len() - from;
    // What does not fit into the plain length is not shorter.
    out.resize(from + 2 * plain, 0);
    let (payload, room) = out[from..].split_at_mut(plain);
    let deflated = DEFLATE.with_borrow_mut(|state| {
        state.reset();
        let status = state.compress(payload, room, FlushCompress::Finish);
        let bytes = usize::try_from(state.total_out()).ok()?;
        (matches!(status, Ok(Status::StreamEnd)) && bytes < plain).then_some(bytes)
    });
    let Some(bytes) = deflated else {
        out.truncate(from + plain);
        return false;
    };
    out.copy_within(from + plain..from + plain + bytes, from);
    out.truncate(from + bytes);
    true
}

/// Inflates a payload of at most `max` bytes.
///
/// # Errors
/// See [`InflateError`]; no more than one byte beyond `max` was inflated.
pub fn inflate(bytes: &[u8], max: usize) -> Result<Vec<u8>, InflateError> {
    let mut state = Decompress::new(false);
    let mut plain = Vec::new();
    let mut room = bytes.len().saturating_mul(4).min(max);
    loop {
        plain.reserve_exact(room.saturating_sub(plain.len()));
        let before = (state.total_in(), plain.len());
        let read = usize::try_from(before.0).unwrap_or(usize::MAX);
        let rest = bytes.get(read..).unwrap_or_default();
        // `Finish` would want room for all of it at once.
        let status = state.decompress_vec(rest, &mut plain, FlushDecompress::None);
        if plain.len() > max {
            return Err(InflateError::TooLong { max });
        }
        match status {
            Ok(Status::StreamEnd) => break,
            // One byte beyond the limit is room enough to see that it is passed.
            Ok(_) if plain.len() == plain.capacity() => {
                room = plain.len().saturating_mul(2).max(64).min(max + 1);
            }
            Ok(_) if before != (state.total_in(), plain.len()) => {}
            Ok(_) | Err(_) => return Err(InflateError::Damaged),
        }
    }
    if state.total_in() != bytes.len() as u64 {
        return Err(InflateError::Trailing);
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deflated(plain: &[u8]) -> Vec<u8> {
        let mut out = b"head".to_vec();
        out.extend_from_slice(plain);
        assert!(shrink(&mut out, 4));
        assert_eq!(&out[..4], b"head");
        out.split_off(4)
    }

    #[test]
    fn what_was_deflated_inflates_to_the_same() {
        for n in [600, 5_000, 70_000] {
            let plain: Vec<u8> = (0..n).map(|i| (i / 7 % 251) as u8).collect();
            let bytes = deflated(&plain);
            assert!(bytes.len() < plain.len());
            assert_eq!(inflate(&bytes, n), Ok(plain));
        }
    }

    #[test]
    fn what_does_not_become_shorter_stays_as_it_is() {
        let mut state = 1_u32;
        let noise = (0..2_000).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        let noise: Vec<u8> = noise.collect();
        let mut out = noise.clone();
        assert!(!shrink(&mut out, 0));
        assert_eq!(out, noise);
    }

    #[test]
    fn inflating_stops_at_the_limit() {
        let bomb = deflated(&vec![0; 1_000_000]);
        assert!(bomb.len() < 10_000, "{}", bomb.len());
        assert_eq!(inflate(&bomb, 999_999), Err(InflateError::TooLong { max: 999_999 }));
        assert!(inflate(&bomb, 1_000_000).is_ok());
        assert_eq!(inflate(&bomb, 0), Err(InflateError::TooLong { max: 0 }));
    }

    #[test]
    fn refuses_what_is_cut_damaged_or_followed_by_more() {
        let whole = deflated(&[7; 900]);
        for cut in 0..whole.len() {
            assert!(inflate(&whole[..cut], 1_000).is_err(), "cut at {cut}");
        }
        let mut more = whole.clone();
        more.push(0);
        assert_eq!(inflate(&more, 1_000), Err(InflateError::Trailing));
        // A block of a type that does not exist.
        assert_eq!(inflate(&[0xFF; 8], 1_000), Err(InflateError::Damaged));
    }
}
