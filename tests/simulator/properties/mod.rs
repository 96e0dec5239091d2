//! Properties of the kernel's parts, apart from a whole node.

mod balance;
mod cells;
mod channel;
mod commands;
mod directory;
mod golden_journals;
mod prediction;
mod rounds;
mod second_process;
mod skips;
mod sleep;
mod stored_bytes;
