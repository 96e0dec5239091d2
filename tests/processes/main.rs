//! Real processes: what only the binary itself can show.

mod command_line;
