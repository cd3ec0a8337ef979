//! Pages of many: issues, pools with their triggers, sessions, runs, events.

use std::sync::Arc;

use amplifier_foundation::router::Cursor;
use amplifier_issue::IssueStatus;
use amplifier_issue::queue::IssueView;
use amplifier_store::SessionFilter;
use axum::Extension;
use axum::extract::{RawQuery, State};
use minijinja::context;
use serde::Serialize;

use super::render::{Page, page, seen};
use crate::api::{Fault, issues as api};
use crate::auth::Who;
use crate::form::Form;
use crate::state::App;
use crate::view::{Background, Session};

/// Longest preview of what an event says, in bytes.
const PREVIEW: usize = 200;

pub(super) async fn issues(
    State(app): State<Arc<App>>,
    Extension(who): Extension<Who>,
    RawQuery(query): RawQuery,
) -> Page {
    let mut form = Form::read(query.as_deref().unwrap_or_default());
    let chosen = form.take("status").unwrap_or_default();
    let mut filter = api::filter(query)?;
    filter.limit = filter.limit.min(100);
    if chosen.is_empty() {
        filter.statuses = IssueStatus::ALL.into_iter().filter(|status| !status.is_done()).collect();
        filter = filter.by_urgency();
    }
    let (found, next) = api::page(app.issues(), &filter).await?;
    let counts = app.issues().counts().await?;
    let tabs: Vec<_> = IssueStatus::ALL
        .into_iter()
        .map(|status| context! { name => status.as_str(), count => counts.of(status) })
        .collect();
    let found: Vec<IssueView> = found.into_iter().map(IssueView::from).collect();
    let shows = context! { here => "issues", issues => seen(&found), next, chosen, tabs };
    Ok(page(&app, &who, "issues.html", "Issues", shows)?)
}

pub(super) async fn pools(State(app): State<Arc<App>>, Extension(who): Extension<Who>) -> Page {
    let shows = context! { here => "pools", pools => seen(&Background::all(&app).await?) };
    Ok(page(&app, &who, "pools.html", "Pools and triggers", shows)?)
}

/// The trees of which a session runs: each with all its sessions.
pub(super) async fn live_trees(app: &App, most: usize) -> Result<Vec<Vec<Session>>, Fault> {
    let running = app.host().project_sessions().running().await?;
    let mut roots = Vec::new();
    for row in running {
        if !roots.contains(&row.root) {
            roots.push(row.root);
        }
    }
    let mut trees = Vec::new();
    for root in roots.into_iter().take(most) {
        let mut filter = SessionFilter::default();
        filter.root = Some(root);
        filter.limit = 100;
        let rows = app.host().store().sessions(&filter).await?;
        trees.push(Session::tree(rows.iter().map(|row| Session::of(app, row)).collect()));
    }
    Ok(trees)
}

pub(super) async fn sessions(State(app): State<Arc<App>>, Extension(who): Extension<Who>) -> Page {
    let shows = context! { here => "sessions", trees => seen(&live_trees(&app, 50).await?) };
    Ok(page(&app, &who, "sessions.html", "Live sessions", shows)?)
}

pub(super) async fn runs(State(app): State<Arc<App>>, Extension(who): Extension<Who>) -> Page {
    let report = app.report().await?;
    let shows = context! { here => "runs", report => seen(&*report) };
    Ok(page(&app, &who, "runs.html", "Runs of the last day", shows)?)
}

/// An event as a list tells it.
#[derive(Debug, Serialize)]
pub(super) struct EventLine {
    sequence: Option<u64>,
    name: String,
    session: Option<String>,
    issue: Option<String>,
    at: String,
    says: String,
}

/// What may be told of an event beside its name, the most telling first.
#[derive(Debug, Default, serde::Deserialize)]
struct Said {
    issue_id: Option<String>,
    question: Option<String>,
    answer: Option<String>,
    reason: Option<String>,
    title: Option<String>,
    session_name: Option<String>,
    name: Option<String>,
    output: Option<String>,
}

impl Said {
    fn words(self) -> Option<String> {
        let Self { question, answer, reason, title, session_name, name, output, .. } = self;
        let all = [question, answer, reason, title, session_name, name, output];
        all.into_iter().flatten().find(|text| !text.is_empty())
    }
}

/// The latest events, the last one first.
pub(super) async fn latest_events(app: &App, most: u64) -> Result<Vec<EventLine>, Fault> {
    let router = app.host().router();
    let (oldest, tail) = (router.oldest().await?, router.tail().await?);
    let sequence = tail.sequence.saturating_sub(most).max(oldest.sequence);
    let limit = usize::try_from(most).unwrap_or(usize::MAX);
    let found = app.host().store().events(Cursor { sequence, ..tail }, limit).await?;
    let line = |event: &Arc<amplifier_core::SessionEvent>| {
        let said: Said = event.payload.decode().unwrap_or_default();
        let issue = said.issue_id.clone();
        let raw = || String::from_utf8_lossy(event.payload.as_bytes()).into_owned();
        let text = said.words().unwrap_or_else(raw);
        EventLine {
            sequence: event.sequence,
            name: event.event_type.name().to_owned(),
            session: event.source.as_ref().map(ToString::to_string),
            issue,
            at: event.at.to_string(),
            says: text[..text.floor_char_boundary(PREVIEW)].to_owned(),
        }
    };
    Ok(found.events.iter().rev().map(line).collect())
}

pub(super) async fn events(State(app): State<Arc<App>>, Extension(who): Extension<Who>) -> Page {
    let shows = context! { here => "events", events => seen(&latest_events(&app, 100).await?) };
    Ok(page(&app, &who, "events.html", "Events", shows)?)
}
