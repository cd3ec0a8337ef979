//! Integration tests of the foundation: real files in temporary folders.
#![allow(clippy::disallowed_methods, reason = "tests make the files that the code under test meets")]

mod fs_paths;
mod fs_tool_io;
