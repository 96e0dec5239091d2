//! Owns the fingerprint of the protocol: blake3 over the golden examples of
//! all messages, first 16 bytes. Sent in Connected, written in
//! `docs/protocol.md`; a test computes it anew and fails when messages changed
//! and one of the two did not.

/// As hexadecimal digits.
pub const FINGERPRINT: &str = "1eb68ede12096d7bcdbe872f2ef0f54d";
