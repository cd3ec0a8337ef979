//! Firing by hand: what was typed.

use amplifier_foundation::settings::duration::HumanDuration;
use clap::Args;

/// `background fire` and `trigger fire`
#[derive(Debug, Args)]
pub struct FireArgs {
    /// The background session, or one of its triggers
    #[arg(value_name = "NAME[/KEY]")]
    pub name: String,
    /// The data of the firing; `-` reads standard input, `@FILE` a file
    #[arg(value_name = "JSON")]
    pub data: Option<String>,
    /// Which declarations count.
    #[command(flatten)]
    pub of: Of,
    /// Wait for the run, print what it says, and end with its exit code
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, value_name = "D", requires = "wait")]
    pub timeout: Option<HumanDuration>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Which declarations count beside those of `.amplifier/background.yaml`.
#[derive(Debug, Args)]
pub struct Of {
    /// The bundle whose `background_sessions:` count, by name, path or URI; the active one by default
    #[arg(short = 'B', long, value_name = "NAME|URI")]
    pub bundle: Option<String>,
}
