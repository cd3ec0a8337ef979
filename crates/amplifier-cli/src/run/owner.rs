//! A process that was started for one run, and outlives who started it.
//!
//! Guarantees: who started it is told once that the session is recorded, and once what the run has come to.
//! From then on, in the background from the beginning, it writes to a log in the session's folder alone.
//! It ends when the session and those that it has spawned have settled.

use std::path::PathBuf;

use amplifier_app::detach::Owner;

use super::watch::Watch;
use crate::args::run::{OutputFormat, RunArgs};
use crate::args::{Cli, Command, session::SessionCommand};
use crate::exit::{Code, Failure};

/// The name of the log in the session's folder.
const LOG: &str = "owner.log";

/// What a run was handed by who started its process.
pub(super) struct Owned<'a> {
    pub(super) owner: &'a mut Owner,
    /// What came in through standard input.
    pub(super) piped: Option<String>,
}

/// Runs what was handed over.
pub(crate) fn owned() -> Result<Code, Failure> {
    let entered = Owner::enter();
    let (mut owner, handover) =
        entered.map_err(|_| Failure::usage("this command is for amplifier itself"))?;
    let args = args_of(Cli::read(handover.args)?)?;
    if args.options.background && args.options.output_format == OutputFormat::Text {
        owner.leave_stdout().map_err(|error| Failure::work(&error))?;
    }
    let code = super::run_as(args, Some(Owned { owner: &mut owner, piped: handover.piped }))?;
    owner.ended(code);
    Ok(code)
}

fn args_of(cli: Cli) -> Result<RunArgs, Failure> {
    match cli.command {
        Some(Command::Run(args)) => Ok(*args),
        Some(Command::Continue(args)) => Ok(args.into_run()),
        Some(Command::Resume(args) | Command::Session(SessionCommand::Resume(args))) => args.into_run(),
        _ => Err(Failure::usage("this command is for amplifier itself")),
    }
}

/// The session is recorded. In the background one of which nobody heard is stopped.
pub(super) fn recorded(owner: &mut Owner, watch: &mut Watch<'_>, args: &RunArgs) -> Result<(), Failure> {
    let heard = owner.recorded(watch.result.id());
    if args.options.background {
        leave(owner, watch)?;
        if !heard {
            watch.give_up();
        }
    }
    Ok(())
}

/// True for a run that tells its result while others of its sessions go on.
pub(super) fn lets_go(args: &RunArgs, watch: &Watch<'_>) -> bool {
    !args.options.background && !watch.is_stopping()
}

/// The result was told.
pub(super) fn let_go(owner: &mut Owner, watch: &Watch<'_>, code: Code) -> Result<(), Failure> {
    leave(owner, watch)?;
    owner.ended(code);
    Ok(())
}

fn leave(owner: &mut Owner, watch: &Watch<'_>) -> Result<(), Failure> {
    let folder = watch.result.session().env().folder.as_ref();
    let log: Option<PathBuf> = folder.map(|folder| folder.join(LOG));
    owner.leave(log).map_err(|error| Failure::work(&error))
}
