//! `foreman trigger …`: triggers of pools and background sessions.
//!
//! Never here: when one fires.

use amplifier_app::command::args::TriggerCommand;
use amplifier_app::command::declared::declared;
use amplifier_app::command::{fire, trigger};
use amplifier_app::context::{Context, Program, small_runtime};

use crate::daemon::Plan;
use crate::exit::{Code, Failure};

/// Does what was asked.
pub(crate) fn triggers(command: TriggerCommand) -> Result<Code, Failure> {
    if let TriggerCommand::Simulate(args) = &command {
        return trigger::simulate(args);
    }
    let context = Context::here(Program::FOREMAN)?;
    small_runtime()?.block_on(async {
        let host = context.host().await?;
        match &command {
            TriggerCommand::History(args) => trigger::history(args, &context, &host).await,
            TriggerCommand::List(args) => {
                let mut declared = declared(args.of.bundle.as_deref(), &context, &host).await?;
                let plan = Plan::of_project(&context, &host).await?;
                declared.sessions.extend(plan.iter().flat_map(|plan| plan.standing().iter().cloned()));
                trigger::list(args, &context, &host, &declared).await
            }
            TriggerCommand::Fire(args) => {
                let mut declared = declared(args.of.bundle.as_deref(), &context, &host).await?;
                let plan = Plan::of_project(&context, &host).await?;
                declared.sessions.extend(plan.iter().flat_map(Plan::fired_by_hand));
                fire::fire(args, &context, &host, &declared).await
            }
            TriggerCommand::Simulate(args) => trigger::simulate(args),
        }
    })
}
