//! `amplifier session wait` and `cancel`: sessions of whatever process.
//!
//! Guarantees: the exit code of a wait is that of the outcome, of several the one that counts most, or 124
//! when the time is up. A cancel is on record when it returns.

use std::sync::Arc;
use std::time::Duration;

use amplifier_app::terminal::bar::during;
use amplifier_core::{CancelLevel, SessionId, SessionOutcome};
use amplifier_foundation::Host;
use amplifier_foundation::settings::duration;
use serde_json::{Value, json};

use crate::args::session::{CancelArgs, WaitArgs};
use crate::context::Context;
use crate::exit::{Code, Failure, code_of_other, worst};
use crate::output;

/// Longer than anybody waits.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

/// Waits for sessions.
pub(super) async fn wait(args: WaitArgs, context: &Context, host: Host) -> Result<Code, Failure> {
    let mut host = host;
    let mut ids: Vec<SessionId> = Vec::with_capacity(args.ids.len());
    for (number, text) in args.ids.iter().enumerate() {
        // The first one names the project.
        let id = match number {
            0 => {
                let (found, summary) = super::find_anywhere(text, context, host).await?;
                host = found;
                summary.id
            }
            _ => super::find(text, &host).await?,
        };
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let within = args.timeout.map_or(FOR_EVER, |timeout| timeout.0);
    let sessions = host.project_sessions();
    let ended = match args.any {
        true => sessions
            .wait_any(&ids, within)
            .await?
            .map(|(id, outcome)| (id, Some(outcome)))
            .into_iter()
            .collect(),
        false => {
            let waiting = sessions.wait_all(&ids, within);
            during("waiting for sessions", host.clock().as_ref(), waiting).await?
        }
    };
    let late = ended.is_empty() || ended.iter().any(|(_, outcome)| outcome.is_none());
    let printed = match args.json {
        true => output::print_json(
            &ended.iter().map(|(id, outcome)| as_json(id, outcome.as_ref())).collect::<Vec<_>>(),
        )?,
        false => output::print(&text(&ended)),
    };
    if late {
        let within = duration::format(within);
        let what =
            if ids.len() == 1 { "the session still runs" } else { "not all of the sessions have ended" };
        output::say(&format!("error: {what} after {within} (--timeout)"));
    }
    let codes = ended.iter().filter_map(|(_, outcome)| outcome.as_deref()).map(code_of_other);
    Ok(if late { Code::TimedOut } else { worst(codes.chain([printed])) })
}

fn text(ended: &[(SessionId, Option<Arc<SessionOutcome>>)]) -> String {
    let line = |(id, outcome): &(SessionId, Option<Arc<SessionOutcome>>)| {
        let kind = outcome.as_ref().map_or("running", |outcome| outcome.kind.as_str());
        format!("{id}  {kind}\n")
    };
    ended.iter().map(line).collect()
}

/// How a session ended, for programs.
pub(super) fn as_json(id: &SessionId, outcome: Option<&Arc<SessionOutcome>>) -> Value {
    let Some(outcome) = outcome else { return json!({ "session_id": id, "outcome": "running" }) };
    let error = outcome.error.as_ref();
    json!({
        "session_id": id,
        "outcome": outcome.kind,
        "is_error": code_of_other(outcome) != Code::Success,
        "result": outcome.output,
        "num_turns": outcome.turns,
        "duration_ms": outcome.duration_ms,
        "total_cost_usd": output::cost(outcome.cost_micro_usd),
        "usage": outcome.usage,
        "error": error.map(|error| &error.message),
        "error_type": error.map(|error| error.kind),
    })
}

/// Asks a session to stop.
pub(super) async fn cancel(args: CancelArgs, context: &Context, host: Host) -> Result<Code, Failure> {
    let (host, summary) = super::find_anywhere(&args.id, context, host).await?;
    let id = summary.id;
    let level = if args.now { CancelLevel::Immediate } else { CancelLevel::Graceful };
    host.project_sessions().cancel(&id, level).await?;
    if args.json {
        return output::print_json(&json!({ "session_id": id, "asked": level }));
    }
    output::say(&format!("session {id} was asked to stop; `amplifier session wait {id}` tells when it has"));
    Ok(Code::Success)
}
