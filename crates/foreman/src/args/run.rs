//! `foreman run`: what was typed.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use amplifier_crew::issue::DEFAULT_CONCURRENT;
use amplifier_foundation::settings::Flags;
use amplifier_foundation::settings::duration::HumanDuration;
use amplifier_foundation::settings::money::micro_usd;
use clap::Args;

/// `foreman run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The issues, one JSON object a line: id?, title, description, issue_type, priority, status,
    /// depends_on[], metadata, bundle?
    #[arg(value_name = "ISSUES.jsonl")]
    pub(crate) file: PathBuf,
    /// The bundle of workers whose issue names none, by name, path or URI
    #[arg(short = 'B', long, value_name = "NAME|URI")]
    bundle: Option<String>,
    /// The provider, by the name that the bundle or settings give it
    #[arg(short = 'p', long, value_name = "NAME")]
    provider: Option<String>,
    /// The model
    #[arg(short = 'm', long, value_name = "NAME")]
    model: Option<String>,
    /// Most sessions at once
    #[arg(long, value_name = "N", default_value_t = DEFAULT_CONCURRENT)]
    pub(crate) max_concurrent: NonZeroUsize,
    /// Most model calls of each session
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_turns: Option<u32>,
    /// Longest time of each session, such as 90s or 15m
    #[arg(long, value_name = "TIME")]
    timeout: Option<HumanDuration>,
    /// Most that all sessions together may cost, in US dollars
    #[arg(long, value_name = "USD", value_parser = budget)]
    pub(crate) max_budget_usd: Option<u64>,
    /// Work in this directory
    #[arg(short = 'C', long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// Print one JSON object a line: each issue as it ends, then a summary
    #[arg(long)]
    pub(crate) json: bool,
}

fn budget(text: &str) -> Result<u64, String> {
    micro_usd(text).ok_or_else(|| "give an amount of US dollars such as 2.50".to_owned())
}

impl RunArgs {
    /// What was typed that a setting could say too. The budget is that of the run and no setting.
    pub(crate) fn flags(&self) -> Flags {
        let mut flags = Flags::default();
        flags.bundle = self.bundle.clone();
        flags.provider = self.provider.clone();
        flags.model = self.model.clone();
        flags.max_turns = self.max_turns;
        flags.timeout = self.timeout.map(|timeout| timeout.0);
        flags
    }
}
