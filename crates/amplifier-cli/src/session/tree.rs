//! `amplifier session tree`: who spawned whom.
//!
//! Guarantees: from the storage alone, so also of sessions of processes that are gone; every session is
//! shown, a damaged one with its fault.

use amplifier_foundation::Host;
use amplifier_foundation::storage::{self, Oddity, SessionQuery, TreeEntry};
use serde_json::{Value, json};

use super::list::{Status, as_json, status_of};
use crate::args::session::TreeArgs;
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::output;

/// A session at its place, and where it stands.
type Row = (TreeEntry, Status);

/// Shows the trees of the project, or that of one session.
pub(super) async fn tree(args: TreeArgs, context: &Context, host: Host) -> Result<Code, Failure> {
    let (host, id) = match &args.id {
        Some(text) => {
            let (host, summary) = super::find_anywhere(text, context, host).await?;
            (host, Some(summary.id))
        }
        None => (host, None),
    };
    let forest = storage::forest(host.storage().list(&SessionQuery::default()).await?);
    let (entries, left_out) = match &id {
        Some(id) => (below(forest, |entry| entry.summary.id == *id), 0),
        None => first(forest, args.limit),
    };
    let mut rows: Vec<Row> = Vec::with_capacity(entries.len());
    for entry in entries {
        let status = status_of(&entry.summary, context, &host).await?;
        rows.push((entry, status));
    }
    if left_out > 0 {
        output::say(&format!("notice: {left_out} more trees are not shown; -n shows more"));
    }
    if args.json {
        return match (id, nested(&rows)) {
            (Some(_), mut trees) => output::print_json(&trees.pop()),
            (None, trees) => output::print_json(&trees),
        };
    }
    if rows.is_empty() {
        output::say("there is no session here; begin one with `amplifier run \"…\"`");
        return Ok(Code::Success);
    }
    let cells: Vec<[String; 5]> = rows.iter().map(cells).collect();
    Ok(output::print(&output::table(["SESSION", "STATUS", "TURNS", "AGENT OR BUNDLE", "NAME"], &cells)))
}

/// A session and its descendants, as if it were a root.
fn below(forest: Vec<TreeEntry>, is_it: impl Fn(&TreeEntry) -> bool) -> Vec<TreeEntry> {
    let mut forest = forest.into_iter().skip_while(|entry| !is_it(entry));
    let Some(top) = forest.next() else { return Vec::new() };
    let depth = top.depth;
    let rest = forest.take_while(|entry| entry.depth > depth);
    let raised = |mut entry: TreeEntry| {
        entry.depth -= depth;
        entry
    };
    std::iter::once(top).chain(rest).map(raised).collect()
}

/// The first trees, and how many are left out.
fn first(forest: Vec<TreeEntry>, limit: usize) -> (Vec<TreeEntry>, usize) {
    let roots = forest.iter().filter(|entry| entry.depth == 0).count();
    let mut seen = 0;
    let within = |entry: &TreeEntry| {
        seen += usize::from(entry.depth == 0);
        seen <= limit
    };
    (forest.into_iter().take_while(within).collect(), roots.saturating_sub(limit))
}

fn cells((entry, status): &Row) -> [String; 5] {
    let TreeEntry { summary, depth, oddity, .. } = entry;
    let text = |text: Option<&String>| text.cloned().unwrap_or_default();
    let about = summary.broken.as_ref().or(summary.name.as_ref());
    let name = match (oddity.map(Oddity::as_str), about) {
        (Some(oddity), Some(about)) => format!("{oddity}: {about}"),
        (Some(oddity), None) => oddity.to_owned(),
        (None, about) => text(about),
    };
    [
        format!("{}{}", "  ".repeat(*depth), summary.id),
        status.to_string(),
        summary.turn_count.map_or_else(String::new, |turns| turns.to_string()),
        text(summary.agent_name.as_ref().or(summary.bundle.as_ref())),
        name,
    ]
}

/// Trees of objects, each with its `children`.
fn nested(rows: &[Row]) -> Vec<Value> {
    let mut open: Vec<(usize, Value)> = Vec::new();
    let mut roots = Vec::new();
    for (entry, status) in rows {
        close(&mut open, &mut roots, entry.depth);
        let mut object = as_json(&entry.summary, status);
        object["oddity"] = json!(entry.oddity.map(Oddity::as_str));
        object["children"] = json!([]);
        open.push((entry.depth, object));
    }
    close(&mut open, &mut roots, 0);
    roots
}

/// Puts what is open at this depth and below into what it hangs on.
fn close(open: &mut Vec<(usize, Value)>, roots: &mut Vec<Value>, depth: usize) {
    while open.last().is_some_and(|(last, _)| *last >= depth) {
        let Some((_, done)) = open.pop() else { return };
        let siblings = open.last_mut().and_then(|(_, parent)| parent["children"].as_array_mut());
        siblings.unwrap_or(roots).push(done);
    }
}
