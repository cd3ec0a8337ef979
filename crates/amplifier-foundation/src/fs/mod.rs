//! The file system: the one place of the program that touches `std::fs`.
//!
//! [`mod@read`] reads and lists, [`mod@write`] replaces whole files so that a crash leaves
//! the old or the new one, [`append`] grows a file line by line, [`lock`] tells who
//! may write. Each function says how often it calls fsync.
//! Never here: what the bytes mean, and any wait without an end.
#![allow(clippy::disallowed_methods, reason = "this module is the seam that the lint protects")]

pub mod append;
pub mod lock;
pub mod memo;
pub mod mode;
pub mod read;
pub mod tree;
pub mod write;
