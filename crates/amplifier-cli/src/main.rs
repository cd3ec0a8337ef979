//! amplifier-cli
fn main() {}
