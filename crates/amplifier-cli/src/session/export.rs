//! `amplifier session export`.
//!
//! Guarantees: JSON holds every message as it is stored; metadata goes out redacted, as it is on
//! disk.

use amplifier_app::terminal::bar::during;
use amplifier_core::{Message, Role};
use amplifier_foundation::Host;
use amplifier_foundation::storage::StoredSession;
use serde_json::json;

use crate::args::session::{ExportArgs, ExportFormat};
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::output;

/// Writes a session to stdout.
pub(super) async fn export(args: ExportArgs, context: &Context, host: Host) -> Result<Code, Failure> {
    let (host, summary) = super::find_anywhere(&args.id, context, host).await?;
    let id = summary.id;
    let reading = host.storage().load(&id);
    let stored = during("reading the session", host.clock().as_ref(), reading).await?;
    stored.warnings.iter().for_each(|warning| output::say(&format!("warning: {warning}")));
    match args.format {
        ExportFormat::Json => {
            let text = as_json(&stored).map_err(|error| Failure::work(&error))?;
            Ok(output::print(&text))
        }
        ExportFormat::Markdown => Ok(output::print(&as_markdown(id.as_str(), &stored))),
    }
}

/// Metadata and messages as they are stored.
pub(crate) fn as_json(stored: &StoredSession) -> Result<String, serde_json::Error> {
    let document = json!({ "metadata": stored.metadata, "transcript": stored.transcript });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

/// A conversation for people.
pub(crate) fn as_markdown(id: &str, stored: &StoredSession) -> String {
    let metadata = &stored.metadata;
    let mut text = format!("# {}\n\n", metadata.name.as_deref().unwrap_or(id));
    let created = metadata.created.map(|time| time.to_string());
    let facts = [
        ("session", Some(id.to_owned())),
        ("bundle", metadata.bundle.clone()),
        ("model", metadata.model.clone()),
        ("created", created),
    ];
    for (key, value) in facts {
        if let Some(value) = value {
            text.push_str(&format!("- {key}: {value}\n"));
        }
    }
    for message in &stored.transcript {
        text.push('\n');
        text.push_str(&section(message));
    }
    text
}

fn section(message: &Message) -> String {
    let heading = match message.role {
        Role::User => "User".to_owned(),
        Role::Assistant => "Assistant".to_owned(),
        Role::Tool => format!("Tool: {}", message.name.as_deref().unwrap_or("?")),
        _ => "System".to_owned(),
    };
    let mut text = format!("## {heading}\n\n");
    let body = message.text();
    match (message.role, body.trim_end()) {
        (_, "") => {}
        (Role::Tool, body) => text.push_str(&fenced("", body)),
        (_, body) => text.push_str(&format!("{body}\n")),
    }
    for call in &message.tool_calls {
        let arguments = serde_json::to_string_pretty(&call.arguments).unwrap_or_default();
        text.push_str(&format!("\nCalls `{}`:\n\n{}", call.name, fenced("json", &arguments)));
    }
    text
}

/// A block whose fence is longer than any inside it.
fn fenced(language: &str, body: &str) -> String {
    let longest = body.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{body}\n{fence}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_longer_than_what_it_holds() {
        assert_eq!(fenced("", "a"), "```\na\n```\n");
        assert_eq!(fenced("md", "```\nx\n```"), "````md\n```\nx\n```\n````\n");
    }
}
