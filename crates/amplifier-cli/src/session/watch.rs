//! `amplifier session logs` and `attach`: what a session writes, as it comes, from whatever process.
//!
//! Guarantees: whoever watches changes nothing and stops nothing; Ctrl+C ends the watching alone.

use amplifier_app::terminal::Stdout;
use amplifier_foundation::Host;
use amplifier_foundation::host::Lines;

use super::reach::as_json;
use crate::args::session::{AttachArgs, LogsArgs};
use crate::context::Context;
use crate::exit::{Code, Failure, code_of_other};
use crate::output;
use amplifier_app::command::transcript::{follow, write};

/// Prints what a session has written, and what it writes.
pub(super) async fn logs(args: LogsArgs, context: &Context, host: Host) -> Result<Code, Failure> {
    let (host, summary) = super::find_anywhere(&args.id, context, host).await?;
    let mut followed = host.project_sessions().follow(&summary.id, Lines::Events).await?;
    let stdout = if args.follow { Stdout::watched() } else { Stdout::new() };
    let raw = args.json || followed.lines() == Lines::Events;
    if args.follow {
        return follow(&mut followed, &stdout, raw).await;
    }
    loop {
        let lines = followed.read()?;
        if lines.is_empty() {
            return Ok(stdout.code(Code::Success));
        }
        write(&stdout, &lines, raw);
    }
}

/// Shows a session's conversation until it ends.
pub(super) async fn attach(args: AttachArgs, context: &Context, host: Host) -> Result<Code, Failure> {
    let (host, summary) = super::find_anywhere(&args.id, context, host).await?;
    let id = summary.id;
    let mut followed = host.project_sessions().follow(&id, Lines::Transcript).await?;
    let stdout = Stdout::watched();
    let code = follow(&mut followed, &stdout, args.json).await?;
    if code != Code::Success {
        if code == Code::Interrupted {
            output::say(&format!("session {id} goes on; stop it with: amplifier session cancel {id}"));
        }
        return Ok(code);
    }
    let Some(outcome) = followed.outcome() else { return Ok(code) };
    match args.json {
        true => stdout.write(&format!("{}\n", as_json(&id, Some(outcome)))),
        false => {
            let why = outcome.error.as_ref().map(|error| format!(": {}", output::plain(&error.message)));
            output::say(&format!("session {id} {}{}", outcome.kind.as_str(), why.unwrap_or_default()));
        }
    }
    Ok(stdout.code(code_of_other(outcome)))
}
