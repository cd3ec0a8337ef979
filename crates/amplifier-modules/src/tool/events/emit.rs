//! `emit_event`: tells every session and program of the project that something happened.

use std::sync::Arc;

use amplifier_core::causes::chain;
use amplifier_core::env::EmitError;
use amplifier_core::module::provider::ToolSchema;
use amplifier_core::module::tool::{Tool, ToolContext, ToolError, ToolOutput, parse_arguments};
use amplifier_core::{CustomName, NewEvent};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::schema;
use super::settings::Settings;
use super::{Heard, answer};

#[derive(Debug, Deserialize)]
struct Arguments {
    #[serde(alias = "event", alias = "event_name")]
    name: String,
    #[serde(default, alias = "payload")]
    data: Value,
}

/// The tool of one session.
#[derive(Debug)]
pub struct EmitEvent {
    schema: ToolSchema,
    settings: Arc<Settings>,
    heard: Arc<Heard>,
}

impl EmitEvent {
    pub(super) fn new(settings: Arc<Settings>, heard: Arc<Heard>) -> Self {
        let input = json!({
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "Such as draft:ready; a-z, 0-9, and . : _ - between"},
                "data": {"type": "object"},
            },
            "required": ["name"],
        });
        let text =
            "Tell all sessions of this project that something happened. Recorded; waiting sessions get it";
        Self { schema: schema("emit_event", text, input), settings, heard }
    }
}

#[async_trait]
impl Tool for EmitEvent {
    fn schema(&self) -> &ToolSchema {
        &self.schema
    }

    async fn call(&self, arguments: Value, cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        let Arguments { name, data } = parse_arguments(&arguments)?;
        let name = CustomName::new(&name).map_err(|error| ToolError::Refused(error.to_string()))?;
        if !self.settings.may_emit(&name) {
            return Err(ToolError::Refused(format!("this bundle does not let its sessions emit `{name}`")));
        }
        let event = NewEvent::custom(name.clone(), data).caused_by(self.heard.last());
        let id = cx.env.events.emit(event).await.map_err(refused)?;
        answer(&json!({"status": "emitted", "event": name.as_str(), "id": id}))
    }
}

fn refused(error: EmitError) -> ToolError {
    match error {
        EmitError::Store(_) | EmitError::InDoubt(_) => ToolError::failed("emitting the event", error),
        other => ToolError::Refused(chain(&other)),
    }
}
