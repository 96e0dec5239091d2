//! Owns the fingerprint of the protocol: blake3 over the golden examples of
//! all messages in all codecs, first 16 bytes. Sent in Connected, written in
//! `docs/protocol.md`; a test computes it anew and fails when messages changed
//! and one of the two did not.

/// As hexadecimal digits.
pub const FINGERPRINT: &str = "be5f75b920a272ce8aaf187a0aa7290e";
