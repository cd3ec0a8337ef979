//! What was typed. What it means is decided by the commands.
//!
//! Guarantees: what cannot be parsed is told in clap's words on stderr with exit code 2;
//! `--help` is a result and goes to stdout.

pub(crate) mod background;
pub(crate) mod bundle;
pub(crate) mod event;
pub(crate) mod mcp;
pub(crate) mod run;
pub(crate) mod session;

use std::ffi::OsString;
use std::path::PathBuf;

use amplifier_app::command::args::{RunsArgs, TriggerCommand};
use clap::{Args, Parser, Subcommand};

use crate::exit::Failure;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "amplifier",
    version,
    about = "Runs AI-agent sessions from bundles; alone it is a chat",
    args_conflicts_with_subcommands = true,
    after_help = "Exit codes: 0 done, 1 agent or provider error, 2 usage or configuration, 3 limit reached, \
                  4 permission needed and nobody to ask, 5 background sessions left or failed unseen, 75 try again later, 124 timed out, 130 SIGINT, 143 SIGTERM"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) chat: run::ChatArgs,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a session: one prompt, one answer
    Run(Box<run::RunArgs>),
    /// Go on with the most recent session of this project
    Continue(Box<run::ContinueArgs>),
    /// Go on with a session
    Resume(Box<run::ResumeArgs>),
    /// Explain what `run` with the same words would start: modules, permissions and limits, with their origin
    Spawn(Box<run::SpawnArgs>),
    /// List, show, wait for, stop, watch, fork, resume, delete and export sessions of any process
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// Emit events, follow them, wait for one, and see what led to one
    #[command(subcommand)]
    Event(event::EventCommand),
    /// Run background sessions, see how they stand, fire and stop them
    #[command(subcommand)]
    Background(background::BackgroundCommand),
    /// List, show, choose and check bundles
    #[command(subcommand)]
    Bundle(bundle::BundleCommand),
    /// List and show the agents of a bundle
    #[command(subcommand)]
    Agents(AgentsCommand),
    /// Tell what ran, what it cost, what waits and what failed; try a run again, or drop it
    Runs(RunsArgs),
    /// Tell when triggers would fire, and what became of their firings
    #[command(subcommand)]
    Trigger(TriggerCommand),
    /// Let MCP clients work with sessions, events and issues
    #[command(subcommand)]
    Mcp(mcp::McpCommand),
    /// Trust a directory's own settings to widen permissions
    Trust(TrustArgs),
}

/// `amplifier agents …`
#[derive(Debug, Subcommand)]
pub(crate) enum AgentsCommand {
    /// List the agents of a bundle
    List {
        #[command(flatten)]
        of: OfBundle,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one agent
    Show {
        /// The agent's name
        name: String,
        #[command(flatten)]
        of: OfBundle,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Which bundle is meant.
#[derive(Debug, Args)]
pub(crate) struct OfBundle {
    /// A bundle by name, path or URI; the active one by default
    #[arg(short = 'B', long, value_name = "NAME|URI")]
    pub(crate) bundle: Option<String>,
}

/// `amplifier trust …`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct TrustArgs {
    #[command(subcommand)]
    pub(crate) command: Option<TrustCommand>,
    /// The directory to trust; the current one by default
    pub(crate) dir: Option<PathBuf>,
}

/// `amplifier trust …`
#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
    /// List trusted directories
    List,
    /// Trust a directory no longer
    Revoke {
        /// The directory; the current one by default
        dir: Option<PathBuf>,
    },
}

impl Cli {
    /// Parses the command line.
    pub(crate) fn read(arguments: Vec<OsString>) -> Result<Self, Failure> {
        Self::try_parse_from(arguments)
            .map_err(|error| Failure::of_command_line(&error.render().to_string(), error.use_stderr()))
    }
}

/// Where a setting is written.
#[derive(Debug, Default, Args)]
pub(crate) struct ScopeArgs {
    /// In this directory, for you alone (.amplifier/settings.local.yaml)
    #[arg(long, conflicts_with_all = ["project", "global"])]
    pub(crate) local: bool,
    /// In this directory, for everybody (.amplifier/settings.yaml)
    #[arg(long, conflicts_with = "global")]
    pub(crate) project: bool,
    /// For all your projects (the home folder's settings.yaml)
    #[arg(long)]
    pub(crate) global: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
