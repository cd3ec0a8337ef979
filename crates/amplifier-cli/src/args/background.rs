//! `amplifier background …`: what was typed.

use amplifier_app::command::args::{FireArgs, Of};
use amplifier_foundation::settings::duration::HumanDuration;
use clap::{Args, Subcommand};

/// `amplifier background …`
#[derive(Debug, Subcommand)]
pub(crate) enum BackgroundCommand {
    /// Run what is declared until Ctrl+C or `background stop`: the owner of this project's background sessions
    Start(StartArgs),
    /// List what is declared: from which file, what starts it, when next
    List(ListArgs),
    /// Show how background sessions stand, whoever runs them
    Status(StatusArgs),
    /// Declare one in .amplifier/background.yaml, and print its next three firings; an owner that runs takes it up
    Add(AddArgs),
    /// Take one out of .amplifier/background.yaml
    Rm(NameArgs),
    /// Have one start nothing until it is resumed, whoever runs it; what waits stays
    Pause(NameArgs),
    /// Let a paused one go on
    Resume(NameArgs),
    /// Print what its sessions have written: their events, else their messages
    Logs(LogsArgs),
    /// Fire one by hand; without an owner the run waits for the next one
    Fire(FireArgs),
    /// Stop one, or all of them with their owner, and wait until that has ended
    Stop(StopArgs),
}

/// `amplifier background start`
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// The bundle whose `background_sessions:` count, by name, path or URI; the active one by default
    #[arg(short = 'B', long, value_name = "NAME|URI")]
    pub(crate) bundle: Option<String>,
    /// Serve webhooks (/hooks/…) and /healthz at this address, such as 127.0.0.1:8733; port 0 is any
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// A host that webhooks may be called by, beside loopback and `allowed_hosts`
    #[arg(long = "allow-host", value_name = "HOST", requires = "listen")]
    pub(crate) allow_hosts: Vec<String>,
    /// How long sessions that run may go on after the first Ctrl+C, SIGTERM or `background stop`
    #[arg(long, value_name = "D", default_value = "10m")]
    pub(crate) drain_timeout: HumanDuration,
    /// Print what happens as JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// `amplifier background status`
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Only this one, in detail
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) of: Of,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `amplifier background stop`
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// Only this one; without a name all of them, and their owner ends
    pub(crate) name: Option<String>,
    /// Cut sessions off that run; else they may finish within the owner's --drain-timeout
    #[arg(long)]
    pub(crate) now: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `amplifier background add`
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Its name: letters, digits, `-`, `_` and `.`
    pub(crate) name: String,
    /// The bundle of its sessions, by name, path or URI
    #[arg(short = 'B', long, value_name = "NAME|URI")]
    pub(crate) bundle: String,
    #[command(flatten)]
    pub(crate) when: When,
    /// The time zone of --cron and --at: an IANA name; this machine's by default
    #[arg(long, value_name = "TZ", conflicts_with_all = ["every", "on", "watch", "webhook"])]
    pub(crate) timezone: Option<String>,
    /// How calls of --webhook are signed: github, standard, gitlab or bearer
    #[arg(long, requires = "webhook", default_value = "bearer")]
    pub(crate) scheme: String,
    /// The variable that holds the secret of --webhook
    #[arg(long, requires = "webhook", value_name = "VARIABLE")]
    pub(crate) secret_env: Option<String>,
    /// What each session is told; {event_summary} and {trigger.data.field} stand for what happened
    pub(crate) instruction: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What starts its sessions.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct When {
    /// Each time this span has passed, such as 5m
    #[arg(long, value_name = "D")]
    pub(crate) every: Option<String>,
    /// At the times of a cron expression of five fields, such as "0 9 * * MON-FRI", or @hourly … @yearly
    #[arg(long, value_name = "E")]
    pub(crate) cron: Option<String>,
    /// Once, such as 2026-11-23T03:00
    #[arg(long, value_name = "T")]
    pub(crate) at: Option<String>,
    /// At events of these names and patterns, commas between
    #[arg(long, value_name = "EVENT", value_delimiter = ',')]
    pub(crate) on: Vec<String>,
    /// When files change that one of these globs matches
    #[arg(long, value_name = "GLOB", value_delimiter = ',')]
    pub(crate) watch: Vec<String>,
    /// When somebody calls POST /hooks/PATH of `background start --listen`
    #[arg(long, value_name = "PATH")]
    pub(crate) webhook: Option<String>,
}

/// `amplifier background rm`, `pause` and `resume`
#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// The background session
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) of: Of,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `amplifier background list`
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) of: Of,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `amplifier background logs`
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The background session
    pub(crate) name: String,
    /// Go on with what comes, of sessions that begin later too; Ctrl+C ends
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Begin with so many sessions, the latest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 5)]
    pub(crate) sessions: usize,
    /// Print JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}
