//! `loop-streaming`: runs the tools of an answer at the same time; results are appended in the order of the calls.

use std::sync::Arc;

use amplifier_core::module::{Module, ModuleInfo, ModuleKind, ModuleSpec, Mount, MountError};
use async_trait::async_trait;

use super::Loop;
use super::settings::{CONFIG_KEYS, Settings};

const ID: &str = "loop-streaming";

/// The module `loop-streaming`.
#[derive(Debug, Clone, Copy)]
pub struct LoopStreaming;

#[async_trait]
impl Module for LoopStreaming {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: ID,
            aliases: &[],
            kind: ModuleKind::Orchestrator,
            summary: "Tool calls of an answer run at the same time",
            config_keys: CONFIG_KEYS,
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        let settings = Settings::parse(spec)?;
        let parallel = settings.parallel.unwrap_or(true);
        mount.orchestrator(Arc::new(Loop { name: ID, settings, parallel }));
        Ok(())
    }
}
