//! Foundation of Amplifier: bundles and all that turns them into running sessions.
//!
//! [`spawn_bundle`] is the one path by which sessions start; a [`Host`] is what a
//! process lends to them.

#![warn(missing_docs)]

pub mod bundle;
pub mod fs;
pub mod governor;
pub mod host;
pub mod mention;
pub mod redact;
pub mod router;
pub mod settings;
pub mod source;
pub mod spawn;
pub mod storage;
pub mod store;

pub use host::{Host, HostBuilder, Shutdown};
pub use router::{EventFilter, EventRouter};
pub use spawn::{SpawnError, SpawnRequest, SpawnResult, spawn_bundle};
pub use storage::SessionStorage;
