//! `amplifier bundle …`: what was typed.

use clap::{Args, Subcommand};

use super::ScopeArgs;

/// `amplifier bundle …`
#[derive(Debug, Subcommand)]
pub(crate) enum BundleCommand {
    /// List the bundles that have a name here
    List {
        /// Also well-known ones, which are fetched when they are used
        #[arg(long)]
        all: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a bundle is made of
    Show(ShowArgs),
    /// Make a bundle the active one
    Use {
        /// The bundle's name, path or URI
        name: String,
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// Tell which bundle is active, and why
    Current,
    /// Forget the active bundle
    Clear {
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// Check a bundle's files. Exits 0 if it can be used, 1 if it is invalid, 2 if it cannot be found or read
    Validate {
        /// The bundle's path, name or URI
        source: String,
        /// Make warnings errors
        #[arg(long)]
        strict: bool,
    },
    /// Give a bundle's address a name
    Add {
        /// The address: git+https://…, file://… or a path
        uri: String,
        /// The name; the one that the bundle states by default
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// Fetch bundles again that come from repositories, archives and the web, with what they include
    #[command(
        after_help = "Examples:\n  amplifier bundle update --check\n  amplifier bundle update reviewer\n  amplifier bundle update --all"
    )]
    Update(UpdateArgs),
    /// Forget a name that was added
    Remove {
        /// The name
        name: String,
        #[command(flatten)]
        scope: ScopeArgs,
    },
}

/// `amplifier bundle show`
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The bundle's name, path or URI; the active one by default
    pub(crate) source: Option<String>,
    /// Print the mount plan with the place that each entry comes from
    #[arg(long)]
    pub(crate) json: bool,
    /// Without what it includes
    #[arg(long)]
    pub(crate) no_includes: bool,
}

/// `amplifier bundle update`
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// The bundle's name or URI; the active one by default
    pub(crate) name: Option<String>,
    /// All that were added
    #[arg(long, conflicts_with = "name")]
    pub(crate) all: bool,
    /// Tell what could be updated; change nothing
    #[arg(long)]
    pub(crate) check: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
