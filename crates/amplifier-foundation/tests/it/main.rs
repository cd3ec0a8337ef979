//! Integration tests of the foundation.
#![allow(clippy::disallowed_methods)]

mod mention;
mod source;
mod source_kit;
