//! Integration tests of the foundation, in one binary.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod bundle_compose;
mod bundle_diagnostic;
mod bundle_parse;
mod bundle_yaml;
mod corpus;
mod storage;
mod storage_cost;
mod storage_damage;
mod storage_process;
mod storage_reference;
