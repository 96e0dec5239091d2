//! Properties of the kernel's parts, apart from a whole node.

mod channel;
mod commands;
mod golden_journals;
mod stored_bytes;
