//! Properties of the kernel's parts, apart from a whole node.

mod channel;
mod commands;
mod stored_bytes;
