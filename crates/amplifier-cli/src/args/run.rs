//! `amplifier run`, `continue`, `resume`: what was typed.

use std::path::PathBuf;

use amplifier_core::permission::Mode;
use amplifier_foundation::settings::duration::HumanDuration;
use amplifier_foundation::settings::money;
use clap::{Args, ValueEnum};

use crate::exit::Failure;

/// How the result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum OutputFormat {
    /// The answer.
    #[default]
    Text,
    /// One object at the end.
    Json,
    /// One object a line, as things happen.
    StreamJson,
    /// `json` with every tool call.
    JsonTrace,
}

/// What becomes of the background sessions that a run leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum OnExit {
    /// They are waited for.
    #[default]
    Drain,
    /// They are stopped.
    Cancel,
    /// They go on without the run, in a process of their own.
    Detach,
}

/// The reference command line's `--mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OldMode {
    /// One prompt, one answer.
    Single,
    /// Interactive.
    Chat,
}

/// `amplifier run`.
#[derive(Debug, Default, Clone, Args)]
pub(crate) struct RunArgs {
    /// What to do. Piped standard input is the prompt, or is added as context when a prompt is given
    pub(crate) prompt: Option<String>,
    #[command(flatten)]
    pub(crate) options: RunOptions,
    /// Go on with this session (its id, or the beginning of it)
    #[arg(long, value_name = "ID", conflicts_with = "continue_last")]
    pub(crate) resume: Option<String>,
    /// Go on with the most recent session of this project
    #[arg(short = 'c', long = "continue")]
    pub(crate) continue_last: bool,
    /// Go on in a copy: the session itself stays as it is
    #[arg(long)]
    pub(crate) fork_session: bool,
    /// Give the new session this id
    #[arg(long, value_name = "ID")]
    pub(crate) session_id: Option<String>,
    /// Make the new session a child of this one (its id, or the beginning of it), within its permissions and limits
    #[arg(long, value_name = "ID")]
    pub(crate) parent_session: Option<String>,
    #[command(flatten)]
    pub(crate) history: HistoryFlags,
}

/// `amplifier spawn`.
#[derive(Debug, Default, Args)]
pub(crate) struct SpawnArgs {
    /// Tell what a session of these words would be; none is started
    #[arg(long)]
    pub(crate) explain: bool,
    /// An agent that the session would delegate to; without a bundle, one of the parent session's
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// How much of an earlier conversation a chat begins with.
#[derive(Debug, Default, Clone, Args)]
pub(crate) struct HistoryFlags {
    /// Show nothing of the conversation so far
    #[arg(long, conflicts_with = "full_history")]
    pub(crate) no_history: bool,
    /// Show the whole conversation so far, not its last turns alone
    #[arg(long, visible_alias = "replay")]
    pub(crate) full_history: bool,
    /// Show what the model thinks, dimmed
    #[arg(long)]
    pub(crate) show_thinking: bool,
}

/// `amplifier` alone.
#[derive(Debug, Default, Args)]
pub(crate) struct ChatArgs {
    /// A bundle by name, path or URI
    #[arg(short = 'B', long, value_name = "NAME|URI")]
    bundle: Option<String>,
    /// The provider, by the name that the bundle or settings give it
    #[arg(short = 'p', long, value_name = "NAME")]
    provider: Option<String>,
    /// The model
    #[arg(short = 'm', long, value_name = "NAME")]
    model: Option<String>,
    /// Go on with the most recent session of this project
    #[arg(short = 'c', long = "continue")]
    continue_last: bool,
    /// Go on with this session (its id, or the beginning of it)
    #[arg(long, value_name = "ID", conflicts_with = "continue_last")]
    resume: Option<String>,
    /// Work in this directory
    #[arg(short = 'C', long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// A further directory that counts as the working directory
    #[arg(long, value_name = "DIR")]
    add_dir: Vec<PathBuf>,
    /// default, plan, acceptEdits, dontAsk or bypassPermissions
    #[arg(long, value_name = "MODE", value_parser = permission_mode)]
    permission_mode: Option<Mode>,
    /// Tell more
    #[arg(short = 'v', long)]
    verbose: bool,
    #[command(flatten)]
    history: HistoryFlags,
}

/// `amplifier continue`.
#[derive(Debug, Args)]
pub(crate) struct ContinueArgs {
    /// What to do next; piped standard input counts too
    prompt: Option<String>,
    #[command(flatten)]
    options: RunOptions,
    #[command(flatten)]
    history: HistoryFlags,
}

/// `amplifier resume`.
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The session's id, or the beginning of it
    id: Option<String>,
    /// What to do next; piped standard input counts too
    prompt: Option<String>,
    #[command(flatten)]
    options: RunOptions,
    #[command(flatten)]
    history: HistoryFlags,
}

