//! Tools that come with Amplifier.
//!
//! Guarantees: each path in an argument goes through the session's [`Paths`] port, is reported
//! as an access, and is used only as it was resolved and judged; results are bounded plain text; no
//! wait is without a deadline, and every deadline is the session's [`Clock`].
//! Never here: a decision about what is allowed.
//!
//! [`Paths`]: amplifier_core::permission::Paths
//! [`Clock`]: amplifier_core::Clock

pub mod bash;
pub mod delegate;
pub mod events;
pub mod filesystem;
pub mod issue;
#[cfg(feature = "search")]
pub mod search;
mod skills;
pub use skills::Skills;
pub mod todo;
#[cfg(feature = "web")]
mod web;

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::SessionEnv;
use amplifier_core::module::Module;
use amplifier_core::module::provider::ToolSchema;
use amplifier_core::module::tool::ToolError;
use amplifier_core::permission::ResolvedPath;
use amplifier_core::until::until;
use amplifier_foundation::settings::duration;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Longest wait for work on files, of tools that have no time-out of their own.
const FILE_DEADLINE: Duration = Duration::from_secs(60);

/// The modules that this build has tools in.
pub fn tools() -> Vec<Arc<dyn Module>> {
    vec![
        Arc::new(filesystem::ToolFilesystem),
        Arc::new(bash::ToolBash),
        #[cfg(feature = "search")]
        Arc::new(search::ToolSearch),
        #[cfg(feature = "web")]
        Arc::new(web::ToolWeb),
        Arc::new(skills::ToolSkills),
        Arc::new(todo::ToolTodo),
        Arc::new(delegate::ToolDelegate),
        Arc::new(events::ToolEvents),
        Arc::new(issue::ToolIssue),
    ]
}

fn schema(name: &str, description: &str, input_schema: Value) -> ToolSchema {
    ToolSchema { name: name.into(), description: description.into(), input_schema }
}

/// A path argument as permissions judge it and tools use it.
fn resolve(env: &SessionEnv, path: &str) -> Result<ResolvedPath, ToolError> {
    env.paths.resolve(&env.cwd, path).map_err(|error| {
        let reason = error.source;
        ToolError::Arguments(format!("path `{}` cannot be resolved: {reason}", error.path))
    })
}

/// A path as the model is shown it: relative to the working directory where it lies in it.
fn shown(env: &SessionEnv, path: &std::path::Path) -> String {
    match path.strip_prefix(&env.cwd) {
        Ok(inside) if inside.as_os_str().is_empty() => ".".into(),
        Ok(inside) => inside.to_string_lossy().into_owned(),
        Err(_) => path.to_string_lossy().into_owned(),
    }
}

/// A whole number as models write it: `3`, `3.0` or `"3"`.
pub(crate) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let float = |number: f64| (number >= 0.0 && number.fract() == 0.0).then_some(number as u64);
    let number = match &value {
        Value::Null => return Ok(None),
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().and_then(float)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.map(Some).ok_or_else(|| serde::de::Error::custom(format!("`{value}` is no whole number")))
}

/// A span as models write it: seconds as a number, or a text such as `90`, `90s` or `15m`.
pub(crate) fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).ok();
    let found = match &value {
        Value::Null => return Ok(None),
        Value::Number(number) => number.as_f64().and_then(seconds),
        Value::String(text) => match text.trim().parse() {
            Ok(number) => seconds(number),
            Err(_) => duration::parse(text).ok(),
        },
        _ => None,
    };
    let wrong = || serde::de::Error::custom(format!("{value} is no time; give seconds, or a text like 15m"));
    found.map(Some).ok_or_else(wrong)
}

/// Runs work on files where it blocks no session; gives up waiting after a minute.
async fn blocking<T: Send + 'static>(
    env: &SessionEnv,
    work: impl FnOnce() -> Result<T, ToolError> + Send + 'static,
) -> Result<T, ToolError> {
    let deadline = env.clock.sleep(FILE_DEADLINE);
    match until(tokio::task::spawn_blocking(work), deadline).await {
        Some(Ok(result)) => result,
        Some(Err(error)) => Err(ToolError::failed("work on files", error)),
        None => Err(ToolError::Refused(format!(
            "the file system did not answer within {} s; the work may still be done later",
            FILE_DEADLINE.as_secs()
        ))),
    }
}
