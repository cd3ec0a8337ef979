//! `loop-basic`: runs the tools of an answer one after the other; results are appended in the order of the calls.

use std::sync::Arc;

use amplifier_core::module::{Module, ModuleInfo, ModuleKind, ModuleSpec, Mount, MountError};
use async_trait::async_trait;

use super::Loop;
use super::settings::{CONFIG_KEYS, Settings};

const ID: &str = "loop-basic";

/// The module `loop-basic`.
#[derive(Debug, Clone, Copy)]
pub struct LoopBasic;

#[async_trait]
impl Module for LoopBasic {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: ID,
            aliases: &[],
            kind: ModuleKind::Orchestrator,
            summary: "Tool calls of an answer run one after the other",
            config_keys: CONFIG_KEYS,
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        let settings = Settings::parse(spec)?;
        let parallel = settings.parallel.unwrap_or(false);
        mount.orchestrator(Arc::new(Loop { name: ID, settings, parallel }));
        Ok(())
    }
}
