//! Who may reach the daemon over HTTP: what was typed.

use clap::{Args, Subcommand, ValueEnum};

/// `foreman open`
#[derive(Debug, Args)]
pub(crate) struct OpenArgs {
    /// What whoever follows the link may do
    #[arg(long, value_name = "ROLE", default_value = "write")]
    pub(crate) role: RoleArg,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `foreman token …`
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it; it is kept as a hash alone, so that this is the only time
    Add(TokenAddArgs),
    /// List the tokens there are, without the tokens themselves
    List(TokenListArgs),
    /// Take a token back: it lets nobody in from now on
    Revoke(TokenRevokeArgs),
}

/// `foreman token add`
#[derive(Debug, Args)]
pub(crate) struct TokenAddArgs {
    /// Its name: the actor of all changes that are made with it
    pub(crate) name: String,
    /// What it allows
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: RoleArg,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `foreman token list`
#[derive(Debug, Args)]
pub(crate) struct TokenListArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `foreman token revoke`
#[derive(Debug, Args)]
pub(crate) struct TokenRevokeArgs {
    /// Its name
    pub(crate) name: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArg {
    /// See everything
    Read,
    /// See and change
    Write,
}
