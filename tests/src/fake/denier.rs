//! A hook that denies, as a module that one session has and another does not.

use std::sync::Arc;

use amplifier_core::EventPattern;
use amplifier_core::ModuleSpec;
use amplifier_core::hook::{Hook, HookError, HookEvent, Verdict};
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, Mount, MountError};
use async_trait::async_trait;

/// A hook that denies one event, and the module that mounts it.
#[derive(Debug, Clone)]
pub struct Denier {
    id: &'static str,
    events: Vec<EventPattern>,
}

impl Denier {
    /// A hook of this module that denies this event.
    pub fn new(id: &'static str, event: &str) -> Self {
        Self { id, events: vec![EventPattern::new(event).unwrap()] }
    }
}

#[async_trait]
impl Hook for Denier {
    fn name(&self) -> &str {
        self.id
    }

    fn events(&self) -> &[EventPattern] {
        &self.events
    }

    async fn handle(&self, _event: &HookEvent<'_>) -> Result<Verdict, HookError> {
        Ok(Verdict::Deny { reason: "told to deny".to_owned() })
    }
}

#[async_trait]
impl Module for Denier {
    fn info(&self) -> ModuleInfo {
        ModuleInfo { id: self.id, aliases: &[], kind: ModuleKind::Hook, summary: "denies", config_keys: &[] }
    }

    async fn mount(&self, _spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        mount.hook(Arc::new(self.clone()));
        Ok(())
    }
}
