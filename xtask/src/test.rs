//! `cargo xtask test`: every test of the workspace.
//!
//! Guarantees: plain `cargo test`, so the closing lines are those that every
//! Rust developer and every tool knows.

use crate::error::Error;
use crate::run;

/// Runs `cargo test --workspace` with further arguments.
pub(crate) fn run(args: &[String]) -> Result<(), Error> {
    let fixed = ["test", "--workspace"].map(str::to_owned);
    run::show(&mut run::cargo(fixed.iter().chain(args)))
}
