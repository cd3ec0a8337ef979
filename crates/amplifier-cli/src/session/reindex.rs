//! `amplifier session reindex`.
//!
//! Guarantees: files are read and not changed; what was done is told, damaged sessions with their faults.

use amplifier_app::terminal::bar::during;
use amplifier_foundation::Host;
use serde_json::json;

use crate::args::session::ReindexArgs;
use crate::exit::{Code, Failure};
use crate::output;

/// Makes the rows anew; exit code 1 if a session cannot be read.
pub(super) async fn reindex(args: ReindexArgs, host: &Host) -> Result<Code, Failure> {
    let sessions = host.project_sessions();
    let done = during("reading sessions", host.clock().as_ref(), sessions.reindex()).await?;
    let damaged = if done.damaged.is_empty() { Code::Success } else { Code::Failed };
    if args.json {
        let added: Vec<_> =
            done.added.iter().map(|(id, kind)| json!({"session_id": id, "outcome": kind})).collect();
        let faults: Vec<_> =
            done.damaged.iter().map(|(id, fault)| json!({"session_id": id, "damage": fault})).collect();
        output::print_json(&json!({
            "added": added,
            "unchanged": done.unchanged,
            "running": done.running,
            "without_outcome": done.without_outcome,
            "damaged": faults,
        }))?;
        return Ok(damaged);
    }
    let mut text: String = done.added.iter().map(|(id, kind)| format!("{id}  {}\n", kind.as_str())).collect();
    text.push_str(&format!(
        "{} added, {} unchanged, {} running, {} without an outcome, {} damaged\n",
        done.added.len(),
        done.unchanged,
        done.running,
        done.without_outcome,
        done.damaged.len()
    ));
    for (id, fault) in &done.damaged {
        output::say(&format!("error: session {id} cannot be read: {}", output::plain(fault)));
    }
    output::print(&text);
    Ok(damaged)
}
