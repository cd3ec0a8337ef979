//! foreman
fn main() {}
