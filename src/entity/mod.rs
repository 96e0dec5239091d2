//! Owns durable entities: what they are, how they talk, what is written of
//! them. Never does I/O and never decides who owns what (`cluster::core` does).

pub mod account;
pub mod attempt;
pub mod audit;
pub mod caught;
pub mod channel;
pub mod commands;
pub mod commit;
pub mod context;
pub mod effect;
pub mod envelope;
pub mod format;
pub mod golden;
pub mod history;
pub mod input;
pub mod keys;
pub mod kinds;
pub mod logics;
pub mod machine;
pub mod member;
pub mod message;
pub mod pace;
pub mod packed;
pub mod parked;
pub mod read;
pub mod record;
pub mod replay;
pub mod summary;
pub mod workplace;
pub mod world;

pub use machine::Entity;
pub use world::World;

/// How many bytes [`append`] appends.
fn encoded_length<T: serde::Serialize>(value: &T) -> usize {
    let size = postcard::ser_flavors::Size::default();
    // As for `append`.
    postcard::serialize_with_flavor(value, size).expect("state serializes")
}

/// Appends the canonical (postcard) bytes of `value` to `out`.
fn append<T: serde::Serialize>(value: &T, out: &mut Vec<u8>) {
    // Writing to a `Vec` cannot fail, and postcard refuses only sequences of
    // unknown length, which no state, record or head contains.
    *out = postcard::to_extend(value, std::mem::take(out)).expect("state serializes");
}
