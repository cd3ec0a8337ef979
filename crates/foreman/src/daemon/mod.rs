//! The daemon: the owner of a project's pools and triggers, and who asks it from outside.
//!
//! Guarantees: stdout carries results alone; how things stand is told from the store and the table of
//! processes, whoever asks; what is asked of the daemon is done when the command returns.
//! Never here: when something starts, and what happens then.

mod control;
mod detached;
mod doctor;
mod init;
mod plan;
mod start;
mod status;

use amplifier_app::context::{self, Context, Program};
use amplifier_app::terminal::{Code, chain};
use amplifier_background::control::ControlError;

pub(crate) use self::control::{drain, pause, resume, stop};
pub(crate) use self::detached::owned;
pub(crate) use self::doctor::doctor;
pub(crate) use self::init::init;
pub(crate) use self::plan::Plan;
pub(crate) use self::start::start;
pub(crate) use self::status::status;
use crate::exit::Failure;

/// The current directory, with nobody to ask.
pub(crate) fn here() -> Result<Context, Failure> {
    Ok(Context::here(Program::FOREMAN)?.unattended())
}

/// Runs a command that runs no session.
pub(crate) fn small(command: impl Future<Output = Result<Code, Failure>>) -> Result<Code, Failure> {
    let runtime = context::small_runtime()?;
    let code = runtime.block_on(command);
    // What a signal cut off must not keep the process.
    runtime.shutdown_background();
    code
}

fn unasked(error: &ControlError) -> Failure {
    match error {
        ControlError::NoOwner => Failure::usage("no foreman runs in this project")
            .code(Code::Failed, "no_owner")
            .help("`foreman start` starts one"),
        ControlError::Gone { .. } => Failure::usage(chain(error)).code(Code::Failed, "gone"),
        ControlError::Silent { .. } => Failure::usage(chain(error)).code(Code::Temporary, "silent"),
        ControlError::Store(error) => Failure::store(error),
        _ => Failure::usage(chain(error)).code(Code::Failed, "refused"),
    }
}
