//! `spawn`: a session in the background, of an agent or a bundle, by name.
//!
//! Guarantees: a model names bundles, never paths or addresses; a bundle that it names is trusted no more
//! than one that the project's settings name.

use std::time::Duration;

use amplifier_core::module::provider::ToolSchema;
use amplifier_core::module::tool::{Tool, ToolContext, ToolError, ToolOutput, parse_arguments};
use amplifier_foundation::spawn::{AgentSummary, SELF, Spawner};
use amplifier_foundation::{SpawnError, SpawnRequest};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::delegate::refused;
use super::super::schema;
use super::settings::Settings;
use super::{answer, span};

/// Names that the schema lists, in bytes.
const MAX_NAMED_BYTES: usize = 1_000;

#[derive(Debug, Deserialize)]
struct Arguments {
    #[serde(alias = "prompt", alias = "task")]
    instruction: String,
    #[serde(default, alias = "agent_name")]
    agent: Option<String>,
    #[serde(default)]
    bundle: Option<String>,
    #[serde(default, deserialize_with = "span")]
    timeout: Option<Duration>,
}

/// The tool of one session.
#[derive(Debug)]
pub struct Spawn {
    schema: ToolSchema,
    bundles: Option<Vec<String>>,
}

impl Spawn {
    pub(super) fn new(settings: &Settings, agents: &[AgentSummary]) -> Self {
        let mut properties = json!({"instruction": {"type": "string"}});
        let names: Vec<&str> = agents.iter().map(|agent| agent.name.as_str()).collect();
        properties["agent"] = named(&names);
        if settings.bundles.as_ref().is_none_or(|bundles| !bundles.is_empty()) {
            let bundles = settings.bundles.as_deref().unwrap_or_default();
            properties["bundle"] = named(&bundles.iter().map(String::as_str).collect::<Vec<_>>());
        }
        properties["timeout"] = json!({"type": "number", "description": "Seconds that it may run"});
        let input = json!({"type": "object", "properties": properties, "required": ["instruction"]});
        let text = "Start a session of an agent or a bundle in the background; `wait` gives its answer";
        Self { schema: schema("spawn", text, input), bundles: settings.bundles.clone() }
    }

    fn request(&self, arguments: Arguments, spawner: &Spawner) -> Result<SpawnRequest, ToolError> {
        let text = match arguments.instruction.trim() {
            "" => {
                return Err(ToolError::Arguments("instruction is empty; say what is to be done".to_owned()));
            }
            text => text,
        };
        let request = match (&arguments.agent, &arguments.bundle) {
            (Some(agent), None) if agent == SELF => {
                return Err(ToolError::Refused(
                    "spawn starts no second `self`; name an agent or a bundle".to_owned(),
                ));
            }
            (Some(agent), None) => SpawnRequest::agent(spawner.session(), agent.as_str(), text),
            (None, Some(bundle)) => {
                self.check(bundle)?;
                SpawnRequest::new(bundle.as_str(), text).parent(spawner.session()).chosen_by_project(true)
            }
            _ => return Err(ToolError::Arguments("name an agent or a bundle, one of them".to_owned())),
        };
        let request = request.background(true);
        Ok(match arguments.timeout {
            Some(timeout) => request.timeout(timeout),
            None => request,
        })
    }

    fn check(&self, bundle: &str) -> Result<(), ToolError> {
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if bundle.is_empty() || bundle.starts_with('.') || !bundle.chars().all(word) {
            let text =
                format!("`{bundle}` is no bundle's name; paths and addresses cannot be spawned from here");
            return Err(ToolError::Refused(text));
        }
        match &self.bundles {
            Some(bundles) if !bundles.iter().any(|one| one == bundle) => {
                let text =
                    format!("bundle `{bundle}` may not be spawned here; there are: {}", bundles.join(", "));
                Err(ToolError::Refused(text))
            }
            _ => Ok(()),
        }
    }
}

/// A text, with the names that it may be as far as they fit.
fn named(names: &[&str]) -> Value {
    let bytes: usize = names.iter().map(|name| name.len() + 3).sum();
    match names {
        [] => json!({"type": "string"}),
        names if bytes <= MAX_NAMED_BYTES => json!({"type": "string", "enum": names}),
        names => json!({"type": "string", "description": format!("One of {} by name", names.len())}),
    }
}

#[async_trait]
impl Tool for Spawn {
    fn schema(&self) -> &ToolSchema {
        &self.schema
    }

    async fn call(&self, arguments: Value, cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        let arguments: Arguments = parse_arguments(&arguments)?;
        let spawner = cx.env.coordinator.capability::<Spawner>().ok_or(SpawnError::NoSpawner)?;
        let request = self.request(arguments, &spawner)?;
        let child = spawner.spawn(request).await.map_err(refused)?;
        answer(&json!({"status": "running", "session_id": child.id()}))
    }
}
