//! `foreman start` without `--foreground`: another process is the daemon.
//!
//! Guarantees: the command returns once the daemon is ready, with where it listens and logs, or with why there is
//! none; what goes wrong before that stands on stderr. Its environment is that of who started it. A daemon that is
//! gone without a word is an error.

use std::path::PathBuf;

use amplifier_app::context::Context;
use amplifier_app::detach::{Detached, Handover, Owner, Told};
use amplifier_app::terminal::{Code, Signals, print};
use amplifier_foundation::storage::ProjectPaths;

use super::{here, start};
use crate::args::{Cli, Command};
use crate::exit::Failure;

/// The project's folder for processes.
const FOLDER: &str = "run";
/// The name of the log in it.
const LOG: &str = "foreman.log";

/// Where the daemon of a project logs; the folder is made with the project's database.
pub(super) fn log_of(context: &Context) -> Result<PathBuf, Failure> {
    let paths = ProjectPaths::resolve(context.home().path(), context.cwd());
    let paths = paths.map_err(|error| Failure::config(&error))?;
    Ok(paths.project().join(FOLDER).join(LOG))
}

/// Starts the daemon, and waits until it is ready.
pub(super) fn begin() -> Result<Code, Failure> {
    super::small(async {
        let mut signals = Signals::listen().map_err(|error| Failure::work(&error))?;
        let handover = Handover { args: std::env::args_os().collect(), piped: None };
        let mut daemon = Detached::start(&handover).map_err(|error| Failure::work(&error))?;
        loop {
            tokio::select! {
                biased;
                told = daemon.told() => return match told {
                    Some(Told::Ready(line)) => Ok(print(&line)),
                    Some(Told::Ended(code)) => Ok(Code::of(code).unwrap_or(Code::Failed)),
                    _ => Err(Failure::usage("the daemon is gone before it was ready").code(Code::Failed, "lost")),
                },
                signal = signals.next() => daemon.signal(signal),
            }
        }
    })
}

/// The daemon itself.
pub(crate) fn owned() -> Result<Code, Failure> {
    let by_hand = || Failure::usage("this command is for foreman itself");
    let (mut owner, handover) = Owner::enter().map_err(|_| by_hand())?;
    let Command::Start(args) = Cli::read(handover.args)?.command else { return Err(by_hand()) };
    let context = here()?;
    let code = match start::run(&args, &context, Some(&mut owner)) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    };
    owner.ended(code);
    Ok(code)
}
