//! `amplifier tool …` and `amplifier module …`: what was typed.

use std::path::PathBuf;

use amplifier_core::permission::Mode;
use amplifier_foundation::settings::duration::HumanDuration;
use clap::{Args, Subcommand, ValueEnum};

use super::OfBundle;

/// `amplifier tool …`
#[derive(Debug, Subcommand)]
pub(crate) enum ToolCommand {
    /// List the tools that a session of a bundle has
    List {
        #[command(flatten)]
        of: OfBundle,
        /// The modules that bring them, instead
        #[arg(short = 'm', long)]
        modules: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[arg(long, hide = true, value_name = "FORMAT")]
        output: Option<Output>,
    },
    /// Show one tool, with the schema of its arguments
    Info {
        /// The tool's name
        name: String,
        #[command(flatten)]
        of: OfBundle,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[arg(long, hide = true, value_name = "FORMAT")]
        output: Option<Output>,
    },
    /// Call a tool as a session would: with the same permissions, hooks and sandbox
    #[command(after_help = INVOKE_HELP)]
    Invoke(Box<InvokeArgs>),
}

const INVOKE_HELP: &str = "Examples:\n  amplifier tool invoke read_file path=README.md\n  \
    amplifier tool invoke grep --json '{\"pattern\": \"fn main\", \"path\": \"src\"}'\n\n\
    Exits with 1 where the tool fails, with 4 where a permission is needed and nobody can be asked. A tool that may \
    change something is called in a session that is recorded.";

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Output {
    /// As it is.
    #[default]
    Text,
    /// One object.
    Json,
}

/// `amplifier tool invoke`
#[derive(Debug, Args)]
pub(crate) struct InvokeArgs {
    /// The tool's name
    pub(crate) name: String,
    /// Its arguments
    #[arg(value_name = "NAME=VALUE", value_parser = pair, conflicts_with = "json")]
    pub(crate) pairs: Vec<(String, String)>,
    /// Its arguments as one JSON object; `-` reads standard input, `@FILE` a file
    #[arg(long, value_name = "JSON")]
    pub(crate) json: Option<String>,
    #[command(flatten)]
    pub(crate) of: OfBundle,
    /// Work in this directory
    #[arg(short = 'C', long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// A further directory that counts as the working directory
    #[arg(long, value_name = "DIR")]
    pub(crate) add_dir: Vec<PathBuf>,
    /// default, plan, acceptEdits, dontAsk or bypassPermissions
    #[arg(long, value_name = "MODE", value_parser = super::run::permission_mode)]
    pub(crate) permission_mode: Option<Mode>,
    /// Longest time of the call; exit code 124 then
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<HumanDuration>,
    /// How the result is printed
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE, or give all of them with --json".to_owned()),
    }
}

/// `amplifier module …`
#[derive(Debug, Subcommand)]
pub(crate) enum ModuleCommand {
    /// List the modules that bundles can name
    List {
        /// Of one kind: provider, tool, orchestrator, context or hook
        #[arg(short = 't', long = "kind", visible_alias = "type", value_name = "KIND")]
        kind: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one module: what it is, and the keys of its configuration
    #[command(visible_alias = "info")]
    Show {
        /// Its id, or another id that means it
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}
