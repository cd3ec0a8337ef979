//! `foreman chat`: what was typed.

use std::path::PathBuf;

use amplifier_foundation::settings::Flags;
use clap::Args;

/// `foreman chat`.
#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    /// The first thing to say; without it standard input is read line by line
    #[arg(value_name = "PROMPT")]
    pub(crate) prompt: Option<String>,
    /// The bundle of the foreman, by name, path or URI; the built-in one without it
    #[arg(short = 'B', long, value_name = "NAME|URI")]
    pub(crate) bundle: Option<String>,
    /// The provider, by the name that the bundle or settings give it
    #[arg(short = 'p', long, value_name = "NAME")]
    provider: Option<String>,
    /// The model
    #[arg(short = 'm', long, value_name = "NAME")]
    model: Option<String>,
    /// Go on with this session
    #[arg(long, value_name = "ID", conflicts_with = "bundle")]
    pub(crate) resume: Option<String>,
    /// Work in this directory
    #[arg(short = 'C', long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// Print one JSON object a turn
    #[arg(long)]
    pub(crate) json: bool,
}

impl ChatArgs {
    /// What was typed that a setting could say too.
    pub(crate) fn flags(&self) -> Flags {
        let mut flags = Flags::default();
        flags.provider = self.provider.clone();
        flags.model = self.model.clone();
        flags
    }
}
