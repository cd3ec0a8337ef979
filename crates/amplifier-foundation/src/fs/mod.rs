//! The file system: the only modules of the project that call `std::fs`.

pub mod read;
pub mod tree;
