//! What the programs share, over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]
#![allow(clippy::disallowed_methods, reason = "tests look at real files and wait for real sockets")]

mod listen;
mod notify;
mod schema;
