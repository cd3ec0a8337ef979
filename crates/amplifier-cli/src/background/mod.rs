//! `amplifier background …`: sessions that start themselves.
//!
//! Guarantees: stdout carries results alone; how things stand is told from the store and the table of
//! processes, whoever asks; what is asked of an owner is done when the command returns.
//! Never here: when something starts, and what happens then.

mod add;
mod logs;
mod start;
mod status;
mod stop;
mod zone;

use amplifier_app::command::args::TriggerCommand;
use amplifier_app::command::declared::{declared, find, parsed, sources, undeclared};
use amplifier_app::command::{fire, trigger as triggers};
use amplifier_background::control::ControlError;

use crate::args::background::BackgroundCommand;
use crate::context;
use crate::exit::{Code, Failure, chain};

/// Does what was asked.
pub(crate) fn run(command: BackgroundCommand) -> Result<Code, Failure> {
    if let BackgroundCommand::Start(args) = command {
        return start::start(args);
    }
    let context = context::here()?;
    let runtime = context::small_runtime()?;
    let code = runtime.block_on(async {
        let host = context.host().await?;
        match command {
            BackgroundCommand::Status(args) => status::status(args, &context, &host).await,
            BackgroundCommand::List(args) => status::list(args, &context, &host).await,
            BackgroundCommand::Add(args) => add::add(args, &context, &host).await,
            BackgroundCommand::Rm(args) => add::rm(args, &context, &host).await,
            BackgroundCommand::Pause(args) => add::pause(args, true, &context, &host).await,
            BackgroundCommand::Resume(args) => add::pause(args, false, &context, &host).await,
            BackgroundCommand::Logs(args) => logs::logs(args, &host).await,
            BackgroundCommand::Fire(args) => {
                let declared = declared(args.of.bundle.as_deref(), &context, &host).await?;
                fire::fire(&args, &context, &host, &declared).await
            }
            BackgroundCommand::Stop(args) => stop::stop(args, &host).await,
            BackgroundCommand::Start(_) => Ok(Code::Usage),
        }
    });
    // What a signal cut off must not keep the process.
    runtime.shutdown_background();
    code
}

/// Does what was asked of triggers.
pub(crate) fn trigger(command: TriggerCommand) -> Result<Code, Failure> {
    if let TriggerCommand::Simulate(args) = &command {
        return triggers::simulate(args);
    }
    let context = context::here()?;
    context::small_runtime()?.block_on(async {
        let host = context.host().await?;
        match command {
            TriggerCommand::History(args) => triggers::history(&args, &context, &host).await,
            TriggerCommand::List(args) => {
                let declared = declared(args.of.bundle.as_deref(), &context, &host).await?;
                triggers::list(&args, &context, &host, &declared).await
            }
            TriggerCommand::Fire(args) => {
                let declared = declared(args.of.bundle.as_deref(), &context, &host).await?;
                fire::fire(&args, &context, &host, &declared).await
            }
            TriggerCommand::Simulate(args) => triggers::simulate(&args),
        }
    })
}

fn unasked(error: &ControlError) -> Failure {
    match error {
        ControlError::NoOwner => Failure::usage(chain(error)).code(Code::Failed, "no_owner"),
        ControlError::Gone { .. } => Failure::usage(chain(error)).code(Code::Failed, "gone"),
        ControlError::Silent { .. } => Failure::usage(chain(error)).code(Code::Temporary, "silent"),
        ControlError::Store(error) => Failure::store(error),
        _ => Failure::usage(chain(error)).code(Code::Failed, "refused"),
    }
}
