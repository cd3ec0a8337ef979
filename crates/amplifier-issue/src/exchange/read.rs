//! Files of issues become what a queue can open.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use amplifier_bundle::bundle::{Code, Diagnostic, Severity};
use amplifier_core::{IssueId, SessionId, Timestamp};
use amplifier_fs::read::{self, Kind};
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::time;
use crate::list::{self, Draft, IssuesError, MAX_FILE_BYTES, Notes};
use crate::queue::{Details, ForeignEvent, Link, LinkKind, NewIssue};

const ISSUES: &str = "issues.jsonl";
const DEPENDENCIES: &str = "dependencies.jsonl";
const EVENTS: &str = "events.jsonl";

/// Issues out of files, for [`IssueQueue::open_many`](crate::IssueQueue::open_many).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Import {
    /// The issues, in the order of the file.
    pub issues: Vec<NewIssue>,
    /// What was noticed and did not hinder.
    pub warnings: Vec<Diagnostic>,
}

#[derive(Debug, Deserialize)]
struct DependencyLine {
    from_id: IssueId,
    to_id: IssueId,
    #[serde(default)]
    dep_type: Option<String>,
}

#[derive(Debug, Deserialize)]
struct EventLine {
    issue_id: IssueId,
    event_type: String,
    #[serde(default)]
    actor: Option<String>,
    #[serde(default)]
    timestamp: Option<String>,
    #[serde(default)]
    session_id: Option<String>,
    #[serde(default)]
    changes: Option<Value>,
}

impl Import {
    /// Reads a folder as the reference's issue manager keeps it, or a file of issues. Beside a file named
    /// `issues.jsonl` its dependencies and events are read too. Each file has at most 16 MiB.
    pub fn read(path: &Path) -> Result<Self, IssuesError> {
        let file = if read::kind(path) == Kind::Directory { path.join(ISSUES) } else { path.to_owned() };
        let (issues, _) = read::text(&file, MAX_FILE_BYTES)?;
        let beside = |name: &str| -> Result<Option<(String, PathBuf)>, IssuesError> {
            let other = file.with_file_name(name);
            let is_there =
                file.file_name().is_some_and(|file| file == ISSUES) && read::kind(&other) == Kind::File;
            if !is_there {
                return Ok(None);
            }
            Ok(Some((read::text(&other, MAX_FILE_BYTES)?.0, other)))
        };
        Self::parse((issues, file.clone()), beside(DEPENDENCIES)?, beside(EVENTS)?)
    }

    /// As [`Import::read`], of texts that were read already, each with the path that faults name.
    pub fn parse(
        issues: (String, PathBuf),
        dependencies: Option<(String, PathBuf)>,
        events: Option<(String, PathBuf)>,
    ) -> Result<Self, IssuesError> {
        let zone = TimeZone::system();
        let mut notes = Notes::new(&issues.1);
        let drafts = list::drafts(&issues.0, &mut notes);
        list::same_ids(&drafts, &mut notes);
        let mut read = Vec::with_capacity(drafts.len());
        for draft in drafts {
            read.extend(issue(draft, &zone, &mut notes));
        }
        let mut diagnostics = notes.finish();
        let places: HashMap<IssueId, usize> =
            read.iter().enumerate().filter_map(|(at, one)| Some((one.0.id.clone()?, at))).collect();
        if let Some((text, path)) = &dependencies {
            let mut notes = Notes::new(path);
            depend(text, &mut read, &places, &mut notes);
            diagnostics.extend(notes.finish());
        }
        if let Some((text, path)) = &events {
            let mut notes = Notes::new(path);
            note(text, &mut read, &places, &mut notes);
            diagnostics.extend(notes.finish());
        }
        if diagnostics.iter().any(Diagnostic::is_error) {
            return Err(IssuesError::Faults { diagnostics });
        }
        // Only who is depended on needs the name that was made of its line.
        let needed: HashSet<IssueId> = read.iter().flat_map(|(one, _)| one.depends_on.clone()).collect();
        let named = |(mut one, is_named): (NewIssue, bool)| {
            one.id = one.id.filter(|id| is_named || needed.contains(id));
            one
        };
        Ok(Self { issues: read.into_iter().map(named).collect(), warnings: diagnostics })
    }
}

