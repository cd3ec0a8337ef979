//! `amplifier session …`: what was typed.

use std::path::PathBuf;

use amplifier_foundation::settings::duration::HumanDuration;
use clap::{Args, Subcommand, ValueEnum};

use super::run::ResumeArgs;

/// `amplifier session …`
#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// List sessions, the latest first
    List(ListArgs),
    /// Show one session
    Show(ShowArgs),
    /// Show which session spawned which
    Tree(TreeArgs),
    /// Wait until sessions have ended, in whatever process they run
    Wait(WaitArgs),
    /// Stop a session, in whatever process it runs
    Cancel(CancelArgs),
    /// Print what a session has written: its events, else its messages
    Logs(LogsArgs),
    /// Watch a session's conversation until it ends; Ctrl+C leaves it running
    Attach(AttachArgs),
    /// Make what the database says of sessions anew from their files
    Reindex(ReindexArgs),
    /// Copy a session, whole or up to a turn
    Fork(ForkArgs),
    /// Go on with a session
    Resume(Box<ResumeArgs>),
    /// Delete a session with the sessions that it spawned
    Delete(DeleteArgs),
    /// Delete sessions that ended long ago, with those that they spawned
    #[command(
        after_help = "Examples:\n  amplifier session cleanup --dry-run\n  amplifier session cleanup --days 7 --force"
    )]
    Cleanup(CleanupArgs),
    /// Write a session to standard output
    Export(ExportArgs),
}

/// `amplifier session list`
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// At most this many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
    /// Those that run now
    #[arg(long)]
    pub(crate) running: bool,
    /// Also those that other sessions spawned
    #[arg(long)]
    pub(crate) all: bool,
    /// Those of all projects
    #[arg(long, conflicts_with = "project")]
    pub(crate) all_projects: bool,
    /// Those of the project in this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) project: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `amplifier session show`
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The session's id, or the beginning of it
    pub(crate) id: String,
    /// With its messages
    #[arg(short = 'T', long, visible_alias = "with-transcript")]
    pub(crate) transcript: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `amplifier session wait`
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// The sessions' ids, or the beginnings of them
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// At most this long, such as 90s or 15m; exit code 124 then
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<HumanDuration>,
    /// For the first of them alone
    #[arg(long)]
    pub(crate) any: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `amplifier session cancel`
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    /// The session's id, or the beginning of it
    pub(crate) id: String,
    /// Stop running tools too
    #[arg(long)]
    pub(crate) now: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `amplifier session logs`
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The session's id, or the beginning of it
    pub(crate) id: String,
    /// Go on until the session has ended
    #[arg(short = 'f', long)]
    pub(crate) follow: bool,
    /// Print messages as JSON too
    #[arg(long)]
    pub(crate) json: bool,
}

/// `amplifier session attach`
#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// The session's id, or the beginning of it
    pub(crate) id: String,
    /// Print JSON lines
    #[arg(long)]
    pub(crate) json: bool,
}

/// `amplifier session reindex`
#[derive(Debug, Args)]
pub(crate) struct ReindexArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `amplifier session tree`
#[derive(Debug, Args)]
pub(crate) struct TreeArgs {
    /// A session's id, or the beginning of it; all sessions of the project by default
    pub(crate) id: Option<String>,
    /// At most this many trees
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, conflicts_with = "id")]
    pub(crate) limit: usize,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `amplifier session fork`
#[derive(Debug, Args)]
pub(crate) struct ForkArgs {
    /// The session's id, or the beginning of it
    pub(crate) id: String,
    /// Keep the turns up to this one; a turn begins with a prompt, the first is 1
    #[arg(short = 't', long, value_name = "N")]
    pub(crate) at_turn: Option<usize>,
    /// The id of the copy
    #[arg(short = 'n', long = "name", visible_alias = "new-id", value_name = "NEWID")]
    pub(crate) new_id: Option<String>,
}

/// `amplifier session delete`
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The session's id, or the beginning of it
    pub(crate) id: String,
    /// Do not ask
    #[arg(short = 'f', long)]
    pub(crate) force: bool,
}

/// How a session is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// One object: metadata and messages as they are stored.
    Json,
    /// For people.
    Markdown,
}

/// `amplifier session export`
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The session's id, or the beginning of it
    pub(crate) id: String,
    /// How
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    pub(crate) format: ExportFormat,
}

/// `amplifier session cleanup`
#[derive(Debug, Args)]
pub(crate) struct CleanupArgs {
    /// Those that nothing was written to for this many days
    #[arg(short = 'd', long, value_name = "DAYS", default_value_t = 30)]
    pub(crate) days: u32,
    /// Tell which; delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(short = 'f', long)]
    pub(crate) force: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
