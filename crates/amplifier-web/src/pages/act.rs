//! What forms do, and the page that shows it.

use std::sync::Arc;

use amplifier_background::report::Runs;
use amplifier_core::{CancelLevel, IssueId, Payload, SessionId};
use amplifier_trigger::BackgroundName;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::Map;

use super::render::Page;
use crate::api::issues::{Act, Wanted, act};
use crate::api::{Fault, project, runs};
use crate::auth::{Given, Who};
use crate::form::{Form, segment};
use crate::state::App;

fn see(path: &str) -> Page {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let to = HeaderValue::from_str(path).map_err(|_| Fault::bad("this leads nowhere"))?;
    response.headers_mut().insert(LOCATION, to);
    Ok(response)
}

fn no_act() -> Fault {
    Fault::not_found("there is no such action")
}

pub(super) async fn add(
    State(app): State<Arc<App>>,
    Extension(who): Extension<Who>,
    Extension(given): Extension<Given>,
) -> Page {
    let mut form = Form::read(&given.0);
    let needs = form.take("depends_on").unwrap_or_default();
    let needs = needs.split([',', ' ']).filter(|id| !id.is_empty()).map(str::to_owned).collect();
    let priority = form.take("priority").map(|text| text.parse::<u64>());
    let wanted = Wanted {
        id: None,
        title: form.take("title").unwrap_or_default(),
        description: form.take("description").unwrap_or_default(),
        issue_type: form.take("issue_type"),
        priority: priority.transpose().map_err(|_| Fault::bad("a priority is a number"))?,
        depends_on: needs,
        metadata: Map::new(),
        bundle: None,
    };
    let issue = app.issues_by(&who).open(wanted.into_issue()?).await?;
    see(&format!("/issues/{}", segment(issue.issue.id.as_str())))
}

pub(super) async fn issue(
    State(app): State<Arc<App>>,
    Extension(who): Extension<Who>,
    Extension(given): Extension<Given>,
    Path((id, name)): Path<(String, String)>,
) -> Page {
    let (id, text) = (IssueId::new(id)?, Form::read(&given.0).take("text"));
    let said = match name.as_str() {
        "comment" => Act::Comment(text.unwrap_or_default()),
        "answer" => Act::Answer(text.unwrap_or_default()),
        "retry" => Act::Retry(text),
        "cancel" => Act::Cancel(text),
        "close" => Act::Close(text),
        "reopen" => Act::Reopen(text),
        _ => return Err(no_act().into()),
    };
    act(&app, &who, &id, said).await?;
    see(&format!("/issues/{}", segment(id.as_str())))
}

pub(super) async fn pool(
    State(app): State<Arc<App>>,
    Extension(who): Extension<Who>,
    Path((name, act)): Path<(String, String)>,
) -> Page {
    let by = Some(who.identity.actor.as_str());
    let name = BackgroundName::new(&name).map_err(|error| Fault::bad(error.to_string()))?;
    match act.as_str() {
        "pause" => drop(app.manager.pause_by(&name, by).await?),
        "resume" => drop(app.manager.resume_by(&name, by).await?),
        "fire" => drop(app.manager.fire_by(&name, Payload::null(), by).await?),
        _ => return Err(no_act().into()),
    }
    see("/pools")
}

pub(super) async fn run(
    State(app): State<Arc<App>>,
    Extension(who): Extension<Who>,
    Path((id, act)): Path<(String, String)>,
) -> Page {
    match act.as_str() {
        "retry" => {
            let id = runs::find(&app, &id).await?;
            let retried = Runs::of(app.host()).retry(&id, &runs::change(&who, None)).await?;
            runs::look(&app, &retried.queue).await;
        }
        "drop" => drop(runs::drop_run(&app, &id, &who, None).await?),
        _ => return Err(no_act().into()),
    }
    app.renew().await?;
    see("/runs")
}

pub(super) async fn session(State(app): State<Arc<App>>, Path(id): Path<String>) -> Page {
    let id = SessionId::new(id)?;
    app.host().project_sessions().cancel(&id, CancelLevel::Graceful).await?;
    see(&format!("/sessions/{}", segment(id.as_str())))
}

/// Pauses all, or lets all go on.
pub(super) async fn all(
    State(app): State<Arc<App>>,
    Extension(who): Extension<Who>,
    Path(act): Path<String>,
) -> Page {
    let paused = match act.as_str() {
        "pause" => true,
        "resume" => false,
        _ => return Err(no_act().into()),
    };
    project::pause_all(&app, &who, paused).await?;
    see("/pools")
}
