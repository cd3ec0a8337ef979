//! Foundation of Amplifier: bundles and all that turns them into running sessions.
//!
//! [`spawn_bundle`] is the one path by which sessions start; a [`Host`] is what a
//! process lends to them. Reading bundles, files and settings is `amplifier-bundle`'s;
//! its modules have their names here too.

#![warn(missing_docs)]

pub mod governor;
pub mod host;
pub mod process;
pub mod router;
pub mod spawn;
pub mod storage;
pub mod typed_tool;

pub use amplifier_bundle::{bundle, mention, redact, settings, source};
pub use amplifier_fs as fs;
pub use amplifier_store as store;
pub use amplifier_trigger as trigger;
pub use host::{Host, HostBuilder, Shutdown};
pub use router::{EventFilter, EventRouter};
pub use spawn::{SpawnError, SpawnExt, SpawnRequest, SpawnResult, spawn_bundle};
pub use storage::SessionStorage;
pub use typed_tool::{JsonSchema, Typed, TypedTool, schemars};
