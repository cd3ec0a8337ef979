//! A tool by which a model spawns sessions: its arguments are a [`SpawnSpec`].

use std::sync::{Arc, Mutex};

use amplifier_core::ModuleSpec;
use amplifier_core::module::provider::ToolSchema;
use amplifier_core::module::tool::{Tool, ToolContext, ToolError, ToolOutput};
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, Mount, MountError};
use amplifier_foundation::SpawnResult;
use amplifier_foundation::spawn::{BundlePin, SpawnExt, SpawnSpec, SpawnTarget};
use async_trait::async_trait;
use serde_json::{Value, json};

/// The id of [`SpawnTool`]'s module.
pub const SPAWN: &str = "tool-spawn";

/// The tool `spawn`, and the module that mounts it. In the foreground its result is the child's answer, in
/// the background or kept open the child's id. Clones share what is remembered.
#[derive(Debug, Clone)]
pub struct SpawnTool {
    schema: ToolSchema,
    spawned: Arc<Mutex<Vec<SpawnResult>>>,
}

impl Default for SpawnTool {
    fn default() -> Self {
        let schema = ToolSchema {
            name: "spawn".to_owned(),
            description: "spawns a session".to_owned(),
            input_schema: json!({"type": "object"}),
        };
        Self { schema, spawned: Arc::default() }
    }
}

impl SpawnTool {
    /// The sessions that were spawned since the last call, in the order in which they were recorded.
    pub fn take(&self) -> Vec<SpawnResult> {
        std::mem::take(&mut *self.spawned.lock().unwrap())
    }
}

/// The arguments for an agent of the parent.
pub fn agent(name: &str, text: &str) -> SpawnSpec {
    SpawnSpec::new(SpawnTarget::Agent(name.to_owned()), text)
}

/// The arguments for a bundle.
pub fn bundle(name: &str, text: &str) -> SpawnSpec {
    SpawnSpec::new(SpawnTarget::Bundle(BundlePin::new(name)), text)
}

/// A call of the tool, for [`Step::Call`](super::Step::Call).
pub fn spawning(spec: &SpawnSpec) -> (&'static str, Value) {
    ("spawn", serde_json::to_value(spec).unwrap())
}

#[async_trait]
impl Tool for SpawnTool {
    fn schema(&self) -> &ToolSchema {
        &self.schema
    }

    async fn call(&self, arguments: Value, cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        let spec: SpawnSpec =
            serde_json::from_value(arguments).map_err(|error| ToolError::Arguments(error.to_string()))?;
        let waits = !spec.background && !spec.keep_open;
        let result = cx.spawn(spec).await?;
        self.spawned.lock().unwrap().push(result.clone());
        match waits {
            true => Ok(result.output().await?.into()),
            false => Ok(ToolOutput::text(result.id().as_str())),
        }
    }
}

#[async_trait]
impl Module for SpawnTool {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: SPAWN,
            aliases: &[],
            kind: ModuleKind::Tool,
            summary: "spawns sessions",
            config_keys: &[],
        }
    }

    async fn mount(&self, _spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        mount.tool(Arc::new(self.clone()));
        Ok(())
    }
}
