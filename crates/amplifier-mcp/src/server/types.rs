//! Arguments and results of the server's tools. Their schemas are made of these types.
//!
//! Guarantees: what is written above a field, clients and models read; a result has the same keys in every case.

use amplifier_core::{SessionId, SessionOutcome};
use amplifier_foundation::{JsonSchema, schemars};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Longest answer in a result, in bytes; the whole of it is in the session.
const MAX_RESPONSE: usize = 256 * 1024;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SpawnArgs {
    /// What the session is to do
    #[serde(alias = "prompt")]
    pub(super) instruction: String,
    #[serde(flatten)]
    pub(super) options: Options,
    /// Seconds to wait for its answer, 300 at most; 0 comes back at once
    #[serde(default)]
    pub(super) wait: f64,
}

/// What a new session is made of.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Options {
    /// A bundle by name, path or URI; the project's active one by default
    pub(super) bundle: Option<String>,
    /// The provider, by the name that the bundle or settings give it
    pub(super) provider: Option<String>,
    /// The model
    pub(super) model: Option<String>,
    /// A name for people
    pub(super) name: Option<String>,
    /// The directory in which it works; the server's by default
    pub(super) cwd: Option<String>,
    /// default, plan, acceptEdits or dontAsk; nobody can be asked in any of them
    pub(super) permission_mode: Option<String>,
    /// Most model calls
    pub(super) max_turns: Option<u32>,
    /// Most that it may cost, in US dollars
    pub(super) max_budget_usd: Option<f64>,
    /// Seconds that it may run
    pub(super) timeout: Option<f64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct PromptArgs {
    /// What is asked
    pub(super) prompt: String,
    #[serde(flatten)]
    pub(super) options: Options,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ReplyArgs {
    /// The session that goes on, by its id or the beginning of it
    #[serde(alias = "threadId", alias = "conversationId")]
    pub(super) session_id: String,
    /// What is asked next
    pub(super) prompt: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct SendArgs {
    /// The session, by its id or the beginning of it
    pub(super) session_id: String,
    /// What it is told; a session that still works is told when it has ended its present work
    pub(super) message: String,
    /// Seconds to wait until it can be told, 300 at most
    #[serde(default = "a_minute")]
    pub(super) timeout: f64,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct WaitArgs {
    /// The sessions, by their ids or the beginnings of them
    #[serde(default)]
    pub(super) session_ids: Vec<String>,
    /// One session, where it is one
    #[serde(default)]
    pub(super) session_id: Option<String>,
    /// Seconds to wait, 300 at most
    #[serde(default = "a_minute")]
    pub(super) timeout: f64,
    /// True: until the first of them has ended
    #[serde(default)]
    pub(super) any: bool,
}

pub(super) fn a_minute() -> f64 {
    60.0
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ListArgs {
    /// Those that run now alone
    #[serde(default)]
    pub(super) running: bool,
    /// At most this many, the latest first; 20 by default
    #[serde(default)]
    pub(super) limit: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct StatusArgs {
    /// The session, by its id or the beginning of it
    pub(super) session_id: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct CancelArgs {
    /// The session, by its id or the beginning of it
    pub(super) session_id: String,
    /// True: at once. Else its running tools finish first
    #[serde(default)]
    pub(super) now: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct EmitArgs {
    /// The event's name, such as work:done
    pub(super) name: String,
    /// Its data
    #[serde(default)]
    pub(super) data: Map<String, Value>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct EventArgs {
    /// Names and patterns with commas between, then words source=SESSION, tree=SESSION, data.FIELD=VALUE
    #[serde(alias = "event")]
    pub(super) filter: String,
    /// Seconds to wait, 300 at most
    #[serde(default = "a_minute")]
    pub(super) timeout: f64,
    /// The cursor of an earlier result, so that nothing in between is missed
    #[serde(default)]
    pub(super) after: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct FireArgs {
    /// The background session that is fired
    pub(super) name: String,
    /// Data for its instruction
    #[serde(default)]
    pub(super) data: Map<String, Value>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct IssueArgs {
    /// What it is about, in one line
    pub(super) title: String,
    /// What is to be done
    #[serde(default, alias = "body")]
    pub(super) description: String,
    /// task, feature, bug, epic, chore, or a type of the project's own
    #[serde(default, rename = "type", alias = "issue_type")]
    pub(super) kind: Option<String>,
    /// 0 is first, 4 last; 2 by default
    #[serde(default)]
    pub(super) priority: Option<u64>,
    /// Issues that must be done before
    #[serde(default)]
    pub(super) depends_on: Vec<String>,
    /// The bundle of its worker
    #[serde(default)]
    pub(super) bundle: Option<String>,
}

/// Where a session stands.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Told {
    pub(super) session_id: String,
    /// running, completed, or how else it has ended; left where another program has left it without a word
    pub(super) status: String,
    pub(super) is_error: bool,
    /// Its answer
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) num_turns: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) duration_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) total_cost_usd: Option<f64>,
    /// What to do next
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,
}

impl Told {
    /// A session that has this status and no outcome.
    pub(super) fn without(id: &SessionId, status: &str) -> Self {
        let hint = (status == "running").then(|| "it goes on; call wait for its answer".to_owned());
        Self {
            session_id: id.to_string(),
            status: status.to_owned(),
            is_error: false,
            response: None,
            error: None,
            num_turns: None,
            duration_ms: None,
            total_cost_usd: None,
            hint,
        }
    }

    /// A session as it stands: with its outcome, or running.
    pub(super) fn of(id: &SessionId, outcome: Option<&SessionOutcome>) -> Self {
        let Some(outcome) = outcome else { return Self::without(id, "running") };
        let whole = outcome.output.as_str();
        let cut = whole.floor_char_boundary(MAX_RESPONSE);
        let hint = (cut < whole.len())
            .then(|| format!("the answer has {} bytes; its end is left out here", whole.len()));
        Self {
            is_error: !outcome.is_completed(),
            response: Some(whole[..cut].to_owned()),
            error: outcome.error.as_ref().map(|error| error.message.clone()),
            num_turns: Some(outcome.turns),
            duration_ms: Some(outcome.duration_ms),
            total_cost_usd: outcome.cost_micro_usd.map(|micro| micro as f64 / 1e6),
            hint,
            ..Self::without(id, outcome.kind.as_str())
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Waited {
    /// ended, or running if the time was up before
    pub(super) status: String,
    pub(super) sessions: Vec<Told>,
}

/// A session in a list.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Listed {
    pub(super) session_id: String,
    pub(super) status: String,
    pub(super) name: Option<String>,
    pub(super) bundle: Option<String>,
    pub(super) model: Option<String>,
    pub(super) cwd: Option<String>,
    pub(super) created: Option<String>,
    pub(super) turns: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct List {
    pub(super) sessions: Vec<Listed>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Status {
    #[serde(flatten)]
    pub(super) session: Listed,
    /// How it has ended; missing while it runs
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outcome: Option<Told>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Asked {
    pub(super) session_id: String,
    /// What was asked of it; wait tells when it has stopped
    pub(super) asked: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Emitted {
    /// The event's id; it is recorded
    pub(super) event_id: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Heard {
    /// event, or timed_out
    pub(super) status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) event: Option<EventTold>,
    /// Give it as after in the next call
    pub(super) cursor: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EventTold {
    pub(super) name: String,
    pub(super) session_id: Option<String>,
    pub(super) time: String,
    pub(super) data: Value,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Fired {
    pub(super) run_id: String,
    /// False: no process runs the background sessions, so the run waits for one
    pub(super) owned: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct IssueAdded {
    pub(super) issue_id: String,
    pub(super) status: String,
}
