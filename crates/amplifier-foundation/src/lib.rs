//! amplifier-foundation
