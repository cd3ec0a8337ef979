//! Commands that both programs have: what ran, what fires, what led to what.
//!
//! Guarantees: the same words, tables and JSON in both; what a person is told to type is of the program that
//! was called.
//! Never here: a command that one of them has alone.

pub mod args;
pub mod data;
pub mod declared;
pub mod event;
pub mod fire;
pub mod runs;
pub mod transcript;
pub mod trigger;
pub mod why;

pub use runs::runs;
