//! `runs show`: all that is known of one run.

use std::time::Duration;

use amplifier_background::report::{Attempt, RunDetails, Runs};
use amplifier_foundation::Host;
use serde_json::{Value, json};

use super::figures::{cost, cut, second, span, tokens};
use super::{failure, text};
use crate::command::why;
use crate::context::Program;
use crate::exit::Failure;
use crate::exit::print_json;
use crate::terminal::Code;
use crate::terminal::{self as output, plain};

/// Characters of what fired that people are shown.
const MAX_DATA: usize = 400;

/// Shows one run.
pub(super) async fn show(id: &str, as_json: bool, program: Program, host: &Host) -> Result<Code, Failure> {
    let runs = Runs::of(host);
    let id = runs.find(id).await.map_err(|error| failure(&error, program))?;
    let details = runs.details(&id).await.map_err(|error| failure(&error, program))?;
    match as_json {
        true => print_json(&for_programs(&details, host).await?),
        false => Ok(output::print(&for_people(&details, program, host).await)),
    }
}

async fn for_programs(details: &RunDetails, host: &Host) -> Result<Value, Failure> {
    let mut said = serde_json::to_value(&details.run).map_err(|error| Failure::work(&error))?;
    let chain = why::why_json(&details.why, host).await?;
    let links: Result<Vec<Value>, _> = chain.lines().map(serde_json::from_str).collect();
    let data = details.run.event.as_ref().and_then(|event| event.payload.decode::<Value>().ok());
    said["data"] = json!(data);
    said["result"] = json!(details.output());
    said["result_truncated"] = json!(false);
    said["attempts"] = json!(details.attempts);
    said["chain"] = json!(links.map_err(|error| Failure::work(&error))?);
    Ok(said)
}

async fn for_people(details: &RunDetails, program: Program, host: &Host) -> String {
    let mut text = facts(details, program);
    if !details.attempts.is_empty() {
        text.push_str("\nattempts\n");
        details.attempts.iter().for_each(|attempt| text.push_str(&attempt_line(attempt)));
        let last = details.attempts.last().map_or(0, |last| last.number);
        let gone = usize::try_from(last).unwrap_or(0).saturating_sub(details.attempts.len());
        if gone > 0 {
            text.push_str(&format!("  {gone} without a session, or of which the log tells no more\n"));
        }
    }
    let chain = why::why_text(&details.why, host).await;
    if !chain.is_empty() {
        text.push_str(&format!("\nchain\n{chain}"));
    }
    if let Some(output) = details.output() {
        text.push_str(&format!("\nresult\n{}\n", plain(output.trim_end())));
    }
    text
}

fn facts(details: &RunDetails, program: Program) -> String {
    let run = &details.run;
    let mut text = String::new();
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("{:<12}{}\n", format!("{name}:"), plain(&value)));
        }
    };
    fact("run", run.id.to_string());
    fact("number", run.number.map_or_else(String::new, |number| format!("#{number}")));
    fact("of", run.of.to_string());
    if let Some(event) = &run.event {
        let name = event.event_name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        fact("trigger", format!("{}{name}", event.trigger));
        let (due, fired) = (second(event.due), second(event.fired));
        fact("due", if due == fired { due } else { format!("{due}, fired {fired}") });
        let passed = event.passed.coalesced + event.passed.skipped;
        fact(
            "stands for",
            if passed > 0 { format!("{passed} more that were missed") } else { String::new() },
        );
        let data = String::from_utf8_lossy(event.payload.as_bytes());
        fact("data", if data == "null" { String::new() } else { cut(&data, MAX_DATA) });
    }
    fact("state", format!("{} ({})", run.state.as_str(), run.standing.as_str()));
    fact("why", run.why().unwrap_or_default().to_owned());
    fact("triggered", second(run.created));
    fact("updated", second(run.updated));
    if run.spent.sessions > 0 {
        let (took, used) = (Duration::from_millis(run.spent.duration_ms), run.spent.usage.total());
        fact("used", format!("{}, {} tokens, {}", span(took), tokens(used), cost(&run.spent)));
    }
    fact("retry of", run.retry_of.as_ref().map(ToString::to_string).unwrap_or_default());
    fact("retried as", run.retried_as.as_ref().map(ToString::to_string).unwrap_or_default());
    if run.state == amplifier_foundation::store::RunState::Dead && run.retried_as.is_none() {
        fact("try again", format!("{} runs retry {}", program.name, text::handle(run)));
    }
    text
}

fn attempt_line(attempt: &Attempt) -> String {
    let outcome = match &attempt.outcome {
        Some(outcome) => outcome.kind.as_str(),
        None if attempt.works => "running",
        None if attempt.began.is_none() => "deleted",
        None => "interrupted",
    };
    let took = span(Duration::from_millis(attempt.spent.duration_ms));
    let more = if attempt.activations > 1 {
        format!(", opened {} times", attempt.activations)
    } else {
        String::new()
    };
    let mut line = format!("  {}  {outcome:<13} {took:>7}  {}{more}\n", attempt.number, attempt.session);
    let error = attempt.outcome.as_ref().and_then(|outcome| outcome.error.as_ref());
    if let Some(error) = error {
        line.push_str(&format!("     {}\n", cut(&error.message, MAX_DATA)));
    }
    line
}
