//! What those who use the two programs rely on: golden cases of each command, parity of all ways to start a session,
//! and the commands, formats and examples that the documents show. All of it with the built binaries.

mod background_examples;
mod cases;
mod delegate_cli;
mod docs_commands;
mod foreman_daemon;
mod foreman_run;
mod golden;
mod mask;
mod parity;
mod pipeline;
mod reference_formats;
