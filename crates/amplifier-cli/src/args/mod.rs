//! What was typed. What it means is decided by the commands.
//!
//! Guarantees: what cannot be parsed is told in clap's words on stderr with exit code 2;
//! `--help` is a result and goes to stdout.

pub(crate) mod background;
pub(crate) mod bundle;
pub(crate) mod event;
mod examples;
pub(crate) mod mcp;
pub(crate) mod provider;
pub(crate) mod run;
pub(crate) mod session;
pub(crate) mod tool;

use std::ffi::OsString;
use std::path::PathBuf;

use amplifier_app::command::args::{RunsArgs, TriggerCommand};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

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
    /// Configure, list and test model services
    #[command(subcommand)]
    Provider(provider::ProviderCommand),
    /// List, show and call the tools of a bundle
    #[command(subcommand)]
    Tool(tool::ToolCommand),
    /// List and show the modules that bundles can name
    #[command(subcommand)]
    Module(tool::ModuleCommand),
    /// Copy the project's database
    #[command(subcommand)]
    Store(StoreCommand),
    /// Print the JSON Schema of a kind of file: for editors, and for programs that write such files
    #[command(after_help = "Example:\n  amplifier schema settings > settings.schema.json")]
    Schema {
        /// The kind of file
        kind: amplifier_app::schema::FileKind,
    },
    /// Print what a shell needs to complete commands and flags
    #[command(after_help = amplifier_app::completions::help("amplifier"))]
    Completions {
        /// The shell
        shell: amplifier_app::completions::Shell,
    },
    /// Set up a provider to begin with
    #[command(
        after_help = "At a terminal it asks; without one it takes the provider whose key is in the environment or in keys.env, \
                            or exits with 2 and names what to set.\n\nExamples:\n  amplifier init\n  ANTHROPIC_API_KEY=… amplifier init --yes"
    )]
    Init(InitArgs),
    /// Tell what is wrong here, and how to mend it
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
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

/// `amplifier store …`
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Copy the database of this project as it is now into a new file, while others go on writing
    #[command(
        after_help = "The copy can be put in the place of the database while nothing runs.\n\nExample:\n  amplifier store backup ../backup.db"
    )]
    Backup {
        /// The file, which must not be there yet
        file: PathBuf,
    },
}

/// `amplifier init`
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Ask nothing: take what is found
    #[arg(short = 'y', long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) scope: ScopeArgs,
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
        let parsed = examples::with(Self::command()).try_get_matches_from(arguments);
        let parsed = parsed.and_then(|found| Self::from_arg_matches(&found));
        parsed.map_err(|error| Failure::of_command_line(&error.render().to_string(), error.use_stderr()))
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