/// An issue of a line, with whether the line names it.
fn issue(draft: Draft, zone: &TimeZone, notes: &mut Notes<'_>) -> Option<(NewIssue, bool)> {
    let mut new = NewIssue::from(draft.issue?);
    let mut fields = Fields { map: &mut new.extra, line: draft.line, notes };
    let mut details = Details { assignee: fields.text("assignee"), ..Details::default() };
    details.blocking_notes = fields.text("blocking_notes");
    (details.question, details.answer) = (fields.text("question"), fields.text("answer"));
    details.answered_by = fields.text("answered_by");
    (details.result, details.reason) = (fields.text("result"), fields.text("reason"));
    (details.parent_id, details.discovered_from) = (fields.id("parent_id"), fields.id("discovered_from"));
    (details.opened_at, details.closed_at) =
        (fields.time("created_at", zone), fields.time("closed_at", zone));
    let _ = fields.time("updated_at", zone);
    if let Some(links) = fields.map.shift_remove("links") {
        details.links = serde_json::from_value(links).unwrap_or_default();
    }
    new.details = details;
    Some((new, draft.is_named))
}

/// What the reference and our own files say beside what every list of issues says.
struct Fields<'a, 'n> {
    map: &'a mut Map<String, Value>,
    line: u32,
    notes: &'a mut Notes<'n>,
}

impl Fields<'_, '_> {
    fn take<T>(&mut self, key: &str, help: &str, of: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let value = self.map.shift_remove(key).filter(|value| !value.is_null())?;
        let found = value.as_str().and_then(of);
        if found.is_none() {
            self.notes.error(Code::BadValue, self.line, format!("`{key}` cannot be read"), help);
        }
        found
    }

    fn text(&mut self, key: &str) -> Option<String> {
        self.take(key, "give a text or null", |text| Some(text.to_owned())).filter(|text| !text.is_empty())
    }

    fn id(&mut self, key: &str) -> Option<IssueId> {
        self.take(key, "give the id of an issue or null", |text| IssueId::new(text).ok())
    }

    fn time(&mut self, key: &str, zone: &TimeZone) -> Option<Timestamp> {
        self.take(key, "write it as 2026-11-22T09:30:00Z", |text| time::parse(text, zone))
    }
}

fn lines<'t, T: DeserializeOwned>(text: &'t str, notes: &mut Notes<'_>, help: &'static str) -> Vec<(u32, T)> {
    let mut read = Vec::new();
    let text: &'t str = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        match serde_json::from_str(line) {
            Ok(found) => read.push((number, found)),
            Err(error) => {
                let reason = error.to_string();
                let reason = reason.split(" at line ").next().unwrap_or_default();
                notes.error(Code::Syntax, number, format!("this cannot be read: {reason}"), help);
            }
        }
    }
    read
}

fn depend(
    text: &str,
    issues: &mut [(NewIssue, bool)],
    places: &HashMap<IssueId, usize>,
    notes: &mut Notes<'_>,
) {
    const HELP: &str = "write one object a line, with `from_id` and `to_id`";
    for (line, found) in lines::<DependencyLine>(text, notes, HELP) {
        let Some(place) = places.get(&found.from_id) else {
            let message = format!("`{}` is no issue of these files", found.from_id);
            notes.error(Code::Missing, line, message, "add that issue, or take the line out");
            continue;
        };
        let (issue, _) = &mut issues[*place];
        let kind = found.dep_type.as_deref().unwrap_or("blocks");
        match LinkKind::from_name(kind) {
            Some(kind) => issue.details.links.push(Link { kind, to: found.to_id }),
            None if kind == "blocks" && !issue.depends_on.contains(&found.to_id) => {
                issue.depends_on.push(found.to_id);
            }
            None if kind == "blocks" => {}
            None => {
                let help = "give blocks, related, parent-child or discovered-from";
                notes.error(Code::BadValue, line, format!("`dep_type` is `{}`", kind.escape_debug()), help);
            }
        }
    }
}

fn note(
    text: &str,
    issues: &mut [(NewIssue, bool)],
    places: &HashMap<IssueId, usize>,
    notes: &mut Notes<'_>,
) {
    const HELP: &str = "write one object a line, with `issue_id` and `event_type`";
    for (line, found) in lines::<EventLine>(text, notes, HELP) {
        let Some(place) = places.get(&found.issue_id) else {
            let message = format!("`{}` is no issue of these files", found.issue_id);
            notes.add(Severity::Warning, Code::Missing, line, message, "this event is left out");
            continue;
        };
        let mut event = ForeignEvent::new(found.event_type, found.actor.unwrap_or_default());
        event.at = found.timestamp;
        event.session = found.session_id.and_then(|session| SessionId::new(session).ok());
        event.changes = match found.changes {
            Some(Value::Object(changes)) => changes,
            Some(other) if !other.is_null() => Map::from_iter([("value".to_owned(), other)]),
            _ => Map::new(),
        };
        issues[*place].0.events.push(event);
    }
}
