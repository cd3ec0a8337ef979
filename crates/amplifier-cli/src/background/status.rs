//! `amplifier background status`: how background sessions stand, whoever runs them.
//!
//! Guarantees: a process that was killed runs nothing here.

use amplifier_background::control::{OwnerInfo, Standing, standings};
use amplifier_foundation::Host;
use amplifier_foundation::trigger::timer::rfc3339;
use serde_json::json;

use super::{declared, find};
use crate::args::background::{ListArgs, StatusArgs};
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::output::{self, plain};
use amplifier_app::standing::{listed, standing_json, state, table};

pub(super) async fn status(args: StatusArgs, context: &Context, host: &Host) -> Result<Code, Failure> {
    let mut declared = declared(args.of.bundle.as_deref(), context, host).await?;
    if let Some(name) = &args.name {
        let one = find(name, &declared)?.clone();
        declared.sessions = vec![one];
    }
    let read = standings(host, &declared.sessions).await;
    let (owner, standings) = read.map_err(|error| Failure::store(&error))?;
    match (&args.name, standings.first()) {
        (Some(_), Some(one)) if args.json => {
            let mut object = standing_json(one);
            object["owner"] = json!(owner);
            output::print_json(&object)
        }
        (Some(_), Some(one)) => Ok(output::print(&detail(owner.as_ref(), one))),
        _ if args.json => {
            let all: Vec<_> = standings.iter().map(standing_json).collect();
            output::print_json(&json!({ "owner": owner, "background_sessions": all }))
        }
        _ => {
            output::say(&match &owner {
                Some(owner) => format!("run by {owner}"),
                None => "not running: `amplifier background start` runs them".to_owned(),
            });
            if standings.is_empty() {
                output::say("no background session is declared");
                return Ok(Code::Success);
            }
            Ok(output::print(&table(owner.as_ref(), &standings)))
        }
    }
}

/// What is declared, and where.
pub(super) async fn list(args: ListArgs, context: &Context, host: &Host) -> Result<Code, Failure> {
    let declared = declared(args.of.bundle.as_deref(), context, host).await?;
    let read = standings(host, &declared.sessions).await;
    let (_, standings) = read.map_err(|error| Failure::store(&error))?;
    if args.json {
        return output::print_json(&standings.iter().map(standing_json).collect::<Vec<_>>());
    }
    if standings.is_empty() {
        output::say("no background session is declared; `amplifier background add` declares one");
        return Ok(Code::Success);
    }
    Ok(output::print(&listed(&standings, host.project())))
}

fn detail(owner: Option<&OwnerInfo>, one: &Standing) -> String {
    let mut lines = vec![
        format!("name       {}", one.name),
        format!("state      {}", state(owner, one)),
        format!("bundle     {}", one.bundle),
        format!("declared   {}", one.place),
    ];
    let mut line = |label: &str, text: String| lines.push(format!("{label:<10} {text}"));
    if let Some(owner) = owner {
        line("owner", owner.to_string());
    }
    if let Some(paused) = &one.paused {
        let by = paused.by.as_ref().map_or_else(String::new, |by| format!(" by {by}"));
        line("paused", format!("since {}{by}", rfc3339(paused.since)));
    }
    let counts = &one.counts;
    line("runs", format!("{} queued, {} running, {} given up", one.queued, one.sessions.len(), one.dead));
    line(
        "firings",
        format!(
            "{} triggered, {} runs, {} coalesced, {} skipped, {} rejected",
            counts.triggered,
            counts.rows(),
            counts.coalesced,
            counts.skipped,
            counts.rejected
        ),
    );
    for trigger in &one.triggers {
        let state = trigger.state.map_or("not listened to", |state| state.as_str());
        let next = trigger.next.map_or_else(String::new, |next| format!(", next {}", rfc3339(next)));
        let last = trigger.last_fired.map_or_else(String::new, |last| format!(", last {}", rfc3339(last)));
        let error = trigger.error.as_ref().map_or_else(String::new, |error| format!(", error: {error}"));
        line("trigger", format!("{} ({}): {state}{last}{next}{error}", trigger.key, trigger.what));
    }
    for session in &one.sessions {
        line("session", session.to_string());
    }
    if let Some(error) = &one.error {
        line("error", error.clone());
    }
    lines.iter().map(|line| format!("{}\n", plain(line))).collect()
}
