//! Built-in modules: what a bundle can name without fetching anything.
//!
//! Guarantees: one module a file; a module's id, aliases and configuration keys
//! are in its [`ModuleInfo`](amplifier_core::module::ModuleInfo). Heavy ones are
//! behind features.
//! Never here: how a session is put together; that is the foundation's.

#![warn(missing_docs)]

pub mod context;
pub mod detect;
#[cfg(feature = "http-providers")]
pub mod fetch;
pub mod hook;
pub mod notify;
pub mod orchestrator;
mod price;
#[cfg(feature = "http-providers")]
pub mod provider;
pub mod scripted;
pub mod services;
pub use amplifier_sandbox::standing;
pub mod tool;

use std::sync::Arc;

use amplifier_core::module::Module;

pub use detect::detect;

/// All modules of this build.
pub fn builtin() -> Vec<Arc<dyn Module>> {
    let mut all = Vec::new();
    all.extend(orchestrator::orchestrators());
    all.extend(context::contexts());
    all.extend(hook::hooks());
    all.extend(tool::tools());
    all.push(Arc::new(scripted::Scripted::from_config()) as Arc<dyn Module>);
    #[cfg(feature = "http-providers")]
    all.extend(provider::providers());
    all
}
