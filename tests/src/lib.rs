//! The test kit: what a test needs to run the real thing and to see what it did.
//!
//! Guarantees: no variable, home folder or configuration of the machine reaches what is
//! tested; time and ids are the test's own where a test asks for that; every wait ends.
//! Never here: doubles for the kernel, the storage, the router or the spawn path.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]
#![allow(clippy::disallowed_methods, reason = "tests look at real files and wait for real processes")]
#![warn(missing_docs)]

pub mod aftermath;
pub mod bundle;
pub mod clock;
pub mod crash;
pub mod fake;
pub mod faulty;
pub mod faulty_store;
pub mod gate;
pub mod history;
pub mod ids;
pub mod on_disk;
pub mod peer;
pub mod process;
pub mod project;
pub mod receiver;
pub mod server;
pub mod stage;
pub mod tree;
pub mod watch;
pub mod workload;

pub use amplifier_modules::scripted;

use std::future::Future;
use std::time::Duration;

/// The longest that any part of a test may wait for another.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a future; a test that would wait for ever fails instead.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: nothing came within {PATIENCE:?}"),
    }
}

/// Tells that a test was not run, also where the output of tests that pass is not shown.
pub fn skipped(test: &str, why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
}
