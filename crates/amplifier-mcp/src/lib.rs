//! The Model Context Protocol, both ways.
//!
//! [`client`] has the module `tool-mcp`: tools of MCP servers inside a session. [`server`] is `amplifier mcp serve`:
//! sessions for any MCP client.
//!
//! Guarantees: no other crate knows the protocol's library; a server is somebody else's program: whatever it
//! sends is bounded, judged and told, and never trusted.
//! Never here: a second way to start a session or a program.

#![warn(missing_docs)]

pub mod client;
pub mod server;

pub use client::ToolMcp;

use std::sync::Arc;

use amplifier_core::module::Module;

/// The modules of this crate.
pub fn modules() -> Vec<Arc<dyn Module>> {
    vec![Arc::new(ToolMcp::default())]
}
