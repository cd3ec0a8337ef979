//! Where a command works: the [`Context`] of both programs, for what can be typed here.

use std::path::Path;
use std::sync::Arc;

use amplifier_app::context::Program;
pub(crate) use amplifier_app::context::{Context, prepared, runtime, small_runtime, tell};
use amplifier_core::Clock;
use amplifier_foundation::settings::{Flags, Scope};

use crate::args::run::RunOptions;
use crate::exit::Failure;

/// For a directory (`None`: the current one) and what was typed.
pub(crate) fn open(cwd: Option<&Path>, flags: &Flags, clock: Arc<dyn Clock>) -> Result<Context, Failure> {
    Context::open(Program::AMPLIFIER, cwd, flags, clock)
}

/// For the current directory and a command that takes no flags of a run.
pub(crate) fn here() -> Result<Context, Failure> {
    Context::here(Program::AMPLIFIER)
}

/// What was typed that a setting could say too.
pub(crate) fn flags(options: &RunOptions) -> Flags {
    let mut flags = Flags::default();
    flags.bundle = options.bundle.clone();
    flags.provider = options.provider.clone();
    flags.model = options.model.clone();
    flags.permission_mode = options.permission_mode;
    flags.max_turns = options.max_turns;
    flags.timeout = options.timeout.map(|timeout| timeout.0);
    flags.max_cost_micro_usd = options.max_budget_usd;
    flags
}

/// The scope that `--local`, `--project` or `--global` names.
pub(crate) fn scope(args: &crate::args::ScopeArgs, default: Scope) -> Scope {
    match (args.local, args.project, args.global) {
        (true, ..) => Scope::Local,
        (_, true, _) => Scope::Project,
        (_, _, true) => Scope::User,
        _ => default,
    }
}
