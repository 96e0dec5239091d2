//! Owns durable entities: what they are, how they talk, what is written of
//! them. Never does I/O and never decides who owns what (`cluster::core` does).

pub mod commit;
pub mod envelope;
pub mod keys;
