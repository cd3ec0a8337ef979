//! `cargo xtask mcp`: MCP against official servers, the official conformance suite and the official inspector.
//!
//! Guarantees: what cannot be fetched is said to be skipped, and is no failure; programs and caches lie in the folder of
//! build results.

use crate::error::Error;
use crate::run;

/// Runs the tests that fetch programs.
pub(crate) fn run() -> Result<(), Error> {
    let test = [
        "test",
        "-p",
        "amplifier-cli",
        "--test",
        "it",
        "mcp_official",
        "--",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ];
    run::show(&mut run::cargo(test))
}
