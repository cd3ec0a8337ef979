//! `amplifier background …`: what was typed.

use amplifier_foundation::settings::duration::HumanDuration;
use clap::{Args, Subcommand};

/// `amplifier background …`
#[derive(Debug, Subcommand)]
pub(crate) enum BackgroundCommand {
    /// Run what is declared until Ctrl+C or `background stop`: the owner of this project's background sessions
    Start(StartArgs),
    /// Show how background sessions stand, whoever runs them
    Status(StatusArgs),
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

/// `amplifier background fire`
#[derive(Debug, Args)]
pub(crate) struct FireArgs {
    /// The background session, or one of its triggers
    #[arg(value_name = "NAME[/KEY]")]
    pub(crate) name: String,
    /// The data of the firing; `-` reads standard input, `@FILE` a file
    #[arg(value_name = "JSON")]
    pub(crate) data: Option<String>,
    #[command(flatten)]
    pub(crate) of: Of,
    /// Wait for the run, print what it says, and end with its exit code
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait
    #[arg(long, value_name = "D", requires = "wait")]
    pub(crate) timeout: Option<HumanDuration>,
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

/// Which declarations count beside those of `.amplifier/background.yaml`.
#[derive(Debug, Args)]
pub(crate) struct Of {
    /// The bundle whose `background_sessions:` count, by name, path or URI; the active one by default
    #[arg(short = 'B', long, value_name = "NAME|URI")]
    pub(crate) bundle: Option<String>,
}
