//! `amplifier event why`: what led to an event.

use amplifier_app::command::why::{why_json, why_text};
use amplifier_core::EventId;
use amplifier_foundation::Host;
use amplifier_foundation::router::Link;

use super::failure;
use crate::args::event::WhyArgs;
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::output;

/// Prints what led to an event.
pub(super) async fn why(args: WhyArgs, context: &Context) -> Result<Code, Failure> {
    let host = context.host().await?;
    let id = find(&args.id, &host).await?;
    let why = amplifier_background::why(host.router(), id).await.map_err(|error| failure(&error))?;
    if let [Link::Pruned(_)] = why.links.as_slice() {
        return Err(unknown(&args.id));
    }
    let lines = if args.json { why_json(&why, &host).await? } else { why_text(&why, &host).await };
    Ok(output::print(&lines))
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
