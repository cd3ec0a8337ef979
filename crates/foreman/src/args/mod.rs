//! What was typed. What it means is decided by the commands.
//!
//! Guarantees: what cannot be parsed is told in clap's words on stderr with exit code 2; `--help` and
//! `--version` are results and go to stdout.

pub(crate) mod run;

use std::ffi::OsString;

use amplifier_app::terminal::{Code, print};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::run::RunArgs;
use crate::exit::Failure;
use crate::later;

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "foreman", version, about = "Hands issues to a crew of workers")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Work on a file of issues: one session an issue, wait, and tell how each came out
    Run(Box<RunArgs>),
}

impl Cli {
    /// Parses the command line.
    pub(crate) fn read(arguments: Vec<OsString>) -> Result<Self, Failure> {
        let command = Self::command().after_help(format!(
            "Exit codes of run: 0 everything completed, 5 something failed, was blocked or left, 2 usage, \
             configuration or a file of issues that is wrong, 75 each failure is a rate limit, 130 SIGINT, \
             143 SIGTERM\n\nNot available in this version: {}",
            later::COMMANDS.join(", ")
        ));
        let parsed = command.try_get_matches_from(arguments).and_then(|found| Self::from_arg_matches(&found));
        parsed.map_err(|error| {
            let text = error.render().to_string();
            match error.use_stderr() {
                true => Failure::told(Code::Usage, text.trim_end()),
                false => Failure::told(print(&text), ""),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
