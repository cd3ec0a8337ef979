//! The daemon and who looks after it: what was typed.

use std::path::PathBuf;

use amplifier_app::terminal::logging::LogFormat;
use amplifier_foundation::settings::duration::HumanDuration;
use clap::{Args, ValueEnum};

/// `foreman init`
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Where to write it
    #[arg(long, value_name = "FILE", default_value = "foreman.yaml")]
    pub(crate) config: PathBuf,
    /// Write it in the place of one that is there
    #[arg(long)]
    pub(crate) force: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which configuration counts.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// The configuration; foreman.yaml of this directory by default
    #[arg(long, value_name = "FILE", conflicts_with = "bundle")]
    pub(crate) config: Option<PathBuf>,
    /// A foreman bundle whose orchestrator's configuration counts instead
    #[arg(short = 'B', long, value_name = "NAME|URI")]
    pub(crate) bundle: Option<String>,
}

/// `foreman start`
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    #[command(flatten)]
    pub(crate) of: ConfigArgs,
    /// Serve the dashboard, the JSON API and webhooks at this address, such as 127.0.0.1:8733; port 0 is any
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// A host that requests may name, beside loopback and `allowed_hosts`
    #[arg(long = "allow-host", value_name = "HOST")]
    pub(crate) allow_hosts: Vec<String>,
    /// Stay in the foreground: end with the terminal, log to stderr
    #[arg(long)]
    pub(crate) foreground: bool,
    /// How long sessions that run may go on after SIGTERM or `foreman stop`
    #[arg(long, value_name = "D", default_value = "10m")]
    pub(crate) drain_timeout: HumanDuration,
    /// How a line of the log is written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: Format,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The format of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// One object a line
    Json,
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
        }
    }
}

/// `foreman stop`
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// Cut sessions off that run; else they may go on for the daemon's --drain-timeout
    #[arg(long)]
    pub(crate) now: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `foreman drain`
#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// How long to wait until nothing runs any more
    #[arg(long, value_name = "D")]
    pub(crate) timeout: Option<HumanDuration>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `foreman pause` and `foreman resume`
#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// Only this pool; without a name all of them
    #[arg(value_name = "POOL")]
    pub(crate) name: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `foreman status`
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) of: ConfigArgs,
    /// Show it again whenever something changes, until Ctrl+C
    #[arg(long)]
    pub(crate) watch: bool,
    /// Print JSON; with --watch one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// `foreman doctor`
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) of: ConfigArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
