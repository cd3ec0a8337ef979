//! `amplifier run`, `continue`, `resume`: one prompt, one session, one answer.
//!
//! Guarantees: whatever happens after the arguments are read, the chosen format gets exactly one
//! result. `spawn_bundle` gives the session as soon as it runs, so that signals reach it; the process
//! ends when it has settled, and with it the sessions that it has spawned. With `--background` and
//! `--on-exit detach` that process is another one, from the beginning.

mod detach;
mod drive;
mod end;
mod explain;
mod owner;
mod parent;
mod prompt;
mod request;
mod watch;

use std::path::Path;
use std::sync::Arc;

use amplifier_app::terminal::Signals;
use amplifier_core::Clock;
use amplifier_foundation::fs::write;
use amplifier_foundation::host::SystemClock;

use crate::args::run::{OutputFormat, RunArgs};
use crate::exit::{Code, Failure};
use crate::output::{self, Output};
use crate::{context, trust};
pub(crate) use explain::explain;
use owner::Owned;
pub(crate) use owner::owned;
use prompt::Prompt;
pub(crate) use request::{directories, latest, new_id, with_options};

/// Runs one prompt.
pub(crate) fn run(args: RunArgs) -> Result<Code, Failure> {
    run_as(args, None)
}

/// The same, in a process that was started for it, or not.
fn run_as(args: RunArgs, owned: Option<Owned<'_>>) -> Result<Code, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let output = output::open(args.options.output_format, args.options.verbose, Arc::clone(&clock));
    let ran = check(&args).and_then(|()| match owned {
        None if args.is_detached() => detach::start(&args),
        owned => in_session(args, owned, &output, clock),
    });
    match ran {
        Ok(code) => Ok(output.stdout().code(code)),
        Err(failure) => {
            failure.report();
            output.refuse(&failure);
            Ok(failure.code)
        }
    }
}

/// What can be refused before anything is read.
fn check(args: &RunArgs) -> Result<(), Failure> {
    if args.options.background && args.options.output_format == OutputFormat::StreamJson {
        let help = "leave the format out, and look at the session with `amplifier session attach ID --json`";
        return Err(Failure::usage("--background comes back at once and has nothing to stream").help(help));
    }
    let resumes = args.resume.is_some() || args.continue_last;
    if args.fork_session && !resumes {
        return Err(
            Failure::usage("--fork-session copies a session").help("name it with --resume ID or --continue")
        );
    }
    if args.session_id.is_some() && resumes && !args.fork_session {
        let help = "leave it out, or add --fork-session to go on in a copy of that id";
        return Err(Failure::usage("--session-id names a new session, and this one exists").help(help));
    }
    if args.parent_session.is_some() && resumes {
        let help = "a session keeps the parent that it has; leave --parent-session out";
        return Err(Failure::usage("--parent-session is for a new session, and this one exists").help(help));
    }
    match &args.options.output_last_message {
        Some(file) => check_target(file),
        None => Ok(()),
    }
}

/// A file that cannot be written is told before a model is paid.
fn check_target(file: &Path) -> Result<(), Failure> {
    if !write::is_target(file) {
        let message = format!("-o {} names no file that could be written", file.display());
        return Err(Failure::usage(message).help("name a file in a folder that exists, no pipe"));
    }
    Ok(())
}

fn in_session(
    args: RunArgs,
    owned: Option<Owned<'_>>,
    output: &Arc<dyn Output>,
    clock: Arc<dyn Clock>,
) -> Result<Code, Failure> {
    if owned.is_none() && args.options.output_format == OutputFormat::Text {
        trust::vouch(&args);
    }
    let runtime = context::runtime()?;
    let code = runtime.block_on(async {
        let mut signals = Signals::listen().map_err(|error| Failure::work(&error))?;
        let (prompt, owner) = match owned {
            Some(Owned { owner, piped }) => {
                signals = signals.with(owner.signals().map_err(|error| Failure::work(&error))?);
                (prompt::handed(args.prompt.as_deref(), piped), Some(owner))
            }
            None => (typed(&args, &mut signals).await?, None),
        };
        let flags = context::flags(&args.options);
        let context = context::open(args.options.cwd.as_deref(), &flags, clock)?;
        context.tell_warnings();
        drive::drive(&args, prompt, &context, signals, output, owner).await
    });
    // A module that blocks its thread, or a standard input that nobody fills, must not keep the process.
    runtime.shutdown_background();
    code
}

/// The prompt, unless a signal comes first.
async fn typed(args: &RunArgs, signals: &mut Signals) -> Result<Prompt, Failure> {
    tokio::select! {
        biased;
        prompt = read_prompt(args) => prompt,
        signal = signals.next() => Err(drive::not_begun(signal)),
    }
}

/// Reads the prompt in a thread of its own, so that a signal is heard meanwhile.
async fn read_prompt(args: &RunArgs) -> Result<Prompt, Failure> {
    let (typed, timeout) = (args.prompt.clone(), args.options.timeout.map(|timeout| timeout.0));
    let reading = tokio::task::spawn_blocking(move || prompt::read(typed.as_deref(), timeout));
    reading.await.map_err(|error| Failure::work(&error))?
}

/// Writes the answer to the file of `-o`.
fn write_answer(file: &Path, answer: &str) -> Result<(), Failure> {
    let text = format!("{}\n", answer.trim_end_matches(['\n', '\r']));
    write::deliver(file, text.as_bytes()).map_err(|error| Failure::work(&error)).map_err(|failure| Failure {
        message: format!("{} cannot be written: {}", file.display(), failure.message),
        ..failure
    })
}