/// What the three commands share.
#[derive(Debug, Default, Clone, Args)]
pub(crate) struct RunOptions {
    /// A bundle by name, path or URI
    #[arg(short = 'B', long, visible_alias = "force-bundle", value_name = "NAME|URI")]
    pub(crate) bundle: Option<String>,
    /// The provider, by the name that the bundle or settings give it
    #[arg(short = 'p', long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// The model
    #[arg(short = 'm', long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// Longest answer of one model call, in tokens
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_tokens: Option<u64>,
    /// Most model calls of this run
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_turns: Option<u32>,
    /// Most that the session and those it spawns may cost, in US dollars, such as 2.50
    #[arg(long, value_name = "USD", value_parser = usd, allow_hyphen_values = true)]
    pub(crate) max_budget_usd: Option<u64>,
    /// Longest time of this run, such as 90s or 15m
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<HumanDuration>,
    /// A name for the session
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Work in this directory
    #[arg(short = 'C', long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// A further directory that counts as the working directory
    #[arg(long, value_name = "DIR")]
    pub(crate) add_dir: Vec<PathBuf>,
    /// How the result is written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output_format: OutputFormat,
    /// Also write the answer to this file
    #[arg(short = 'o', long, value_name = "FILE")]
    pub(crate) output_last_message: Option<PathBuf>,
    /// The answer must be JSON that fits the JSON Schema in this file; where it does not, the model is asked again
    #[arg(long, value_name = "FILE")]
    pub(crate) output_schema: Option<PathBuf>,
    /// How often it is asked again
    #[arg(long, value_name = "N", default_value_t = 2, requires = "output_schema")]
    pub(crate) output_schema_retries: u32,
    /// default, plan, acceptEdits, dontAsk or bypassPermissions
    #[arg(long, value_name = "MODE", value_parser = permission_mode)]
    pub(crate) permission_mode: Option<Mode>,
    /// Start the session in a process of its own, print its id once it is recorded, and come back
    #[arg(long)]
    pub(crate) background: bool,
    /// What becomes of background sessions that still run when the answer is there: drain waits for them, cancel stops them, detach lets them go on
    #[arg(long, value_name = "WHAT", default_value = "drain")]
    pub(crate) on_exit: OnExit,
    /// How long they are waited for before they are stopped; 10m by default, for ever with --background and detach
    #[arg(long, value_name = "TIME")]
    pub(crate) drain_timeout: Option<HumanDuration>,
    /// Make warnings of bundles errors
    #[arg(long)]
    pub(crate) strict: bool,
    /// Tell more on stderr
    #[arg(short = 'v', long)]
    pub(crate) verbose: bool,
    #[arg(long, hide = true)]
    pub(crate) mode: Option<OldMode>,
}

pub(crate) fn permission_mode(text: &str) -> Result<Mode, String> {
    Mode::from_name(text)
        .ok_or_else(|| "give default, plan, acceptEdits, dontAsk or bypassPermissions".to_owned())
}

/// An amount of US dollars, in millionths.
fn usd(text: &str) -> Result<u64, String> {
    money::micro_usd(text).ok_or_else(|| "give an amount of US dollars such as 2.50".to_owned())
}

impl ChatArgs {
    /// The same as a run.
    pub(crate) fn into_run(self) -> RunArgs {
        let options = RunOptions {
            bundle: self.bundle,
            provider: self.provider,
            model: self.model,
            cwd: self.cwd,
            add_dir: self.add_dir,
            permission_mode: self.permission_mode,
            verbose: self.verbose,
            ..RunOptions::default()
        };
        let (resume, continue_last, history) = (self.resume, self.continue_last, self.history);
        RunArgs { options, resume, continue_last, history, ..RunArgs::default() }
    }
}

impl ContinueArgs {
    /// The same as a run.
    pub(crate) fn into_run(self) -> RunArgs {
        let Self { prompt, options, history } = self;
        RunArgs { prompt, options, history, continue_last: true, ..RunArgs::default() }
    }
}

impl ResumeArgs {
    /// The same as a run. Without an id there is nothing to resume.
    pub(crate) fn into_run(self) -> Result<RunArgs, Failure> {
        let Self { id, prompt, options, history } = self;
        let Some(id) = id else {
            let help = "`amplifier session list` shows them, `amplifier continue` takes the most recent one";
            return Err(Failure::usage("no session is named").help(help));
        };
        Ok(RunArgs { prompt, options, history, resume: Some(id), ..RunArgs::default() })
    }

    /// True where no session is named: one may be picked.
    pub(crate) fn names_none(&self) -> bool {
        self.id.is_none()
    }

    /// The same for the session of this id.
    pub(crate) fn of(self, id: String) -> Self {
        Self { id: Some(id), ..self }
    }
}

impl RunArgs {
    /// True for a run whose session is another process's from the beginning.
    pub(crate) fn is_detached(&self) -> bool {
        self.options.background || self.options.on_exit == OnExit::Detach
    }
}
