//! `background fire` and `trigger fire`.
//!
//! Guarantees: what is printed is durable.

use amplifier_background::control::{self, Fired, RunEnd, wait_for_run};
use amplifier_background::declared::Declarations;
use amplifier_foundation::Host;
use serde_json::{Value, json};

use super::args::FireArgs;
use super::data::data;
use super::declared::{config_of, refused};
use super::runs::actor;
use crate::context::Context;
use crate::exit::print_json;
use crate::exit::{Failure, code_of_other};
use crate::terminal as output;
use crate::terminal::Code;

/// Longer than anybody waits.
const FOR_EVER: std::time::Duration = std::time::Duration::from_secs(10 * 365 * 24 * 3_600);

/// Fires what is declared, and waits for the run if that was asked for.
pub async fn fire(
    args: &FireArgs,
    context: &Context,
    host: &Host,
    declared: &Declarations,
) -> Result<Code, Failure> {
    let program = context.program();
    let data = data(args.data.as_deref())?;
    let config = config_of(&args.name, declared)?;
    let name = config.name.clone();
    let fired = control::fire(host, config, data, Some(&actor())).await.map_err(|error| refused(&error))?;
    let paused = control::paused(host.store().as_ref(), &name).await;
    if paused.map_err(|error| Failure::store(&error))?.is_some() {
        output::say(&format!("notice: {name} is paused; the run waits for `{} {name}`", program.resume));
    }
    if !fired.owned {
        output::say(&format!(
            "notice: no process runs the background sessions; the run waits for `{}`",
            program.start
        ));
    }
    if !args.wait {
        return tell(args, &fired);
    }
    let within = args.timeout.map_or(FOR_EVER, |timeout| timeout.0);
    let ended = wait_for_run(host, &fired.run, within).await.map_err(|error| refused(&error))?;
    match ended {
        Some(ended) => tell_end(args, &ended),
        None => {
            let message = format!("run {} has not ended within the time (--timeout)", fired.run);
            Err(Failure::usage(message).code(Code::TimedOut, "timed_out"))
        }
    }
}

fn tell(args: &FireArgs, fired: &Fired) -> Result<Code, Failure> {
    match args.json {
        true => print_json(&json!({ "run_id": fired.run, "owned": fired.owned })),
        false => Ok(output::print(&format!("{}\n", fired.run))),
    }
}

/// Prints what the run has come to; the exit code is that of its last session.
fn tell_end(args: &FireArgs, ended: &RunEnd) -> Result<Code, Failure> {
    let (row, outcome) = (&ended.row, ended.outcome.as_ref());
    let code = outcome.map_or(Code::Failed, |outcome| code_of_other(outcome));
    let answer = outcome.map(|outcome| outcome.output.as_str()).unwrap_or_default();
    let printed = match args.json {
        true => print_json(&json!({
            "run_id": row.id,
            "state": row.state.as_str(),
            "attempt": row.attempt,
            "session_id": row.session,
            "reason": row.reason,
            "result": outcome.map_or(Value::Null, |_| json!(answer)),
        }))?,
        false => output::print(&format!("{}\n", answer.trim_end_matches('\n'))),
    };
    if let Some(why) = row.reason.as_ref().filter(|_| code != Code::Success) {
        output::say(&format!("error: run {} is {}: {}", row.id, row.state.as_str(), output::plain(why)));
    }
    Ok(if code == Code::Success { printed } else { code })
}
