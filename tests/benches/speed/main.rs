//! How fast things are; started by `cargo xtask bench`, one area a call: `cargo bench -p amplifier-tests --bench
//! speed -- AREA [RUNS] [PART]`.
//!
//! One program for all areas, because each would be linked with all of the workspace. Prints one JSON object a line,
//! see [`kit`]. Rivals are measured in the same run, turn by turn.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark measures real time on real files, and a failure shall stop it"
)]

mod background;
mod durable;
mod foreman;
mod growth;
#[path = "../kit/mod.rs"]
mod kit;
mod library;
mod router;
mod spawn;
mod store;
mod store_processes;

fn main() {
    let call = kit::Call::read();
    match call.area.as_str() {
        "background" => background::measure(&call),
        "foreman" => foreman::measure(&call),
        "growth" => growth::measure(&call),
        "library" => library::measure(&call),
        "router" => router::measure(&call),
        "spawn" => spawn::measure(&call),
        "store" => store::measure(&call),
        "store_processes" => store_processes::measure(&call),
        other => panic!("there is no area `{other}`"),
    }
}
