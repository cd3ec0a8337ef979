//! Integration tests of the foundation: real files in temporary folders.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fs_paths;
mod fs_tool_io;
