//! `amplifier session logs` and `attach`: what a session writes, as it comes, from whatever process.
//!
//! Guarantees: whoever watches changes nothing and stops nothing; Ctrl+C ends the watching alone.

use amplifier_app::terminal::{Signals, Stdout};
use amplifier_core::Message;
use amplifier_foundation::Host;
use amplifier_foundation::host::{Followed, Lines};

use super::reach::as_json;
use super::show::shown;
use crate::args::session::{AttachArgs, LogsArgs};
use crate::context::Context;
use crate::exit::{Code, Failure, code_of_other};
use crate::output;

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

/// Writes lines until the session has ended, somebody interrupts, or nobody reads.
async fn follow(followed: &mut Followed, stdout: &Stdout, raw: bool) -> Result<Code, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::work(&error))?;
    loop {
        tokio::select! {
            biased;
            () = stdout.closed() => return Ok(stdout.code(Code::Success)),
            signal = signals.next() => return Ok(signal.code()),
            lines = followed.next() => match lines? {
                Some(lines) => write(stdout, &lines, raw),
                None => return Ok(stdout.code(Code::Success)),
            },
        }
    }
}

fn write(stdout: &Stdout, lines: &[String], raw: bool) {
    for line in lines {
        match serde_json::from_str::<Message>(line) {
            Ok(message) if !raw => stdout.write(&format!("{}\n", shown(&message))),
            _ => stdout
                .write(&format!("{}\n", if raw { line.clone() } else { output::plain(line).into_owned() })),
        }
    }
}
