//! Where a command works: the foundation's [`Setup`], with its words for a person on stderr.
//!
//! Guarantees: nothing is written. What is amiss in settings is told once.

use std::io::IsTerminal;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amplifier_core::Clock;
use amplifier_core::permission::Permissions;
use amplifier_foundation::bundle::{Diagnostic, Notice, PreparedBundle};
use amplifier_foundation::host::SystemClock;
use amplifier_foundation::settings::{Flags, Scope};
use amplifier_foundation::{Host, HostBuilder};
use tokio::runtime::{Builder, Runtime};

use crate::exit::Failure;
use crate::setup::{Active, Setup, worth_telling};
use crate::terminal::bar::during;
use crate::terminal::{chain, logging, say};

/// Which program it is, for people who are told what to type.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// What starts the owner of a project's triggers.
    pub start: &'static str,
    /// What lets something go on that is paused; a name follows.
    pub resume: &'static str,
}

impl Program {
    /// `amplifier`.
    pub const AMPLIFIER: Self = Self {
        name: "amplifier",
        start: "amplifier background start",
        resume: "amplifier background resume",
    };

    /// `foreman`.
    pub const FOREMAN: Self = Self { name: "foreman", start: "foreman start", resume: "foreman resume" };
}

/// Where a command works.
#[derive(Debug)]
pub struct Context {
    setup: Setup,
    program: Program,
}

impl Deref for Context {
    type Target = Setup;

    fn deref(&self) -> &Setup {
        &self.setup
    }
}

impl Context {
    /// For a directory (`None`: the current one) and what was typed.
    pub fn open(
        program: Program,
        cwd: Option<&Path>,
        flags: &Flags,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        let setup = Setup::open(cwd, flags, clock)?;
        if let Some(error) = setup.trust_fault() {
            say(&format!("warning: {}", chain(error)));
        }
        if let Some(log) = setup.settings().log.as_ref().filter(|log| log.by.scope() != Scope::Environment) {
            logging::begin(&log.value, &log.by.to_string());
        }
        Ok(Self { setup, program })
    }

    /// For a place that was found already; nothing is told.
    pub(crate) fn of(program: Program, setup: Setup) -> Self {
        Self { setup, program }
    }

    /// What was found where it works.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// For the current directory and a command that takes no flags of a run.
    pub fn here(program: Program) -> Result<Self, Failure> {
        Self::open(program, None, &Flags::default(), Arc::new(SystemClock::new()))
    }

    /// The same where nobody can ever be asked.
    #[must_use]
    pub fn unattended(self) -> Self {
        Self { setup: self.setup.unattended(), ..self }
    }

    /// The program.
    pub fn program(&self) -> Program {
        self.program
    }

    /// The bundle of a new session; tells where it is not what one may expect.
    pub fn chosen(&self, host: &Host) -> Active {
        let active = self.setup.chosen(host);
        if let Some(warning) = &active.warning {
            say(&format!("warning: {warning}"));
        }
        active
    }

    /// The bundle that was typed, else the active one.
    pub fn bundle(&self, typed: Option<&str>) -> String {
        typed.map_or_else(|| self.active().name, str::to_owned)
    }

    /// The layers of a session that a person starts here.
    pub fn permissions(&self, add_dirs: &[PathBuf], asked: bool) -> Result<Permissions, Failure> {
        self.setup.permissions(add_dirs, asked).map_err(|error| Failure::config(&error))
    }

    /// A host in the making.
    pub fn builder(&self, strict: bool) -> HostBuilder {
        let builder = self.setup.builder();
        builder.on_notice(Arc::new(tell_notice)).strict(strict)
    }

    /// A host for commands that run no session.
    pub async fn host(&self) -> Result<Host, Failure> {
        self.builder(false).open(self.cwd()).await.map_err(|error| Failure::config(&error))
    }

    /// Tells once what is amiss in settings and keys, and what does not count for want of trust.
    pub fn tell_warnings(&self) {
        self.warnings().iter().for_each(|line| say(line));
    }
}

/// A bundle that can be used. On a terminal it is shown that something goes on, where it has to be fetched; elsewhere
/// the notice of the fetch is all.
pub async fn prepared(host: &Host, source: &str) -> Result<Arc<PreparedBundle>, Failure> {
    let preparing = host.prepare(source);
    let prepared = match std::io::stderr().is_terminal() {
        true => during("reading the bundle", host.clock().as_ref(), preparing).await,
        false => preparing.await,
    };
    prepared.map_err(|error| Failure::bundle(&error))
}

/// Warnings of files, one after the other.
pub fn tell<'a>(diagnostics: impl IntoIterator<Item = &'a Diagnostic>) {
    worth_telling(diagnostics).for_each(|diagnostic| say(&diagnostic.to_string()));
}

fn tell_notice(notice: &Notice) {
    say(&format!("notice: {notice}"));
}

/// A runtime for sessions: a second thread, so that a signal is heard while a module is busy.
pub fn runtime() -> Result<Runtime, Failure> {
    built(Builder::new_multi_thread().worker_threads(2))
}

/// A runtime for commands that run no session.
pub fn small_runtime() -> Result<Runtime, Failure> {
    built(&mut Builder::new_current_thread())
}

fn built(builder: &mut Builder) -> Result<Runtime, Failure> {
    builder.enable_all().build().map_err(|error| Failure::work(&error))
}
