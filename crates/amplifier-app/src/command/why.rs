//! What led to an event: the chain of causes, the first cause first, one line each.
//!
//! Guarantees: every event, session, run and trigger of the chain has its line, also one of which little is
//! known any more; text of others moves no cursor.

use amplifier_background::firing_of;
use amplifier_background::trigger::{Cause, TriggerEvent};
use amplifier_core::TriggerId;
use amplifier_foundation::Host;
use amplifier_foundation::router::{CloudEvent, Link, Why};
use amplifier_foundation::storage::{self, ProjectScope};
use amplifier_foundation::store::{RunRow, SessionRow};
use serde_json::json;

use super::event as render;
use crate::exit::Failure;
use crate::terminal as output;

/// A chain for people, the first cause first, one line each.
pub async fn why_text(why: &Why, host: &Host) -> String {
    let mut lines = String::new();
    for link in why.links.iter().rev() {
        lines.push_str(&as_text(link, bundle(link, host).await));
    }
    lines
}

/// A chain for programs, the first cause first, one JSON object a line.
pub async fn why_json(why: &Why, host: &Host) -> Result<String, Failure> {
    let mut lines = String::new();
    for link in why.links.iter().rev() {
        lines.push_str(&as_json(link, bundle(link, host).await)?);
    }
    Ok(lines)
}

/// The name of a session's bundle, if its files tell.
async fn bundle(link: &Link, host: &Host) -> Option<String> {
    let Link::Session { id, .. } = link else { return None };
    let storage = host.storage().as_ref();
    let found = storage::resolve_prefix(storage, id.as_str(), ProjectScope::Current).await;
    found.ok().filter(|found| found.id == *id).and_then(|found| found.bundle)
}

fn as_text(link: &Link, bundle: Option<String>) -> String {
    match link {
        Link::Event(event) => format!("event    {}\n", render::text(event)),
        Link::Session { id, row } => {
            let status = row.as_deref().map_or("not known here", status);
            let bundle = bundle.map(|bundle| format!("  {}", output::plain(&bundle))).unwrap_or_default();
            let parent = row.as_ref().and_then(|row| row.parent.as_ref());
            let below = parent.map(|parent| format!("  below {parent}")).unwrap_or_default();
            format!("session  {id}{bundle}  {status}{below}\n")
        }
        Link::Run(run) => run_as_text(run),
        Link::Trigger { id, run } => trigger_as_text(id, firing_of(run).as_ref()),
        Link::Pruned(id) => format!("event    {id}  the log no longer holds it, nor what led to it\n"),
        _ => String::new(),
    }
}

fn run_as_text(run: &RunRow) -> String {
    let reason = run.reason.as_deref().map(|reason| format!("  {}", output::plain(reason)));
    let (state, reason) = (run.state.as_str(), reason.unwrap_or_default());
    format!("run      {}  {state}  attempt {}{reason}\n", run.id, run.attempt)
}

fn trigger_as_text(id: &TriggerId, firing: Option<&TriggerEvent>) -> String {
    let Some(firing) = firing else { return format!("trigger  {id}\n") };
    let by = match &firing.cause {
        Cause::Schedule => "by its schedule".to_owned(),
        Cause::Misfire => "by its schedule, made up for later".to_owned(),
        Cause::Start => "by the start of its owner".to_owned(),
        Cause::Manual => "by hand".to_owned(),
        Cause::Files => format!("by changes in {}", firing.source),
        Cause::Delivery { delivery: None } => "by a delivery".to_owned(),
        Cause::Delivery { delivery: Some(id) } => format!("by delivery {id}"),
        Cause::Event { event } => format!("by event {event}"),
        Cause::Since { event } => format!("by {}, ready since event {event}", firing.source),
        _ => format!("by {}", firing.source),
    };
    let time = match firing.cause {
        Cause::Schedule | Cause::Misfire => format!("due {}", render::time(firing.due)),
        _ => format!("fired {}", render::time(firing.fired)),
    };
    format!("trigger  {id}  {}  {time}  {}\n", firing.trigger, output::plain(&by))
}

fn status(row: &SessionRow) -> &'static str {
    row.settled.as_ref().map_or("running", |settled| settled.outcome.kind.as_str())
}

fn as_json(link: &Link, bundle: Option<String>) -> Result<String, Failure> {
    let line = match link {
        Link::Event(event) => {
            let event = CloudEvent::of(event).to_line().map_err(|error| Failure::work(&error))?;
            format!("{{\"kind\":\"event\",\"event\":{event}}}")
        }
        Link::Session { id, row } => {
            let row = row.as_deref();
            json!({
                "kind": "session", "session_id": id, "bundle": bundle,
                "parent_id": row.and_then(|row| row.parent.as_ref()), "status": row.map(status),
            })
            .to_string()
        }
        Link::Run(run) => json!({
            "kind": "run", "run_id": run.id, "queue": run.queue.as_str(), "state": run.state.as_str(),
            "attempt": run.attempt, "reason": run.reason, "session_id": run.session, "created": run.created,
        })
        .to_string(),
        Link::Trigger { id, run } => {
            let firing = firing_of(run);
            let firing = firing.as_ref();
            json!({
                "kind": "trigger", "trigger": id, "run_id": run.id,
                "trigger_id": firing.map(|firing| &firing.id), "type": firing.map(|firing| &firing.trigger),
                "source": firing.map(|firing| &firing.source), "cause": firing.map(|firing| &firing.cause),
                "due": firing.map(|firing| firing.due), "fired": firing.map(|firing| firing.fired),
            })
            .to_string()
        }
        Link::Pruned(id) => json!({"kind": "pruned", "id": id}).to_string(),
        _ => return Ok(String::new()),
    };
    Ok(format!("{line}\n"))
}
