//! `--background` and `--on-exit detach`: another process runs the session.
//!
//! Guarantees: that process writes the result, or why there is none; here its exit code is passed on, and in
//! the background the id is printed once the session is recorded. Signals are handed on. A process that is
//! gone without a word is an error.

use amplifier_app::detach::{Detached, Handover, Told};
use amplifier_app::terminal::Signals;
use amplifier_core::SessionId;
use serde_json::json;

use crate::args::run::{OutputFormat, RunArgs};
use crate::context;
use crate::exit::{Code, Failure};
use crate::output;

/// Starts the process, and waits as long as it has something to say.
pub(super) fn start(args: &RunArgs) -> Result<Code, Failure> {
    let runtime = context::small_runtime()?;
    let code = runtime.block_on(async {
        let mut signals = Signals::listen().map_err(|error| Failure::work(&error))?;
        let prompt = super::typed(args, &mut signals).await?;
        let handover = Handover { args: std::env::args_os().collect(), piped: prompt.piped };
        let owner = Detached::start(&handover).map_err(|error| Failure {
            message: format!("the session's process cannot be started: {error}"),
            ..Failure::work(&error)
        })?;
        listen(args, owner, signals).await
    });
    // A standard input that nobody fills must not keep the process.
    runtime.shutdown_background();
    code
}

async fn listen(args: &RunArgs, mut owner: Detached, mut signals: Signals) -> Result<Code, Failure> {
    let mut session = None;
    loop {
        tokio::select! {
            biased;
            told = owner.told() => match told {
                Some(Told::Recorded(id)) if args.options.background => return tell(args, &id),
                Some(Told::Recorded(id)) => session = Some(id),
                Some(Told::Ended(code)) => return Ok(Code::of(code).unwrap_or(Code::Failed)),
                _ => return Err(gone(session.as_ref())),
            },
            signal = signals.next() => owner.signal(signal),
        }
    }
}

/// Prints the id.
fn tell(args: &RunArgs, id: &SessionId) -> Result<Code, Failure> {
    match args.options.output_format {
        OutputFormat::Text => Ok(output::print(&format!("{id}\n"))),
        _ => Ok(output::print(&format!("{}\n", json!({ "session_id": id, "status": "running" })))),
    }
}

/// The owner was killed.
fn gone(session: Option<&SessionId>) -> Failure {
    match session {
        Some(id) => Failure::usage(format!("the process of session {id} is gone; the session is lost"))
            .help(format!("go on with: amplifier run --resume {id} \"…\"")),
        None => Failure::usage("the session's process is gone before the session began"),
    }
    .code(Code::Failed, "lost")
}
