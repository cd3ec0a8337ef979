//! What was typed. What it means is decided by the commands.
//!
//! Guarantees: what cannot be parsed is told in clap's words on stderr with exit code 2; `--help` and
//! `--version` are results and go to stdout.

pub(crate) mod access;
pub(crate) mod chat;
pub(crate) mod daemon;
pub(crate) mod issue;
pub(crate) mod run;

use std::ffi::OsString;

use amplifier_app::command::args::{RunsArgs, TriggerCommand};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::access::{OpenArgs, TokenCommand};
use self::chat::ChatArgs;
use self::daemon::{DoctorArgs, DrainArgs, InitArgs, PauseArgs, StartArgs, StatusArgs, StopArgs};
use self::issue::{AddArgs, ExportArgs, ImportArgs, IssueCommand, LogsArgs, PsArgs, WaitArgs};
use self::run::RunArgs;
use crate::exit::Failure;

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
    /// Write a commented foreman.yaml to begin with
    Init(InitArgs),
    /// Print what a shell needs to complete commands and flags
    #[command(after_help = amplifier_app::completions::help("foreman"))]
    Completions {
        /// The shell
        shell: amplifier_app::completions::Shell,
    },
    /// Start the daemon: the owner of this project's pools, background sessions and triggers
    Start(StartArgs),
    /// Have the daemon end; what runs may go on for its --drain-timeout
    Stop(StopArgs),
    /// Have all pools begin nothing more, and wait until nothing runs; `resume` lets them go on
    Drain(DrainArgs),
    /// Have pools begin nothing more; what runs goes on
    Pause(PauseArgs),
    /// Let pools go on
    Resume(PauseArgs),
    /// Show pools, issues and what runs
    Status(StatusArgs),
    /// Tell what is wrong here, and how to mend it
    Doctor(DoctorArgs),
    /// Print a link that opens the dashboard, once
    Open(OpenArgs),
    /// Make, list and take back tokens for the HTTP API
    #[command(subcommand)]
    Token(TokenCommand),
    /// Work on a file of issues: one session an issue, wait, and tell how each came out
    Run(Box<RunArgs>),
    /// Add an issue to the queue
    Add(Box<AddArgs>),
    /// List, show and change issues, answer their questions
    #[command(subcommand)]
    Issue(IssueCommand),
    /// Add the issues of a file, all or none
    Import(ImportArgs),
    /// Print all issues, one JSON object a line
    Export(ExportArgs),
    /// Wait until issues are at their end, and tell what came out
    Wait(WaitArgs),
    /// Show what is worked on
    Ps(PsArgs),
    /// Print what the workers of an issue write
    Logs(LogsArgs),
    /// Talk to the foreman: it breaks work down into issues, reports, and asks what workers ask
    Chat(ChatArgs),
    /// Tell what ran, what it cost, what waits and what failed; try a run again, or drop it
    Runs(RunsArgs),
    /// Tell when triggers would fire, fire one, and tell what became of their firings
    #[command(subcommand)]
    Trigger(TriggerCommand),
}

impl Cli {
    /// Parses the command line.
    pub(crate) fn read(arguments: Vec<OsString>) -> Result<Self, Failure> {
        let command = Self::command().after_help(
            "Exit codes of run: 0 everything completed, 5 something failed, was blocked or left, 2 usage, \
             configuration or a file of issues that is wrong, 75 each failure is a rate limit, 130 SIGINT, \
             143 SIGTERM",
        );
        let parsed = command.try_get_matches_from(arguments).and_then(|found| Self::from_arg_matches(&found));
        parsed.map_err(|error| Failure::of_command_line(&error.render().to_string(), error.use_stderr()))
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
