//! Where a command works: the foundation's [`Setup`], with its words for a person on stderr.
//!
//! Guarantees: nothing is written. What is amiss in settings is told once.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amplifier_app::setup::{Active, Setup, SetupError, worth_telling};
use amplifier_app::terminal::{chain, logging};
use amplifier_core::Clock;
use amplifier_core::permission::Permissions;
use amplifier_foundation::bundle::{Diagnostic, Notice};
use amplifier_foundation::settings::{Flags, Scope};
use amplifier_foundation::{Host, HostBuilder};
use tokio::runtime::{Builder, Runtime};

use crate::args::run::RunOptions;
use crate::exit::Failure;
use crate::output::say;

/// Where a command works.
#[derive(Debug)]
pub(crate) struct Context(Setup);

impl Deref for Context {
    type Target = Setup;

    fn deref(&self) -> &Setup {
        &self.0
    }
}

impl Context {
    /// For a directory (`None`: the current one) and what was typed.
    pub(crate) fn open(cwd: Option<&Path>, flags: &Flags, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        let setup = Setup::open(cwd, flags, clock).map_err(|error| failure(&error))?;
        if let Some(error) = setup.trust_fault() {
            say(&format!("warning: {}", chain(error)));
        }
        if let Some(log) = setup.settings().log.as_ref().filter(|log| log.by.scope() != Scope::Environment) {
            logging::begin(&log.value, &log.by.to_string());
        }
        Ok(Self(setup))
    }

    /// For the current directory and a command that takes no flags of a run.
    pub(crate) fn here() -> Result<Self, Failure> {
        Self::open(None, &Flags::default(), Arc::new(amplifier_foundation::host::SystemClock::new()))
    }

    /// The same where nobody can ever be asked.
    pub(crate) fn unattended(self) -> Self {
        Self(self.0.unattended())
    }

    /// The bundle of a new session; tells where it is not what one may expect.
    pub(crate) fn chosen(&self, host: &Host) -> Active {
        let active = self.0.chosen(host);
        if let Some(warning) = &active.warning {
            say(&format!("warning: {warning}"));
        }
        active
    }

    /// The bundle that was typed, else the active one.
    pub(crate) fn bundle(&self, typed: Option<&str>) -> String {
        typed.map_or_else(|| self.active().name, str::to_owned)
    }

    /// The layers of a session that a person starts here.
    pub(crate) fn permissions(&self, add_dirs: &[PathBuf], asked: bool) -> Result<Permissions, Failure> {
        self.0.permissions(add_dirs, asked).map_err(|error| Failure::config(&error))
    }

    /// A host in the making.
    pub(crate) fn builder(&self, strict: bool) -> HostBuilder {
        let builder = self.0.builder();
        builder.on_notice(Arc::new(tell_notice)).strict(strict)
    }

    /// A host for commands that run no session.
    pub(crate) async fn host(&self) -> Result<Host, Failure> {
        self.builder(false).open(self.cwd()).await.map_err(|error| Failure::config(&error))
    }

    /// Tells once what is amiss in settings and keys, and what does not count for want of trust.
    pub(crate) fn tell_warnings(&self) {
        self.warnings().iter().for_each(|line| say(line));
    }
}

fn failure(error: &SetupError) -> Failure {
    match error {
        SetupError::NoDirectory { .. } => Failure::usage(error.to_string()),
        SetupError::Settings(error) => Failure::settings(error),
        other => Failure::config(other),
    }
}

/// Warnings of files, one after the other.
pub(crate) fn tell<'a>(diagnostics: impl IntoIterator<Item = &'a Diagnostic>) {
    worth_telling(diagnostics).for_each(|diagnostic| say(&diagnostic.to_string()));
}

fn tell_notice(notice: &Notice) {
    say(&format!("notice: {notice}"));
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

/// A runtime for sessions: a second thread, so that a signal is heard while a module is busy.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    built(Builder::new_multi_thread().worker_threads(2))
}

/// A runtime for commands that run no session.
pub(crate) fn small_runtime() -> Result<Runtime, Failure> {
    built(&mut Builder::new_current_thread())
}

fn built(builder: &mut Builder) -> Result<Runtime, Failure> {
    builder.enable_all().build().map_err(|error| Failure::work(&error))
}
