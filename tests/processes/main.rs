//! Real processes: what only the binary itself can show.

mod command_line;
mod refused_data;
mod shutdown;
mod socket;
mod support;
