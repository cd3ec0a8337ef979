//! Module kinds: what a bundle can mount into a session.

pub mod provider;
mod spec;

pub use spec::ModuleSpec;
