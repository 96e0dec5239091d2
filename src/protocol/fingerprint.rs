//! Owns the fingerprint of the protocol: blake3 over the golden examples of
//! all messages in all codecs, first 16 bytes. Sent in Connected, written in
//! `docs/protocol.md`; a test computes it anew and fails when messages changed
//! and one of the two did not.

/// As hexadecimal digits.
pub const FINGERPRINT: &str = "4be76031aa567632eb994c798df14156";
