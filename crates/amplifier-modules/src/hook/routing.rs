//! `hooks-routing`: the table of what the roles of models mean, under the reference's name.
//!
//! The table is read where a session's providers are chosen; this module gives it a place in a bundle and watches nothing.

use amplifier_core::module::{Module, ModuleInfo, ModuleKind, ModuleSpec, Mount, MountError};
use async_trait::async_trait;

/// The module `hooks-routing`.
#[derive(Debug, Clone, Copy)]
pub struct HooksRouting;

#[async_trait]
impl Module for HooksRouting {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: "hooks-routing",
            aliases: &[],
            kind: ModuleKind::Hook,
            summary: "Says which providers and models the roles of agents mean",
            // The last ones are of the reference, whose own matrices are not part of this program.
            config_keys: &[
                "roles",
                "overrides",
                "default_matrix",
                "custom_routing_dirs",
                "disable_delegation_preset",
                "max_concurrent_role_resolutions",
            ],
        }
    }

    async fn mount(&self, _spec: &ModuleSpec, _mount: &mut Mount<'_>) -> Result<(), MountError> {
        Ok(())
    }
}
