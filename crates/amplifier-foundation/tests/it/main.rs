//! Integration tests of the foundation, in one binary.
#![allow(clippy::disallowed_methods)]

mod bundle_yaml;
mod mention;
mod settings_keys;
mod source;
mod source_kit;
