//! `trigger …`: what was typed.

use std::path::PathBuf;

use amplifier_foundation::settings::duration::HumanDuration;
use amplifier_foundation::trigger::timer::Zone;
use clap::{Args, Subcommand};

use super::runs::{Since, since};
use super::{FireArgs, Of};
use crate::command::trigger::OfTrigger;

/// `trigger …`
#[derive(Debug, Subcommand)]
pub enum TriggerCommand {
    /// Tell when timers would fire between two times, without firing anything
    Simulate(SimulateArgs),
    /// List the triggers of what is declared: how each stands, when it fired last and fires next
    List(ListArgs),
    /// Fire a background session by hand; without an owner the run waits for the next one
    Fire(FireArgs),
    /// Tell of each firing what became of it, the latest first
    History(HistoryArgs),
}

/// `trigger list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which declarations count.
    #[command(flatten)]
    pub of: Of,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `trigger history`
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Only firings of this background session, or of one of its triggers
    #[arg(value_name = "NAME[/KEY]")]
    pub of: Option<OfTrigger>,
    /// Only firings from then on: a span such as 12h, or a time such as 2026-11-23T18:00Z
    #[arg(long, value_name = "D|T", value_parser = since)]
    pub since: Option<Since>,
    /// Tell at most so many, the latest
    #[arg(long, value_name = "N", default_value = "50")]
    pub limit: usize,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `trigger simulate`
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Which timers.
    #[command(flatten)]
    pub what: What,
    /// The time zone of --cron, --from and --to: an IANA name; UTC by default
    #[arg(long, value_name = "TZ", value_parser = zone)]
    pub timezone: Option<Zone>,
    /// The first time that counts, such as 2026-11-23T03:00 or 2026-11-23T03:00:00Z; intervals begin here
    #[arg(long, value_name = "T")]
    pub from: String,
    /// Where it ends.
    #[command(flatten)]
    pub end: End,
    /// Print one line {"due":"…Z"} a firing
    #[arg(long)]
    pub json: bool,
}

/// Which timers.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct What {
    /// A cron expression of five fields, such as "0 9 * * MON-FRI", or @hourly … @yearly
    #[arg(long, value_name = "EXPR")]
    pub cron: Option<String>,
    /// A span, such as 5m
    #[arg(long, value_name = "D")]
    pub every: Option<HumanDuration>,
    /// A bundle, or a YAML file, with `triggers:` or `background_sessions:`; its timers count
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Where it ends.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct End {
    /// The first time that counts no more
    #[arg(long, value_name = "T")]
    pub to: Option<String>,
    /// How many firings
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub count: Option<u32>,
}

fn zone(name: &str) -> Result<Zone, String> {
    Zone::named(name).map_err(|error| error.to_string())
}
