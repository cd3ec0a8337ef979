//! `amplifier trigger …`: what triggers there are, when they would fire, and what became of their firings.

mod history;
mod list;
mod simulate;

pub(crate) use history::OfTrigger;

use crate::args::trigger::TriggerCommand;
use crate::background;
use crate::context::{self, Context};
use crate::exit::{Code, Failure};

/// Does what was asked.
pub(crate) fn run(command: TriggerCommand) -> Result<Code, Failure> {
    match command {
        TriggerCommand::Simulate(args) => simulate::simulation(&args),
        TriggerCommand::History(args) => history::history(&args),
        TriggerCommand::List(args) => {
            let context = Context::here()?;
            context::small_runtime()?.block_on(async {
                let host = context.host().await?;
                list::list(&args, &context, &host).await
            })
        }
        TriggerCommand::Fire(args) => {
            let context = Context::here()?;
            context::small_runtime()?.block_on(async {
                let host = context.host().await?;
                background::fire(args, &context, &host).await
            })
        }
    }
}
