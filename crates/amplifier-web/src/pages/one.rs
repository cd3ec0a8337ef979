//! Pages of one: an issue with its timeline, a session with its tree, a run.

use std::sync::Arc;

use amplifier_background::report::Runs;
use amplifier_core::{IssueId, SessionId};
use axum::Extension;
use axum::extract::{Path, State};
use minijinja::{Value, context};

use super::render::{Page, page, seen};
use super::timeline;
use crate::api::{Fault, runs, sessions};
use crate::auth::Who;
use crate::state::App;
use crate::view::{IssueHistory, Session};

pub(super) async fn issue(
    State(app): State<Arc<App>>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
) -> Page {
    let history = IssueHistory::read(&app, &IssueId::new(id)?).await?;
    let picture = Value::from_safe_string(timeline::draw(&history, app.clock().now()));
    let title = history.issue.title.clone();
    let shows = context! { here => "issues", picture, ..seen(&history) };
    Ok(page(&app, &who, "issue.html", &title, shows)?)
}

pub(super) async fn session(
    State(app): State<Arc<App>>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
) -> Page {
    let id = SessionId::new(id)?;
    let rows = sessions::tree(&app, &id).await?;
    let rows = rows.ok_or_else(|| Fault::not_found(format!("there is no session {id}")))?;
    let one = rows.iter().find(|row| row.id == id);
    let output = one.and_then(|row| row.settled.as_ref()).map(|settled| settled.outcome.output.clone());
    let output = output.map(|output| output[..output.floor_char_boundary(16 << 10)].to_owned());
    let tree = Session::tree(rows.iter().map(|row| Session::of(&app, row)).collect());
    let one = one.map(|row| Session::of(&app, row));
    let shows = context! { here => "sessions", session => seen(&one), tree => seen(&tree), output };
    Ok(page(&app, &who, "session.html", "Session", shows)?)
}

pub(super) async fn run(
    State(app): State<Arc<App>>,
    Extension(who): Extension<Who>,
    Path(text): Path<String>,
) -> Page {
    let id = runs::find(&app, &text).await?;
    let details = Runs::of(app.host()).details(&id).await?;
    let shows = context! {
        here => "runs",
        run => seen(&details.run),
        attempts => seen(&details.attempts),
    };
    Ok(page(&app, &who, "run.html", "Run", shows)?)
}
