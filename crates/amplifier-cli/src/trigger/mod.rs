//! `amplifier trigger …`: what triggers there are, when they would fire, and what became of their firings.

mod history;
mod simulate;

pub(crate) use history::OfTrigger;

use crate::args::trigger::TriggerCommand;
use crate::exit::{Code, Failure};

/// Does what was asked.
pub(crate) fn run(command: TriggerCommand) -> Result<Code, Failure> {
    match command {
        TriggerCommand::Simulate(args) => simulate::simulation(&args),
        TriggerCommand::History(args) => history::history(&args),
    }
}
