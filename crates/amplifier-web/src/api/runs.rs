//! Runs: what ran, what waits, made anew, dropped.

use std::sync::Arc;

use amplifier_background::report::{Change, Dropped, RunQuery, Runs};
use amplifier_core::{RunId, Timestamp};
use amplifier_foundation::fs::duration;
use amplifier_foundation::router::{CloudEvent, Link};
use amplifier_store::RunState;
use amplifier_trigger::BackgroundName;
use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Fault, Reply};
use crate::auth::{Given, Who};
use crate::form::Form;
use crate::state::App;

/// Most runs of one answer.
const MOST: usize = 1_000;

/// What a change may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    reason: Option<String>,
}

pub(crate) fn change(who: &Who, reason: Option<String>) -> Change {
    let change = Change::by(&who.identity.actor);
    match reason {
        Some(reason) => change.because(reason),
        None => change,
    }
}

/// A number within its bounds.
pub(super) fn number(text: Option<String>, default: usize, most: usize) -> Result<usize, Fault> {
    let Some(text) = text else { return Ok(default) };
    let number = text.parse::<usize>().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| Fault::bad(format!("`limit` is a number from 1 to {most}")))
}

/// A time, or a span before now.
fn since(text: &str, now: Timestamp) -> Result<Timestamp, Fault> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let span =
        duration::parse(text).map_err(|_| Fault::bad("`since` is a time (RFC 3339) or a span, as 12h"))?;
    let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    Ok(Timestamp::from_micros(now.as_micros().saturating_sub(micros)))
}

fn query(text: Option<String>, now: Timestamp) -> Result<RunQuery, Fault> {
    let mut form = Form::read(text.unwrap_or_default());
    let mut query = RunQuery::default().limit(number(form.take("limit"), 100, MOST)?);
    if let Some(text) = form.take("since") {
        query = query.since(since(&text, now)?);
    }
    if let Some(text) = form.take("state") {
        let state = RunState::parse(&text);
        query = query.state(state.ok_or_else(|| Fault::bad("`state` is no state of a run"))?);
    }
    if let Some(text) = form.take("background") {
        let name = BackgroundName::new(&text).map_err(|error| Fault::bad(error.to_string()))?;
        query = query.background(name);
    }
    match form.left() {
        Some(left) => Err(Fault::bad(format!("`{}` is no part of this query", left.escape_debug()))),
        None => Ok(query),
    }
}

pub(super) async fn list(State(app): State<Arc<App>>, RawQuery(text): RawQuery) -> Answer {
    let query = query(text, app.clock().now())?;
    Reply::of(&Runs::of(app.host()).report(&query).await?)
}

/// The run of a number, an id, or a session.
pub(crate) async fn find(app: &App, text: &str) -> Result<RunId, Fault> {
    RunId::new(text)?;
    Ok(Runs::of(app.host()).find(text).await?)
}

pub(super) async fn show(State(app): State<Arc<App>>, Path(text): Path<String>) -> Answer {
    let id = find(&app, &text).await?;
    let details = Runs::of(app.host()).details(&id).await?;
    let causes = details.why.links.iter().filter_map(|link| match link {
        Link::Event(event) => Some(CloudEvent::of(event)),
        _ => None,
    });
    let causes: Vec<CloudEvent<'_>> = causes.take(100).collect();
    Reply::of(&json!({ "run": details.run, "attempts": details.attempts, "causes": causes }))
}

pub(super) async fn retry(
    State(app): State<Arc<App>>,
    Path(text): Path<String>,
    Extension(who): Extension<Who>,
    Extension(given): Extension<Given>,
) -> Answer {
    let Said { reason } = given.json()?;
    let id = find(&app, &text).await?;
    let retried = Runs::of(app.host()).retry(&id, &change(&who, reason)).await?;
    look(&app, &retried.queue).await;
    Ok(Reply::of(&json!({ "run_id": retried.run, "number": retried.number }))?.status(StatusCode::ACCEPTED))
}

/// Has a queue looked at, which it is by itself too.
pub(crate) async fn look(app: &App, queue: &amplifier_store::QueueName) {
    for status in app.manager.statuses() {
        if amplifier_background::queue_of(&status.name) == *queue
            && let Err(error) = app.manager.look(&status.name).await
        {
            tracing::debug!(%error, "a queue looks at itself later");
        }
    }
}

pub(crate) async fn drop_run(
    app: &App,
    text: &str,
    who: &Who,
    reason: Option<String>,
) -> Result<Dropped, Fault> {
    let id = find(app, text).await?;
    Ok(Runs::of(app.host()).drop(&id, &change(who, reason)).await?)
}

pub(super) async fn drop(
    State(app): State<Arc<App>>,
    Path(text): Path<String>,
    Extension(who): Extension<Who>,
    Extension(given): Extension<Given>,
) -> Answer {
    let Said { reason } = given.json()?;
    match drop_run(&app, &text, &who, reason).await? {
        Dropped::Asked(session) => {
            let reply = Reply::of(&json!({ "dropped": "asked", "session_id": session }))?;
            Ok(reply.status(StatusCode::ACCEPTED))
        }
        _ => Reply::of(&json!({ "dropped": "cancelled", "session_id": null })),
    }
}
