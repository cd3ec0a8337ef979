//! `amplifier session list`.
//!
//! Guarantees: a session counts as running only while a process owns it; one whose process is gone is
//! lost. Where the database cannot be read, files and locks tell, and that is said.

use amplifier_core::Timestamp;
use std::sync::atomic::{AtomicBool, Ordering};

use amplifier_foundation::Host;
use amplifier_foundation::fs::read;
use amplifier_foundation::host::{ReachError, SessionState};
use amplifier_foundation::storage::{Holder, ProjectScope, SessionQuery, SessionSummary};
use amplifier_foundation::store::StoreError;
use serde_json::{Value, json};

use crate::args::session::ListArgs;
use crate::context::Context;
use crate::exit::{Code, Failure, chain};
use crate::output;

/// Where a session stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    /// `running`, `lost`, an outcome's name, `damaged`, or `-` for what other programs left open.
    pub(super) word: String,
    /// The process that works on it, where known.
    pub(super) process: Option<u32>,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.process {
            Some(process) => write!(f, "{} ({process})", self.word),
            None => f.write_str(&self.word),
        }
    }
}

impl From<SessionState> for Status {
    fn from(state: SessionState) -> Self {
        let (word, process) = match state {
            SessionState::Running { process, .. } => ("running", process),
            SessionState::Ended(kind) => (kind.as_str(), None),
            SessionState::Damaged => ("damaged", None),
            _ => ("-", None),
        };
        Self { word: word.to_owned(), process }
    }
}

/// Where a session stands, by its metadata and by who holds it.
fn status(summary: &SessionSummary, holder: Option<Holder>) -> Status {
    let word = match (holder, &summary.broken, summary.status.as_deref()) {
        (Some(_), ..) => "running",
        (None, Some(_), _) => "damaged",
        (None, None, Some("running")) => "lost",
        (None, None, Some(word)) => word,
        (None, None, None) => "-",
    };
    Status { word: word.to_owned(), process: holder.and_then(|holder| holder.process) }
}

/// Where a session stands, by the storage of its own project.
pub(super) async fn status_of(
    summary: &SessionSummary,
    context: &Context,
    host: &Host,
) -> Result<Status, Failure> {
    let here = status_in(summary, host).await?;
    let elsewhere = summary.working_dir.as_deref().filter(|dir| *dir != host.project());
    match elsewhere {
        Some(dir) if here.word == "lost" => match context.builder(false).open(dir).await {
            Ok(other) => status_in(summary, &other).await,
            Err(_) => Ok(here),
        },
        _ => Ok(here),
    }
}

/// The same in one project.
async fn status_in(summary: &SessionSummary, host: &Host) -> Result<Status, Failure> {
    match host.project_sessions().state(summary).await {
        Ok(state) => Ok(state.into()),
        Err(ReachError::Store(error)) => {
            tell_once(&error);
            Ok(status(summary, host.storage().holder(&summary.id).await?))
        }
        Err(error) => Err(error.into()),
    }
}

/// A database that cannot be read keeps nobody from the files.
pub(super) fn tell_once(error: &StoreError) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if !TOLD.swap(true, Ordering::Relaxed) {
        output::say(&format!("warning: the status is that of the files, because {}", chain(error)));
    }
}

/// Lists sessions, the latest first.
pub(super) async fn list(args: ListArgs, context: &Context, host: &Host) -> Result<Code, Failure> {
    let other = match &args.project {
        Some(dir) => Some(other_project(dir, context).await?),
        None => None,
    };
    let host = other.as_ref().unwrap_or(host);
    let mut query = SessionQuery::default();
    if args.all_projects {
        query = query.project(ProjectScope::All);
    }
    if !args.all {
        query = query.top_level();
    }
    if !args.running {
        query = query.limit(args.limit);
    }
    let mut rows = Vec::new();
    for summary in host.storage().list(&query).await? {
        let status = status_of(&summary, context, host).await?;
        if !args.running || status.word == "running" {
            rows.push((summary, status));
        }
    }
    rows.truncate(args.limit);
    if args.json {
        return output::print_json(
            &rows.iter().map(|(summary, status)| as_json(summary, status)).collect::<Vec<_>>(),
        );
    }
    if rows.is_empty() {
        output::say(match args.running {
            true => "no session runs here",
            false if args.limit == 0 => "no session is listed: the limit is 0",
            false => "there is no session here; begin one with `amplifier run \"…\"`",
        });
        return Ok(Code::Success);
    }
    let cells: Vec<[String; 6]> = rows.iter().map(|(summary, status)| cells(summary, status)).collect();
    Ok(output::print(&output::table(["ID", "STATUS", "TURNS", "UPDATED", "BUNDLE", "NAME"], &cells)))
}

async fn other_project(dir: &std::path::Path, context: &Context) -> Result<Host, Failure> {
    let dir = read::canonical(dir).map_err(|error| Failure::config(&error))?;
    context.builder(false).open(dir).await.map_err(|error| Failure::config(&error))
}

fn cells(summary: &SessionSummary, status: &Status) -> [String; 6] {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let about = summary.broken.as_ref().or(summary.name.as_ref()).or(summary.description.as_ref());
    [
        summary.id.to_string(),
        status.to_string(),
        summary.turn_count.map_or_else(String::new, |turns| turns.to_string()),
        summary.updated.or(summary.created).map_or_else(String::new, minute),
        text(&summary.bundle),
        about.cloned().unwrap_or_default(),
    ]
}

/// A time for people, to the minute, in UTC.
fn minute(time: Timestamp) -> String {
    let text = time.to_string();
    match text.split_once('T') {
        Some((day, rest)) if rest.len() >= 5 => format!("{day} {}Z", &rest[..5]),
        _ => text,
    }
}

/// One session as JSON.
pub(super) fn as_json(summary: &SessionSummary, status: &Status) -> Value {
    json!({
        "session_id": summary.id,
        "status": status.word,
        "process": status.process,
        "name": summary.name,
        "description": summary.description,
        "bundle": summary.bundle,
        "model": summary.model,
        "agent_name": summary.agent_name,
        "parent_id": summary.parent_id,
        "forked": summary.forked,
        "turn_count": summary.turn_count,
        "created": summary.created,
        "updated": summary.updated,
        "working_dir": summary.working_dir,
        "project": summary.project,
        "path": summary.path,
        "damage": summary.broken,
    })
}
