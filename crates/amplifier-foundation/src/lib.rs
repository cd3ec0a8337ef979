//! amplifier-foundation

pub mod fs;
pub mod redact;
pub mod storage;
