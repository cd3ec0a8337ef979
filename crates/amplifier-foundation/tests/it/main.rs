//! Integration tests of the foundation, in one binary.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

mod bundle_compose;
mod bundle_diagnostic;
mod bundle_parse;
mod bundle_yaml;
mod include;
mod mention;
mod prepare;
mod source;
mod source_kit;
mod corpus;
