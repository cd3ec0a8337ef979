//! `amplifier event …`: what was typed.

use amplifier_foundation::settings::duration::HumanDuration;
use clap::{Args, Subcommand};

/// `amplifier event …`
#[derive(Debug, Subcommand)]
pub(crate) enum EventCommand {
    /// Record an event, and print its id
    Emit(EmitArgs),
    /// Print events as they come, from every process of this project
    Tail(TailArgs),
    /// Wait for an event, and print it; exit code 124 if none comes in time
    Wait(WaitArgs),
    /// Print what led to an event, the first cause first
    Why(WhyArgs),
    /// Print what the log holds, to its end
    Replay(ReplayArgs),
}

/// Which events, beside their names.
#[derive(Debug, Default, Args)]
pub(crate) struct Selection {
    /// Only events of this session; may be given several times
    #[arg(long = "session", value_name = "ID")]
    pub(crate) sessions: Vec<String>,
    /// Only events of the session tree below this root; may be given several times
    #[arg(long = "tree", value_name = "ID")]
    pub(crate) trees: Vec<String>,
    /// Only events whose data has this value, such as data.status=failed; may be given several times
    #[arg(long = "field", value_name = "data.PATH=VALUE")]
    pub(crate) fields: Vec<String>,
}

/// `amplifier event emit`
#[derive(Debug, Args)]
pub(crate) struct EmitArgs {
    /// The event's name, such as draft:ready; a-z, 0-9 and . : _ - between
    pub(crate) name: String,
    /// The data as JSON; - reads standard input, @FILE a file; null by default
    #[arg(value_name = "JSON", allow_hyphen_values = true)]
    pub(crate) data: Option<String>,
    /// Print the event as a CloudEvent
    #[arg(long)]
    pub(crate) json: bool,
}

/// `amplifier event tail`
#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    /// Names or patterns with commas between, such as draft:*; all by default
    #[arg(default_value = "*", hide_default_value = true)]
    pub(crate) filter: String,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Begin at this sequence of the log; by default with what comes from now on
    #[arg(long, value_name = "SEQUENCE")]
    pub(crate) from: Option<u64>,
    /// End after this many events
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Print one CloudEvent a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// `amplifier event wait`
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// Names or patterns with commas between, such as draft:*
    pub(crate) filter: String,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Wait at most this long: 90s, 15m, 2h
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    pub(crate) timeout: HumanDuration,
    /// Find also what was recorded from this sequence of the log on
    #[arg(long, value_name = "SEQUENCE")]
    pub(crate) from: Option<u64>,
    /// Print the event as a CloudEvent
    #[arg(long)]
    pub(crate) json: bool,
}

/// `amplifier event why`
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// The event's id, or its sequence
    pub(crate) id: String,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// `amplifier event replay`
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Names or patterns with commas between, such as draft:*; all by default
    #[arg(default_value = "*", hide_default_value = true)]
    pub(crate) filter: String,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Begin at this sequence of the log; by default at the oldest event
    #[arg(long, value_name = "SEQUENCE")]
    pub(crate) from: Option<u64>,
    /// Print one CloudEvent a line
    #[arg(long)]
    pub(crate) json: bool,
}
