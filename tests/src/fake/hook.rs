//! A hook that remembers what it saw, and may have an opinion.

use std::sync::{Arc, Mutex};

use amplifier_core::EventPattern;
use amplifier_core::hook::{Hook, HookError, HookEvent, Injection, Verdict};
use async_trait::async_trait;
use serde_json::Value;

/// A hook on every event. Clones share what is remembered.
#[derive(Debug, Clone)]
pub struct FakeHook {
    events: Vec<EventPattern>,
    denies: Option<&'static str>,
    injects: Option<&'static str>,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Default for FakeHook {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeHook {
    /// A hook that only watches.
    pub fn new() -> Self {
        let all = EventPattern::new("*").unwrap();
        Self { events: vec![all], denies: None, injects: None, seen: Arc::default() }
    }

    /// A hook that denies one event, by the reference's name for it.
    pub fn denying(event: &'static str) -> Self {
        Self { denies: Some(event), ..Self::new() }
    }

    /// A hook that has a message put into the transcript at one event.
    pub fn injecting(event: &'static str) -> Self {
        Self { injects: Some(event), ..Self::new() }
    }

    /// The names of the events that it saw, in the reference's spelling.
    pub fn names(&self) -> Vec<String> {
        self.seen().into_iter().map(|(name, _)| name).collect()
    }

    /// The events that it saw, with their data.
    pub fn seen(&self) -> Vec<(String, Value)> {
        self.seen.lock().unwrap().clone()
    }

    /// How often it saw an event.
    pub fn count(&self, event: &str) -> usize {
        self.names().iter().filter(|name| *name == event).count()
    }
}

#[async_trait]
impl Hook for FakeHook {
    fn name(&self) -> &str {
        "watcher"
    }

    fn events(&self) -> &[EventPattern] {
        &self.events
    }

    async fn handle(&self, event: &HookEvent<'_>) -> Result<Verdict, HookError> {
        let name = event.event.reference_name().to_owned();
        let denied = self.denies == Some(name.as_str());
        let injects = self.injects == Some(name.as_str());
        self.seen.lock().unwrap().push((name, event.data.clone()));
        if injects {
            let mut injection = Injection::ephemeral("by the way");
            injection.ephemeral = false;
            return Ok(Verdict::Inject(injection));
        }
        Ok(if denied { Verdict::Deny { reason: "told to deny".to_owned() } } else { Verdict::Continue })
    }
}
