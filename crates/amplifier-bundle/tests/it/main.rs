//! Integration tests of bundles, sources, mentions, files and settings, in one binary.
#![allow(clippy::disallowed_methods, reason = "tests look at real files")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test that is skipped says so")]

mod bundle_compose;
mod bundle_diagnostic;
mod bundle_parse;
mod bundle_yaml;
mod corpus;
mod docs_bundles;
mod docs_settings;
mod include;
mod mention;
mod neighbours;
mod prepare;
mod settings;
mod settings_edit;
mod settings_keys;
mod settings_permissions;
mod settings_trust;
mod source;
mod source_kit;
