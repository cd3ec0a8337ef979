//! `tool-events`: the model tells other sessions what happened, waits for what they tell, starts sessions in
//! the background and waits for them.
//!
//! Guarantees: nobody can emit a kernel event; an event names the session that emits it, and what that has
//! waited for last is its cause. A wait ends at its deadline or with the session, and no event is given
//! to a session twice by waits of its own. What another session has written reaches the model as a JSON value that is
//! called data. A child starts through `spawn_bundle`, with the session's limits, budget and permissions.
//! Never here: what a filter or a consumer means; that is the router's.

mod emit;
mod settings;
mod spawn;
mod wait;
mod wait_for_event;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amplifier_core::causes::chain;
use amplifier_core::module::tool::{Tool, ToolError, ToolOutput};
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, ModuleSpec, Mount, MountError};
use amplifier_core::{Cause, SessionEvent};
use amplifier_foundation::router::RouterError;
use amplifier_foundation::spawn::Spawner;
use async_trait::async_trait;

pub use emit::EmitEvent;
use settings::{CONFIG_KEYS, Offered, Settings};
pub use spawn::Spawn;
pub use wait::Wait;
pub use wait_for_event::WaitForEvent;

use super::span;

const ID: &str = "tool-events";

/// How long a wait takes at most, where the model does not say.
const DEFAULT_WAIT: Duration = Duration::from_secs(5 * 60);
/// Events that a session remembers to have been given, beside its cursor.
const MAX_TAKEN: usize = 1_024;

/// The module.
#[derive(Debug, Clone, Copy, Default)]
pub struct ToolEvents;

#[async_trait]
impl Module for ToolEvents {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: ID,
            aliases: &[],
            kind: ModuleKind::Tool,
            summary: "tells other sessions what happened, waits for what they tell, and for sessions",
            config_keys: CONFIG_KEYS,
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        let settings = Arc::new(Settings::parse(spec)?);
        let spawner = mount.env().coordinator.capability::<Spawner>();
        let agents = spawner.map(|spawner| spawner.agents()).unwrap_or_default();
        let heard = Arc::new(Heard::default());
        for offered in &settings.tools {
            let (settings, heard) = (Arc::clone(&settings), Arc::clone(&heard));
            let tool: Arc<dyn Tool> = match offered {
                Offered::EmitEvent => Arc::new(EmitEvent::new(settings, heard)),
                Offered::WaitForEvent => Arc::new(WaitForEvent::new(settings, heard)),
                Offered::Spawn => Arc::new(Spawn::new(&settings, &agents)),
                Offered::Wait => Arc::new(Wait::new(settings)),
            };
            mount.tool(tool);
        }
        Ok(())
    }
}

/// What the waits of a session were given.
#[derive(Debug, Default)]
struct Heard {
    // Held for a look-up or an insertion; never across an await.
    state: Mutex<HeardState>,
}

#[derive(Debug, Default)]
struct HeardState {
    last: Option<Cause>,
    taken: BTreeSet<u64>,
}

impl Heard {
    /// Notes an event; false if another wait of the session was given it, which ran at the same time.
    fn take(&self, event: &SessionEvent) -> bool {
        let mut state = self.state();
        if let Some(sequence) = event.sequence {
            if !state.taken.insert(sequence) {
                return false;
            }
            if state.taken.len() > MAX_TAKEN {
                state.taken.pop_first();
            }
            // One that is in no log can be nobody's cause.
            state.last = Some(Cause::of(event));
        }
        true
    }

    /// The last recorded event that a wait was given.
    fn last(&self) -> Option<Cause> {
        self.state().last
    }

    fn state(&self) -> MutexGuard<'_, HeardState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a router could not do, as a result that the model can act on.
fn told(error: &RouterError) -> ToolError {
    ToolError::Refused(chain(error))
}

/// A result as one JSON object.
fn answer(value: &impl serde::Serialize) -> Result<ToolOutput, ToolError> {
    let text =
        serde_json::to_string(value).map_err(|error| ToolError::failed("writing the result", error))?;
    Ok(ToolOutput::text(text))
}

/// The session was asked to stop while a tool waited.
fn stopped() -> ToolError {
    ToolError::Refused("the session was asked to stop, so the wait was given up".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_seconds_or_a_span() {
        #[derive(serde::Deserialize)]
        struct Given(#[serde(deserialize_with = "span")] Option<Duration>);
        let read = |text: &str| serde_json::from_str::<Given>(text).map(|given| given.0);
        for (text, millis) in [("1.5", 1_500), ("\"90\"", 90_000), ("\"15m\"", 900_000), ("0", 0)] {
            assert_eq!(read(text).unwrap(), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(read("null").unwrap(), None);
        for wrong in ["-1", "\"soon\"", "[]", "1e300"] {
            assert!(read(wrong).is_err_and(|error| error.to_string().contains("15m")), "{wrong}");
        }
    }
}
