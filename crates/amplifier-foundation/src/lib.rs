//! Foundation of Amplifier: bundles and all that turns them into running sessions.

pub mod bundle;
pub mod fs;
pub mod redact;
pub mod storage;
