//! The project as a whole: how it stands, what it cost, pause, resume, drain.

use std::sync::Arc;

use amplifier_background::control::OwnerInfo;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::json;

use super::{Answer, Fault, OPENAPI, Reply};
use crate::auth::Who;
use crate::state::App;
use crate::view::Background;

pub(super) async fn status(State(app): State<Arc<App>>) -> Answer {
    let all = Background::all(&app).await?;
    let owner = OwnerInfo::read(app.host()).await?;
    let queued: u64 = all.iter().map(|one| one.queued).sum();
    let active: usize = all.iter().map(|one| one.active.len()).sum();
    Reply::of(&json!({
        "project": app.host().project().to_string_lossy(),
        "owner": owner,
        "background_sessions": all.len(),
        "queued": queued,
        "active": active,
        "sessions_running": app.host().project_sessions().running().await?.len(),
    }))
}

/// What was used in the last day, in all and by background session.
pub(super) async fn cost(State(app): State<Arc<App>>) -> Answer {
    let report = app.report().await?;
    Reply::of(&json!({
        "at": report.at,
        "since": report.since,
        "total": report.within.spent,
        "background_sessions": report.totals.iter()
            .map(|totals| json!({ "name": totals.name, "spent": totals.within.spent }))
            .collect::<Vec<_>>(),
    }))
}

/// Pauses what goes on, or lets it go on.
pub(crate) async fn pause_all(app: &App, who: &Who, paused: bool) -> Result<Vec<String>, Fault> {
    let (by, mut changed) = (who.identity.actor.as_str(), Vec::new());
    for status in app.manager.statuses() {
        let did = match paused {
            true => app.manager.pause_by(&status.name, Some(by)).await?,
            false => app.manager.resume_by(&status.name, Some(by)).await?,
        };
        if did {
            changed.push(status.name.to_string());
        }
    }
    Ok(changed)
}

pub(super) async fn pause(State(app): State<Arc<App>>, Extension(who): Extension<Who>) -> Answer {
    Reply::of(&json!({ "changed": pause_all(&app, &who, true).await? }))
}

pub(super) async fn resume(State(app): State<Arc<App>>, Extension(who): Extension<Who>) -> Answer {
    Reply::of(&json!({ "changed": pause_all(&app, &who, false).await? }))
}

pub(super) async fn drain(State(app): State<Arc<App>>) -> Answer {
    let Some(drain) = &app.drain else {
        return Err(Fault::new(
            StatusCode::NOT_IMPLEMENTED,
            "no_drain",
            "this process cannot be drained here",
        ));
    };
    drain();
    Ok(Reply::of(&json!({ "draining": true }))?.status(StatusCode::ACCEPTED))
}

pub(super) async fn openapi() -> Response {
    let mut response = Response::new(Body::from(OPENAPI));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
