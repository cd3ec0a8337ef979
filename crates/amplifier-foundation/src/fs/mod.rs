//! The file system: the only modules of the project that call `std::fs`.

#![allow(clippy::disallowed_methods)]

pub mod memo;
pub mod mode;
pub mod read;
pub mod tree;
