//! Integration tests of the foundation, in one binary.
#![allow(clippy::disallowed_methods)]

mod bundle_yaml;
mod include;
mod mention;
mod prepare;
mod source;
mod source_kit;
