//! A tool that blocks its thread, as code in C may do.

use std::sync::{Arc, Condvar, Mutex};

use amplifier_core::ModuleSpec;
use amplifier_core::module::provider::ToolSchema;
use amplifier_core::module::tool::{Tool, ToolContext, ToolError, ToolOutput};
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, Mount, MountError};
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::PATIENCE;

/// The tool `block`, and the module that mounts it: it holds its thread until it is let go, or a test that
/// forgets it has failed. Clones are the same.
#[derive(Debug, Clone)]
pub struct Blocker {
    schema: ToolSchema,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
struct State {
    arrived: usize,
    free: bool,
}

impl Default for Blocker {
    fn default() -> Self {
        let schema = ToolSchema {
            name: "block".to_owned(),
            description: "blocks its thread".to_owned(),
            input_schema: json!({"type": "object"}),
        };
        Self { schema, state: Arc::default() }
    }
}

impl Blocker {
    /// Lets everybody go, and those that come later.
    pub fn free(&self) {
        self.state.0.lock().unwrap().free = true;
        self.state.1.notify_all();
    }

    /// Waits, with its thread, until that many calls block.
    pub fn reached(&self, count: usize) {
        let few = |state: &mut State| state.arrived < count;
        let waited = self.state.1.wait_timeout_while(self.state.0.lock().unwrap(), PATIENCE, few).unwrap();
        assert!(waited.0.arrived >= count, "nobody came to block");
    }
}

#[async_trait]
impl Tool for Blocker {
    fn schema(&self) -> &ToolSchema {
        &self.schema
    }

    async fn call(&self, _arguments: Value, _cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        let mut state = self.state.0.lock().unwrap();
        state.arrived += 1;
        self.state.1.notify_all();
        drop(self.state.1.wait_timeout_while(state, PATIENCE, |state| !state.free).unwrap());
        Ok(ToolOutput::text("free again"))
    }
}

#[async_trait]
impl Module for Blocker {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: "tool-block",
            aliases: &[],
            kind: ModuleKind::Tool,
            summary: "blocks its thread",
            config_keys: &[],
        }
    }

    async fn mount(&self, _spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        mount.tool(Arc::new(self.clone()));
        Ok(())
    }
}
