//! What things cost in memory; started by `cargo xtask bench`, one area a call: `cargo bench -p amplifier-tests
//! --bench memory -- AREA [RUNS]`.
//!
//! Apart from the benchmark of time, because an allocator that counts is slower. Prints one JSON object a line, see
//! [`kit`]. What is held is counted in a process of its own each time.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark measures a real process, and a failure shall stop it"
)]

mod background;
#[path = "../kit/mod.rs"]
mod kit;
mod spawn;

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    let call = kit::Call::read();
    match call.area.as_str() {
        "background" => background::measure(&call),
        "spawn" => spawn::measure(&call),
        other => panic!("there is no area `{other}`"),
    }
}
