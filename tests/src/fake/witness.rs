//! A module that notes what it is given when it is mounted.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use amplifier_core::approval::{NoticeLevel, Shown};
use amplifier_core::hook::{Hook, HookError, HookEvent, Verdict};
use amplifier_core::module::provider::ToolSchema;
use amplifier_core::module::tool::{Tool, ToolContext, ToolError, ToolOutput};
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, Mount, MountError};
use amplifier_core::{CancelToken, EventPattern, ModuleSpec, SessionId};
use amplifier_foundation::spawn::Spawner;
use async_trait::async_trait;
use serde_json::{Value, json};

/// What a module is given.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The session.
    pub session: SessionId,
    /// Its parent.
    pub parent: Option<SessionId>,
    /// The root of its tree.
    pub root: SessionId,
    /// Levels below the root.
    pub depth: u32,
    /// The working directory.
    pub cwd: PathBuf,
    /// Whether somebody can be asked.
    pub can_answer: bool,
    /// Whether the session can spawn others.
    pub can_spawn: bool,
    /// Its cancellation.
    pub cancel: CancelToken,
    /// The module's configuration.
    pub config: Value,
}

/// A tool or hook of this id that does nothing, and tells the display `mounted` when it is mounted. Clones
/// share what is remembered.
#[derive(Debug, Clone)]
pub struct Witness {
    id: &'static str,
    kind: ModuleKind,
    schema: ToolSchema,
    events: Vec<EventPattern>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Witness {
    fn new(id: &'static str, kind: ModuleKind) -> Self {
        let schema = ToolSchema {
            name: id.trim_start_matches("tool-").to_owned(),
            description: "does nothing".to_owned(),
            input_schema: json!({"type": "object"}),
        };
        Self { id, kind, schema, events: Vec::new(), seen: Arc::default() }
    }

    /// A tool.
    pub fn tool(id: &'static str) -> Self {
        Self::new(id, ModuleKind::Tool)
    }

    /// A hook.
    pub fn hook(id: &'static str) -> Self {
        Self::new(id, ModuleKind::Hook)
    }

    /// What it was given, mount by mount.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// What it was given in this session, the last time.
    pub fn in_session(&self, id: &SessionId) -> Option<Seen> {
        self.seen().into_iter().rfind(|seen| seen.session == *id)
    }

    /// Forgets what it was given.
    pub fn forget(&self) {
        self.seen.lock().unwrap().clear();
    }
}

#[async_trait]
impl Tool for Witness {
    fn schema(&self) -> &ToolSchema {
        &self.schema
    }

    async fn call(&self, _arguments: Value, _cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        Ok(ToolOutput::text(self.id))
    }
}

#[async_trait]
impl Hook for Witness {
    fn name(&self) -> &str {
        self.id
    }

    fn events(&self) -> &[EventPattern] {
        &self.events
    }

    async fn handle(&self, _event: &HookEvent<'_>) -> Result<Verdict, HookError> {
        Ok(Verdict::Continue)
    }
}

#[async_trait]
impl Module for Witness {
    fn info(&self) -> ModuleInfo {
        ModuleInfo { id: self.id, aliases: &[], kind: self.kind, summary: "watches", config_keys: &[] }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        let env = mount.env();
        let told = Shown::Notice { level: NoticeLevel::Info, source: self.id, text: "mounted" };
        env.display.show(&env.origin(), told);
        self.seen.lock().unwrap().push(Seen {
            session: env.session.clone(),
            parent: env.parent.clone(),
            root: env.root.clone(),
            depth: env.depth,
            cwd: env.cwd.clone(),
            can_answer: env.approver.can_answer(),
            can_spawn: env.coordinator.capability::<Spawner>().is_some(),
            cancel: env.cancel.clone(),
            config: Value::Object(spec.config.clone()),
        });
        match self.kind {
            ModuleKind::Hook => mount.hook(Arc::new(self.clone())),
            _ => mount.tool(Arc::new(self.clone())),
        }
        Ok(())
    }
}
