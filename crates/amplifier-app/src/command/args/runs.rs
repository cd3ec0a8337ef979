//! `runs …`: what was typed.

use amplifier_core::Timestamp;
use amplifier_foundation::settings::duration::HumanDuration;
use amplifier_foundation::store::RunState;
use amplifier_foundation::trigger::BackgroundName;
use amplifier_foundation::trigger::timer::Zone;
use clap::{Args, Subcommand};

/// `runs`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RunsArgs {
    /// What is done; without it, the report.
    #[command(subcommand)]
    pub command: Option<RunsCommand>,
    /// What is over is told from then on: a span such as 12h, or a time such as 2026-11-23T18:00Z
    #[arg(long, value_name = "D|T", default_value = "24h", value_parser = since)]
    pub since: Since,
    /// Tell all that is kept, whenever it was
    #[arg(long, conflicts_with = "since")]
    pub all: bool,
    /// Only runs in this state: queued, running, completed, cancelled, dead
    #[arg(long, value_name = "STATE", value_parser = state)]
    pub state: Option<RunState>,
    /// Only runs of this background session
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub background: Option<BackgroundName>,
    /// Tell at most so many one by one; the totals count all
    #[arg(long, value_name = "N", default_value = "50")]
    pub limit: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `runs …`
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// Show a run: what fired, its attempts, what led to it, what it answered
    Show {
        /// Its number, its id or a part of it, or its session
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Try a dead or cancelled run again, as a new run of the same firing
    Retry(ChangeArgs),
    /// Cancel a run that waits, or stop the session of one that runs
    Drop(ChangeArgs),
}

/// Runs that are changed.
#[derive(Debug, Args)]
pub struct ChangeArgs {
    /// Numbers, ids or parts of them, or sessions
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<String>,
    /// Why, for who looks later
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// From when on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// So long before now.
    Span(HumanDuration),
    /// A time.
    Time(Timestamp),
}

impl Since {
    /// The time, seen from `now`.
    pub fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Time(time) => time,
            Self::Span(span) => {
                let back = i64::try_from(span.0.as_micros()).unwrap_or(i64::MAX);
                Timestamp::from_micros(now.as_micros().saturating_sub(back))
            }
        }
    }
}

/// A span or a time.
pub(super) fn since(text: &str) -> Result<Since, String> {
    if let Ok(span) = text.parse::<HumanDuration>() {
        return Ok(Since::Span(span));
    }
    let time = Zone::utc().time(text).map(Since::Time);
    time.map_err(|_| "write a span such as 12h or 7d, or a time such as 2026-11-23T18:00Z".to_owned())
}

fn state(text: &str) -> Result<RunState, String> {
    RunState::parse(text)
        .ok_or_else(|| format!("there are {}", RunState::ALL.map(RunState::as_str).join(", ")))
}

pub(super) fn name(text: &str) -> Result<BackgroundName, String> {
    BackgroundName::new(text).map_err(|error| error.to_string())
}
