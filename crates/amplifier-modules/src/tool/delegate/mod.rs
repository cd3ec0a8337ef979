//! `tool-delegate`: the model gives a task to an agent in a session of its own.
//!
//! Guarantees: every child starts through `spawn_bundle`, with the session's limits, budget and
//! permissions; a model goes on with sessions below its own only. A spawn that is refused, and a child
//! that did not complete, are results that the model can act on.
//! Never here: what a child may do, inherits or costs; that is the spawn's.

mod answer;
mod arguments;
mod description;
mod settings;

use std::sync::Arc;

use amplifier_core::ModuleSpec;
use amplifier_core::limits::LimitKind;
use amplifier_core::module::provider::ToolSchema;
use amplifier_core::module::tool::{Tool, ToolContext, ToolError, ToolOutput};
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, Mount, MountError};
use amplifier_foundation::spawn::{Inherit, SELF, Spawner};
use amplifier_foundation::storage::StorageError;
use amplifier_foundation::{SpawnError, SpawnRequest, SpawnResult};
use async_trait::async_trait;
use serde_json::Value;

use answer::Answer;
use arguments::{Arguments, Whom};
use settings::{CONFIG_KEYS, Settings};

const ID: &str = "tool-delegate";

/// The module.
#[derive(Debug, Clone, Copy, Default)]
pub struct ToolDelegate;

#[async_trait]
impl Module for ToolDelegate {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: ID,
            aliases: &["tool-task"],
            kind: ModuleKind::Tool,
            summary: "gives a task to an agent in a session of its own",
            config_keys: CONFIG_KEYS,
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        let settings = Settings::parse(spec)?;
        let spawner = mount.env().coordinator.capability::<Spawner>();
        let agents = spawner.map(|spawner| spawner.agents()).unwrap_or_default();
        let schema = description::of(&settings, &agents);
        mount.tool(Arc::new(Delegate { schema, settings }));
        Ok(())
    }
}

/// The tool of one session.
#[derive(Debug)]
pub struct Delegate {
    schema: ToolSchema,
    settings: Settings,
}

#[async_trait]
impl Tool for Delegate {
    fn schema(&self) -> &ToolSchema {
        &self.schema
    }

    async fn call(&self, arguments: Value, cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        let arguments = Arguments::parse(&arguments)?;
        let spawner = cx.env.coordinator.capability::<Spawner>().ok_or(SpawnError::NoSpawner)?;
        let whom = arguments.whom(&self.settings)?;
        let request = self.request(&whom, &arguments, &spawner)?;
        let child = spawner.spawn(request).await.map_err(refused)?;
        let agent = match &whom {
            Whom::Agent(name) => Some(name.clone()),
            Whom::Session(_) => agent_of(&spawner, &child),
        };
        let note = arguments.note(&self.settings, |roles| spawner.preferences_of(roles).is_some());
        self.answer(&child, agent.as_deref(), &arguments, note).await
    }
}

impl Delegate {
    fn request(
        &self,
        whom: &Whom,
        arguments: &Arguments,
        spawner: &Spawner,
    ) -> Result<SpawnRequest, ToolError> {
        let (settings, text) = (&self.settings, arguments.instruction.as_str());
        let request = match whom {
            // As it once began: what it inherits and was told is recorded.
            Whom::Session(id) => SpawnRequest::resume(id.clone(), text),
            Whom::Agent(name) => {
                self.check_self(name, spawner.self_depth())?;
                let inherit = Inherit::default()
                    .exclude_tools(&settings.exclude_tools)
                    .exclude_hooks(&settings.exclude_hooks);
                SpawnRequest::agent(spawner.session(), name.as_str(), text)
                    .inherit(inherit)
                    .context(arguments.context(settings))
                    .provider_preferences(
                        arguments.preferences(settings, |roles| spawner.preferences_of(roles)),
                    )
            }
        };
        let request = request.background(arguments.background());
        Ok(match settings.timeout {
            Some(timeout) => request.timeout(timeout),
            None => request,
        })
    }

    /// `before`: times that an agent has delegated to itself above.
    fn check_self(&self, name: &str, before: u32) -> Result<(), ToolError> {
        let Settings { to_self, max_self_depth, .. } = self.settings;
        match name {
            SELF if !to_self => {
                Err(ToolError::Refused("delegating to `self` is switched off here; name an agent".to_owned()))
            }
            SELF if before >= max_self_depth => Err(ToolError::Refused(format!(
                "SELF_DELEGATION_DEPTH_EXCEEDED: `self` has delegated to itself {before} times, and may \
                 {max_self_depth} times; name another agent, or do the task yourself"
            ))),
            _ => Ok(()),
        }
    }

    async fn answer(
        &self,
        child: &SpawnResult,
        agent: Option<&str>,
        arguments: &Arguments,
        note: Option<&str>,
    ) -> Result<ToolOutput, ToolError> {
        if arguments.background() {
            return Answer::running(child.id(), agent, note).output();
        }
        let outcome = child.outcome().await;
        Answer::ended(child.id(), agent, &outcome, child.session().model(), note).output()
    }
}

/// The agent that a session runs which was opened again.
fn agent_of(spawner: &Spawner, child: &SpawnResult) -> Option<String> {
    let mut known = spawner.descendants().into_iter().rev();
    known.find(|one| one.id == *child.id()).and_then(|one| one.agent)
}

/// Why there is no child, and what the model can do now.
pub(super) fn refused(error: SpawnError) -> ToolError {
    let advice = match &error {
        SpawnError::Limit(limit) if limit.limit == LimitKind::Concurrent => {
            "; ask again when one that runs has ended"
        }
        SpawnError::Limit(_) | SpawnError::Budget(_) => "; do the task yourself, or say what is left to do",
        SpawnError::Storage(StorageError::Locked { .. }) => "; it still runs",
        _ => "",
    };
    ToolError::Refused(format!("{}{advice}", ToolError::from(error)))
}
