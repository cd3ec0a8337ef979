//! Integration tests of the foundation, in one binary.
#![allow(clippy::disallowed_methods, reason = "tests look at real files")]

mod storage;
mod storage_damage;
mod storage_process;
mod storage_reference;
