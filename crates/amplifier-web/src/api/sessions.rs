//! Sessions: those that run, their trees, a stop.

use std::sync::Arc;

use amplifier_core::{CancelLevel, SessionId};
use amplifier_store::{SessionFilter, SessionRow, StoreError};
use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::runs::number;
use super::{Answer, Fault, Reply};
use crate::auth::Given;
use crate::form::Form;
use crate::state::App;
use crate::view::Session;

/// Most sessions of one answer.
const MOST: usize = 1_000;

pub(super) async fn list(State(app): State<Arc<App>>, RawQuery(text): RawQuery) -> Answer {
    let mut form = Form::read(text.unwrap_or_default());
    let mut filter = match form.take("running").as_deref() {
        Some("true") => SessionFilter::running(),
        None | Some("false") => SessionFilter::default(),
        Some(_) => return Err(Fault::bad("`running` is true or false")),
    };
    filter.limit = number(form.take("limit"), 100, MOST)?;
    filter.after = form.take("after").map(SessionId::new).transpose()?;
    if let Some(left) = form.left() {
        return Err(Fault::bad(format!("`{}` is no part of this query", left.escape_debug())));
    }
    let rows = app.host().store().sessions(&filter).await?;
    let next = (rows.len() >= filter.limit).then(|| rows.last().map(|row| row.id.clone())).flatten();
    let sessions: Vec<Session> = rows.iter().map(|row| Session::of(&app, row)).collect();
    Reply::of(&json!({ "sessions": sessions, "next": next }))
}

/// A session's row, and those of its tree.
pub(crate) async fn tree(app: &App, id: &SessionId) -> Result<Option<Vec<SessionRow>>, StoreError> {
    let store = app.host().store();
    let Some(row) = store.session(id).await? else { return Ok(None) };
    let mut filter = SessionFilter::default();
    filter.root = Some(row.root);
    filter.limit = MOST;
    store.sessions(&filter).await.map(Some)
}

pub(super) async fn show(State(app): State<Arc<App>>, Path(text): Path<String>) -> Answer {
    let id = SessionId::new(&text)?;
    let rows = tree(&app, &id).await?;
    let rows = rows.ok_or_else(|| Fault::not_found(format!("there is no session {id}")))?;
    let one = rows.iter().find(|row| row.id == id).map(|row| Session::of(&app, row));
    let tree = Session::tree(rows.iter().map(|row| Session::of(&app, row)).collect());
    Reply::of(&json!({ "session": one, "tree": tree }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stop {
    #[serde(default)]
    level: Level,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    #[default]
    Graceful,
    Immediate,
}

pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    Path(text): Path<String>,
    Extension(given): Extension<Given>,
) -> Answer {
    let id = SessionId::new(&text)?;
    let level = match given.json::<Stop>()?.level {
        Level::Graceful => CancelLevel::Graceful,
        Level::Immediate => CancelLevel::Immediate,
    };
    app.host().project_sessions().cancel(&id, level).await?;
    Ok(Reply::of(&json!({ "asked": true }))?.status(StatusCode::ACCEPTED))
}
