//! What a bundle says of a module: its id, where it came from, its configuration.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A module as a bundle names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModuleSpec {
    /// The module: `tool-bash`.
    pub module: String,
    /// Tells several instances of one module apart (`id` or `instance_id` in a bundle).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Where the reference system loads it from. Kept and shown; modules here are built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The module's own settings.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub config: Map<String, Value>,
}

impl ModuleSpec {
    /// A module without settings.
    pub fn new(module: impl Into<String>) -> Self {
        Self { module: module.into(), id: None, source: None, config: Map::new() }
    }

    /// The key by which entries of two bundles are merged: the instance's id, else the module.
    pub fn key(&self) -> &str {
        self.id.as_deref().unwrap_or(&self.module)
    }
}
