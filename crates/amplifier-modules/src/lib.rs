//! amplifier-modules
