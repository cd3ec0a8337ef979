//! `runs retry` and `drop`.

use amplifier_background::report::{Change, Dropped, Runs};
use amplifier_core::RunId;
use amplifier_foundation::Host;
use serde_json::{Value, json};

use super::failure;
use crate::command::args::runs::ChangeArgs;
use crate::context::Program;
use crate::exit::Failure;
use crate::exit::print_json;
use crate::terminal as output;
use crate::terminal::Code;

/// Longest reason, in bytes.
const MAX_REASON: usize = 1_000;

/// Who changes something here.
pub fn actor() -> String {
    let named = ["USER", "LOGNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
    named
        .map(|name| name.trim().to_owned())
        .find(|name| !name.is_empty())
        .unwrap_or_else(|| "a user".to_owned())
}

fn change(args: &ChangeArgs) -> Result<Change, Failure> {
    let by = Change::by(actor());
    match &args.reason {
        Some(reason) if reason.len() > MAX_REASON => {
            Err(Failure::usage(format!("--reason has {} bytes; at most {MAX_REASON} are kept", reason.len())))
        }
        Some(reason) => Ok(by.because(reason)),
        None => Ok(by),
    }
}

/// All that were named, or the first that is none.
async fn found(args: &ChangeArgs, runs: &Runs, program: Program) -> Result<Vec<RunId>, Failure> {
    let mut ids = Vec::with_capacity(args.ids.len());
    for text in &args.ids {
        let id = runs.find(text).await.map_err(|error| failure(&error, program))?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// Has runs made anew.
pub(super) async fn retry(args: &ChangeArgs, program: Program, host: &Host) -> Result<Code, Failure> {
    let (runs, by) = (Runs::of(host), change(args)?);
    let (mut code, mut told, mut lines) = (Code::Success, Vec::new(), String::new());
    for id in found(args, &runs, program).await? {
        match runs.retry(&id, &by).await {
            Ok(retried) => {
                lines.push_str(&format!("{}\n", retried.run));
                output::say(&format!("{id} is tried again as #{}", retried.number));
                told.push(json!({"run_id": id, "retried_as": retried.run, "number": retried.number}));
            }
            Err(error) => code = failure(&error, program).report(),
        }
    }
    if !told.is_empty() && !runs.are_worked_on().await.map_err(|error| failure(&error, program))? {
        output::say(&format!("notice: nobody works on runs here; `{}` does", program.start));
    }
    print(args, &told, &lines, code)
}

/// Drops runs.
pub(super) async fn drop(args: &ChangeArgs, program: Program, host: &Host) -> Result<Code, Failure> {
    let (runs, by) = (Runs::of(host), change(args)?);
    let (mut code, mut told, mut lines) = (Code::Success, Vec::new(), String::new());
    for id in found(args, &runs, program).await? {
        let (word, session) = match runs.drop(&id, &by).await {
            Ok(Dropped::Asked(session)) => {
                output::say(&format!("{id}: session {session} was asked to stop"));
                ("asked", Some(session))
            }
            Ok(_) => {
                output::say(&format!("{id} is cancelled"));
                ("cancelled", None)
            }
            Err(error) => {
                code = failure(&error, program).report();
                continue;
            }
        };
        lines.push_str(&format!("{id}\n"));
        told.push(json!({"run_id": id, "dropped": word, "session_id": session}));
    }
    print(args, &told, &lines, code)
}

fn print(args: &ChangeArgs, told: &[Value], lines: &str, code: Code) -> Result<Code, Failure> {
    let printed = if args.json { print_json(&told)? } else { output::print(lines) };
    Ok(if code == Code::Success { printed } else { code })
}
