//! Foundation of Amplifier: bundles and all that turns them into running sessions.

pub mod bundle;
pub mod fs;
pub mod host;
pub mod mention;
pub mod redact;
pub mod settings;
pub mod source;
pub mod storage;
//! amplifier-foundation

#![warn(missing_docs)]

pub mod fs;
