//! `amplifier event …`: what sessions and programs of this project tell each other.
//!
//! Guarantees: stdout carries events alone, one a line; names, filters and data are judged before
//! anything is recorded or waited for; every wait has an end.

mod emit;
mod select;
mod tail;
mod why;

use amplifier_core::env::EmitError;
use amplifier_foundation::router::RouterError;
use amplifier_foundation::store::StoreError;

use crate::args::event::EventCommand;
use crate::context;
use crate::exit::{Code, Failure, chain};

/// Does what was asked.
pub(crate) fn run(command: EventCommand) -> Result<Code, Failure> {
    let context = context::here()?;
    let runtime = context::small_runtime()?;
    let code = runtime.block_on(async {
        match command {
            EventCommand::Emit(args) => emit::emit(args, &context).await,
            EventCommand::Tail(args) => tail::tail(args, &context).await,
            EventCommand::Wait(args) => tail::wait(args, &context).await,
            EventCommand::Why(args) => why::why(args, &context).await,
            EventCommand::Replay(args) => tail::replay(args, &context).await,
        }
    });
    // What a signal cut off must not keep the process.
    runtime.shutdown_background();
    code
}

/// What the router refused, or could not do.
fn failure(error: &RouterError) -> Failure {
    match error {
        RouterError::Gone { .. } => {
            let help = "leave --from out, or begin at that place";
            Failure { kind: "gone", ..Failure::usage(chain(error)) }.help(help)
        }
        RouterError::Filter(_) | RouterError::Name(_) | RouterError::Consumer(_) => {
            Failure::usage(chain(error))
        }
        RouterError::Store(error) => stored(error),
        _ => Failure::work(error),
    }
}

/// What the store could not do.
fn stored(error: &StoreError) -> Failure {
    let failure = Failure::work(error);
    if matches!(error, StoreError::Busy { .. }) { failure.code(Code::Temporary, "busy") } else { failure }
}

/// Why an event was not emitted.
fn not_emitted(error: &EmitError) -> Failure {
    match error {
        EmitError::Name(_) | EmitError::Payload(_) | EmitError::Kernel { .. } | EmitError::Hops { .. } => {
            Failure::usage(chain(error))
        }
        EmitError::Store(source) if is_busy(source.as_ref()) => {
            Failure::work(error).code(Code::Temporary, "busy")
        }
        _ => Failure::work(error),
    }
}

fn is_busy(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(StoreError::Busy { .. }))
}
