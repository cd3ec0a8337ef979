//! A tool that does what a test tells it to.

use std::sync::{Arc, Mutex};

use amplifier_core::module::provider::ToolSchema;
use amplifier_core::module::tool::{Repeat, Tool, ToolContext, ToolError, ToolOutput};
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, Mount, MountError};
use amplifier_core::permission::Access;
use amplifier_core::{ModuleSpec, SessionEnv};
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::gate::Gate;

/// What the tool does.
#[derive(Debug, Clone)]
pub enum Act {
    /// Answers with a text.
    Say(&'static str),
    /// Fails.
    Fail,
    /// Panics.
    Panic,
    /// Waits at the gate, then answers `passed`.
    Wait(Gate),
    /// Cannot be mounted.
    NoMount,
    /// Panics when it is mounted.
    PanicAtMount,
    /// Waits at the gate while it is mounted.
    SlowMount(Gate),
    /// Its clean-up never ends.
    StuckCleanUp,
}

/// A tool, and the module that mounts it. Clones share what is remembered.
#[derive(Debug, Clone)]
pub struct FakeTool {
    id: &'static str,
    schema: ToolSchema,
    act: Act,
    shell: bool,
    repeat: Repeat,
    calls: Arc<Mutex<Vec<(Value, bool)>>>,
    cleaned: Gate,
}

impl FakeTool {
    /// A tool of the module `id`; the model calls it by the same name without `tool-`.
    pub fn new(id: &'static str, act: Act) -> Self {
        let schema = ToolSchema {
            name: id.trim_start_matches("tool-").to_owned(),
            description: "does what a test wants".to_owned(),
            input_schema: json!({"type": "object"}),
        };
        Self {
            id,
            schema,
            act,
            shell: false,
            repeat: Repeat::Never,
            calls: Arc::default(),
            cleaned: Gate::new(),
        }
    }

    /// The same tool, but it says that it will run a shell command.
    #[must_use]
    pub fn needs_shell(mut self) -> Self {
        self.shell = true;
        self
    }

    /// The same tool, but it says that it changes nothing.
    #[must_use]
    pub fn pure(mut self) -> Self {
        self.repeat = Repeat::Pure;
        self
    }

    /// The arguments of the calls so far.
    pub fn calls(&self) -> Vec<Value> {
        self.calls.lock().unwrap().iter().map(|(arguments, _)| arguments.clone()).collect()
    }

    /// Of each call so far: whether it was allowed in the sandbox only.
    pub fn sandboxed(&self) -> Vec<bool> {
        self.calls.lock().unwrap().iter().map(|(_, sandboxed)| *sandboxed).collect()
    }

    /// How often its clean-up has run.
    pub fn cleaned(&self) -> usize {
        self.cleaned.arrived()
    }
}

#[async_trait]
impl Tool for FakeTool {
    fn schema(&self) -> &ToolSchema {
        &self.schema
    }

    fn access(&self, _arguments: &Value, _env: &SessionEnv) -> Result<Vec<Access>, ToolError> {
        Ok(if self.shell { vec![Access::Shell("rm -r x".to_owned())] } else { Vec::new() })
    }

    fn repeat(&self) -> Repeat {
        self.repeat
    }

    async fn call(&self, arguments: Value, cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        self.calls.lock().unwrap().push((arguments, cx.sandboxed));
        tokio::task::yield_now().await;
        match &self.act {
            Act::Fail => Err(ToolError::Refused("told to fail".to_owned())),
            Act::Panic => panic!("the tool broke"),
            Act::Wait(gate) => {
                gate.pass().await;
                Ok(ToolOutput::text("passed"))
            }
            Act::Say(text) => Ok(ToolOutput::text(*text)),
            _ => Ok(ToolOutput::text("mounted")),
        }
    }
}

#[async_trait]
impl Module for FakeTool {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: self.id,
            aliases: &[],
            kind: ModuleKind::Tool,
            summary: "does what a test wants",
            config_keys: &[],
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        let cleaned = self.cleaned.clone();
        if !matches!(self.act, Act::StuckCleanUp) {
            cleaned.open();
        }
        mount.env().coordinator.on_clean_up(self.id, move || Box::pin(async move { cleaned.pass().await }));
        match &self.act {
            Act::NoMount => return Err(MountError::config(spec, "told to fail")),
            Act::PanicAtMount => panic!("told to panic"),
            Act::SlowMount(gate) => gate.pass().await,
            _ => {}
        }
        mount.tool(Arc::new(self.clone()));
        Ok(())
    }
}
