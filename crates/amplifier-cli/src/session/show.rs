//! `amplifier session show`.

use amplifier_foundation::Host;
use amplifier_foundation::host::ReachError;
use serde_json::{Value, json};

use amplifier_app::command::transcript::shown;

use super::list::{as_json, status_of, tell_once};
use crate::args::session::ShowArgs;
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::output::{self, plain};

/// Shows one session.
pub(super) async fn show(args: ShowArgs, context: &Context, host: Host) -> Result<Code, Failure> {
    let (host, summary) = super::find_anywhere(&args.id, context, host).await?;
    let status = status_of(&summary, context, &host).await?;
    let stored = host.storage().load(&summary.id).await?;
    stored.warnings.iter().for_each(|warning| output::say(&format!("warning: {warning}")));
    let mut about = as_json(&summary, &status);
    about["root_id"] = json!(stored.metadata.trace_id);
    about["messages"] = json!(stored.transcript.len());
    let outcome = match host.project_sessions().outcome(&summary.id).await {
        Err(ReachError::Store(error)) => {
            tell_once(&error);
            None
        }
        other => other?,
    };
    about["outcome"] = json!(outcome);
    if args.json {
        if args.transcript {
            about["transcript"] = json!(stored.transcript);
        }
        return output::print_json(&about);
    }
    let mut text = facts(&about);
    if args.transcript {
        for message in &stored.transcript {
            text.push('\n');
            text.push_str(&shown(message));
        }
    }
    Ok(output::print(&text))
}

/// One line for each thing that is known.
fn facts(about: &Value) -> String {
    let mut text = String::new();
    for (key, value) in about.as_object().into_iter().flatten() {
        let value = match value {
            Value::Null | Value::Bool(false) => continue,
            Value::String(value) => value.clone(),
            Value::Object(outcome) => match outcome.get("error").and_then(|error| error.get("message")) {
                Some(message) => message.as_str().unwrap_or_default().to_owned(),
                None => continue,
            },
            value => value.to_string(),
        };
        text.push_str(&format!("{:<13}{}\n", format!("{key}:"), plain(&value)));
    }
    text
}
