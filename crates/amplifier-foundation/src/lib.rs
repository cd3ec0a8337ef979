//! amplifier-foundation

#![warn(missing_docs)]

pub mod fs;
