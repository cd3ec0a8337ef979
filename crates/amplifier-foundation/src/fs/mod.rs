//! The file system: the one place of the program that touches `std::fs`.
//!
//! [`paths`] makes what a model names into what permissions can judge, [`tool_io`] is what
//! tools do with files, [`process_table`] reads which processes run.
//! Never here: what the bytes mean, and any wait without an end.
#![allow(clippy::disallowed_methods, reason = "this module is the seam that the lint protects")]

pub mod paths;
pub mod process_table;
pub mod tool_io;
