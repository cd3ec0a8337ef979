//! `amplifier mcp …`: what was typed.

use std::path::PathBuf;

use amplifier_core::permission::Mode;
use amplifier_foundation::settings::duration::HumanDuration;
use clap::{Args, Subcommand};

use super::run::{OnExit, permission_mode};

/// `amplifier mcp …`
#[derive(Debug, Subcommand)]
pub(crate) enum McpCommand {
    /// Serve MCP on standard input and output, for a client that starts this command
    #[command(
        after_help = "Examples:\n  claude mcp add amplifier -- amplifier mcp serve\n  codex mcp add amplifier -- amplifier mcp serve -B code-review"
    )]
    Serve(ServeArgs),
}

/// `amplifier mcp serve`
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The bundle of sessions for which the client names none
    #[arg(short = 'B', long, value_name = "NAME|URI")]
    pub(crate) bundle: Option<String>,
    /// Their provider
    #[arg(short = 'p', long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// Their model
    #[arg(short = 'm', long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// Work in this directory
    #[arg(short = 'C', long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// Their mode: default, plan, acceptEdits or dontAsk; nobody can be asked in any of them
    #[arg(long, value_name = "MODE", value_parser = permission_mode)]
    pub(crate) permission_mode: Option<Mode>,
    /// What becomes of sessions that still run when the client goes: drain waits for them, cancel stops them, detach lets them go on
    #[arg(long, value_name = "WHAT", default_value = "drain")]
    pub(crate) on_exit: OnExit,
    /// How long they are waited for before they are stopped
    #[arg(long, value_name = "TIME", default_value = "10m")]
    pub(crate) drain_timeout: HumanDuration,
}
