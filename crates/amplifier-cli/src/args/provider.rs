//! `amplifier provider …`: what was typed.

use amplifier_foundation::settings::duration::HumanDuration;
use clap::{Args, Subcommand};

use super::ScopeArgs;

/// `amplifier provider …`
#[derive(Debug, Subcommand)]
pub(crate) enum ProviderCommand {
    /// List providers: configured ones, those whose keys are at hand, and what else there is
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Configure a provider
    #[command(visible_alias = "use", after_help = ADD_HELP)]
    Add(Box<AddArgs>),
    /// Forget a configured provider
    Remove {
        /// Its name: its id, its module, or the module without `provider-`
        name: String,
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// Ask providers for a sign of life: their list of models, or one short answer
    #[command(after_help = "Examples:\n  amplifier provider test\n  amplifier provider test openai --call")]
    Test(TestArgs),
    /// List the models that a provider offers now
    #[command(after_help = "Example:\n  amplifier provider models anthropic --json")]
    Models {
        /// The provider; all that are configured or detected by default
        name: Option<String>,
        /// Longest wait
        #[arg(long, value_name = "TIME", default_value = "30s")]
        timeout: HumanDuration,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

const ADD_HELP: &str = "Examples:\n  amplifier provider add anthropic\n  \
    amplifier provider add openai --model gpt-5-mini --project\n  \
    amplifier provider add openai-compatible --id lab --base-url http://127.0.0.1:8000/v1 --model qwen3\n\n\
    The key is asked for where it is missing and a person is there, and goes to keys.env; --key-stdin reads it from \
    standard input. It is never taken from the command line.";

/// `amplifier provider add`
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The service: anthropic, openai, azure-openai, gemini, ollama, openai-compatible, or a provider module
    pub(crate) name: String,
    /// A name of its own, for a second provider of one service
    #[arg(long, visible_alias = "instance-id", value_name = "NAME")]
    pub(crate) id: Option<String>,
    /// The model
    #[arg(short = 'm', long, visible_aliases = ["default-model", "deployment"], value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// The service's address
    #[arg(long, visible_aliases = ["endpoint", "host"], value_name = "URL")]
    pub(crate) base_url: Option<String>,
    /// The variable that holds the key, where it is another one than the service's own
    #[arg(long, visible_alias = "api-key-env", value_name = "NAME")]
    pub(crate) key_env: Option<String>,
    /// Read the key from standard input and put it into keys.env
    #[arg(long)]
    pub(crate) key_stdin: bool,
    /// Lower goes first; 100 by default
    #[arg(long, value_name = "N")]
    pub(crate) priority: Option<i64>,
    #[command(flatten)]
    pub(crate) scope: ScopeArgs,
}

/// `amplifier provider test`
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The provider; all that are configured or detected by default
    pub(crate) name: Option<String>,
    /// The model of the one answer
    #[arg(short = 'm', long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// Ask for one short answer, which costs a little, also where a list of models would do
    #[arg(long)]
    pub(crate) call: bool,
    /// Longest wait for one provider
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub(crate) timeout: HumanDuration,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
