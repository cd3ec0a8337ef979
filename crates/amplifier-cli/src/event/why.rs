//! `amplifier event why`: the chain of causes, the first cause first, one line each.

use amplifier_core::EventId;
use amplifier_foundation::Host;
use amplifier_foundation::router::{CloudEvent, Link, Why};
use amplifier_foundation::storage::{self, ProjectScope};
use amplifier_foundation::store::SessionRow;
use serde_json::json;

use super::{failure, render};
use crate::args::event::WhyArgs;
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::output;

/// Prints what led to an event.
pub(super) async fn why(args: WhyArgs, context: &Context) -> Result<Code, Failure> {
    let host = context.host().await?;
    let id = find(&args.id, &host).await?;
    let why = host.router().why(id).await.map_err(|error| failure(&error))?;
    if let [Link::Pruned(_)] = why.links.as_slice() {
        return Err(unknown(&args.id));
    }
    let lines = if args.json { why_json(&why, &host).await? } else { why_text(&why, &host).await };
    Ok(output::print(&lines))
}

/// A chain for people, the first cause first, one line each.
pub(crate) async fn why_text(why: &Why, host: &Host) -> String {
    let mut lines = String::new();
    for link in why.links.iter().rev() {
        lines.push_str(&as_text(link, bundle(link, host).await));
    }
    lines
}

/// A chain for programs, the first cause first, one JSON object a line.
pub(crate) async fn why_json(why: &Why, host: &Host) -> Result<String, Failure> {
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

/// The event that an id or a sequence names.
async fn find(text: &str, host: &Host) -> Result<EventId, Failure> {
    if let Ok(sequence) = text.parse::<u64>() {
        let place = host.router().place(sequence).await.map_err(|error| failure(&error))?;
        let page = host.store().events(place, 1).await.map_err(|error| failure(&error.into()))?;
        return page.events.first().map(|event| event.id).ok_or_else(|| unknown(text));
    }
    text.parse().map_err(|_| {
        Failure::usage(format!("`{text}` is no event's id, nor its place in the log"))
            .help("`amplifier event replay` shows places, with --json ids too")
    })
}

fn unknown(text: &str) -> Failure {
    Failure { kind: "event", ..Failure::usage(format!("the log holds no event {text}")) }
        .help("it may have been pruned, or belong to another project")
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
        Link::Pruned(id) => format!("event    {id}  the log no longer holds it, nor what led to it\n"),
        _ => String::new(),
    }
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
        Link::Pruned(id) => json!({"kind": "pruned", "id": id}).to_string(),
        _ => return Ok(String::new()),
    };
    Ok(format!("{line}\n"))
}
