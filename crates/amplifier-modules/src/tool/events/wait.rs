//! `wait`: for sessions that this one has spawned.
//!
//! Guarantees: sessions below this one alone; an outcome that was given counts as seen. The answers
//! together are bounded; the whole of each is in its session.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::causes::chain;
use amplifier_core::module::provider::ToolSchema;
use amplifier_core::module::tool::{Tool, ToolContext, ToolError, ToolOutput, parse_arguments};
use amplifier_core::until::until;
use amplifier_core::{SessionId, SessionOutcome};
use amplifier_foundation::SpawnError;
use amplifier_foundation::host::ReachError;
use amplifier_foundation::spawn::Spawner;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::schema;
use super::settings::Settings;
use super::{answer, span, stopped};

/// Longest answer of one session, in bytes.
const MAX_RESPONSE_BYTES: usize = 16 * 1024;
/// Longest answers of all together, in bytes.
const MAX_TOTAL_BYTES: usize = 128 * 1024;
/// Sessions that one call waits for.
const MAX_SESSIONS: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Until {
    #[default]
    All,
    Any,
}

#[derive(Debug, Deserialize)]
struct Arguments {
    #[serde(default, alias = "ids", alias = "sessions")]
    session_ids: Vec<String>,
    #[serde(default, alias = "id")]
    session_id: Option<String>,
    #[serde(default, alias = "mode")]
    until: Until,
    #[serde(default, deserialize_with = "span")]
    timeout: Option<Duration>,
}

/// A session as the model is told of it.
#[derive(Debug, Serialize)]
struct Told {
    session_id: SessionId,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The tool of one session.
#[derive(Debug)]
pub struct Wait {
    schema: ToolSchema,
    settings: Arc<Settings>,
}

impl Wait {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        let input = json!({
            "type": "object",
            "properties": {
                "session_ids": {"type": "array", "items": {"type": "string"}, "description": "All that you spawned and have not waited for"},
                "until": {"type": "string", "enum": ["all", "any"]},
                "timeout": {"type": "number", "description": "Seconds, 300"},
            },
        });
        let text = "Wait until sessions that you spawned have ended; you get their answers. Those that still run go on";
        Self { schema: schema("wait", text, input), settings }
    }
}

#[async_trait]
impl Tool for Wait {
    fn schema(&self) -> &ToolSchema {
        &self.schema
    }

    async fn call(&self, arguments: Value, cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        let arguments: Arguments = parse_arguments(&arguments)?;
        let spawner = cx.env.coordinator.capability::<Spawner>().ok_or(SpawnError::NoSpawner)?;
        let (within, how) = (self.settings.wait(arguments.timeout), arguments.until);
        let ids = whom(arguments, &spawner)?;
        if ids.is_empty() {
            return answer(&json!({"status": "nothing_to_wait_for", "sessions": []}));
        }
        let waiting = async {
            match how {
                Until::All => spawner.wait_all(&ids, within).await,
                Until::Any => {
                    let first = spawner.wait_any(&ids, within).await?;
                    let outcome = |id: &SessionId| first.as_ref().filter(|(ended, _)| ended == id);
                    let outcome = |id: &SessionId| outcome(id).map(|(_, outcome)| Arc::clone(outcome));
                    Ok(ids.iter().map(|id| (id.clone(), outcome(id))).collect())
                }
            }
        };
        let ended: Result<Vec<_>, ReachError> =
            until(waiting, cx.cancel.cancelled()).await.ok_or_else(stopped)?;
        let ended = ended.map_err(|error| ToolError::Refused(chain(&error)))?;
        let mut there = ended.iter().map(|(_, outcome)| outcome.is_some());
        let enough = match how {
            Until::All => there.all(|there| there),
            Until::Any => there.any(|there| there),
        };
        let bytes = MAX_RESPONSE_BYTES.min(MAX_TOTAL_BYTES / ended.len().max(1));
        let sessions: Vec<Told> =
            ended.into_iter().map(|(id, outcome)| tell(id, outcome.as_deref(), bytes)).collect();
        let status = if enough { "ended" } else { "timed_out" };
        answer(&json!({"status": status, "sessions": sessions}))
    }
}

/// Those that were named; else the children in the background that nobody was told the end of.
fn whom(arguments: Arguments, spawner: &Spawner) -> Result<Vec<SessionId>, ToolError> {
    let mut ids = Vec::new();
    for text in arguments.session_ids.iter().chain(&arguments.session_id) {
        let id = SessionId::new(text).map_err(|error| ToolError::Refused(error.to_string()))?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    if ids.is_empty() {
        let all = spawner.descendants().into_iter();
        let open =
            all.filter(|child| child.parent == *spawner.session() && child.background && !child.awaited);
        ids.extend(open.map(|child| child.id));
    }
    match ids.len() {
        ..=MAX_SESSIONS => Ok(ids),
        many => {
            Err(ToolError::Arguments(format!("{many} sessions are too many; name at most {MAX_SESSIONS}")))
        }
    }
}

fn tell(session_id: SessionId, outcome: Option<&SessionOutcome>, bytes: usize) -> Told {
    let Some(outcome) = outcome else {
        return Told { session_id, status: "running", response: None, response_bytes: None, error: None };
    };
    let whole = outcome.output.as_str();
    let cut = whole.floor_char_boundary(bytes);
    Told {
        session_id,
        status: if outcome.is_completed() { "success" } else { outcome.kind.as_str() },
        response: Some(whole[..cut].to_owned()),
        response_bytes: (cut < whole.len()).then_some(whole.len()),
        error: outcome.error.as_ref().map(|error| error.message.clone()),
    }
}
