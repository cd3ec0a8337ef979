//! Background sessions and pools, and their triggers.

use std::sync::Arc;

use amplifier_core::Payload;
use amplifier_trigger::BackgroundName;
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::json;

use super::{Answer, Fault, Reply};
use crate::auth::{Given, Who};
use crate::state::App;
use crate::view::Background;

fn name(text: &str) -> Result<BackgroundName, Fault> {
    BackgroundName::new(text).map_err(|error| Fault::bad(error.to_string()))
}

fn unknown(name: &BackgroundName) -> Fault {
    Fault::not_found(format!("there is no background session `{name}` here"))
}

pub(super) async fn list(State(app): State<Arc<App>>) -> Answer {
    Reply::of(&json!({ "background_sessions": Background::all(&app).await? }))
}

pub(super) async fn show(State(app): State<Arc<App>>, Path(text): Path<String>) -> Answer {
    let name = name(&text)?;
    let found = Background::one(&app, &name).await?;
    Reply::of(&found.ok_or_else(|| unknown(&name))?)
}

pub(super) async fn pause(
    State(app): State<Arc<App>>,
    Path(text): Path<String>,
    Extension(who): Extension<Who>,
) -> Answer {
    let changed = app.manager.pause_by(&name(&text)?, Some(who.identity.actor.as_str())).await?;
    Reply::of(&json!({ "changed": changed }))
}

pub(super) async fn resume(
    State(app): State<Arc<App>>,
    Path(text): Path<String>,
    Extension(who): Extension<Who>,
) -> Answer {
    let changed = app.manager.resume_by(&name(&text)?, Some(who.identity.actor.as_str())).await?;
    Reply::of(&json!({ "changed": changed }))
}

/// Fires it once, with the body as its data.
pub(super) async fn fire(
    State(app): State<Arc<App>>,
    Path(text): Path<String>,
    Extension(who): Extension<Who>,
    Extension(Given(body)): Extension<Given>,
) -> Answer {
    let data = match body.trim_ascii().is_empty() {
        true => Payload::null(),
        false => Payload::from_json(body)?,
    };
    let run = app.manager.fire_by(&name(&text)?, data, Some(who.identity.actor.as_str())).await?;
    Ok(Reply::of(&json!({ "run_id": run }))?.status(StatusCode::ACCEPTED))
}

/// All triggers, those that fire next first.
pub(super) async fn triggers(State(app): State<Arc<App>>) -> Answer {
    let all = Background::all(&app).await?;
    let mut triggers = Vec::new();
    for one in &all {
        triggers.extend(one.triggers.iter().map(|trigger| (&one.name, trigger)));
    }
    triggers.sort_by_key(|(_, trigger)| (trigger.next.is_none(), trigger.next));
    let told =
        triggers.iter().map(|(name, trigger)| json!({ "background_session": name, "trigger": trigger }));
    Reply::of(&json!({ "triggers": told.collect::<Vec<_>>() }))
}
